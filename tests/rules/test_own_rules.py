"""User-defined rules: in a file, as a class, and the messages for each kind of mistake."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import steepest
from steepest import rules
from steepest.cli import app
from steepest.errors import SteepestError

HEAD = "import steepest, torch, math\nfrom steepest.rules import zeros, copy_of_p\nfrom steepest.rules.vocabulary import *\n"
MINE = HEAD + (
    "@steepest.rule('Bernstein et al. 2018, arXiv:1802.04434, with momentum')\n"
    "def mine(p, g, t, m=zeros, *, lr=0.01, beta=0.9):\n"
    "    m = ema(m, g, beta)\n"
    "    return p - lr * sign(m), m\n"
)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own_with_the_registry_as_it_was(tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_a_file_with_one_rule_is_compared_like_any_other():
    Path("mine.py").write_text(MINE)
    rates = ["--lrs", "0.01", "--seeds", "5", "--steps", "20", "--schedules", "constant"]
    result = run("compare", "digits", "--optimizers", "./mine.py:mine,adam", *rates)
    assert result.exit_code == 0, result.output
    assert "\nmine " in result.stdout
    assert "Nothing to train" in run("compare", "digits", "--optimizers", "./mine.py:mine,adam", *rates).stdout
    Path("mine.py").write_text(MINE.replace("lr * sign(m)", "2 * lr * sign(m)"))
    assert "Trained 5 runs" in run("compare", "digits", "--optimizers", "./mine.py:mine,adam", *rates).stdout


def test_a_rule_becomes_a_torch_optimizer():
    Path("mine.py").write_text(MINE)
    mine = rules.get("mine.py:mine")
    p = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    optimizer = steepest.optim.from_rule(mine)([p], lr=0.5, beta=0.0)
    p.grad = torch.tensor([3.0, -0.1])
    optimizer.step()
    assert p.tolist() == [0.5, -0.5]
    assert optimizer.engine == "kernel"
    assert list(optimizer.state_dict()["state"][0]) == ["step", "m"]


def test_a_rule_of_a_file_is_shown():
    Path("mine.py").write_text(MINE)
    shown = run("show", "mine.py:mine").stdout
    assert "return p - lr * sign(m), m" in shown
    assert "new m" in shown


# Mistakes: the rule's lines, and the message with the line and the fix.
MISTAKES = {
    "wrong number of states": (
        "def f(p, g, t, m=zeros, *, lr=0.1):\n    return p - lr * g\n",
        r"line 6 \(return p - lr \* g\): returns 1 values and has 1 states; return p, m, in that order",
    ),
    "in-place method": (
        "def f(p, g, t, m=zeros, *, lr=0.1):\n    m.mul_(0.9)\n    return p - lr * g, m\n",
        r"line 6 \(m.mul_\(0.9\)\): writes in place; .* makes new values",
    ),
    "in-place operator": (
        "def f(p, g, t, *, lr=0.1):\n    p -= lr * g\n    return p\n",
        r"line 6 \(p -= lr \* g\): writes in place",
    ),
    "assignment to elements": (
        "def f(p, g, t, *, lr=0.1):\n    g[0] = 0\n    return p - lr * g\n",
        r"line 6 .*: writes in place",
    ),
    "if on a tensor": (
        "def f(p, g, t, *, lr=0.1):\n    x = 1\n    if g > 0:\n        x = 2\n    return p - x * lr * g\n",
        r"line 7 \(if g > 0:\): decides by Python's if.* on a tensor; write where\(condition, x, y\)",
    ),
    "if on the step": (
        "def f(p, g, t, *, lr=0.1):\n    return p - (lr if t > 5 else 0.0) * g\n",
        r"line 6 .*on a number that changes from step to step; write where",
    ),
    "max on a tensor": (
        "def f(p, g, t, *, lr=0.1):\n    return p - lr * max(g, 0)\n",
        r"line 6 .*Python's if, and, or, not, min or max on a tensor",
    ),
    "unknown function of torch": (
        "def f(p, g, t, *, lr=0.1):\n    return p - lr * torch.tanh(g)\n",
        r"line 6 \(return p - lr \* torch.tanh\(g\)\): raises TypeError.*a rule uses .* the vocabulary: sqrt, cbrt",
    ),
    "unknown function of math": (
        "def f(p, g, t, *, lr=0.1):\n    return p - lr * math.exp(g)\n",
        r"line 6 .*hands a symbol to a function outside the vocabulary; use sqrt",
    ),
    "unknown word": (
        "def f(p, g, t, *, lr=0.1):\n    return p - lr * softsign(g)\n",
        r"line 6 .*name 'softsign' is not defined; the vocabulary has sqrt",
    ),
    "method of a tensor": (
        "def f(p, g, t, *, lr=0.1):\n    return p - lr * g.tanh()\n",
        r"line 6 .*uses the method .tanh; a rule is written with the vocabulary",
    ),
    "a shape that changes": (
        "def f(p, g, t, *, lr=0.1):\n    return p - lr * g.sum()\n",
        r"line 6 .*changes or reads a shape; .* norm or mean look further",
    ),
    "a matrix product": (
        "def f(p, g, t, *, lr=0.1):\n    return p - lr * (g @ g)\n",
        r"line 6 .*changes or reads a shape",
    ),
    "state without a default": (
        "def f(p, g, t, m, *, lr=0.1):\n    return p - lr * g, m\n",
        r"line 4: the state m has no default, which says how it starts; write m=zeros",
    ),
    "hyperparameter without a default": (
        "def f(p, g, t, *, lr):\n    return p - lr * g\n",
        r"line 4: the hyperparameter lr has no default.* write lr=0.1",
    ),
    "a number for a state": (
        "def f(p, g, t, lr=0.1):\n    return p - lr * g\n",
        r"line 4: lr=0.1 stands on the wrong side of the \*",
    ),
    "a static used as a float": (
        "def f(p, g, t, *, lr=0.1, n=3):\n    return p - lr * n * g\n",
        r"line 6 .*computes with n, which is static because its default is a int: ask it in an if, or give it a float",
    ),
    "a closure variable": (
        "def outer():\n    scale = 0.5\n    @steepest.rule('x')\n    def f(p, g, t, *, lr=0.1):\n"
        "        return p - scale * lr * g\n    return f\nouter()\n",
        r"line 8: reads scale from outside the rule; make it a hyperparameter, scale=0.5",
    ),
    "a global": (
        "SCALE = 0.5\n@steepest.rule('x')\ndef f(p, g, t, *, lr=0.1):\n    return p - SCALE * lr * g\n",
        r"line 7: reads SCALE from outside the rule; make it a hyperparameter, SCALE=0.5",
    ),
    "a helper function": (
        "def half(x):\n    return x / 2\n@steepest.rule('x')\ndef f(p, g, t, *, lr=0.1):\n    return p - half(lr) * g\n",
        r"line 8: reads half from outside the rule",
    ),
    "other arguments": (
        "def f(w, g, t, *, lr=0.1):\n    return w - lr * g\n",
        "begins with w, g, t; a rule begins with p, g, t",
    ),
    "a power of a tensor": (
        "def f(p, g, t, *, lr=0.1):\n    return p - lr * g**0.5\n",
        r"line 6 .*raises a tensor to a power; write x \* x, sqrt\(x\), cbrt\(x\) or power",
    ),
    "a string returned": ("def f(p, g, t, *, lr=0.1):\n    return 'p'\n", r"line 6 .*returns a str for p"),
    "a mistake behind a flag": (
        "def f(p, g, t, *, lr=0.1, fast=False):\n    if fast:\n        p.add_(g)\n    return p - lr * g\n",
        r"line 7 \(p.add_\(g\)\): writes in place",
    ),
    "a built-in name": ("def adam(p, g, t, *, lr=0.1):\n    return p - lr * g\n", "a built-in rule has this name"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_rule_is_told_with_its_line_and_what_to_do(mistake):
    text, words = MISTAKES[mistake]
    decorated = text if "@steepest.rule" in text else "@steepest.rule('x')\n" + text
    Path("wrong.py").write_text(HEAD + decorated)
    with pytest.raises(SteepestError, match=words):
        rules.get("wrong.py:f")
    result = run("compare", "--optimizers", "wrong.py:f")
    assert result.exit_code == 2
    assert "Rule " in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("none.py:f", "There is no rule file none.py"),
        ("mine.py:other", "defines no rule other; it defines mine"),
        ("mine.py:", "no rule"),
    ],
)
def test_a_rule_that_is_not_there_is_told(spec, words):
    Path("mine.py").write_text(MINE)
    with pytest.raises(SteepestError, match=words):
        rules.get(spec)


@pytest.mark.parametrize("name", [name for name in rules.RULES if not rules.RULES[name].base])
def test_every_built_in_rule_is_at_most_fifteen_lines_and_can_be_shown(name, strict):
    result = run("show", name, "--json", "-")
    assert result.exit_code == 0, result.output
    card = strict(result.stdout)
    body = ast.parse(card["source"]).body[0].body
    assert body[-1].end_lineno - body[0].lineno + 1 <= 15
    names = [x["name"] for x in card["step"]]
    assert names[:3] == ["p", "g", "t"]
    assert {"new p", *(f"new {s['name']}" for s in card["state"])} >= {n for n in names if n.startswith("new ")} >= {"new p"}


def test_a_second_process_loads_its_kernel_from_the_disk(tmp_path, monkeypatch):
    import subprocess
    import sys

    monkeypatch.setenv("STEEPEST_CACHE", str(tmp_path / "kernels"))
    code = (
        "import torch, steepest\nfrom steepest.update.engines.llvm import compiler\n"
        "p = torch.nn.Parameter(torch.ones(3)); p.grad = torch.ones(3)\n"
        "steepest.optim.Adam([p]).step()\nprint(compiler.compiled)\n"
    )
    counts = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert counts == ["1\n", "0\n"]


def test_a_rule_whose_file_was_edited_since_is_refused_and_not_quietly_another(tmp_path):
    file = tmp_path / "factory.py"
    text = (
        HEAD + "def make():\n    @steepest.rule('me')\n    def late(p, g, t, *, lr=0.1):\n        return p - lr * g\n"
        "    return late\n"
    )
    file.write_text(text)
    space = {}
    exec(compile(text, str(file), "exec"), space)
    space["make"]()
    file.write_text(text.replace("p - lr * g", "p + lr * g"))
    with pytest.raises(SteepestError, match="Rule late: its source differs from the code that runs"):
        space["make"]()
    with pytest.raises(SteepestError, match="its source differs from the code that runs"):
        steepest.rule("me")(lambda p, g, t, *, lr=0.1: p - lr * g)


def test_the_rule_in_the_documentation_is_adam():
    text = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    Path("mine.py").write_text(text.split("```python\n")[1].split("```")[0])
    mine = steepest.optim.from_rule(rules.get("mine.py:my_adam"))
    ps = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    for optimizer, p in ((mine([ps[0]]), ps[0]), (torch.optim.Adam([ps[1]]), ps[1])):
        for k in range(5):
            p.grad = torch.tensor([0.1, -2.0, 3.0]) * (k + 1)
            optimizer.step()
    torch.testing.assert_close(ps[0], ps[1])


def test_the_lines_to_paste_for_a_rule_of_ones_own_find_it(tmp_path, line):
    """The code that a study prints imports the rule from its file and runs, for a plain and a composed rule."""
    (tmp_path / "mine.py").write_text(
        "import steepest\nfrom steepest.rules import clip_by_norm, get\n"
        '@steepest.rule("me")\ndef half(p, g, t, *, lr=0.1):\n    return p - 0.5 * lr * g\n'
        "clipped = clip_by_norm(get('adam'), 1.0)\n"
    )
    for name in ("half", "clipped"):
        study = steepest.compare(
            line, optimizers=[f"{tmp_path / 'mine.py'}:{name}"], seeds=2, lrs="0.1", store=str(tmp_path / f"{name}.db")
        )
        code = study.best().code()
        assert f"from mine import {name}\n" in code
        done = subprocess.run(
            [sys.executable, "-c", "from torch import nn\nmodel = nn.Linear(1, 1)\n" + code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_a_class_of_a_rule_with_other_defaults_has_those_defaults():
    p = torch.nn.Parameter(torch.ones(3))
    assert steepest.optim.from_rule(rules.get("momentum"))([p], lr=0.1).param_groups[0]["momentum"] == 0.9
    assert steepest.optim.from_rule(rules.get("adam(eps=1)"))([p], lr=0.1).param_groups[0]["eps"] == 1.0
    assert steepest.optim.from_rule(rules.get("adam"))([p], lr=0.1).param_groups[0]["eps"] == 1e-8
    assert steepest.optim.from_rule(rules.get("momentum"))([p], 0.1, 0.5).param_groups[0]["momentum"] == 0.5
    nadam = steepest.optim.from_rule(rules.get("nadam(beta1=0.5)"))([p], lr=0.1)
    assert nadam.param_groups[0]["betas"] == (0.5, 0.999)
    assert type(nadam).__name__ == "NAdam"
