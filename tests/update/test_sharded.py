"""Several processes: replicas, FSDP2 shards and tensor parallelism; and other parameters without memory of their own."""

import copy
import itertools
import os
import socket
from pathlib import Path

import pytest
import torch
from torch.testing._internal.two_tensor import TwoTensor

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.update.engines import kernel
from steepest.update.torch_class.optimizer import build

FEW = ["momentum", "adafactor", "lamb", "sam", "schedule_free_adamw", "noisy", "noisy muon"]
COMPOSED = {
    "noisy": lambda: rules.noisy(rules.get("momentum"), noise=0.3, sign_noise=0.1),
    "noisy muon": lambda: rules.noisy(rules.get("muon"), noise=0.3),
    "lookahead": lambda: rules.lookahead(rules.get("momentum")),
    "switch": lambda: rules.switch(rules.get("adam"), rules.get("momentum"), at=3),
    "clipped": lambda: rules.clip_by_norm(rules.get("adamw")),
    "sam of lamb": lambda: rules.sam(rules.get("lamb")),
}
ALL = [name for name, rule in rules.RULES.items() if rule.is_ours] + list(COMPOSED)
SHAPES = ((6, 4), (5,), (4, 3), (1,))
TOLERANCE = 1e-10  # one rounding is 1e-16, the gradient of a wrong shard 1e-2


def rule_of(name):
    return COMPOSED[name]() if name in COMPOSED else rules.get(name)


def values(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in SHAPES]


class Model(torch.nn.Module):
    """Parameters distributed by `lay(values, index)`."""

    def __init__(self, lay, dtype=torch.float64, seed=0):
        super().__init__()
        self.lay = lay
        for i, x in enumerate(values(seed, dtype)):
            self.register_parameter(f"p{i}", torch.nn.Parameter(lay(x, i)))


def build_for(name, model):
    return build(rule_of(name), model.parameters(), lr=0.02)


def train(model, optimizer, steps):
    """Take steps on gradients that depend on the parameters."""
    params = list(model.parameters())
    for k in steps:

        def closure(k=k):
            for i, (p, x) in enumerate(zip(params, values(100 + k, params[0].dtype), strict=True)):
                p.grad = model.lay(x, i) + 0.3 * p.detach()

        closure()
        optimizer.step(closure if optimizer.rule.oracle else None)


def trained(name, lay, dtype=torch.float64, steps=8):
    model = Model(lay, dtype)
    optimizer = build_for(name, model)
    train(model, optimizer, range(steps))
    return model, optimizer


def as_it_is(x, i):
    return x


def assert_same(model, other, tolerance=TOLERANCE):
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        p, q = (x.detach().full_tensor() if hasattr(x, "full_tensor") else x.detach() for x in (p, q))
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)


def process(rank, work, port, *arguments):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    try:
        work(*arguments)
    finally:
        torch.distributed.destroy_process_group()


