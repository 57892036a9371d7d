"""Many runs together against the same runs trained one by one: fourteen kinds of model, isolation, bitwise equality, plans."""

import dataclasses
import gc
import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.training import ways
from steepest.training.forward import NotStackableError
from steepest.training.processes import OutOfTimeError
from steepest.training.single import train
from steepest.training.stacked import Run, StackedRuns, activation_bytes
from steepest.training.ways import Plan, choose, chunks, train_all


def sequences(n, classes=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 7, (n, 6), generator=generator), torch.randint(0, classes, (n,), generator=generator)


def images(n, classes=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 2, 6, 6, generator=generator), torch.randint(0, classes, (n,), generator=generator)


def rows(n, classes=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 5, generator=generator), torch.randint(0, classes, (n,), generator=generator)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(7, 8), nn.Linear(8, 3)
        self.attention, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)

    def forward(self, x):
        x = self.embed(x)
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0])
        return self.head(x.mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(7, 5), kind(5, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.cell(self.embed(x))[0][:, -1])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.mix = nn.Embedding(7, 8), nn.Linear(8, 8)
        self.out = nn.Linear(8, 7, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(torch.tanh(self.mix(self.embed(x).mean(1))))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 4), nn.Linear(5, 4)
        self.head = nn.Linear(4, 3)
        self.register_buffer("scale", torch.full((4,), 0.5))

    def forward(self, x, y):
        return self.head(torch.relu(self.a(x) * self.scale + self.b(y)))


def frozen():
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    return model


def pretrained():
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 3))


def conv(*layers):
    bias = not any(isinstance(m, nn.BatchNorm2d) for m in layers)  # before a BatchNorm its gradient is pure rounding
    return nn.Sequential(nn.Conv2d(2, 4, 3, bias=bias), *layers, nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


# name -> model, data, whether the runs can be batched (others are trained one by one)
MODELS = {
    "linear stack": (lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), rows, True),
    "dropout": (lambda: nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 3)), rows, True),
    "dropout in a module": (lambda: nn.Sequential(conv(), nn.Dropout(0.3), nn.Linear(3, 3)), images, True),
    "batch norm": (lambda: conv(nn.BatchNorm2d(4)), images, True),
    "layer norm": (lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)), rows, True),
    "group norm": (lambda: conv(nn.GroupNorm(2, 4)), images, True),
    "convolution": (lambda: conv(), images, True),
    "embedding": (lambda: nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(24, 3)), sequences, True),
    "attention": (Attention, sequences, True),
    "lstm": (lambda: Recurrent(nn.LSTM), sequences, False),
    "gru": (lambda: Recurrent(nn.GRU), sequences, False),
    "tied weights": (Tied, lambda n: sequences(n, 7), True),
    "two inputs and a buffer": (TwoInputs, lambda n: (rows(n)[0], rows(n)[0].flip(0), rows(n)[1]), True),
    "frozen layers": (frozen, rows, True),
    "pretrained weights": (pretrained(), rows, True),
}


MODELS["inputs by name"] = TwoInputs, lambda n: ({"y": rows(n)[0], "x": rows(n)[0].flip(0)}, rows(n)[1]), True


def problem_of(name, dtype=torch.float32):
    model, data, _ = MODELS[name]
    return steepest.Problem(
        name=name, model=model, loss=nn.CrossEntropyLoss(), train=data(70), valid=data(30), batch_size=16, dtype=dtype
    )


