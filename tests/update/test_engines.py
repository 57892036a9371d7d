"""Every engine for every rule against the NumPy oracle of its paper: varying gradients and rates, different groups."""

import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.rules.symbols import Symbol
from steepest.rules.trace import Graph
from steepest.rules.vocabulary import cbrt, power
from steepest.update.engines import kernel, plain
from steepest.update.engines.kernel import Kernel
from steepest.update.engines.llvm import compiler
from steepest.update.engines.plain import Plain
from steepest.update.many import ManyRuns
from steepest.update.state import initial_state
from steepest.update.step import advance
from steepest.update.work import Column, Work
from steepest_workshop import oracles
from tests import exact
from tests.cases import CASES, oracle_of, rule_of

STEPS = 100
SHAPES = ((3, 4), (5,), ())
GROUP = (0, 1, 1)
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5}


def workload(seed=0):
    """Starts, `grad(k, tensors)` and rates, float64. Gradients depend on the step and on the parameters."""
    rng = np.random.default_rng(seed)
    starts = [rng.standard_normal(shape) for shape in SHAPES]
    noise = [[rng.standard_normal(shape) * 10.0 ** rng.uniform(-1.5, 0.5) for shape in SHAPES] for _ in range(STEPS)]
    rates = list(0.02 * rng.uniform(0.2, 1, STEPS))

    def grad(k, tensors):
        return [np.asarray(n + 0.3 * p) for n, p in zip(noise[k], tensors, strict=True)]

    return starts, grad, rates


def expected(name, seed=0):
    starts, grad, rates = workload(seed)
    oracle, changed = oracle_of(name)
    return oracle(starts, grad, rates, [changed | CASES[name][g] for g in GROUP])


def run(name, engine, dtype, seed=0, gradients_at=None):
    """An engine's path on the workload; `gradients_at` are the oracle's points, at which float32 also takes its gradients."""
    rule = rule_of(name)
    starts, grad, rates = workload(seed)
    settings = [rule.settings(**CASES[name][g]) for g in GROUP]
    ps = [torch.tensor(p, dtype=dtype) for p in starts]
    graphs = [rule.graph(h, shape=p.shape) for h, p in zip(settings, starts, strict=True)]
    if rule.reach == "model":  # one work for all, of a graph that covers every group
        graphs = [rule.graph({k: max(h[k] for h in settings) for k in settings[0]})] * len(ps)
    works, path = [], []
    for k, lr in enumerate(rates):
        here = [p.double().numpy() for p in ps] if gradients_at is None or k == 0 else gradients_at[k - 1]
        gs = [torch.tensor(g, dtype=dtype) for g in grad(k, here)]
        if k == 0:
            members = [range(len(ps))] if rule.reach == "model" else [[i] for i in range(len(ps))]
            works = [
                (of, work_of(rule, graphs[of[0]], [(ps[i], gs[i], {**settings[i], "lr": lr}) for i in of])) for of in members
            ]
        for of, work in works:
            work.tensors["g"] = Column([gs[i] for i in of])
            work.numbers |= {"t": float(k + 1), "lr": np.full(len(work), lr)}
            advance(
                work,
                engine,
                lambda k=k: [torch.tensor(g, dtype=dtype) for g in grad(k, [p.double().numpy() for p in ps])],
            )
        path.append([p.double().numpy().copy() for p in ps])
    return path


def work_of(rule, graph, members):
    """The work for some tensors, each (p, g, hyperparameters) with its own numbers, before step 1."""
    states = [initial_state(rule, *member) for member in members]
    tensors = {"p": [p for p, _, _ in members], "g": [g for _, g, _ in members]}
    tensors |= {k: [s[k] for s in states] for k in graph.tensors if k != "p"}
    numbers = {k: np.array([h[k] for _, _, h in members], float) for k in graph.numbers if k in members[0][2]}
    numbers |= {k: np.array([s[k] for s in states], float) for k in graph.scalars}
    columns = {k: Column(v) for k, v in tensors.items()}
    return Work(graph, columns, numbers, apart=True)