def in_two_processes(work, *arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(process, (work, port, *arguments), nprocs=2)


def in_turn(folder):
    """Run the cases of the default tier in one process, and write which of them passed."""
    for work in (compare_shards, compare_checkpoints, compare_odd_gradients, compare_models, compare_replicas, compare_resumed):
        work(FEW, folder)
        (Path(folder) / f"{work.__name__}-{torch.distributed.get_rank()}").touch()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two processes that run all cases, since they take longer to start; `pair(work)` raises the error of a case."""
    folder, stopped = tmp_path_factory.mktemp("pair"), []
    try:
        in_two_processes(in_turn, str(folder))
    except Exception as error:
        stopped.append(error)

    def ended(work):
        if not all((folder / f"{work.__name__}-{rank}").exists() for rank in (0, 1)):
            raise stopped[0]

    return ended


def sharding():
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

    mesh = init_device_mesh("cpu", (2,))
    layouts = Shard(0), Shard(0), Replicate(), Shard(0)  # the second divides unevenly, the last is missing in one process

    def shard(x, i):
        return distribute_tensor(x, mesh, [layouts[i]])

    return shard


def compare_shards(names, folder):
    """In the kernels, unless the rule uses rows, to 1e-10 after eight steps; in float32, to its rounding after one."""
    shard = sharding()
    for name in names:
        model, optimizer = trained(name, shard)
        whole, other = trained(name, as_it_is)
        looks = not all(part.work.graph.elementwise for part in other._layout.parts)
        assert (optimizer.engine == "kernel") is not looks, name
        assert_same(model, whole)
        ends = [trained(name, lay, torch.float32, steps=1)[0] for lay in (shard, as_it_is)]
        assert_same(*ends, tolerance=1e-6)  # a few roundings of float32


def test_shards_take_the_numbers_of_the_whole(pair):
    pair(compare_shards)


@pytest.mark.slow
def test_shards_take_the_numbers_of_the_whole_with_every_rule(tmp_path):
    in_two_processes(compare_shards, ALL, str(tmp_path))


def compare_checkpoints(names, folder):
    """Trained in shards and saved, loaded unsharded, trained further; and the reverse."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_model_state_dict,
        get_optimizer_state_dict,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    shard = sharding()

    def state_of(model, optimizer):
        return {"model": get_model_state_dict(model), "optimizer": get_optimizer_state_dict(model, optimizer)}

    for number, name in enumerate(names):
        straight, _ = trained(name, as_it_is, steps=7)
        for lay, other in ((shard, as_it_is), (as_it_is, shard), (shard, shard)):
            place = f"{folder}/{number}-{lay.__name__}-{other.__name__}"
            dcp.save(state_of(*trained(name, lay, steps=4)), checkpoint_id=place)
            model = Model(other, seed=1)
            optimizer = build_for(name, model)
            state = state_of(model, optimizer)
            dcp.load(state, checkpoint_id=place)
            set_model_state_dict(model, state["model"])
            set_optimizer_state_dict(model, optimizer, state["optimizer"])
            train(model, optimizer, range(4, 7))
            assert_same(model, straight)
        full = StateDictOptions(full_state_dict=True)
        model, optimizer = trained(name, shard, steps=4)
        found = get_model_state_dict(model, options=full), get_optimizer_state_dict(model, optimizer, options=full)
        keeps = any(t.dim() for store in found[1]["state"].values() for t in store.values())
        for lay in (shard, as_it_is) if keeps else ():  # torch cannot load an optimizer without state in this way
            model = Model(lay, seed=1)
            optimizer = build_for(name, model)
            weights, state = copy.deepcopy(found)  # torch distributes its argument in place
            set_model_state_dict(model, weights, options=full)
            set_optimizer_state_dict(model, optimizer, state, options=full)
            train(model, optimizer, range(4, 7))
            assert_same(model, straight)


def test_a_checkpoint_of_shards_is_loaded_whole_and_the_other_way_round(pair):
    pair(compare_checkpoints)


@pytest.mark.slow
def test_a_checkpoint_of_shards_is_loaded_whole_and_the_other_way_round_with_every_rule(tmp_path):
    in_two_processes(compare_checkpoints, ALL, str(tmp_path))


def compare_odd_gradients(names, folder):
    """Partial sums, gradients in another layout, and a mesh of two dimensions."""
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor, init_device_mesh

    mesh = init_device_mesh("cpu", (2,))
    for name in ("lamb", "adamw", "muon", "clipped"):
        whole, _ = trained(name, as_it_is)

        def partial(x, i):
            return distribute_tensor(x, mesh, [Replicate()])

        model = Model(partial)
        optimizer = build_for(name, model)
        for k in range(8):
            for i, (p, x) in enumerate(zip(model.parameters(), values(100 + k), strict=True)):
                own = (partial(x, i) + 0.3 * p.detach()).to_local()
                p.grad = DTensor.from_local(own * (0.25 if torch.distributed.get_rank() else 0.75), mesh, [Partial()])
            optimizer.step()
        assert_same(model, whole)
    layouts = ([Shard(0), Replicate()], [Replicate(), Shard(0)])
    for shape, placements in itertools.product(((2, 1), (1, 2)), layouts):
        flat = init_device_mesh("cpu", shape)
        for name in ("lamb", "clipped", "noisy", "adafactor"):
            model, _ = trained(name, lambda x, i, flat=flat, placements=placements: distribute_tensor(x, flat, placements))
            assert_same(model, trained(name, as_it_is)[0])
    p = torch.nn.Parameter(distribute_tensor(torch.ones(3, 4, dtype=torch.float64), mesh, [Shard(0)]))
    rows = 2 - torch.distributed.get_rank()
    optimizer = build(rules.get("lamb"), [p])
    p.grad = DTensor.from_local(torch.ones(4, rows, dtype=torch.float64).T, mesh, [Shard(0)], shape=(3, 4), stride=(4, 1))
    optimizer.step()
    assert optimizer.engine == "kernel"


def test_sums_to_be_made_odd_memory_and_meshes_of_two_dimensions(pair):
    pair(compare_odd_gradients)


def compare_models(names, folder):
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (2,))
    layouts = {
        "fsdp": lambda model: fully_shard(model, mesh=mesh),
        "parallel": lambda model: parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()}),
        "whole": lambda model: model,
    }
    ends = {}
    for name, lay in layouts.items():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
        lay(model)
        optimizer = steepest.optim.from_rule(rules.clip_by_norm(rules.get("adamw"), 0.3))(model.parameters(), lr=0.05)
        for k in range(6):
            x = torch.randn(8, 4, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()
        assert optimizer.engine == "kernel"
        found = [p.detach() for p in model.parameters()]
        ends[name] = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in found]
    for name in ("fsdp", "parallel"):
        for p, q in zip(ends[name], ends["whole"], strict=True):
            torch.testing.assert_close(p, q, rtol=TOLERANCE, atol=TOLERANCE)


