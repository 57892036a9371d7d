"""One forward pass for many runs of a model: parameters (runs, *shape), a batch shared by all or one for each.

A plain stack of layers is written out as batched products; any other module runs under torch's vmap. Dropout draws from the
run's key, the step and the layer, so that a run's masks do not depend on the other runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from ..errors import text_of
from .products import linear

Tensors = dict[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.ELU, nn.Softplus, nn.Identity)


class NotStackableError(Exception):
    """Raised for a model or loss that cannot be batched over runs; the message says why."""


class Masks(TorchFunctionMode):
    """A context in which dropout takes its masks from `draw(layer, x, p)`, with layers counted from 0 in a forward pass."""

    def __init__(self, draw: Callable[[int, Tensor, float], Tensor]) -> None:
        super().__init__()
        self.draw, self.layer = draw, 0

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: Sequence[object] = (), kwargs: Tensors | None = None
    ) -> object:
        kwargs = kwargs or {}
        if func is not nn.functional.dropout:
            return func(*args, **kwargs)
        arguments: dict[str, Any] = dict(zip(("input", "p", "training", "inplace"), args, strict=False)) | kwargs
        x, p = arguments["input"], arguments.get("p", 0.5)
        if not arguments.get("training", True) or p == 0:
            return x
        self.layer += 1
        return x * self.draw(self.layer - 1, x, p)


def mask(key: int, step: int, layer: int, shape: Sequence[int], p: float, like: Tensor) -> Tensor:
    """A dropout mask: 0 with probability p, else 1 / (1 - p), determined by the arguments."""
    generator = torch.Generator().manual_seed((key * 1_000_003 + step) * 1_009 + layer)
    kept = torch.rand(tuple(shape), generator=generator) >= p
    return kept.to(device=like.device, dtype=like.dtype) / (1 - p)


def drops(model: nn.Module) -> bool:
    """Whether the model has active dropout."""
    shares = [m.p if isinstance(m, nn.modules.dropout._DropoutNd) else getattr(m, "dropout", 0) for m in model.modules()]
    return any(isinstance(share, int | float) and share > 0 for share in shares)


def keyed(model: nn.Module, key: int, step: int) -> contextlib.AbstractContextManager[object]:
    """A context in which a single run's dropout draws the same masks as when many runs train together."""
    if not drops(model):
        return contextlib.nullcontext()
    return Masks(lambda layer, x, p: mask(key, step, layer, x.shape, p, x))