@pytest.mark.parametrize("name", CASES)
def test_plain_equals_the_oracle_to_1e_12(name):
    for k, (ours, theirs) in enumerate(zip(run(name, Plain(), torch.float64), expected(name), strict=True)):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, err_msg=f"step {k + 1}")


def test_the_average_of_asgd_equals_the_oracle():
    rng = np.random.default_rng(0)
    start, gs, lrs = rng.standard_normal(5), rng.standard_normal((30, 5)), [0.05] * 30
    for hyper in ({"t0": 10.0}, {"t0": 0.0, "lambd": 0.1}):
        expected = oracles.asgd_view([start], lambda k, ps: [gs[k]], lrs, [hyper])
        p = torch.nn.Parameter(torch.from_numpy(start.copy()))
        optimizer = steepest.optim.ASGD([p], lr=0.05, **hyper)
        for k in range(30):
            p.grad = torch.from_numpy(gs[k])
            optimizer.step()
            np.testing.assert_allclose(optimizer.state[p]["ax"].numpy(), expected[k][0], rtol=1e-6)  # eta is float32 here


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_equals_the_oracle(name, dtype):
    if not rule_of(name).graph(rule_of(name).settings(), shape=(3, 4)).elementwise:
        pytest.skip("matrices run plain")
    path = expected(name)
    ours = run(name, Kernel(), dtype, gradients_at=path if dtype == torch.float32 else None)
    for k, (a, b) in enumerate(zip(ours, path, strict=True)):
        scale = max(np.abs(x).max() for x in b)
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale, err_msg=f"step {k + 1}")


@pytest.mark.usefixtures("processor", "two_threads")
@pytest.mark.parametrize("size", [1, 7, kernel.ALONE - 1, kernel.ALONE, kernel.CHUNK + 1, 3 * kernel.CHUNK + 5])
@pytest.mark.parametrize("name", ["adam", "lamb", "adai"])
def test_the_kernel_equals_plain_at_sizes_around_its_thresholds(name, size):
    rule = rules.get(name)
    hyper = rule.settings()
    generator = torch.Generator().manual_seed(size)
    p, g = (torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(2))
    pairs = []
    for engine in (Plain(), Kernel()):
        work = work_of(rule, rule.graph(hyper), [(q.clone(), h, hyper) for q, h in ((p, g), (p[:1], g[:1]))])
        for t in (1.0, 2.0):
            work.numbers["t"] = t
            advance(work, engine)
        pairs.append([t for letter, column in work.tensors.items() if letter != "g" for t in column.tensors])
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_many_runs_each_with_its_own_hyperparameters_and_rates_equal_the_oracle(name, dtype):
    """Four runs in one stack, each against an oracle; runs with different static hyperparameters are next to each other."""
    hypers = [CASES[name][seed % 2] for seed in range(4)]
    work = [workload(seed) for seed in range(4)]
    stacked = [torch.tensor(np.stack([starts[i] for starts, _, _ in work]), dtype=dtype) for i in range(len(SHAPES))]
    oracle, changed = oracle_of(name)
    paths = [oracle(starts, grad, lrs, [changed | h] * 3) for (starts, grad, lrs), h in zip(work, hypers, strict=True)]
    many = ManyRuns(rule_of(name), stacked, hypers)

    def here():
        return [[p[r].double().numpy().copy() for p in stacked] for r in range(4)]

    def gradients(k, points):
        found = [grad(k, point) for (_, grad, _), point in zip(work, points, strict=True)]
        return [torch.tensor(np.stack([g[i] for g in found]), dtype=dtype) for i in range(len(SHAPES))]

    for k in range(STEPS):
        at = here() if dtype == torch.float64 or k == 0 else [path[k - 1] for path in paths]
        many.step(gradients(k, at), [lrs[k] for _, _, lrs in work], ask=lambda k=k: gradients(k, here()))
        assert many.engine == ("kernel and plain" if name in ("muon", "adafactor") else "kernel")
        for ours, path in zip(here(), paths, strict=True):
            atol = TOLERANCE[dtype] * max(np.abs(x).max() for x in path[k])
            for a, b in zip(ours, path[k], strict=True):
                np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=atol, err_msg=f"step {k + 1}")


