"""A problem: a model, a loss, data and a metric, independent of any optimizer."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, IterableDataset

from ..errors import SteepestError, message_of, text_of
from . import LONGEST_NAME
from .accuracy import Labels, accuracy, combined, labels_of, number, right
from .drawing import Drawing
from .examples import Batch, Examples
from .memory import evaluation_room
from .reading import read
from .resampling import spread_of
from .spread import Spread, overall
from .trees import Tree, alike, can_join, joined, leaves, mapped, size_of

LONGEST_ABOUT = 300  # characters
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A model, a loss and data to train on.

    model: a function, called once per seed, that returns an `nn.Module`; or a module, of which every seed trains a copy.
    loss: `loss(output, target)`, a scalar to minimize.
    train, valid, test: `(inputs, target)` tensors, arrays, lists or pandas tables (examples, ...), a map-style dataset of
        pairs or of dicts with labels, or a DataLoader, whose sampler, batch size, collate function and workers are used;
        `train` may be a stream (an IterableDataset). Inputs are a tensor, several, or a dict by the names of the model's
        arguments; targets a tensor, or a tuple or dict of them. Rates are chosen on `valid`; `test` is used once, for the best.
    metric: None for the loss, "accuracy" (the percentage of right predictions among the labels that the loss counts, of
        classes or of one logit), or `metric(output, target)`, better in the `direction` "min" or "max".
    batch_size: examples in a batch; the last batch of an epoch may be smaller. None: the DataLoader's, else 32.
    dtype: of parameters and floating-point data. None: torch's default dtype.
    name, about: name and description in reports.
    shuffle: whether every epoch has a new order. None: as in the DataLoader, else True.
    drop_last: whether to drop the last batch of an epoch if it is smaller (BatchNorm cannot train on one example). None: as in
        the DataLoader, else False.
    steps: updates in a run, unless `compare` is given a number (default: ten epochs, at least 100 and at most 2,000).
    optimum: the lowest possible validation loss, if known, and a phrase that says how it was found.
    accumulate: parts into which a batch is split, whose gradients are added up before the step: less memory, the same step.
        The loss is assumed to be a mean over examples, unless it has reduction="sum".
    autocast: torch.bfloat16 to run the forward pass under torch.autocast; the loss is computed in `dtype`.
    clip: the largest norm of all gradients together; larger ones are scaled down.
    image: the shape in which a report shows an input as an image, such as (28, 28), if the input has another shape.

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
    batch_size: int = None  # type: ignore[assignment]  # set in __post_init__, as the next three are
    dtype: torch.dtype = None  # type: ignore[assignment]
    name: str = "problem"
    about: str = ""
    shuffle: bool = None  # type: ignore[assignment]
    drop_last: bool = None  # type: ignore[assignment]
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
            expect(fits or (value is None and name != "accumulate"), f"{name} is {value!r}", "a whole number, 1 or more")
        if self.dtype is None:
            object.__setattr__(self, "dtype", torch.get_default_dtype())
        if self.metric == "accuracy":
            object.__setattr__(self, "direction", "max")
        else:
            known = self.metric is None or callable(self.metric)
            expect(known, f"metric is {self.metric!r}", "None, 'accuracy' or a function")
            up = self.metric is None and self.direction == "max"
            expect(not up, "direction is 'max' without a metric", "a metric, or 'min', as the loss is minimized")
        for split, what in {"train": "training", "valid": "validation", "test": "test"}.items():
            source = getattr(self, split)
            if isinstance(source, IterableDataset):
                size = (self.batch_size or Drawing.batch_size) if split == "train" else 256
                source = DataLoader(source, size, drop_last=split == "train" and bool(self.drop_last))
            if split != "test" or source is not None:
                with self.theirs(f"{what} data"):
                    object.__setattr__(self, split, read(source, self.dtype, what))
                data = getattr(self, split)
                names = f"the {split} data have the input names {', '.join(data.names) or 'none'}"
                expect(data.names == self.train.names, names, f"{', '.join(self.train.names) or 'none'}, as in train")
        for name in ("batch_size", "shuffle", "drop_last"):
            chosen, own = getattr(self, name), getattr(self.train.drawing or Drawing(), name)
            if chosen is None:
                object.__setattr__(self, name, own)
            elif self.train.drawing is not None:
                differs = f"{name} is {chosen!r}, but the training data's DataLoader has {own!r}"
                expect(chosen == own, differs, "one of the two")
        if self.steps is None:
            epoch = self.epoch_steps
            expect(epoch is not None, "the number of batches in an epoch of the training data is unknown", "steps=...")
            object.__setattr__(self, "steps", min(max(10 * (epoch or 0), 100), 2000))

    @property
    def drawing(self) -> Drawing:
        """How training batches are drawn."""
        return self.train.drawing or Drawing(self.batch_size, self.shuffle, self.drop_last)

    @property
    def epoch_steps(self) -> int | None:
        """The number of batches in an epoch; None if the data have no length."""
        if not self.train.is_stream:
            return self.drawing.epoch(len(self.train))
        with contextlib.suppress(TypeError):
            return -(-len(self.train) // self.batch_size)
        return None

    def first_batches(self, count: int) -> Iterator[Batch]:
        """The first batches of the training data, in the order of the data, or as a sampler draws them from seed 0."""
        if self.train.is_stream:
            yield from itertools.islice(self.train.batches(iter(()), 0), count)
        elif self.drawing.sampler is None:
            for begin in range(0, min(count * self.batch_size, len(self.train)), self.batch_size):
                yield self.train.batch(slice(begin, begin + self.batch_size))
        else:
            yield from map(self.train.batch, itertools.islice(self.drawing.indices(len(self.train), 0), count))

    def sample(self, count: int) -> Batch:
        """The first `count` training examples if they are in memory, else the first batch."""
        return self.train.batch(slice(0, count)) if self.train.in_memory else self.first_batch()

    def first_batch(self) -> Batch:
        """The first training batch."""
        with self.theirs("data"):
            return next(self.first_batches(1))

    @property
    def metric_name(self) -> str:
        """The name of the metric: "loss", "accuracy" or the name of the function."""
        if self.metric is None:
            return "loss"
        return self.metric if isinstance(self.metric, str) else getattr(self.metric, "__name__", "metric")

    @property
    def in_points(self) -> bool:
        """Whether the metric is the built-in accuracy, in per cent."""
        return self.metric == "accuracy"

    @property
    def same_start(self) -> bool:
        """Whether every seed starts from the same weights, because the model is a module and not a function."""
        return isinstance(self.model, nn.Module)

    def on(self, device: str) -> Problem:
        """The same problem with its data on a device."""
        if device == "cpu":
            return self
        splits = {split: getattr(self, split) for split in ("train", "valid", "test")}
        moved = {split: data.to(device) for split, data in splits.items() if data is not None}
        return dataclasses.replace(self, **moved)

    def fresh(self, device: str = "cpu") -> Problem:
        """The same problem with a copy of the loss: a loss that is a module may have buffers, which runs must not share."""
        if not isinstance(self.loss, nn.Module):
            return self
        return dataclasses.replace(self, loss=copy.deepcopy(self.loss).to(device=device, dtype=self.dtype))

    def start(self, seed: int, device: str = "cpu") -> nn.Module:
        """The initial model of a seed. Draws from the global generators: call it within `seeded`."""
        with self.theirs("model"):
            made = self.model if isinstance(self.model, nn.Module) else self.model()
        if not isinstance(made, nn.Module):
            raise SteepestError(f"Problem '{self.name}': model() returned {type(made).__name__}; expected an nn.Module.")
        if any(map(is_lazy, (*made.parameters(), *made.buffers()))):
            inputs, _ = self.first_batch()  # from which nn.LazyLinear and its like take their shapes
            with self.theirs("model"), torch.no_grad():
                made = _copied(made) if made is self.model else made  # the user's module stays lazy
                self.output(made.to(device=device, dtype=self.dtype).eval(), inputs)
            made.train()
        with self.theirs("model"):
            with contextlib.suppress(RuntimeError):  # assume that the function returned a new model if it cannot be copied
                made = _copied(made)  # a function may return the same module, or share parts, in every call
            return made.to(device=device, dtype=self.dtype)

    def output(self, model: nn.Module, inputs: Sequence[Any]) -> Any:
        """The model's output for these inputs, passed by keyword if the data have names for them."""
        named = dict(zip(self.train.names, inputs, strict=True)) if self.train.names else {}
        if named and self.train.label and self.train.label not in _arguments(model.__class__.forward):
            del named[self.train.label]
        if self.autocast is None:
            return model(**named) if named else model(*inputs)
        with torch.autocast(next(leaves(list(inputs))).device.type, self.autocast):
            made = model(**named) if named else model(*inputs)
        return mapped(lambda t: t.to(self.dtype) if t.is_floating_point() else t, made)

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
        """The parts of a batch for `accumulate`, and the weight of each part's loss in the batch's."""
        inputs, target = batch
        size, sums = size_of(target), getattr(self.loss, "reduction", "mean") == "sum"
        count = min(self.accumulate, size)
        for k in range(count):
            own = mapped(lambda t, k=k: t.tensor_split(count)[k], target)  # type: ignore[misc]
            yield (tuple(x.tensor_split(count)[k] for x in inputs), own), 1.0 if sums else size_of(own) / size

    def evaluate(self, model: nn.Module, data: Examples) -> tuple[float, float]:
        """Loss and metric over all of the data, in evaluation mode.

        The forward pass runs in chunks, none of which takes more memory than a training step. Loss and metric are computed from
        all outputs together; if these do not fit or cannot be joined, they are means over chunks, weighted by size (accuracy by
        the labels that count), or sums if the loss or metric is a sum over examples.
        """
        return self.evaluation(model, data)[:2]

    def evaluation(self, model: nn.Module, data: Examples, spread: bool = False) -> tuple[float, float, Spread]:
        """Loss and metric as `evaluate` computes them; with `spread`, also how the metric spreads over the same outputs."""
        weights: list[float] = []
        spreads: list[Spread] = []

        def measure(output: Any, target: Tree) -> tuple[float, float]:
            if len(weights) == 1:
                self._see_what_adds_up(output, target)
            weights.append(self._weight(output, target))
            if spread:
                spreads.append(spread_of(self, output, target, size_of(target) == len(data)))
            return self._measure(output, target)

        measured = self._over(model, data, measure)
        values = [value for value, _ in measured]
        over_all = overall(spreads[-len(values) :]) if spread else Spread()
        if len(values) == 1:
            return *values[0], over_all
        of_loss, of_metric = self._adds_up
        loss = combined([loss for loss, _ in values], [size for _, size in measured], of_loss)
        return loss, combined([metric for _, metric in values], weights[-len(values) :], of_metric), over_all

    def _over(self, model: nn.Module, data: Examples, measure: Callable[[Any, Tree], T]) -> list[tuple[T, int]]:
        """Apply `measure` to outputs and targets, all together if they fit; returns the results with numbers of examples.

        A model or loss that computes gradients itself is recognised by its error, and evaluated with a graph from then on.
        """
        try:
            return self._measured(model, data, measure)
        except SteepestError as error:
            if self._takes_gradients or error.__cause__ is None or "grad" not in text_of(error.__cause__):
                raise
        self.__dict__["_takes_gradients"] = True
        return self._measured(model, data, measure)

    def _measured(self, model: nn.Module, data: Examples, measure: Callable[[Any, Tree], T]) -> list[tuple[T, int]]:
        most, held = evaluation_room(self, model)
        measured: list[tuple[T, int]] = []
        pieces: list[tuple[Any, Tree]] = []
        training = model.training
        model.eval()
        try:
            with torch.set_grad_enabled(self._takes_gradients), self.theirs("data"):
                for inputs, target in data.chunks(most):
                    with self.theirs("model"):
                        piece, size = (self.output(model, inputs), target), size_of(target)
                    total = sum(t.numel() * t.element_size() for t in leaves(list(piece))) * len(data) / max(size, 1)
                    fits = total <= held and can_join(list(piece), size) and (not pieces or alike(pieces[0], piece))
                    if fits and not self._takes_gradients:
                        pieces.append(piece)
                    else:
                        measured.append((measure(*piece), size))
                if pieces:
                    output, target = joined(pieces)
                    measured.append((measure(output, target), size_of(target)))
        finally:
            model.train(training)
        return measured

    _takes_gradients = False  # whether model or loss need gradients in evaluation too, such as forces and residuals
    _adds_up = False, False  # whether loss and metric are sums over examples

    def _see_what_adds_up(self, output: Any, target: Tree) -> None:
        """Record whether loss and metric double if the examples do."""
        whole = can_join([output, target], size_of(target))
        if "_adds_up" in self.__dict__ or self._takes_gradients or not whole:  # joined outputs have no graph
            return
        once, twice = (self._measure(*part) for part in ((output, target), joined([[output, target]] * 2)))
        reduction = getattr(self.loss, "reduction", "")
        adds = [bool(abs(b - 2 * a) < abs(b - a)) for a, b in zip(once, twice, strict=True)]
        self.__dict__["_adds_up"] = (reduction == "sum" if reduction else adds[0], adds[1])

    def _measure(self, output: Any, target: Tree) -> tuple[float, float]:
        """Loss and metric of outputs."""
        with self.theirs("loss"):
            loss = number(self.loss(output, target))
        if self.metric is None:
            return loss, loss
        if not math.isfinite(loss) and not all(bool(t.isfinite().all()) for t in leaves([output])):
            return loss, math.nan  # the model diverged: a metric may refuse such outputs
        return loss, self.metric_of(output, target)

    def metric_of(self, output: Any, target: Tree) -> float:
        """The metric of outputs: the loss if there is none."""
        with self.theirs("metric"):
            if isinstance(self.metric, str):
                return float(accuracy(output, target, self.labels_in(output, target)))
            return number((self.loss if self.metric is None else self.metric)(output, target))

    def labels_in(self, output: Any, target: Tree) -> Labels:
        """How the loss treats these labels; each label is tested once."""
        asked, known = self.__dict__.get("_labels", (set(), None))
        fresh = set(torch.unique(target).tolist()) - asked if isinstance(target, Tensor) else set()
        if fresh or known is None:
            known = labels_of(self.loss, output, target, known)
            self.__dict__["_labels"] = (asked | fresh, known)
        return known  # type: ignore[no-any-return]

    def _weight(self, output: Any, target: Tree) -> float:
        """The weight of a chunk's metric in the mean over chunks: its labels that count for accuracy, else its examples."""
        if self.metric != "accuracy":
            return size_of(target)
        with self.theirs("metric"):
            return float(right(output, target, self.labels_in(output, target))[1].sum())

    def theirs(self, what: str) -> Theirs:
        """A context for the user's code, in which any exception, and sys.exit(), becomes a SteepestError."""
        return Theirs(f"Problem '{self.name}': its {what}")


class Theirs(contextlib.AbstractContextManager[None]):
    """A context that turns any exception of the user's code into a SteepestError that says what raised it."""

    # a class, as contextlib.contextmanager does not convert StopIteration

    def __init__(self, what: str) -> None:
        self.what = what

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt | GeneratorExit | SteepestError):
            raise SteepestError(f"{self.what} raised {message_of(error)}") from error


def _copied(model: nn.Module) -> nn.Module:
    """A copy of a model that shares no parameters with it."""
    if not isinstance(model, torch.jit.ScriptModule):
        return copy.deepcopy(model)
    with torch.no_grad():  # else the parameters of a copied script are computed from the first ones
        made = copy.deepcopy(model)
    for p, first in zip(made.parameters(), model.parameters(), strict=True):
        p.requires_grad_(first.requires_grad)
    return made


@functools.cache
def _arguments(forward: Callable[..., Any]) -> frozenset[str]:
    """The names of the arguments of a model's forward pass."""
    return frozenset(inspect.signature(forward).parameters)