def thirty_two(steps=10):
    """32 runs at stable rates: four rules, four rates, two seeds; by default for two epochs."""
    names = ("momentum", "adam", "lamb", "schedule_free_adamw")
    return [Run(rules.get(n), 1e-3 * 2**k, seed, steps) for n in names for k in range(4) for seed in (0, 1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_32_runs_agree_with_32_sequential_runs(name, dtype):
    problem, runs = problem_of(name, dtype), thirty_two()
    if not MODELS[name][2]:
        runs = runs[::5]  # train one by one here too
    found = dict(train_all(problem, runs, Plan(16, 2)))
    if MODELS[name][2]:
        StackedRuns(problem, runs[:4]).step()
    else:
        with pytest.raises(NotStackableError):
            StackedRuns(problem, runs[:4]).step()
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    for i, run in [*enumerate(runs)][:: 3 if dtype == torch.float32 else 1]:  # a third has each rule, rate and seed too
        alone = train(problem, run.rule, lr=run.lr, steps=run.steps, seed=run.seed)
        for curve in ("train", "valid"):
            ours, theirs = (np.array(getattr(o.curve, curve)) for o in (found[i], alone))
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, err_msg=f"{run.rule.name} {run.lr} {curve}")
        assert found[i].curve.steps == alone.curve.steps


def test_rules_that_ask_for_gradients_and_rules_with_a_view_agree(line):
    runs = [Run(rules.get(n), lr, s, 30) for n in ("sam", "nesterov_lookahead", "asgd") for lr in (0.01, 0.02) for s in (0, 1)]
    found = dict(train_all(line, runs, Plan(8, 2)))
    for i, run in enumerate(runs):
        alone = train(line, run.rule, lr=run.lr, steps=run.steps, seed=run.seed)
        np.testing.assert_allclose(found[i].curve.valid, alone.curve.valid, rtol=1e-4)


def test_batch_norm_is_refreshed_where_schedule_free_evaluates_and_training_keeps_its_own():
    problem = problem_of("batch norm")
    rule = rules.get("schedule_free_sgd")
    kept = []

    def note(k, model):
        kept.append({name: b.clone() for name, b in model.named_buffers()})

    outcome = train(problem, rule, lr=0.5, steps=20, seed=0, on_step=note)
    counts = [int(b["1.num_batches_tracked"]) for b in kept]
    assert counts == list(range(1, 21))  # evaluation at every step restored the training statistics
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = problem.start(0)
    optimizer = steepest.optim.ScheduleFreeSGD(model.parameters(), lr=0.5)
    from steepest.training.single import batches, evaluated

    for _, batch in zip(range(20), batches(problem, 0), strict=False):
        optimizer.zero_grad()
        problem.batch_loss(model, batch).backward()
        optimizer.step()
    optimizer.eval()
    stale = problem.evaluate(model, problem.valid)[0]
    with evaluated(problem, model, rule):
        fresh = problem.evaluate(model, problem.valid)[0]
        images = problem.train.batch(slice(0, 64))[0][0]
        seen = torch.nn.functional.conv2d(images, model[0].weight).mean((0, 2, 3))
        torch.testing.assert_close(model[1].running_mean, seen, rtol=0.2, atol=0.05)
    assert fresh != stale
    assert outcome.curve.valid[-1] == pytest.approx(fresh, rel=1e-3)


def test_a_diverging_run_is_told_apart_and_leaves_the_bits_of_its_neighbours():
    problem = problem_of("linear stack")
    ends = []
    for wild in (0.01, 1e30):
        runs = [Run(rules.get("sgd"), lr, 0, 40) for lr in (0.01, wild, 0.05)]
        outcomes = StackedRuns(problem, runs).train()
        ends.append([outcomes[0].curve, outcomes[2].curve])
    assert outcomes[1].diverged_at is not None
    assert outcomes[1].valid is None
    alone = train(problem, rules.get("sgd"), lr=1e30, steps=40, seed=0)
    assert outcomes[1].diverged_at == alone.diverged_at
    assert ends[0] == ends[1]


def test_the_same_chunk_gives_the_same_bits_and_dropout_does_not_know_its_neighbours():
    problem = problem_of("dropout")
    runs = [Run(rules.get("adam"), 0.01 * k, 0, 20) for k in (1, 2, 3, 4)]
    first, second = (StackedRuns(problem, runs).train() for _ in range(2))
    assert [o.curve for o in first] == [o.curve for o in second]
    fewer = StackedRuns(problem, runs[:2]).train()
    np.testing.assert_allclose(fewer[1].curve.train, first[1].curve.train, rtol=1e-5)


def test_chunks_keep_seeds_together_and_give_every_thread_work():
    runs = [Run(rules.get(n), lr, s, 10) for n in ("adam", "sgd") for lr in (0.1, 0.2, 0.3) for s in (0, 1, 2)]
    laid = chunks(runs, 4, 2)
    assert sorted(i for chunk in laid for i in chunk) == list(range(18))
    assert all(len({runs[i].seed for i in chunk}) == 1 for chunk in laid)
    assert len(laid) % 2 == 0
    mixed = chunks([*runs, Run(rules.get("sam"), 0.1, 0, 5)], 4)
    assert all(len({runs[i].together_key for i in chunk if i < 18}) <= 1 for chunk in mixed)
    assert [18] in mixed


def test_the_planner_says_why_a_model_goes_one_by_one(line):
    runs = thirty_two(5)
    assert "vmap cannot run it" in choose(problem_of("lstm"), runs).why
    assert choose(problem_of("lstm"), runs).chunk == 1
    assert choose(problem_of("linear stack"), runs).chunk > 1
    assert "need over" in choose(problem_of("linear stack"), runs, memory=1000).why
    for name in ("both", "many:", "many:1", "many:x"):
        with pytest.raises(SteepestError, match="expected auto, show, one, processes, one:channels-last"):
            ways.named(name)


@pytest.fixture(scope="module")
def one_by_one():
    """A problem, six runs, and their outcomes one by one."""
    problem, runs = problem_of("batch norm"), thirty_two()[:6]
    return problem, runs, dict(train_all(problem, runs, Plan()))


def agrees(plan, problem, runs, expected):
    assert ways.named(plan.name).name == plan.name
    found = dict(train_all(problem, runs, plan))
    for i in range(len(runs)):
        np.testing.assert_allclose(found[i].curve.valid, expected[i].curve.valid, rtol=1e-4)


@pytest.mark.parametrize("plan", [Plan(1, 2), Plan(1, 2, True), Plan(1, 1, True)], ids=lambda plan: plan.name)
def test_processes_and_channels_last_give_what_one_by_one_gives(plan, one_by_one):
    agrees(plan, *one_by_one)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
def test_a_compiler_gives_what_one_by_one_gives(one_by_one):
    problem, runs, expected = one_by_one
    agrees(Plan(compiled=True), problem, runs[:1], expected)


def test_a_study_asked_to_compile_compiles_every_run(line, monkeypatch):
    compiled = []
    monkeypatch.setattr(ways, "has_compiler", lambda device: True)
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    study = steepest.compare(line, "sgd", lrs=0.1, seeds=3, schedules="constant", plan="one:compiled", store=":memory:")
    assert len(compiled) == study.result.trained == 3
    assert study.result.plan.startswith("one by one, compiled")
    asked = {"optimizers": "sgd", "lrs": 0.1, "seeds": 2, "plan": "one:compiled", "store": ":memory:"}
    with pytest.raises(SteepestError, match="one:compiled does not support dropout"):
        steepest.compare(problem_of("dropout"), **asked)
    monkeypatch.setattr(ways, "has_compiler", lambda device: False)
    with pytest.raises(SteepestError, match=r"one:compiled needs a C\+\+ compiler"):
        steepest.compare(line, **asked)


def test_chunks_train_in_processes_time_after_time_and_count_every_gradient():
    problem, runs = problem_of("linear stack"), thirty_two(5)[:8]
    expected = dict(train_all(problem, runs, Plan(4, 1)))
    for _ in range(3):
        counted = []
        found = dict(train_all(problem, runs, Plan(4, 2), on_step=counted.append))
        assert {i: o.curve.train for i, o in found.items()} == {i: o.curve.train for i, o in expected.items()}
        assert sum(counted) == sum(run.steps for run in runs)
        assert not multiprocessing.active_children()


def test_gradients_left_out_after_a_divergence_are_counted_at_its_end(line):
    runs = [Run(rules.get("sgd"), lr, 0, 40) for lr in (0.1, 1e6)]
    for plan in (Plan(), Plan(1, 2), Plan(2, 1)):
        counted = []
        found = dict(train_all(line, runs, plan, on_step=counted.append))
        assert found[1].diverged_at is not None
        assert sum(counted) == 80


def test_chunks_given_up_end_at_once():
    problem, runs = problem_of("linear stack"), [dataclasses.replace(run, steps=10**6) for run in thirty_two(5)[:8]]

    def enough(steps):
        if steps:
            raise OutOfTimeError

    began = time.perf_counter()
    with pytest.raises(OutOfTimeError):
        list(train_all(problem, runs, Plan(4, 2), on_step=enough))
    assert time.perf_counter() - began < 30  # a chunk would take many minutes
    assert not multiprocessing.active_children()


def test_running_out_of_memory_halves_the_chunk_and_goes_on(monkeypatch):
    problem, runs = problem_of("linear stack"), thirty_two(5)[:8]
    original, sizes = StackedRuns.__init__, []

    def limited(self, problem, runs, device="cpu"):
        sizes.append(len(runs))
        if len(runs) > 3:
            raise torch.OutOfMemoryError("out of memory")
        original(self, problem, runs, device)

    monkeypatch.setattr(StackedRuns, "__init__", limited)
    found = dict(train_all(problem, runs, Plan(8, 1)))
    assert sorted(found) == list(range(8))
    assert max(sizes) > 3
    assert all(o.valid is not None for o in found.values())


GROWTH = """
import resource, sys
from dataclasses import replace
from steepest_workshop.bench.models import problem_of
from steepest_workshop.bench.train import runs_of
from steepest.training import ways

def peak():
    own, largest = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(own, largest) * 1024

problem, bound = problem_of("mnist-mlp"), int(sys.argv[1])
list(ways.train_all(problem, [replace(run, steps=2) for run in runs_of(2, 1)], ways.Plan()))
base = peak()
for count in (1, 10, 100, 1000):
    runs = [replace(run, steps=1) for run in runs_of(count, min(4, count))]
    plan = ways.fitted(ways.choose(problem, runs, memory=bound), problem, bound)
    assert len(list(ways.train_all(problem, runs, plan))) == count
    print(count, plan.workers * (peak() - base), plan.chunk)
    asked = ways.fitted(ways.named("many:1000"), problem, bound)
    assert asked.chunk < 1000
"""


def test_memory_stays_within_the_bound_from_one_to_a_thousand_runs():
    bound = 320 * 2**20
    shown = subprocess.run([sys.executable, "-c", GROWTH, str(bound)], capture_output=True, text=True, timeout=300)
    assert shown.returncode == 0, shown.stderr
    rows = [[int(x) for x in line.split()] for line in shown.stdout.splitlines()]
    assert [row[0] for row in rows] == [1, 10, 100, 1000]
    assert all(grown < bound for _, grown, _ in rows), rows


def test_a_study_trained_together_equals_one_trained_one_by_one_and_resumes(tmp_path, line):
    studies, asked = {}, {"optimizers": "sgd,adam", "schedules": "constant", "seeds": 3, "trials": 3, "steps": 20}
    for plan in ("one", "many:8"):
        store = str(tmp_path / f"{plan[:4]}.db")
        studies[plan] = steepest.compare(line, **asked, plan=plan, store=store)
    a, b = (s.result.entries for s in studies.values())
    assert [e.candidate.label for e in a] == [e.candidate.label for e in b]
    for x, y in zip(a, b, strict=True):
        assert x.lr == y.lr
        np.testing.assert_allclose(x.values, y.values, rtol=1e-4)
    again = steepest.compare(line, **asked, plan="many:8", store=store)
    assert again.result.trained == 0
    with sqlite3.connect(store) as db:
        count = db.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
    assert count == studies["many:8"].result.trained


def test_hyperparameters_of_a_run_are_its_own_every_way(line):
    given = [{"eps": 1e-8}, {"eps": 0.5}, {"beta1": 0.5, "beta2": 0.9}]
    runs = [Run(rules.get("adam"), 0.05, 0, 20, hyper=hyper) for hyper in given]
    curves = {}
    for plan in (Plan(), Plan(1, 2), Plan(3, 1)):
        found = dict(train_all(line, runs, plan))
        curves[plan] = np.array([found[i].curve.valid for i in range(3)])
    first, *others = curves.values()
    for other in others:
        np.testing.assert_allclose(first, other, rtol=1e-5)
    assert len({row[-1] for row in first.tolist()}) == 3


def test_a_chunk_that_falls_apart_counts_its_gradients_once(monkeypatch):
    problem, runs = problem_of("linear stack"), thirty_two(5)[:4]

    def apart(self, *_):
        raise NotStackableError("not these")

    monkeypatch.setattr(StackedRuns, "train", apart)
    for workers in (1, 2):
        counted = []
        assert len(dict(train_all(problem, runs, Plan(4, workers), on_step=counted.append))) == 4
        assert sum(counted) == sum(run.steps for run in runs)


def test_what_a_step_holds_on_to_is_measured_and_let_go(line):
    made = []

    class Told(nn.Sequential):
        def forward(self, x):
            y = super().forward(x)
            made.append(weakref.ref(y))
            return y

    model = Told(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1), nn.Sigmoid())
    # the outputs of Tanh and Sigmoid for 8 examples, at least
    assert activation_bytes(line, model) >= 8 * 17 * 4
    gc.collect()
    assert made[0]() is None