def test_a_run_that_is_nan_leaves_the_bits_of_its_neighbours():
    for name in ("adam", "lamb", "adai"):
        results = []
        for poison in (1.0, float("nan"), float("inf")):
            params = [torch.ones(3, 50, dtype=torch.float64), torch.ones(3, 7, dtype=torch.float64)]
            many = ManyRuns(rules.get(name), params, [{}] * 3)
            for _ in range(5):
                gradients = [torch.sin(p * torch.arange(1.0, p.shape[1] + 1)) for p in params]
                gradients[0][1] *= poison
                many.step(gradients)
            results.append([p[[0, 2]] for p in params])
        for other in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def compiled_during(work):
    before = compiler.compiled
    work()
    return compiler.compiled - before


def test_a_changed_rate_beta_or_step_compiles_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("STEEPEST_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel, "_programs", {})
    p = torch.nn.Parameter(torch.ones(5))
    optimizer = steepest.optim.Adam([p], lr=0.1)

    def step():
        p.grad = torch.ones(5)
        optimizer.step()

    assert compiled_during(step) == 1

    def change():
        for lr, betas, eps in ((0.2, (0.8, 0.9), 1e-3), (0.0, (0.0, 0.99), 0.0)):
            optimizer.param_groups[0].update(lr=lr, betas=betas, eps=eps)
            step()

    assert compiled_during(change) == 0
    assert optimizer.engine == "kernel"
    monkeypatch.setattr(kernel, "_programs", {})
    assert compiled_during(step) == 0  # from the disk


def test_a_folder_that_cannot_be_written_and_a_damaged_file_only_cost_time(tmp_path, monkeypatch):
    for folder in (tmp_path / "file", tmp_path / "kernels"):
        (tmp_path / "file").write_text("not a folder")
        monkeypatch.setenv("STEEPEST_CACHE", str(folder))
        for damage in (False, True):
            monkeypatch.setattr(kernel, "_programs", {})
            if damage and folder.is_dir():
                for file in folder.iterdir():
                    file.write_bytes(file.read_bytes()[:100])
            p = torch.nn.Parameter(torch.ones(5))
            p.grad = torch.ones(5)
            steepest.optim.SGD([p], lr=0.5).step()
            assert p.tolist() == [0.5] * 5


@pytest.mark.usefixtures("two_threads")
def test_kernels_work_in_a_forked_process_and_in_two_threads():
    size = 2 * kernel.ALONE

    def train(seed):
        p = torch.nn.Parameter(torch.zeros(size))
        optimizer = steepest.optim.Adam([p], lr=0.1)
        for k in range(20):
            p.grad = torch.full((size,), float(seed + k))
            optimizer.step()
        return p[0].item()

    expected = [train(seed) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(train, (0, 1))) == expected
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)  # as in a DataLoader's worker: torch's threads do not survive a fork
        os.write(write, repr(train(1)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert float(os.read(read, 100)) == expected[1]


@pytest.mark.usefixtures("processor")
def test_cube_root_is_within_two_ulp():
    x = torch.cat([torch.logspace(-37, 38, 40_001, dtype=torch.float64), torch.tensor([1.0, 8.0, 27.0])])
    for dtype, ulp in ((torch.float32, 2.0**-23), (torch.float64, 2.0**-52)):
        given = exact.points(torch.cat([x, -x]).to(dtype).double().numpy())
        found = cube_roots(torch.from_numpy(given).to(dtype)).double().numpy()
        assert exact.relative_errors(found, "cbrt", given).max() <= 2 * ulp
        special = cube_roots(torch.tensor([float("inf"), -float("inf"), float("nan"), 0.0], dtype=dtype))
        assert special[0] == float("inf")
        assert special[1] == -float("inf")
        assert special[2].isnan()
        assert special[3] == 0


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("exponent", [0.125, 0.5, 1 / 3, 1.0, 2.7, -0.25, 0.0])
def test_powers_are_as_close_as_the_documentation_says(exponent):
    for dtype, span in ((torch.float32, 37), (torch.float64, 300)):
        given = exact.points(torch.logspace(-span, span, 40_001, dtype=torch.float64).to(dtype).double().numpy())
        size = exponent * np.log2(given)
        given = given[(size > math.log2(torch.finfo(dtype).tiny)) & (size < math.log2(torch.finfo(dtype).max))]
        found = kernel_of(power, torch.from_numpy(given).to(dtype), exponent).double().numpy()
        error = exact.relative_errors(found, "power", given, exponent)
        assert error.max() <= 2 * torch.finfo(dtype).eps
        special = kernel_of(power, torch.tensor([0.0, 1.0, float("inf"), float("nan"), -1.0], dtype=dtype), exponent)
        expected = np.power([0.0, 1.0, np.inf], exponent) if exponent >= 0 else [np.inf, 1.0, 0.0]
        assert special[:3].tolist() == list(expected)
        assert special[4].isnan()
        assert special[3].isnan()


@pytest.mark.parametrize("function", ["cbrt", "power"])
def test_what_judges_the_kernels_is_more_exact_than_they_are(function, monkeypatch):
    """Long doubles agree with 50 digits to far below an ulp of float64; where they equal double, the digits are used."""
    given, exponent = np.logspace(-30, 30, 301), () if function == "cbrt" else (0.37,)
    rounded = getattr(np, function)(given, *exponent)
    errors = exact.relative_errors(rounded, function, given, *exponent)
    monkeypatch.setattr(exact, "LONG", False)
    np.testing.assert_allclose(exact.relative_errors(rounded, function, given, *exponent), errors, atol=2.0**-60)


def kernel_of(word, x, exponent):
    """A kernel's result for an operation, element by element."""
    p, g, y = Symbol("input", tensor=True, name="p"), Symbol("input", tensor=True, name="g"), Symbol("input", name="lr")
    graph = Graph({"p": p, "g": g, "lr": y}, {"p": word(g, y)})
    work = Work(graph, {"p": Column([torch.empty_like(x)]), "g": Column([x])}, {"lr": exponent})
    advance(work, Kernel())
    return work.tensors["p"][0]


def cube_roots(x):
    @rules.rule("test")
    def roots(p, g, t, *, lr=1.0):
        return cbrt(g) * lr

    del rules.RULES["roots"]
    work = plain.of_one(roots, torch.empty_like(x), x, 1, {}, roots.settings())
    advance(work, Kernel())
    return work.tensors["p"][0]


def test_what_is_not_the_kernels_runs_plain_and_is_right():
    for make in (lambda: torch.ones(8, 6)[:, ::2], lambda: torch.ones(5, dtype=torch.float16)):
        mine, twin = torch.nn.Parameter(make()), torch.nn.Parameter(make())
        optimizers = steepest.optim.Adam([mine], lr=0.1), torch.optim.Adam([twin], lr=0.1)
        for k in range(3):
            for q, optimizer in zip((mine, twin), optimizers, strict=True):
                q.grad = torch.full_like(q, k + 0.5)
                optimizer.step()
        assert optimizers[0].engine == "plain"
        torch.testing.assert_close(mine, twin)


def test_sam_needs_a_closure_and_schedule_free_shows_its_view():
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    with pytest.raises(SteepestError, match=r"SAM needs gradients at two points; call step\(closure\)"):
        steepest.optim.SAM([p], lr=0.1).step()
    optimizer = steepest.optim.ScheduleFreeAdamW([p], lr=0.1)
    for _ in range(3):
        optimizer.step()
    trained = p.detach().clone()
    optimizer.eval()
    assert torch.equal(p, optimizer.state[p]["x"])
    assert not torch.equal(p, trained)
    optimizer.train()
    assert torch.equal(p, trained)
