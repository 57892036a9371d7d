"""What a problem is: a model, a loss, data and a measure of success. It never sees an optimizer."""

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
from .accuracy import Labels, labels_of, right
from .drawing import Drawing
from .examples import Batch, Examples
from .memory import evaluation_room
from .reading import read
from .trees import Tree, alike, can_join, joined, leaves, mapped, size_of

LONGEST_NAME, LONGEST_ABOUT = 100, 300  # characters
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Something to train.

    model: called once per seed, returns an `nn.Module`; a module given instead is copied, so every seed starts from it.
    loss: `loss(output, target)`, a scalar to be made small.
    train, valid, test: `(inputs, target)` tensors, arrays, lists or pandas tables (examples, ...), a map-style dataset of
        pairs or of dicts with labels, or a DataLoader, whose sampler, batch size, collate function and workers are used;
        `train` may be a stream (an IterableDataset). Inputs are a tensor, several, or a dict by the names of the model's
        arguments; targets a tensor, or a tuple or dict of them. Rates are chosen on `valid`; `test`, where given, is read
        once, for the chosen.
    metric: what is reported: None for the loss, "accuracy" (per cent of the labels that the loss counts, of classes or of one
        logit; larger is better), or `metric(output, target)` whose better `direction` is "min" or "max".
    batch_size: examples in a batch; the last batch of an epoch may be smaller. None: the DataLoader's, else 32.
    dtype: of parameters and floating-point data. None: torch's default dtype.
    name, about: how reports call and describe it. shuffle: a new order each epoch, or the data's own order always. None: as
        the DataLoader has it, else True.
    drop_last: leave out the last batch of an epoch where it is smaller (BatchNorm cannot train on one example). None: as the
        DataLoader has it, else False.
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
    batch_size: int = None  # type: ignore[assignment]  # a number from __post_init__ on, as are the next three
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
            expect(not up, "direction is 'max' without a metric", "a metric, or 'min': the loss is made small")
        if isinstance(self.train, IterableDataset):
            stream = DataLoader(self.train, batch_size=self.batch_size or Drawing.batch_size, drop_last=bool(self.drop_last))
            object.__setattr__(self, "train", stream)
        for split in ("train", "valid", "test"):
            source = getattr(self, split)
            if split != "test" or source is not None:
                what = {"train": "training", "valid": "validation"}.get(split, split)
                with self.theirs(f"{what} data"):
                    data = read(DataLoader(source, 256) if isinstance(source, IterableDataset) else source, self.dtype, what)
                object.__setattr__(self, split, data)
                names = f"the {split} data name the inputs {', '.join(data.names) or 'nothing'}"
                expect(data.names == self.train.names, names, f"{', '.join(self.train.names) or 'nothing'}, as in train")
        for name in ("batch_size", "shuffle", "drop_last"):
            chosen, own = getattr(self, name), getattr(self.train.drawing or Drawing(), name)
            if chosen is None:
                object.__setattr__(self, name, own)
            elif self.train.drawing is not None:
                differs = f"{name} is {chosen!r}, but the training data's DataLoader has {own!r}"
                expect(chosen == own, differs, "one of the two")
        if self.steps is None:
            epoch = self.epoch_steps
            expect(epoch is not None, "the training data do not tell how many batches an epoch has", "steps=...")
            object.__setattr__(self, "steps", min(max(10 * (epoch or 0), 100), 2000))

    @property
    def drawing(self) -> Drawing:
        """How training batches are drawn."""
        return self.train.drawing or Drawing(self.batch_size, self.shuffle, self.drop_last)

    @property
    def epoch_steps(self) -> int | None:
        """The batches of an epoch; None where the data do not tell."""
        if not self.train.is_stream:
            return self.drawing.epoch(len(self.train))
        with contextlib.suppress(TypeError):
            return -(-len(self.train) // self.batch_size)
        return None

    def first_batches(self, count: int) -> Iterator[Batch]:
        """The first batches of the training data, in their own order where they have one, else as seed 0 draws them."""
        if self.train.drawing is None or (self.train.drawing.sampler is None and not self.train.is_stream):
            for begin in range(0, min(count * self.batch_size, len(self.train)), self.batch_size):
                yield self.train.batch(slice(begin, begin + self.batch_size))
        elif self.train.is_stream:
            yield from itertools.islice(self.train.batches(iter(()), 0), count)
        else:
            yield from map(self.train.batch, itertools.islice(self.drawing.indices(len(self.train), 0), count))

    def sample(self, count: int) -> Batch:
        """The first training examples, so many where they are in memory, else a batch."""
        return self.train.batch(slice(0, count)) if self.train.in_memory else self.first_batch()

    def first_batch(self) -> Batch:
        """The first training batch."""
        with self.theirs("data"):
            return next(self.first_batches(1))

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
        splits = {split: getattr(self, split) for split in ("train", "valid", "test")}
        moved = {split: data.to(device) for split, data in splits.items() if data is not None}
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
        if not isinstance(made, nn.Module):
            raise SteepestError(f"Problem '{self.name}': model() returned {type(made).__name__}; expected an nn.Module.")
        if any(map(is_lazy, (*made.parameters(), *made.buffers()))):
            inputs, _ = self.first_batch()  # from which nn.LazyLinear and its like take their shapes
            with self.theirs("model"), torch.no_grad():
                made = _copied(made) if made is self.model else made  # what was given stays lazy, as its identity does
                self.output(made.to(device=device, dtype=self.dtype).eval(), inputs)
            made.train()
        with self.theirs("model"):
            with contextlib.suppress(RuntimeError):  # what cannot be copied was made anew by the function
                made = _copied(made)  # a function may return the same module, or share a part, at every call
            return made.to(device=device, dtype=self.dtype)

    def output(self, model: nn.Module, inputs: Sequence[Any]) -> Any:
        """What a model makes of inputs, which it takes by name where the data name them."""
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
        """The parts into which a batch is cut, and the weight of each one's loss in the batch's."""
        inputs, target = batch
        size, sums = size_of(target), getattr(self.loss, "reduction", "mean") == "sum"
        count = min(self.accumulate, size)
        pieces = [x.tensor_split(count) for x in (*inputs, *leaves(target))]
        for piece in zip(*pieces, strict=True):
            own = iter(piece[len(inputs) :])
            wanted = mapped(lambda _, own=own: next(own), target)  # type: ignore[misc]
            yield (piece[: len(inputs)], wanted), 1.0 if sums else size_of(wanted) / size

    def evaluate(self, model: nn.Module, data: Examples) -> tuple[float, float]:
        """Loss and metric over all of the data, in evaluation mode.

        The forward pass runs in chunks; loss and metric see all outputs at once, unless these are too many to hold or cannot
        be joined: then they are means over chunks, weighted by size (accuracy by the labels that count), or sums, of a loss
        or metric that adds up. No chunk takes more than a training step does.
        """
        weights: list[float] = []

        def measure(output: Any, target: Tree) -> tuple[float, float]:
            if len(weights) == 1:
                self._see_what_adds_up(output, target)
            weights.append(float(self._right(output, target)[1].sum()) if self.metric == "accuracy" else size_of(target))
            return self._measure(output, target)

        measured = self._over(model, data, measure)
        values = [value for value, _ in measured]
        if len(values) == 1:
            return values[0]
        of_loss, of_metric = self._adds_up
        loss = _combined([loss for loss, _ in values], [size for _, size in measured], of_loss)
        return loss, _combined([metric for _, metric in values], weights[-len(values) :], of_metric)

    def _over(self, model: nn.Module, data: Examples, measure: Callable[[Any, Tree], T]) -> list[tuple[T, int]]:
        """What `measure` makes of the outputs and targets of the data, with sizes: of all at once where they can be held.

        A model or loss that takes gradients of its own is noticed by its error, and gets a graph from then on.
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
            with torch.set_grad_enabled(self._takes_gradients):
                for inputs, target in self._chunks(data, most):
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

    def _chunks(self, data: Examples, most: int) -> Iterator[Batch]:
        """The data in batches of at most so many."""
        batches = data.chunks(most)
        while True:
            with self.theirs("data"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    _takes_gradients = False  # whether the model or loss needs a graph in evaluation too, as forces and residuals do
    _adds_up = False, False  # whether loss and metric are sums over examples

    def _see_what_adds_up(self, output: Any, target: Tree) -> None:
        """Note whether loss and metric double where the examples do."""
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
            loss = _number(self.loss(output, target))
        if self.metric is None:
            return loss, loss
        if not math.isfinite(loss) and not all(bool(t.isfinite().all()) for t in leaves([output])):
            return loss, math.nan  # of a model that diverged: a metric may refuse such outputs
        with self.theirs("metric"):
            if isinstance(self.metric, str):
                met, counts = self._right(output, target)
                return loss, float(100 * (met & counts).double().sum() / counts.double().sum())
            return loss, _number(self.metric(output, target))

    def _right(self, output: Any, target: Tree) -> tuple[Tensor, Tensor]:
        """Whether each label is met, and whether it counts."""
        with self.theirs("metric"):
            return right(output, target, self.labels_in(output, target))

    def labels_in(self, output: Any, target: Tree) -> Labels:
        """What the loss makes of labels such as these; it is asked once for each label."""
        asked, known = self.__dict__.get("_labels", (set(), None))
        fresh = set(torch.unique(target).tolist()) - asked if isinstance(target, Tensor) else set()
        if fresh or known is None:
            known = labels_of(self.loss, output, target, known)
            self.__dict__["_labels"] = (asked | fresh, known)
        return known  # type: ignore[no-any-return]

    @torch.no_grad()
    def each(self, output: Any, target: Tree) -> Tensor | None:
        """The metric of every example, (examples,); None for a metric or loss that is no mean over examples."""
        if self.metric == "accuracy":
            return self._each_right(output, target)
        size = size_of(target)
        if self.metric is not None or not can_join([output, target], size):
            return None
        loss: Any = self.loss
        mean = isinstance(loss, nn.Module) and getattr(loss, "reduction", "") == "mean"
        try:
            if mean and getattr(loss, "weight", None) is None:
                loss = copy.copy(loss)
                loss.reduction = "none"
                values = loss(output, target)
                values = values.flatten(1).mean(1) if values.ndim > 1 else values
            else:
                values = _one_by_one(loss, output, target)
            total = float(self.loss(output, target))
        except Exception:  # whatever a loss of the user's does
            return None
        fits = values.shape == (size,) and abs(float(values.double().mean()) - total) <= 1e-4 * abs(total) + 1e-12
        return values.double() if fits else None

    def _each_right(self, output: Any, target: Tree) -> Tensor | None:
        """Accuracy of every example with a label that counts; None where examples have different numbers of these."""
        try:
            met, counts = self._right(output, target)
        except SteepestError:
            return None
        met, counts = (t.reshape(len(t), -1).double() for t in (met & counts, counts))
        own = counts.sum(1)
        return 100 * met.sum(1)[own > 0] / own[own > 0] if len(torch.unique(own[own > 0])) == 1 else None

    @torch.no_grad()
    def results(self, model: nn.Module, data: Examples) -> Tensor | None:
        """`each` over all of the data, in evaluation mode."""
        parts = [part for part, _ in self._over(model, data, self.each)]
        whole = [part for part in parts if part is not None]
        return torch.cat(whole) if whole and len(whole) == len(parts) else None

    def theirs(self, what: str) -> Theirs:
        """Inside runs code of the user's: what it raises becomes one sentence, sys.exit() too."""
        return Theirs(f"Problem '{self.name}': its {what}")


class Theirs:
    """A `with` in which code of the user's runs: any exception becomes a SteepestError that says what raised it.

    A class, since `contextlib.contextmanager` lets StopIteration through.
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt | GeneratorExit | SteepestError):
            raise SteepestError(f"{self.what} raised {message_of(error)}") from error


def _copied(model: nn.Module) -> nn.Module:
    """A copy of a model, with parameters of its own."""
    if not isinstance(model, torch.jit.ScriptModule):
        return copy.deepcopy(model)
    with torch.no_grad():  # else the parameters of a copied script are computed from the first ones
        made = copy.deepcopy(model)
    for p, first in zip(made.parameters(), model.parameters(), strict=True):
        p.requires_grad_(first.requires_grad)
    return made


def _number(x: Any) -> float:
    """A loss or metric as a number."""
    return float(x.detach() if isinstance(x, Tensor) else x)


def _combined(values: Sequence[float], weights: Sequence[float], adds_up: bool) -> float:
    """The value over all of some parts: their sum, or their mean by weight; parts without weight do not count."""
    if adds_up:
        return sum(values)
    return sum(v * w for v, w in zip(values, weights, strict=True) if w) / (sum(weights) or math.nan)


@functools.cache
def _arguments(forward: Callable[..., Any]) -> frozenset[str]:
    """The names of what a model's forward pass takes."""
    return frozenset(inspect.signature(forward).parameters)


def _one_by_one(loss: Any, output: Any, target: Tree) -> Tensor:
    """A loss of every example by itself, (examples,)."""
    tensors = [*leaves([output, target])]

    def one(*parts: Tensor) -> Any:
        own = iter(part[None] for part in parts)
        return loss(*mapped(lambda _: next(own), [output, target]))

    return torch.func.vmap(one)(*tensors)  # type: ignore[no-any-return]
