"""Data in every supported form, interpreted as intended: loaders, samplers, collate functions, streams, tables, dicts."""

import collections
import dataclasses
import itertools
import random

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_sequence
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.problems import data, reading
from steepest.problems.fingerprint import fingerprint
from steepest.training.single import batches, train
from steepest.training.stacked import Run
from steepest.training.ways import named, train_all

X = torch.arange(40.0).reshape(20, 2) / 10
Y = X.sum(1, keepdim=True)
PAIRS = TensorDataset(X, Y)


def problem(train=PAIRS, **changes):
    parts = {"model": lambda: nn.Linear(2, 1), "loss": nn.MSELoss(), "valid": (X, Y)}
    return steepest.Problem(train=train, **{**parts, **changes})


def rows(one, seed, count):
    """The rows of the first batches, identified by their first number."""
    return [(10 * inputs[:, 0] / 2).round().int().tolist() for (inputs, *_), _ in itertools.islice(batches(one, seed), count)]


class Shuffled(Sampler):
    """Draws from Python's generator, and shuffles its own list in place."""

    def __init__(self, count):
        self.order = list(range(count))

    def __iter__(self):
        random.shuffle(self.order)
        yield from self.order

    def __len__(self):
        return len(self.order)


class Buckets(Sampler):
    """Batches of neighbours, of two sizes, in an order that NumPy draws."""

    def __iter__(self):
        parts = [list(range(0, 6)), list(range(6, 10)), list(range(10, 16)), list(range(16, 20))]
        yield from (parts[k] for k in np.random.permutation(4))

    def __len__(self):
        return 4


class Endless(Sampler):
    def __iter__(self):
        while True:
            yield int(torch.randint(20, ()))