BOUNDED = """
import resource, sys, torch, steepest
from torch import nn
x = torch.randn(256, 64, generator=torch.Generator().manual_seed(0))
problem = steepest.Problem(
    model=lambda: nn.Sequential(nn.Linear(64, 3000), nn.ReLU(), nn.Linear(3000, 10)), loss=nn.CrossEntropyLoss(),
    train=(x, torch.arange(256) % 10), valid=(x, torch.arange(256) % 10), batch_size=32,
)
asked = {"optimizers": "sgd,momentum,adam", "lrs": 0.01, "seeds": 40, "steps": 2, "schedules": "constant", "plan": "many:128"}
steepest.compare(problem, **{**asked, "seeds": 2, "plan": "many:2"}, store=":memory:")  # what is loaded only once
here, held = (int(pages) * resource.getpagesize() for pages in open("/proc/self/statm").read().split()[:2])
resource.setrlimit(resource.RLIMIT_AS, (here + (300 + 200) * 2**20,) * 2)
study = steepest.compare(problem, **asked, memory=sys.argv[1], store=":memory:")
print(study.result.trained, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024 - held // 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the address space is bounded and measured by Linux")
def test_the_memory_that_is_promised_is_enough_where_the_system_gives_no_more(tmp_path):
    """300 MiB, plus 200 for threads and allocators. Two processes take at most 150 each; with 128 runs each they take 265."""
    done = subprocess.run([sys.executable, "-c", BOUNDED, "300MiB"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    trained, taken = map(int, done.stdout.split())
    assert trained == 120
    assert taken <= 150
