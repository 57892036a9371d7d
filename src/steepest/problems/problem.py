"""What a problem is: a model, a loss, data and a measure of success. It never sees an optimizer."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SteepestError, message_of
from .data import Batch, Examples, read

CHUNK = 2048  # examples evaluated in one forward pass
MOST_HELD = 2**26  # numbers of output held at once
LONGEST_NAME, LONGEST_ABOUT = 100, 300  # characters


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Per cent of examples whose largest output, (batch, classes, ...), stands at the target, (batch, ...) of integers."""
    if output.ndim != target.ndim + 1 or output.shape[1] < 2 or target.is_floating_point():
        shapes = f"{tuple(output.shape)} and {target.dtype} targets {tuple(target.shape)}"
        raise ValueError(f"accuracy compares outputs (batch, classes) with whole-number targets (batch,), and got {shapes}")
    return 100 * (output.argmax(1) == target).double().mean()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Something to train.

    model: called once per seed, returns an `nn.Module`; a module given instead is copied, so every seed starts from it.
    loss: `loss(output, target)`, a scalar to be made small.
    train, valid, test: `(inputs, target)` tensors or arrays (examples, ...), a map-style dataset of pairs, or a DataLoader
        of one; inputs are a tensor, several, or a dict by the names of the model's arguments.
        Rates are chosen on `valid`; `test`, where given, is read once, for the chosen.
    metric: what is reported: None for the loss, "accuracy" (per cent, larger is better), or `metric(output, target)`
        whose better `direction` is "min" or "max".
    batch_size: examples in a batch; the last batch of an epoch may be smaller.
    dtype: of parameters and floating-point data.
    name, about: how reports call and describe it. shuffle: a new order each epoch, or the data's own order always.
    drop_last: leave out the last batch of an epoch where it is smaller (BatchNorm cannot train on one example).
    steps: updates in a run unless `compare` is told otherwise (default: ten epochs, at least 100 and at most 2,000).
    optimum: the least value the validation loss can take, where known, and how it was found.
    accumulate: parts into which a batch is cut, whose gradients are added up before the step: less memory, the same step. The
        loss is taken to be a mean over examples, unless it has reduction="sum".
    autocast: torch.bfloat16 to run the forward pass in it where torch.autocast does; the loss is computed in `dtype`.
    clip: the largest norm that all gradients together may have; larger ones are scaled down.
    image: the shape in which a report shows an input as an image, such as (28, 28), where its own is not one.

    >>> x = torch.linspace(-1, 1, 40)[:, None]
    >>> problem = Problem(model=lambda: nn.Linear(1, 1), loss=nn.MSELoss(), train=(x, 2 * x), valid=(x, 2 * x))
    >>> problem.steps, problem.metric_name
    (100, 'loss')
    """

    model: Callable[[], nn.Module] | nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    train: Any
    valid: Any
    test: Any = None
    metric: Callable[[Tensor, Tensor], Any] | str | None = None
    direction: str = "min"
    batch_size: int = 32
    dtype: torch.dtype = torch.float32
    name: str = "problem"
    about: str = ""
    shuffle: bool = True
    drop_last: bool = False
    steps: int | None = None
    optimum: tuple[float, str] | None = None
    image: tuple[int, ...] | None = None
    accumulate: int = 1
    autocast: torch.dtype | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        def expect(holds: bool, problem: Any, expected: str) -> None:
            if not holds:
                raise SteepestError(f"Problem '{self.name}': {problem}; expected {expected}.")

        for what, least, most in (("name", 1, LONGEST_NAME), ("about", 0, LONGEST_ABOUT)):
            said = getattr(self, what)
            fits = isinstance(said, str) and said.isprintable() and least <= len(said) <= most
            expect(fits, f"{what} is {said!r}", f"{least} to {most} characters in one line")
        expect(callable(self.model), f"model is {self.model!r}", "a function that returns an nn.Module, or a module")
        expect(callable(self.loss), f"loss is {self.loss!r}", "a function loss(output, target)")
        expect(self.direction in ("min", "max"), f"direction is {self.direction!r}", "'min' or 'max'")
        expect(self.autocast in (None, torch.bfloat16), f"autocast is {self.autocast!r}", "None or torch.bfloat16")
        real = isinstance(self.clip, int | float) and not isinstance(self.clip, bool) and 0 < self.clip < math.inf
        expect(self.clip is None or real, f"clip is {self.clip!r}", "None, or a finite number above 0")
        for name in ("batch_size", "steps", "accumulate"):
            value = getattr(self, name)
            fits = isinstance(value, int) and not isinstance(value, bool) and value > 0
            expect(fits or (value is None and name == "steps"), f"{name} is {value!r}", "a whole number, 1 or more")
        if self.metric == "accuracy":
            object.__setattr__(self, "direction", "max")
        else:
            known = self.metric is None or callable(self.metric)
            expect(known, f"metric is {self.metric!r}", "None, 'accuracy' or a function")
            up = self.metric is None and self.direction == "max"
            expect(not up, "direction is 'max' without a metric", "a metric, or 'min': the loss is made small")
        for split in ("train", "valid", "test"):
            source = getattr(self, split)
            if split != "test" or source is not None:
                data = read(source, self.dtype, {"train": "training", "valid": "validation"}.get(split, split))
                object.__setattr__(self, split, data)
                names = f"the {split} data name the inputs {', '.join(data.names) or 'nothing'}"
                expect(data.names == self.train.names, names, f"{', '.join(self.train.names) or 'nothing'}, as in train")
        if self.steps is None:
            epochs = 10 * -(-len(self.train) // self.batch_size)
            object.__setattr__(self, "steps", min(max(epochs, 100), 2000))

    @property
    def metric_name(self) -> str:
        """The name of what is reported: "loss", "accuracy" or the metric's own."""
        if self.metric is None:
            return "loss"
        return self.metric if isinstance(self.metric, str) else getattr(self.metric, "__name__", "metric")

    @property
    def in_points(self) -> bool:
        """Whether the metric is the built-in accuracy, whose differences are points."""
        return self.metric == "accuracy"

    @property
    def same_start(self) -> bool:
        """Whether every seed starts from the same weights, because a module was given and not a function."""
        return isinstance(self.model, nn.Module)

    def on(self, device: str) -> Problem:
        """The same problem with its data on a device."""
        if device == "cpu":
            return self
        moved = {split: data.to(device) for split in ("train", "valid", "test") if (data := getattr(self, split))}
        return dataclasses.replace(self, **moved)

    def fresh(self, device: str = "cpu") -> Problem:
        """The same problem with a loss of its own: a loss that is a module may hold buffers, which one run must not hand on."""
        if not isinstance(self.loss, nn.Module):
            return self
        return dataclasses.replace(self, loss=copy.deepcopy(self.loss).to(device=device, dtype=self.dtype))

    def start(self, seed: int, device: str = "cpu") -> nn.Module:
        """The model as training with this seed begins. Draws from the global generators: call it inside `seeded`."""
        with self.theirs("model"):
            made = self.model if isinstance(self.model, nn.Module) else self.model()
        with self.theirs("model"), contextlib.suppress(RuntimeError):  # what cannot be copied was made anew by the function
            made = copy.deepcopy(made)  # a function may return the same module, or share a part, at every call
        if not isinstance(made, nn.Module):
            raise SteepestError(f"Problem '{self.name}': model() returned {type(made).__name__}; expected an nn.Module.")
        return made.to(device=device, dtype=self.dtype)

    def output(self, model: nn.Module, inputs: Sequence[Tensor]) -> Any:
        """What a model makes of inputs, which it takes by name where the data name them."""
        names = self.train.names
        named = dict(zip(names, inputs, strict=True)) if names else {}
        if self.autocast is None:
            return model(**named) if names else model(*inputs)
        with torch.autocast(inputs[0].device.type, self.autocast):
            made = model(**named) if names else model(*inputs)
        return made.to(self.dtype) if isinstance(made, Tensor) and made.is_floating_point() else made

    def batch_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of one batch, a scalar tensor with its graph."""
        inputs, target = batch
        with self.theirs("model or loss"):
            loss = self.loss(self.output(model, inputs), target)
        if not isinstance(loss, Tensor) or loss.ndim:
            shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise SteepestError(f"Problem '{self.name}': the loss is {shape}; expected one number per batch, such as its mean.")
        return loss

    def parts(self, batch: Batch) -> Iterator[tuple[Batch, float]]:
        """The parts into which a batch is cut, and the weight of each one's loss in the batch's."""
        inputs, target = batch
        count, sums = min(self.accumulate, len(target)), getattr(self.loss, "reduction", "mean") == "sum"
        pieces = zip(*(x.tensor_split(count) for x in inputs), strict=True)
        for piece, wanted in zip(pieces, target.tensor_split(count), strict=True):
            yield (piece, wanted), 1.0 if sums else len(wanted) / len(target)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, data: Examples) -> tuple[float, float]:
        """Loss and metric over all of the data, in evaluation mode.

        The forward pass runs in chunks; loss and metric see all outputs at once, unless these are too many to hold (or are
        no tensor): then they are means over chunks, weighted by size.
        """
        training = model.training
        model.eval()
        parts: list[tuple[Any, Tensor]] = []
        values: list[tuple[float, float, int]] = []
        for begin in range(0, len(data), CHUNK):
            with self.theirs("data"):
                inputs, target = data.batch(slice(begin, begin + CHUNK))
            with self.theirs("model"):
                parts.append((self.output(model, inputs), target))
            size = parts[0][0].numel() * len(data) / len(target) if isinstance(parts[0][0], Tensor) else MOST_HELD
            if size >= MOST_HELD:
                values.append((*self._measure(*parts.pop()), len(target)))
        if parts:
            outputs, targets = zip(*parts, strict=True)
            values = [(*self._measure(torch.cat(outputs), torch.cat(targets)), len(data))]
        model.train(training)
        loss, metric = (sum(value[i] * value[2] for value in values) / len(data) for i in (0, 1))
        return loss, metric

    def _measure(self, output: Any, target: Tensor) -> tuple[float, float]:
        """Loss and metric of outputs."""
        with self.theirs("loss"):
            loss = float(self.loss(output, target))
        if self.metric is None or not math.isfinite(loss):
            return loss, loss
        with self.theirs("metric"):
            return loss, float((accuracy if isinstance(self.metric, str) else self.metric)(output, target))

    @torch.no_grad()
    def each(self, output: Tensor, target: Tensor) -> Tensor | None:
        """The metric of every example, (examples,); None for a metric or loss that is no mean over examples."""
        if self.metric == "accuracy":
            right = 100 * (output.argmax(1) == target).double()
            return right.flatten(1).mean(1) if right.ndim > 1 else right
        if self.metric is not None or len(output) != len(target):
            return None
        loss: Any = self.loss
        try:
            if (
                isinstance(loss, nn.Module)
                and getattr(loss, "reduction", "") == "mean"
                and getattr(loss, "weight", None) is None
            ):
                loss = copy.copy(loss)
                loss.reduction = "none"
                values = loss(output, target)
                values = values.flatten(1).mean(1) if values.ndim > 1 else values
            else:
                values = torch.func.vmap(lambda o, t: loss(o[None], t[None]))(output, target)
        except Exception:  # whatever a loss of the user's does
            return None
        total = float(self.loss(output, target))
        fits = values.shape == (len(output),) and abs(float(values.double().mean()) - total) <= 1e-4 * abs(total) + 1e-12
        return values.double() if fits else None

    @torch.no_grad()
    def results(self, model: nn.Module, data: Examples) -> Tensor | None:
        """`each` over all of the data, in evaluation mode."""
        training = model.training
        model.eval()
        parts = []
        for begin in range(0, len(data), CHUNK):
            inputs, target = data.batch(slice(begin, begin + CHUNK))
            output = self.output(model, inputs)
            parts.append(self.each(output, target) if isinstance(output, Tensor) else None)
        model.train(training)
        whole = [part for part in parts if part is not None]
        return torch.cat(whole) if len(whole) == len(parts) else None

    @contextlib.contextmanager
    def theirs(self, what: str) -> Iterator[None]:
        """Inside runs code of the user's: what it raises becomes one sentence, sys.exit() too."""
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            raise SteepestError(f"Problem '{self.name}': its {what} raised {message_of(error)}") from error


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the global generators of torch, NumPy and Python start from `seed`; afterwards they go on as before."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
