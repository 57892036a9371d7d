"""Problems, their data, the tutorial's least squares, and invalid arguments."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import steepest
from steepest import problems, rules
from steepest.errors import SteepestError
from steepest.problems import data, reading
from steepest.problems.accuracy import accuracy
from steepest.problems.fingerprint import fingerprint
from steepest.problems.seeds import seeded
from steepest.training.single import batches, train

# Tutorial 03's printed trace: w before batch 0 and batch 50 of each epoch, and at the end.
TRACE = """
0. 0. 0.4391737 0.41735388 0.45621431 0.43296123 0.50458588 0.46953377 0.50659246 0.46976394 0.51664408 0.46913792
0.51715596 0.46786206 0.52339741 0.46367398 0.52374047 0.4622501 0.5295512 0.45779193 0.52985556 0.456353 0.53556725 0.45194588
0.53584598 0.45050492 0.54149192 0.44617918 0.54174661 0.44473749 0.54733087 0.44049501 0.54756198 0.43905271
0.55308576 0.43489257 0.55329364 0.43344969 0.55875783 0.42937075 0.55894282 0.42792729
"""


def problem(**changes):
    x = torch.arange(24.0).reshape(12, 2) / 10
    parts = {"model": lambda: nn.Linear(2, 1), "loss": nn.MSELoss(), "train": (x, x[:, :1]), "valid": (x, x[:, :1])}
    return steepest.Problem(**{**parts, **changes})


def test_breast_cancer_gives_every_printed_point_of_the_tutorials_trace_to_8_digits():
    printed = np.array(TRACE.split(), float).reshape(-1, 2)
    expected = {57 * (i // 2) + 50 * (i % 2): w for i, w in enumerate(printed[:-1])} | {570: printed[-1]}
    seen = {0: np.zeros(2)}

    def watch(k, model):
        seen[k] = model.weight.detach().numpy()[0].copy()

    train(problems.get("breast-cancer"), rules.get("sgd"), lr=1e-3, steps=570, seed=0, on_step=watch)
    assert len(expected) == 21
    for k, w in expected.items():
        np.testing.assert_allclose(seen[k], w, rtol=0, atol=5.1e-9, err_msg=f"after {k} updates")


def test_full_gradient_descent_reaches_the_exact_solution_of_breast_cancer():
    whole = dataclasses.replace(problems.get("breast-cancer"), batch_size=569)
    last = {}
    train(
        whole, rules.get("sgd"), lr=8e-4, steps=2000, seed=0, on_step=lambda k, m: last.update(w=m.weight.detach().numpy()[0])
    )
    np.testing.assert_allclose(last["w"], [0.94805728, 0.05043566], rtol=0, atol=1e-6)
    assert "[0.94805728, 0.05043566]" in whole.optimum[1]


def test_the_optimum_is_the_least_value_of_the_validation_loss():
    cancer = problems.get("breast-cancer")
    model = cancer.start(0)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.94805728, 0.05043566]], dtype=torch.float64))
    assert cancer.evaluate(model, cancer.valid)[0] == pytest.approx(cancer.optimum[0], abs=1e-9)


def test_the_last_batch_of_breast_cancer_has_nine_rows_and_the_order_is_fixed():
    from steepest.training.single import batches

    stream = batches(problems.get("breast-cancer"), seed=3)
    first = [next(stream) for _ in range(57)]
    assert [len(target) for _, target in first] == [10] * 56 + [9]
    assert torch.equal(next(stream)[1], first[0][1])


def test_a_seed_means_the_same_batches_and_the_next_seed_others():
    from steepest.training.single import batches

    digits = problems.get("digits")

    def first(seed):
        stream = batches(digits, seed)
        return torch.cat([next(stream)[1] for _ in range(40)])

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    assert sorted(first(1)[:1077].tolist()) == sorted(digits.train.tensors[1].tolist())


def test_digits_is_split_once_and_whole():
    digits = problems.get("digits")
    parts = [split.tensors[0] for split in (digits.train, digits.valid, digits.test)]
    assert [len(p) for p in parts] == [1077, 360, 360]
    assert len(torch.unique(torch.cat(parts), dim=0)) == 1797
    assert 0 <= min(p.min() for p in parts) <= max(p.max() for p in parts) <= 1


def test_accuracy_is_in_per_cent():
    assert accuracy(torch.eye(4), torch.tensor([0, 1, 2, 0])).item() == 75.0


def test_evaluation_over_chunks_is_the_mean_weighted_by_size(monkeypatch):
    one = problem()
    model = one.start(0)
    whole = one.evaluate(model, one.valid)
    monkeypatch.setattr("steepest.problems.problem.evaluation_room", lambda problem, model: (5, 2**30))
    assert one.evaluate(model, one.valid) == pytest.approx(whole, rel=1e-6)


def test_evaluation_uses_evaluation_mode_and_training_goes_on():
    one = problem(model=lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 1)))
    model = one.start(0)
    assert one.evaluate(model, one.valid) == one.evaluate(model, one.valid)
    assert model.training


def test_a_given_module_is_copied_and_a_function_is_called_for_each_seed():
    net = nn.Linear(2, 1)
    same, fresh = problem(model=net), problem()
    assert same.same_start
    assert not fresh.same_start
    assert torch.equal(same.start(0).weight, net.weight)
    assert same.start(0).weight is not net.weight
    starts = []
    for seed in (0, 1, 0):
        with seeded(seed):
            starts.append(fresh.start(seed).weight)
    assert torch.equal(starts[0], starts[2])
    assert not torch.equal(starts[0], starts[1])


def test_seeding_leaves_the_callers_generators_as_they_were():
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    with seeded(0):
        torch.rand(3), np.random.rand(3)
    assert (torch.rand(1), np.random.rand()) == before


class Pairs(Dataset):
    def __init__(self, noise=False):
        self.noise = noise

    def __len__(self):
        return 20

    def __getitem__(self, i):
        x = torch.full((3,), float(i))
        return (x + torch.rand(3) if self.noise else x), i % 2


@pytest.mark.parametrize(
    "source",
    [
        (torch.zeros(4, 3), torch.zeros(4, dtype=torch.int32)),
        (np.zeros((4, 3)), np.zeros(4, int)),
        TensorDataset(torch.zeros(4, 3, dtype=torch.float64), torch.zeros(4, dtype=torch.uint8)),
        [(torch.zeros(3), 0)] * 4,
    ],
    ids=["tensors", "arrays", "TensorDataset", "list of pairs"],
)
def test_data_of_every_kind_become_tensors_of_the_problems_dtype(source):
    examples = reading.read(source, torch.float32, "training")
    (inputs,), target = examples.batch(slice(0, 2))
    assert (inputs.dtype, inputs.shape, target.dtype, len(examples)) == (torch.float32, (2, 3), torch.int64, 4)


def test_a_dataset_that_repeats_itself_is_read_once_and_one_that_does_not_is_streamed():
    fixed, noisy = (reading.read(Pairs(noise), torch.float32, "training") for noise in (False, True))
    assert not isinstance(fixed, data.Streamed)
    assert isinstance(noisy, data.Streamed)
    (inputs,), target = noisy.batch(torch.tensor([4, 7]))
    assert ((inputs[:, 0] >= torch.tensor([4.0, 7.0])) & (inputs[:, 0] < torch.tensor([5.0, 8.0]))).all()
    assert target.tolist() == [0, 1]
    assert noisy.digest() == noisy.digest() != fixed.digest()


def test_several_inputs_reach_the_model_in_order():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, a, b):
            return (a - b) * self.scale

    one = problem(model=Two, train=(torch.ones(4, 1), torch.zeros(4, 1), torch.ones(4, 1)), valid=(torch.ones(4, 1),) * 3)
    assert one.batch_loss(one.start(0), one.train.batch(slice(0, 4))).item() == 0.0


EDITS = {
    "weights": {"model": lambda: nn.Linear(2, 1, bias=False)},
    "loss": {"loss": nn.L1Loss()},
    "batch": {"batch_size": 5},
    "metric": {"metric": lambda output, target: (output - target).abs().max()},
    "order": {"shuffle": False},
    "train": {"train": (torch.zeros(12, 2), torch.zeros(12, 1))},
    "valid": {"valid": (torch.zeros(12, 2), torch.zeros(12, 1))},
    "test": {"test": (torch.zeros(12, 2), torch.zeros(12, 1))},
    "dtype": {"dtype": torch.float64},
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_the_fingerprint(edit):
    assert fingerprint(problem()) == fingerprint(problem())
    assert fingerprint(problem(**EDITS[edit])) != fingerprint(problem())


def labels(last):
    y = torch.zeros(12, dtype=torch.int64)
    y[-1] = last
    return {
        "model": lambda: nn.Linear(2, 3),
        "loss": nn.CrossEntropyLoss(),
        "train": (torch.zeros(12, 2), y),
        "valid": (torch.zeros(12, 2), y),
    }


def nan_at_5():
    x = torch.zeros(12, 2)
    x[5, 1] = float("nan")
    return {"train": (x, x[:, :1])}


REFUSED = {
    "loss not a scalar": (
        {"loss": nn.MSELoss(reduction="none")},
        r"the loss is a tensor of shape \(12, 1\); expected one number",
    ),
    "loss a float": ({"loss": lambda o, t: 1.0}, "the loss is float"),
    "label too large": (labels(3), "example 11 has label 3, but the model has 3 outputs"),
    "label negative": (labels(-1), "example 11 has label -1"),
    "empty data": ({"train": (torch.zeros(0, 2), torch.zeros(0, 1))}, "training data are empty"),
    "empty dataset": ({"valid": []}, "validation data are empty"),
    "unequal lengths": ({"train": (torch.zeros(3, 2), torch.zeros(4, 1))}, "3 and 4 rows"),
    "NaN in the data": (nan_at_5(), r"NaN or infinity in 1 of 12 examples \(the first is example 5\)"),
    "data of another kind": ({"train": 7}, "training data are int"),
    "no data": ({"valid": None}, "validation data are NoneType"),
    "model not a module": ({"model": lambda: 3}, r"model\(\) returned int"),
    "model not callable": ({"model": 3}, "model is 3"),
    "model raises": ({"model": lambda: 1 / 0}, "its model raised ZeroDivisionError at .*test_problems.py, line"),
    "shapes that do not fit": ({"model": lambda: nn.Linear(5, 1)}, "its model or loss raised RuntimeError: mat1 and mat2"),
    "nothing to train": ({"model": nn.Identity, "train": (torch.ones(4, 2), torch.ones(4, 2))}, "no trainable parameter"),
    "loss not finite": ({"loss": lambda o, t: o.sum() / 0}, "the loss at the start is"),
    "metric raises": ({"metric": lambda o, t: o.nonsense}, "its metric raised AttributeError"),
    "batch size": ({"batch_size": 0}, "batch_size is 0"),
    "direction": ({"direction": "up"}, "direction is 'up'"),
    "a loss to be made large": ({"direction": "max"}, "direction is 'max' without a metric"),
    "steps not whole": ({"steps": 10.0}, "steps is 10.0"),
    "metric not finite at the start": ({"metric": lambda o, t: float("nan")}, "at the start is nan"),
    "accuracy of one output": ({"metric": "accuracy"}, "its metric raised ValueError: accuracy compares"),
    "sparse gradient": (
        {"model": lambda: nn.Embedding(3, 1, sparse=True), "train": (torch.zeros(4, dtype=int), torch.zeros(4, 1))},
        "sparse or complex gradients",
    ),
    "numbers for data": ({"train": (torch.zeros(()), torch.zeros(()))}, "contain a single number"),
    "label too large for BatchNorm": (
        labels(3) | {"model": lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3))},
        "example 11 has label 3",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_in_a_problem_gets_a_sentence(mistake):
    changes, words = REFUSED[mistake]
    with pytest.raises(SteepestError, match=words):
        fingerprint(problem(**changes))


def test_labels_that_the_loss_ignores_are_no_mistake():
    fingerprint(problem(**(labels(-1) | {"loss": nn.CrossEntropyLoss(ignore_index=-1)})))


def test_an_unknown_problem_is_told_with_the_nearest_name():
    with pytest.raises(SteepestError, match="Unknown problem 'digit'; did you mean 'digits'"):
        problems.get("digit")


FILES = {
    "absent": (None, "There is no problem file"),
    "does not parse": ("problem = (", "does not parse: line 1"),
    "raises": ("import torch\n\nraise KeyError('lost')\n", "raised KeyError at .*mine.py, line 3: 'lost'"),
    "defines none": ("x = 1\n", "defines no problem"),
    "defines another thing": ("problem = 3\n", "defines a problem that is a int"),
    "exits": ("import sys\nsys.exit(1)\n", "raised SystemExit at .*mine.py, line 2"),
}


@pytest.mark.parametrize("mistake", FILES)
def test_a_mistake_in_a_problem_file_gets_a_sentence(mistake, tmp_path):
    text, words = FILES[mistake]
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SteepestError, match=words):
        problems.get(str(path))


# A problem file that imports its neighbour when it is loaded, or only when the model is built.
BESIDE = """import torch, steepest
{first}
def net():
    {late}
    return torch.nn.Linear(SIZE, SIZE)