LOADERS = {
    "weighted": lambda: DataLoader(PAIRS, batch_size=5, sampler=WeightedRandomSampler([1.0] + [0.0] * 18 + [1.0], 20)),
    "with replacement": lambda: DataLoader(PAIRS, batch_size=5, sampler=RandomSampler(PAIRS, replacement=True)),
    "fewer": lambda: DataLoader(PAIRS, batch_size=5, sampler=RandomSampler(PAIRS, num_samples=10)),
    "subset": lambda: DataLoader(PAIRS, batch_size=5, sampler=SubsetRandomSampler([1, 3, 5, 7, 9])),
    "own": lambda: DataLoader(PAIRS, batch_size=5, sampler=Shuffled(20), drop_last=True),
    "list": lambda: DataLoader(PAIRS, batch_size=4, sampler=[3, 1, 4, 15, 9, 2, 6]),
    "buckets": lambda: DataLoader(PAIRS, batch_sampler=Buckets()),
    "batch sampler": lambda: DataLoader(PAIRS, batch_sampler=BatchSampler(RandomSampler(PAIRS), 6, True)),
    "endless": lambda: DataLoader(PAIRS, batch_size=3, sampler=Endless()),
    "distributed": lambda: DataLoader(PAIRS, batch_size=5, sampler=DistributedSampler(PAIRS, 2, 0)),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_a_sampler_draws_the_batches_the_same_at_a_seed_and_others_at_the_next(kind):
    one, again = (problem(LOADERS[kind](), steps=20) for _ in range(2))
    first = rows(one, 3, 12)
    assert rows(one, 3, 12) == rows(again, 3, 12) == first
    if kind != "list":
        assert rows(one, 4, 12) != first
    torch.manual_seed(1)
    random.seed(1)
    assert rows(one, 3, 12) == first  # regardless of the state of the global generators


def test_what_a_sampler_draws_is_what_it_says():
    seen = {kind: rows(problem(make(), steps=20), 0, 12) for kind, make in LOADERS.items()}
    flat = {kind: list(itertools.chain(*drawn)) for kind, drawn in seen.items()}
    assert set(flat["weighted"]) == {0, 19}
    assert set(flat["subset"]) == {1, 3, 5, 7, 9}
    assert flat["list"][:7] == flat["list"][7:14] == [3, 1, 4, 15, 9, 2, 6]
    assert [len(b) for b in seen["list"][:2]] == [4, 3]
    assert {tuple(b) for b in seen["buckets"]} == {tuple(range(a, b)) for a, b in ((0, 6), (6, 10), (10, 16), (16, 20))}
    assert {len(b) for b in seen["batch sampler"]} == {6}
    assert max(collections.Counter(flat["with replacement"][:20]).values()) > 1
    assert sorted(flat["own"][:20]) == list(range(20))
    assert seen["distributed"][0] != seen["distributed"][2]  # a different order in the next epoch


def test_every_candidate_gets_the_batches_of_its_seed_one_by_one_and_together():
    one = problem(LOADERS["weighted"](), steps=20)
    runs = [Run(rules.get(name), lr, seed, 20) for name, lr in (("sgd", 0.01), ("adam", 0.01)) for seed in (0, 1)]
    ended = {plan: dict(train_all(one, runs, named(plan))) for plan in ("one", "many:4")}
    for k in range(4):
        np.testing.assert_allclose(ended["one"][k].curve.train, ended["many:4"][k].curve.train, rtol=1e-4)
    assert ended["one"][0].curve.train[0] == ended["one"][2].curve.train[0]


def test_order_size_and_drop_last_of_a_loader_are_used():
    plain = problem(DataLoader(PAIRS, batch_size=6, drop_last=True))
    assert (plain.batch_size, plain.shuffle, plain.drop_last) == (6, False, True)
    assert rows(plain, 0, 4) == [[*range(6)], [*range(6, 12)], [*range(12, 18)], [*range(6)]]
    shuffled = problem(DataLoader(PAIRS, batch_size=6, shuffle=True))
    assert rows(shuffled, 2, 4) == rows(problem((X, Y), batch_size=6), 2, 4)
    assert problem(DataLoader(PAIRS)).batch_size == 1


@pytest.mark.parametrize(("name", "value"), [("batch_size", 16), ("shuffle", True), ("drop_last", True)])
def test_a_setting_that_contradicts_the_loader_is_refused_and_one_that_agrees_is_not(name, value):
    loader = DataLoader(PAIRS, batch_size=5)
    with pytest.raises(SteepestError, match=f"{name} is {value}, but the training data's DataLoader has"):
        problem(loader, **{name: value})
    problem(loader, batch_size=5, shuffle=False, drop_last=False)
    renamed = dataclasses.replace(problem(LOADERS["buckets"]()), name="renamed")
    assert len(rows(renamed, 0, 1)[0]) in (4, 6)


EVALUATED = {
    "weighted": ("weighted", "repeats"),
    "subset": ("subset", "leaves out 15 of 20"),
    "fewer": ("fewer", "leaves out 10 of 20"),
    "endless": ("endless", "repeats"),
}


@pytest.mark.parametrize("kind", EVALUATED)
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_sampler_that_repeats_or_leaves_out_examples_is_refused_where_they_are_evaluated(kind, split):
    loader, words = EVALUATED[kind]
    with pytest.raises(SteepestError, match=words):
        problem(**{split: LOADERS[loader]()})
    with pytest.raises(SteepestError, match="leaves out 2 of 20 examples"):
        problem(**{split: DataLoader(PAIRS, batch_size=6, drop_last=True)})


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(PAIRS, batch_size=6, shuffle=True),
        DataLoader(PAIRS, batch_size=5, drop_last=True),
        DataLoader(PAIRS, batch_sampler=Buckets()),
        DataLoader(PAIRS, batch_size=7, sampler=SequentialSampler(PAIRS)),
        DataLoader(Subset(PAIRS, range(20)), batch_size=3),
    ],
)
def test_a_loader_that_gives_each_example_once_evaluates_as_the_data_do(loader):
    plain, loaded = problem(), problem(valid=loader)
    model = plain.start(0)
    assert loaded.evaluate(model, loaded.valid) == pytest.approx(plain.evaluate(model, plain.valid))