class Forward:
    """The forward pass of many runs of `model`: `outputs(params, buffers, inputs, shared)`, (runs, batch, ...).

    `params` and `buffers` map names to (runs, *shape); buffers are updated in training. `keys` are the runs' keys,
    `names` the names of the inputs if the model takes them by keyword.
    """

    def __init__(self, model: nn.Module, keys: Sequence[int], names: Sequence[str] = ()) -> None:
        self.model, self.keys, self.names = model, list(keys), names
        self.layers = None if names else _layers(model)
        self.drops = drops(model)
        self.shapes: dict[tuple[Any, ...], list[tuple[tuple[int, ...], float]]] = {}

    def outputs(self, params: Tensors, buffers: Tensors, inputs: Sequence[Tensor], shared: bool, step: int) -> Tensor:
        """The model's output for every run; `inputs` are (batch, ...) where shared, else (runs, batch, ...)."""
        if self.layers and len(inputs) == 1:
            return self._products(params, inputs[0], shared, step)
        masks = self._masks(params, buffers, inputs, shared, step) if self.drops and self.model.training else []

        def one(params: Tensors, buffers: Tensors, masks: list[Tensor], *inputs: Tensor) -> Tensor:
            drawn = iter(masks)
            with Masks(lambda layer, x, p: next(drawn)) if masks else contextlib.nullcontext():
                return self._called((params, buffers), inputs)

        dims = (0, 0, 0, *[None if shared else 0] * len(inputs))
        try:
            with sdpa_kernel(SDPBackend.MATH):  # attention as products and a softmax, which vmap can run for many
                return vmap(one, in_dims=dims)(params, buffers, masks, *inputs)
        except (Exception, SystemExit) as error:  # the user's model may raise anything under vmap
            raise NotStackableError(f"vmap cannot run it: {_first_line(error)}") from error

    def _called(self, weights: tuple[Tensors, Tensors], inputs: Sequence[Tensor]) -> Tensor:
        named = dict(zip(self.names, inputs, strict=True)) if self.names else {}
        return functional_call(self.model, weights, () if named else tuple(inputs), named)  # type: ignore[no-any-return]

    def _masks(self, params: Tensors, buffers: Tensors, inputs: Sequence[Tensor], shared: bool, step: int) -> list[Tensor]:
        """Every run's masks for this batch, (runs, *shape) for each call of dropout; a dry run finds the shapes."""
        one = [x if shared else x[0] for x in inputs]
        key = tuple(tuple(x.shape) for x in one)
        if key not in self.shapes:
            seen: list[tuple[tuple[int, ...], float]] = []

            def note(layer: int, x: Tensor, p: float) -> Tensor:
                seen.append((tuple(x.shape), p))
                return torch.ones_like(x)

            first = {k: v[0].detach() for k, v in params.items()}
            with torch.no_grad(), Masks(note):
                self._called((first, {k: v[0].clone() for k, v in buffers.items()}), one)
            self.shapes[key] = seen
        like = next(iter(params.values()))
        return [
            torch.stack([mask(run, step, layer, shape, p, like) for run in self.keys])
            for layer, (shape, p) in enumerate(self.shapes[key])
        ]

    def _products(self, params: Tensors, x: Tensor, shared: bool, step: int) -> Tensor:
        """A stack of layers on (runs, batch, features), or on a shared (batch, features) up to the first layer with weights."""
        runs, layer = len(self.keys), 0
        for name, module in self.layers or ():
            if isinstance(module, nn.Linear):
                w, b = params[f"{name}.weight"], params.get(f"{name}.bias")
                if shared and x.ndim == 2:  # one product for all runs
                    x, shared = linear(w, x, b), False
                else:
                    x, shared = (x.expand(runs, *x.shape) if shared else x), False
                    y = linear(w, x.flatten(1, -2), b)
                    x = y if x.ndim == 3 else y.reshape(*x.shape[:-1], -1)
            elif isinstance(module, nn.Flatten):
                x = x.flatten(1 if shared else 2)
            elif isinstance(module, nn.Dropout):
                if module.training and module.p:
                    shape = x.shape if shared else x.shape[1:]
                    drawn = torch.stack([mask(key, step, layer, shape, module.p, x) for key in self.keys])
                    x, shared, layer = x * drawn, False, layer + 1
            elif isinstance(module, nn.LayerNorm):
                x, shared = (x.expand(runs, *x.shape) if shared else x), False
                x = nn.functional.layer_norm(x, module.normalized_shape, eps=module.eps)
                if module.elementwise_affine:
                    w, b = params[f"{name}.weight"], params.get(f"{name}.bias")
                    ones = [1] * (x.ndim - w.ndim)
                    x = x * w.view(runs, *ones, *w.shape[1:])
                    x = x if b is None else x + b.view(runs, *ones, *b.shape[1:])
            else:
                x = module(x)
        return x.expand(runs, *x.shape) if shared else x


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """The layers of a plain stack, by name; None for any other model."""
    if type(model) is nn.Linear:
        return None
    layers: list[tuple[str, nn.Module]] = []

    def walk(prefix: str, module: nn.Module) -> bool:
        if module._forward_hooks or module._forward_pre_hooks:
            return False
        if type(module) is nn.Sequential:
            return all(walk(f"{prefix}{name}.", child) for name, child in module.named_children())
        plain = type(module) in (nn.Linear, nn.Dropout, nn.LayerNorm, *ELEMENTWISE)
        flat = type(module) is nn.Flatten and module.start_dim == 1 and module.end_dim == -1
        layers.append((prefix[:-1], module))
        return plain or flat

    if type(model) is not nn.Sequential or not walk("", model):
        return None
    weights = [id(p) for _, module in layers for p in module.parameters()]
    return layers if len(weights) == len(set(weights)) else None


def losses(loss: Loss, output: Tensor, target: Tensor, shared: bool) -> Tensor:
    """The loss of every run, (runs,): output (runs, batch, ...), target (batch, ...) if shared, else (runs, batch, ...)."""
    runs = len(output)
    own = target.expand(runs, *target.shape) if shared else target
    classes = output.ndim == 3 and own.ndim == 2 and not own.is_floating_point() and int(own.min()) >= 0
    if classes and _is_plain(loss, nn.CrossEntropyLoss):
        # transposed, as torch's sum over a short last dimension is five times slower
        return nn.functional.cross_entropy(output.transpose(1, 2), own, reduction="none").mean(1)
    if _is_plain(loss, nn.MSELoss) and output.shape == own.shape:
        return ((output - own) ** 2).flatten(1).mean(1)
    try:
        return vmap(loss, in_dims=(0, None if shared else 0))(output, target)
    except (Exception, SystemExit) as error:  # the user's loss may raise anything
        raise NotStackableError(f"vmap cannot take its loss: {_first_line(error)}") from error


def _is_plain(loss: Loss, expected: type) -> bool:
    """Whether a loss is this module of torch's with its defaults."""
    usual = {"reduction": "mean", "weight": None, "label_smoothing": 0.0}
    return type(loss) is expected and all(getattr(loss, name, value) == value for name, value in usual.items())


def _first_line(error: BaseException) -> str:
    return (text_of(error) or type(error).__name__)[:160]