def {problem}():
    x = torch.zeros(4, 2)
    return steepest.Problem(model=net, loss=torch.nn.MSELoss(), train=(x, x), valid=(x, x))
"""


def test_a_problem_file_may_import_its_neighbours_and_define_a_function(tmp_path):
    (tmp_path / "neighbour.py").write_text("SIZE = 2\n")
    (tmp_path / "mine.py").write_text(BESIDE.format(first="from neighbour import SIZE", late="pass", problem="problem"))
    assert problems.get(str(tmp_path / "mine.py")).name == "mine"


def test_a_model_that_writes_to_its_input_does_not_change_the_data():
    class Rude(nn.Linear):
        def forward(self, x):
            x -= 1
            return super().forward(x)

    one = problem(model=lambda: Rude(2, 1))
    before = one.valid.tensors[0].clone()
    train(one, rules.get("sgd"), lr=0.01, steps=5, seed=0)
    assert torch.equal(one.valid.tensors[0], before)


def test_a_function_that_returns_the_same_module_starts_every_run_alike():
    net = nn.Linear(2, 1)
    one = problem(model=lambda: net)
    first, second = (train(one, rules.get("sgd"), lr=0.01, steps=5, seed=0) for _ in range(2))
    assert first.curve == second.curve


def test_a_loss_with_a_memory_forgets_between_runs():
    class Moving(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.ones(()))

        def forward(self, output, target):
            self.scale += 1
            return self.scale * ((output - target) ** 2).mean()

    one = problem(loss=Moving())
    first, second = (train(one, rules.get("sgd"), lr=0.001, steps=5, seed=0) for _ in range(2))
    assert first.curve == second.curve


def test_weights_of_a_loss_follow_the_problems_dtype():
    x = torch.zeros(6, 2, dtype=torch.float64)
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))
    data = {"train": (x, torch.arange(6) % 2), "valid": (x, torch.arange(6) % 2)}
    fingerprint(problem(model=lambda: nn.Linear(2, 2), loss=weighted, dtype=torch.float64, **data))


def test_fingerprint_is_taken_in_training_mode_and_on_one_thread():
    def dropped(share):
        net = nn.Sequential(nn.Dropout(share), nn.Linear(2, 1))
        torch.nn.init.ones_(net[1].weight)
        torch.nn.init.zeros_(net[1].bias)
        return problem(model=net.eval())

    assert fingerprint(dropped(0.1)) != fingerprint(dropped(0.9))
    digits = problems.get("digits")
    threads = torch.get_num_threads()
    found = set()
    for n in (1, 2):
        torch.set_num_threads(n)
        found.add(fingerprint(digits))
        assert torch.get_num_threads() == n
    torch.set_num_threads(threads)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("output", "target"),
    [
        (torch.zeros(4, 1), torch.arange(4)),
        (torch.zeros(4, 3), torch.zeros(4, 1, dtype=int)),
        (torch.zeros(4, 3), torch.zeros(4)),
    ],
)
def test_accuracy_refuses_shapes_it_would_be_wrong_for(output, target):
    with pytest.raises(ValueError, match="accuracy compares outputs"):
        accuracy(output, target)


def test_sums_and_metrics_that_are_no_means_see_all_of_the_data(monkeypatch):
    summed = problem(loss=nn.MSELoss(reduction="sum"), metric=lambda output, target: output.max())
    model = summed.start(0)
    whole = summed.evaluate(model, summed.valid)
    monkeypatch.setattr("steepest.problems.problem.evaluation_room", lambda problem, model: (5, 2**30))
    assert summed.evaluate(model, summed.valid) == pytest.approx(whole, rel=1e-6)
    monkeypatch.setattr("steepest.problems.problem.evaluation_room", lambda problem, model: (5, 1))
    assert summed.evaluate(model, summed.valid)[0] < whole[0]


def test_rare_noise_is_seen_and_nan_is_not_taken_for_noise():
    class Rare(Pairs):
        def __len__(self):
            return 400

        def __getitem__(self, i):
            x, y = super().__getitem__(i)
            return (x + torch.rand(3) if i % 20 == 0 else x), y

    class Holes(Pairs):
        def __getitem__(self, i):
            x, y = super().__getitem__(i)
            return (x * float("nan") if i == 2 else x), y

    assert isinstance(reading.read(Rare(), torch.float32, "training"), data.Streamed)
    with pytest.raises(SteepestError, match="NaN or infinity in 1 of 20"):
        reading.read(Holes(), torch.float32, "training")


def test_a_dataset_that_raises_in_training_gets_a_sentence():
    class Fragile(Pairs):
        reads = 0

        def __getitem__(self, i):
            self.reads += 1
            if self.reads > 200:
                raise OSError("disk on fire")
            return torch.rand(2), torch.rand(1)

    one = problem(train=Fragile(), batch_size=8)
    with pytest.raises(SteepestError, match="its data raised OSError"):
        train(one, rules.get("sgd"), lr=0.01, steps=50, seed=0)


def test_drop_last_leaves_out_the_smaller_batch():
    from steepest.training.single import batches

    stream = batches(problem(batch_size=5, drop_last=True), seed=0)
    assert [len(next(stream)[1]) for _ in range(5)] == [5] * 5


def test_what_a_model_imports_late_from_beside_its_file_is_found(tmp_path):
    (tmp_path / "late_helper.py").write_text("SIZE = 2\n")
    text = BESIDE.format(first="", late="from late_helper import SIZE", problem="made") + "problem = made()\n"
    (tmp_path / "lazy.py").write_text(text)
    fingerprint(problems.get(str(tmp_path / "lazy.py")))


class Named(Dataset):
    """Pairs of a dict and a label; noisy if requested."""

    def __init__(self, noise=0.0):
        self.x, self.noise = torch.arange(24.0).reshape(12, 2) / 10, noise

    def __len__(self):
        return 12

    def __getitem__(self, i):
        shaken = self.x[i] + self.noise * torch.randn(2)
        return {"left": shaken, "right": self.x[i].flip(0)}, self.x[i, :1]


class Sides(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(2, 1)

    def forward(self, right, left):
        return self.line(left - 2 * right)


def test_inputs_in_a_dict_go_to_the_models_arguments_of_their_names():
    plain = problem(model=Sides, train=Named(), valid=Named())
    x = plain.train.tensors
    assert plain.train.names == ("left", "right")
    model = plain.start(0)
    (inputs, target) = plain.train.batch(slice(0, 12))
    expected = plain.loss(model(x[1], x[0]), target)
    assert torch.equal(plain.batch_loss(model, (inputs, target)), expected)
    as_tensors = problem(model=Sides, train=({"left": x[0], "right": x[1].numpy()}, x[2]), valid=Named())
    assert fingerprint(as_tensors) == fingerprint(plain)
    with pytest.raises(SteepestError, match="the valid data have the input names none; expected left, right, as in train"):
        problem(model=Sides, train=Named(), valid=x)


def test_a_data_loaders_dataset_collate_and_workers_are_used():
    def doubled(items):
        return torch.stack([a["left"] for a, _ in items]) * 2, torch.stack([b for _, b in items])

    held = problem(train=DataLoader(Named(), collate_fn=doubled, batch_size=7))
    assert isinstance(held.train, data.Streamed)  # a collate function receives one batch at a time
    assert torch.equal(held.first_batch()[0][0], 2 * Named().x[:7])
    ahead = problem(model=Sides, train=DataLoader(Named(0.1), num_workers=1, batch_size=4, shuffle=True), valid=Named())
    assert isinstance(ahead.train, data.Streamed)
    seen = [list(itertools.islice(batches(ahead, 3), 7)) for _ in range(2)]
    for (a, target), (b, again) in zip(*seen, strict=True):
        assert torch.equal(a[0], b[0])  # the same augmentation for every optimizer
        assert torch.equal(target, again)
    order = [t for _, target in seen[0][:3] for t in target[:, 0].tolist()]
    assert sorted(order) == Named().x[:, 0].tolist()
    outcome = train(ahead, rules.get("sgd"), lr=0.01, steps=5, seed=0)
    assert outcome.diverged_at is None