SEQUENCES = [(torch.arange(1.0, n + 1), float(n % 2)) for n in [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]]
LENGTHS = []


def padded(items):
    """Pads to the longest example of the batch, records it, and normalises by the batch."""
    LENGTHS.append([len(x) for x, _ in items])
    x = pad_sequence([x for x, _ in items], batch_first=True)
    return x - x.mean(), torch.tensor([len(x) for x, _ in items]), torch.tensor([[y] for _, y in items])


class OfLengths(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, x, lengths):
        assert x.shape[1] == int(lengths.max())
        return self.line(x.sum(1, keepdim=True) / lengths[:, None])


def test_a_collate_function_sees_one_batch_at_a_time():
    loader, valid = (DataLoader(SEQUENCES, batch_size=4, collate_fn=padded, shuffle=k) for k in (True, False))
    one = steepest.Problem(model=OfLengths, loss=nn.MSELoss(), train=loader, valid=valid, steps=10)
    LENGTHS.clear()
    outcome = train(one, rules.get("sgd"), lr=0.01, steps=10, seed=0)
    assert outcome.diverged_at is None
    assert max(map(len, LENGTHS)) == 4
    model = one.start(0)
    whole = [valid.collate_fn(SEQUENCES[k : k + 4]) for k in (0, 4, 8)]
    expected = np.mean([nn.functional.mse_loss(model(x, n), y).item() for x, n, y in whole])
    assert one.evaluate(model, one.valid)[0] == pytest.approx(expected, rel=1e-6)


def test_a_collate_function_may_sort_and_pack_for_a_recurrent_network():
    def packed(items):
        items = sorted(items, key=lambda pair: -len(pair[0]))
        return pack_sequence([x[:, None] for x, _ in items]), torch.tensor([[y] for _, y in items])

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.head = nn.GRU(1, 4), nn.Linear(4, 1)

        def forward(self, x):
            assert isinstance(x, PackedSequence)
            return self.head(self.gru(x)[1][0])

    loader = DataLoader(SEQUENCES, batch_size=4, collate_fn=packed, shuffle=True)
    one = steepest.Problem(model=Recurrent, loss=nn.MSELoss(), train=loader, valid=loader, steps=10)
    fingerprint(one)
    assert train(one, rules.get("adam"), lr=0.01, steps=10, seed=0).diverged_at is None


def test_a_collate_function_runs_in_the_loaders_workers():
    loader = DataLoader(SEQUENCES, batch_size=4, collate_fn=padded, num_workers=1)
    one = steepest.Problem(model=OfLengths, loss=nn.MSELoss(), train=loader, valid=loader, steps=4)
    LENGTHS.clear()
    list(itertools.islice(batches(one, 0), 3))
    assert LENGTHS == []


class Stream(IterableDataset):
    """Rows with noise from torch's generator; with a length if requested."""

    def __iter__(self):
        for x, y in zip(X, Y, strict=True):
            yield x + 0.01 * torch.randn(2), y


class Counted(Stream):
    def __len__(self):
        return 20