def test_fsdp2_and_tensor_parallelism_train_as_one_process_does(pair):
    pair(compare_models)


def compare_replicas(names, folder):
    """DistributedDataParallel with one row in each process, against one process with both rows."""
    rank = torch.distributed.get_rank()
    ends = {}
    for name, lay, rows in (
        ("replicas", torch.nn.parallel.DistributedDataParallel, slice(rank, rank + 1)),
        ("whole", lambda model: model, slice(None)),
    ):
        torch.manual_seed(0)
        model = lay(torch.nn.Linear(3, 1))
        optimizer = steepest.optim.AdamW(model.parameters(), lr=0.1)
        for k in range(5):
            optimizer.zero_grad()
            (model(torch.arange(6.0).view(2, 3)[rows] + k) ** 2).mean().backward()
            optimizer.step()
        assert optimizer.engine == "kernel"
        ends[name] = [p.tolist() for p in model.parameters()]
    found = [None, None]
    torch.distributed.all_gather_object(found, ends["replicas"])
    assert found[0] == found[1]
    for mine, theirs in zip(ends["replicas"], ends["whole"], strict=True):
        torch.testing.assert_close(torch.tensor(mine), torch.tensor(theirs))


def test_it_trains_in_parallel_processes_as_one_process_would(pair):
    pair(compare_replicas)


