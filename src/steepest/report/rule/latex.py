"""A traced rule as LaTeX equations: every named value of the rule, in the order of computation."""

from __future__ import annotations

from typing import Any

from ...rules import Rule
from ...rules.definition import MATRIX
from ...rules.symbols import Symbol
from ...rules.trace import Graph
from ...rules.words import WORDS

LETTERS = {
    "beta_v": r"\beta_v",
    "dampening": r"\delta",
    "lr": r"\eta", "eps": r"\varepsilon", "weight_decay": r"\lambda", "momentum": r"\mu", "rho": r"\rho",
    "alpha": r"\alpha", "p": r"\theta", "total": r"\Sigma", "lambd": r"\lambda_d", "eta": r"\gamma", "mu": r"\mu",
    "etaminus": r"\eta^-", "etaplus": r"\eta^+", "step_min": r"s_{\min}", "step_max": r"s_{\max}", "warmup_steps": r"T_w",
    "weight_lr_power": "q", "lr_decay": r"\kappa", "momentum_decay": r"\psi", "partial": r"\pi", "trust": r"\tau",
    "beta2_decay": r"\gamma", "initial_accumulator_value": "G_0", "ns_a": "a_1", "ns_b": "a_3", "ns_c": "a_5",
}  # fmt: skip


def letter(name: str) -> str:
    """The LaTeX symbol of a name in a rule."""
    if name in LETTERS:
        return LETTERS[name]
    for greek in ("beta", "eps"):
        if name.startswith(greek) and name[len(greek) :].isdigit():
            return "\\" + ("varepsilon" if greek == "eps" else greek) + "_" + name[len(greek) :]
    if name.endswith("_hat"):
        return rf"\hat{{{letter(name.removesuffix('_hat'))}}}_t"
    return name if len(name) == 1 else r"\mathrm{" + name.replace("_", r"\_") + "}"


def equations(rule: Rule) -> list[str]:
    """The rule's step in LaTeX, one line per value; state before the step has the index t-1."""
    return _Printer(rule.graph(rule.settings(), shape=MATRIX)).lines()


class _Printer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.known: dict[Symbol, str] = {}
        for name, x in graph.inputs.items():
            before = name in graph.outputs
            self.known[x] = letter(name) + ("_{t-1}" if before else "_t" if name == "g" else "")
        for x, point in zip(graph.gradients, graph.points, strict=True):
            self.known[x] = rf"\nabla f\left({self.show(point)}\right)"

    def lines(self) -> list[str]:
        lines, written = [], set()
        outputs = {k: x for k, x in self.graph.outputs.items() if isinstance(x, Symbol)}
        inner = [(k, x) for k, x in self.graph.names.items() if x.args and not any(x is y for y in outputs.values())]
        inner = [(k, x) for k, x in inner if self._compound(x)[1]]  # a comparison is written in the `where` that uses it
        named = [(k, x, letter(k)) for k, x in inner if k not in outputs]
        named += [(k, x, letter(k) + "_t") for k, x in outputs.items() if k != "p" and x.args]
        for k, x, left in sorted(named, key=lambda item: _depth(item[1])):
            if k not in written:
                lines.append(rf"{left} = {self.show(x)}")
                self.known[x] = left
                written.add(k)
        return [*lines, rf"\theta_t = {self.show(self.graph.outputs['p'])}"]

    def show(self, x: Any, strength: int = 0) -> str:
        """An expression, in brackets where it binds less than `strength`: 1 sum, 2 product, 3 power."""
        if not isinstance(x, Symbol):
            return _number(x)
        if x in self.known:
            return self.known[x]
        text, own = self._compound(x)
        return rf"\left({text}\right)" if own < strength else text

    def _compound(self, x: Symbol) -> tuple[str, int]:
        if x.reduction:
            sign = r"\operatorname{mean}" if x.reduction.kind == "mean" else r"\sum"
            power = "^2" if x.reduction.kind == "squares" else ""
            return rf"{sign}_{{\text{{{x.reduction.over}}}}} {self.show(x.args[0], 4)}{power}", 3
        left = _from_one(x)
        if isinstance(left, Symbol) and left not in self.known and _from_one(left) is not None:
            return self.show(_from_one(left), 4), 4  # 1 - (1 - beta)
        if x.op not in WORDS:  # noise
            return rf"\operatorname{{{x.op}}}\left(\right)", 4
        text, strength = WORDS[x.op].latex(self.show, *x.args)
        return text, strength


def _from_one(x: Symbol) -> Any:
    """y if an expression is 1 - y, otherwise None."""
    return x.args[1] if x.op == "sub" and not isinstance(x.args[0], Symbol) and x.args[0] == 1 else None


def _number(x: float) -> str:
    mantissa, _, exponent = f"{x:g}".partition("e")
    power = f"10^{{{int(exponent or 0)}}}"
    return mantissa if not exponent else power if mantissa == "1" else rf"{mantissa} \cdot {power}"


def _depth(x: Symbol) -> int:
    return 1 + max((_depth(a) for a in x.args if isinstance(a, Symbol)), default=0)