@pytest.mark.parametrize(
    "source", [Counted, lambda: DataLoader(Counted(), batch_size=4), lambda: DataLoader(Stream(), batch_size=4)]
)
def test_a_stream_begins_anew_for_each_seed_and_epoch(source):
    one = problem(source(), steps=30)
    seen = [[inputs[0] for inputs, _ in itertools.islice(batches(one, seed), 7)] for seed in (0, 0, 1)]
    for a, b, c in zip(*seen, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
        np.testing.assert_allclose(a, c, atol=0.1)
    later = next(iter(batches(one, 0, after=6)))
    assert torch.equal(later[0][0], seen[0][6])
    fingerprint(one)
    assert train(one, rules.get("sgd"), lr=0.01, steps=30, seed=0).diverged_at is None


def test_a_stream_that_cannot_be_compared_gets_a_sentence(monkeypatch):
    monkeypatch.setattr(reading, "MOST_EVALUATED", 10_000)

    class Once(IterableDataset):
        def __init__(self):
            self.left = iter(zip(X, Y, strict=True))

        def __iter__(self):
            return self.left

    class Endless(IterableDataset):
        def __iter__(self):
            while True:
                yield X[0], Y[0]

    with pytest.raises(SteepestError, match=r"number of batches in an epoch .* is unknown; expected steps="):
        problem(Stream())
    with pytest.raises(SteepestError, match="a stream that"):
        problem(DataLoader(Once(), batch_size=4), steps=5)
    with pytest.raises(SteepestError, match="perhaps infinite"):
        problem(valid=DataLoader(Endless(), batch_size=512))
    problem(DataLoader(Endless(), batch_size=4), steps=5)
    held = problem(valid=DataLoader(Counted(), batch_size=4))
    assert len(held.valid) == 20


def test_ready_made_batches_are_taken_as_they_are():
    class Ready(Dataset):
        def __len__(self):
            return 5

        def __getitem__(self, k):
            return X[4 * k : 4 * k + 4], Y[4 * k : 4 * k + 4]

    one = problem(DataLoader(Ready(), batch_size=None), valid=DataLoader(Ready(), batch_size=None))
    assert rows(one, 0, 6) == [[*range(k, k + 4)] for k in (0, 4, 8, 12, 16, 0)]
    assert (one.batch_size, len(one.valid), one.epoch_steps) == (4, 20, 5)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.value, self.kind = nn.Linear(2, 1), nn.Linear(2, 3)

    def forward(self, x):
        return self.value(x), self.kind(x)


CLASS = torch.arange(20) % 3


@pytest.mark.parametrize("kind", ["tuple", "dict", "dataset", "dict dataset"])
def test_targets_may_be_tuples_and_dicts(kind):
    def loss(output, target):
        value, label = target.values() if isinstance(target, dict) else target
        return nn.functional.mse_loss(output[0], value) + nn.functional.cross_entropy(output[1], label)

    named = {"value": Y, "kind": CLASS}
    sources = {
        "tuple": (X, (Y, CLASS)),
        "dict": (X, named),
        "dataset": [(x, (y, int(k))) for x, y, k in zip(X, Y, CLASS, strict=True)],
        "dict dataset": [(x, {"value": y, "kind": int(k)}) for x, y, k in zip(X, Y, CLASS, strict=True)],
    }
    one = steepest.Problem(model=TwoHeads, loss=loss, train=sources[kind], valid=sources[kind], batch_size=4, accumulate=2)
    model = one.start(0)
    assert one.evaluate(model, one.valid)[0] == pytest.approx(loss(model(X), (Y, CLASS)).item(), rel=1e-5)
    fingerprint(one)
    (outcome,) = [o for _, o in train_all(one, [Run(rules.get("sgd"), 0.01, 0, 10, examples=True)], named_plan())]
    assert len(outcome.examples) == 20
    assert np.mean(outcome.examples) == pytest.approx(outcome.valid, rel=1e-3)


def named_plan():
    return named("one")


FRAME = pd.DataFrame({"a": X[:, 0].numpy(), "b": X[:, 1].numpy()})
TABLES = {
    "frame and series": (FRAME, pd.Series(Y[:, 0].numpy())),
    "frame and frame": (FRAME, pd.DataFrame({"y": Y[:, 0].numpy()})),
    "lists": (X.tolist(), Y.tolist()),
    "list of lists": [X.tolist(), Y.tolist()],
    "lists of arrays": ([*X.numpy()], [*Y.numpy()]),
    "dict of columns": {"input": X, "labels": Y},
    "list of dicts": [{"input": x, "labels": y} for x, y in zip(X, Y, strict=True)],
    "list of dicts of lists": [{"input": x.tolist(), "labels": y.tolist()} for x, y in zip(X, Y, strict=True)],
    "tuple of two inputs": ((X[:, :1], X[:, 1:]), Y),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_lists_and_dicts_are_read_as_people_mean_them(kind):
    examples = problem(TABLES[kind], valid=TABLES[kind]).train
    inputs, target = examples.batch(slice(0, 20))
    chosen = inputs[: len(inputs) - bool(examples.label)]
    torch.testing.assert_close(torch.cat(chosen, 1), X)
    torch.testing.assert_close(target.reshape(20, 1), Y)


def test_whole_numbers_in_tables_are_inputs_to_scale_and_labels_to_tell_apart():
    frame = pd.DataFrame({"a": range(20), "b": range(20)})
    examples = problem((frame, pd.Series(CLASS.numpy())), valid=(X, Y)).train
    assert [t.dtype for t in examples.tensors] == [torch.float32, torch.int64]
    assert problem((frame, pd.DataFrame({"y": CLASS.numpy()})), valid=(X, Y)).train.target.shape == (20,)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ((pd.DataFrame({"a": [1.0] * 20, "city": ["Rome"] * 20}), pd.Series([0] * 20)), "columns that are not numbers: city"),
        ((FRAME, pd.Series(["cat"] * 20)), "is text|objects; expected numbers"),
        (([[1.0], [1.0, 2.0]] * 10, [0.0] * 20), "Pad sequences"),
        ({"input": X, "text": Y}, "a target named labels"),
        ([(x[: 1 + k % 2], 0.0) for k, x in enumerate(X)], "collate_fn that pads"),
    ],
)
def test_a_table_that_holds_no_numbers_gets_a_sentence(source, words):
    with pytest.raises(SteepestError, match=words):
        problem(source)