def compare_resumed(names, folder):
    """FSDP2 and ZeroRedundancyOptimizer: after loading, they continue like one process; another class's state is rejected."""
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.optim import ZeroRedundancyOptimizer
    from torch.distributed.tensor import init_device_mesh

    mesh = init_device_mesh("cpu", (2,))

    def network():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()

    def steps(model, optimizer, numbers):
        for k in numbers:
            x = torch.randn(8, 4, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()

    def split(model, cls):
        return ZeroRedundancyOptimizer(model.parameters(), optimizer_class=cls, lr=0.05)

    for cls in (steepest.optim.AdamW, steepest.optim.LAMB, steepest.optim.ScheduleFreeAdamW):
        whole = network()
        steps(whole, cls(whole.parameters(), lr=0.05), range(6))

        model = network()
        optimizer = split(model, cls)
        steps(model, optimizer, range(3))
        optimizer.consolidate_state_dict(to=0)
        saved = [optimizer.state_dict() if torch.distributed.get_rank() == 0 else None]
        torch.distributed.broadcast_object_list(saved)
        again = split(model, cls)
        again.load_state_dict(saved[0])
        steps(model, again, range(3, 6))
        assert_same(model, whole)

        model = network()
        fully_shard(model, mesh=mesh)
        optimizer = cls(model.parameters(), lr=0.05)
        steps(model, optimizer, range(3))
        state = get_optimizer_state_dict(model, optimizer)
        again = cls(model.parameters(), lr=0.05)
        set_optimizer_state_dict(model, again, copy.deepcopy(state))
        steps(model, again, range(3, 6))
        assert_same(model, whole)
        with pytest.raises(SteepestError, match="The checkpoint is not one of Lion"):
            steepest.optim.Lion(model.parameters()).load_state_dict(optimizer.state_dict())


def test_split_states_are_saved_and_loaded_and_of_another_class_refused(pair):
    pair(compare_resumed)


def test_another_wrapper_runs_plain_and_gets_each_partys_numbers():
    """TwoTensor wraps two tensors, has no memory itself, and computes on both."""

    def lay(x, i):
        return TwoTensor(x.clone(), -x)

    model, optimizer = trained("adam", lay)
    whole, _ = trained("adam", as_it_is)
    mirrored, _ = trained("adam", lambda x, i: -x)
    assert optimizer.engine == "plain"
    for p, a, b in zip(*map(Model.parameters, (model, whole, mirrored)), strict=True):
        torch.testing.assert_close(p.a, a.detach(), rtol=TOLERANCE, atol=TOLERANCE)
        torch.testing.assert_close(p.b, b.detach(), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("mark", ["_is_flat_param", "_fsdp_flattened"])
def test_shards_of_the_first_fsdp_are_refused_by_what_looks_far(mark):
    p = torch.nn.Parameter(torch.ones(6))
    setattr(p, mark, True)
    p.grad = torch.ones(6)
    with pytest.raises(
        SteepestError, match=r"LAMB needs sums over a whole tensor, but FSDP1 splits parameters at arbitrary places"
    ):
        steepest.optim.LAMB([p]).step()
    steepest.optim.AdamW([p]).step()


class Named(torch.nn.Parameter):
    """A subclass with ordinary memory."""


@pytest.mark.parametrize(
    ("tensor", "fits"),
    [
        (torch.ones(3), True),
        (torch.ones(0), True),
        (torch.nn.Parameter(torch.ones(3)), True),
        (Named(torch.ones(3)), True),
        (TwoTensor(torch.ones(3), torch.ones(3)), False),
        (torch.ones(3, device="meta"), False),
        (torch.ones(3).to_sparse(), False),
        (torch.ones(3, 3).to_mkldnn(), False),
        (torch.ones(3, dtype=torch.complex64).conj().imag, False),  # its memory contains the negative
        (torch._efficientzerotensor(3), False),
    ],
    ids=lambda x: "" if isinstance(x, bool) else type(x).__name__,
)
def test_the_kernels_take_only_memory_that_was_checked(tensor, fits):
    assert kernel.is_memory(tensor) is fits


def test_a_later_gradient_of_another_kind_is_not_read_as_the_first(monkeypatch):
    """After a first step by a kernel, a negated view or another dtype gives the results of torch's operations."""
    turned = torch.tensor([1.0 + 2.0j, 3.0 - 1.0j, 0.5j]).conj().imag
    for odd in (turned, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)):
        ends = []
        for plain in (False, True):
            if plain:
                monkeypatch.setattr(kernel, "shared_dtypes", lambda tensors: None)
            p = torch.nn.Parameter(torch.ones(3))
            p.grad_dtype = None
            optimizer = steepest.optim.Adam([p], lr=0.1)
            for g in (torch.ones(3), odd, torch.ones(3)):
                p.grad = g
                optimizer.step()
            ends.append(p.detach())
        torch.testing.assert_close(*ends)
        monkeypatch.undo()