def test_dict_batches_reach_the_arguments_of_their_names_with_the_labels_where_the_model_takes_them():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(2, 3)

        def forward(self, input_ids, attention_mask):
            return self.line(input_ids * attention_mask)

    class Whole(Plain):
        def forward(self, input_ids, attention_mask, labels=None):
            logits = super().forward(input_ids, attention_mask)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    rows = [{"input_ids": x, "attention_mask": torch.ones(2), "labels": k} for x, k in zip(X, CLASS, strict=True)]
    loader = DataLoader(rows, batch_size=4, shuffle=True)
    values = []
    for model, loss in ((Plain, nn.CrossEntropyLoss()), (Whole, lambda output, target: output["loss"])):
        one = steepest.Problem(model=model, loss=loss, metric="accuracy", train=loader, valid=loader, steps=10)
        fingerprint(one)
        outcome = train(one, rules.get("sgd"), lr=0.1, steps=10, seed=0)
        values.append((outcome.valid, outcome.loss))
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_data_read_batch_by_batch_draw_the_same_augmentation_for_every_candidate():
    class Noisy(Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, k):
            return X[k] + torch.rand(2) + float(np.random.rand()) + random.random(), Y[k]

    class Thirsty(nn.Linear):
        """Draws random numbers, in an amount that depends on the weights."""

        def forward(self, x):
            torch.rand(int(self.weight.abs().sum() * 100) % 7 + 1)
            return super().forward(x)

    one = problem(Noisy(), model=lambda: Thirsty(2, 1), valid=Noisy())
    assert isinstance(one.train, data.Streamed)
    first = [x for (x,), _ in itertools.islice(batches(one, 0), 3)]
    torch.rand(5)
    again = [x for (x,), _ in itertools.islice(batches(one, 0), 3)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    model = one.start(0)
    assert one.evaluate(model, one.valid) == one.evaluate(model, one.valid)
