"""Parameters that stand for memory elsewhere: shards of FSDP2 and tensor parallelism, and other wrappers."""

import os
import socket

import pytest
import torch
from torch.testing._internal.two_tensor import TwoTensor

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.update import kernel
from steepest.update.optimizer import build

FEW = ["momentum", "adamw", "madgrad", "schedule_free_adamw"]
COMPOSED = {
    "noisy": lambda: rules.noisy(rules.get("momentum"), noise=0.3, sign_noise=0.1),
    "lookahead": lambda: rules.lookahead(rules.get("momentum")),
    "switch": lambda: rules.switch(rules.get("adam"), rules.get("momentum"), at=3),
}
ALL = [name for name, rule in rules.RULES.items() if rule.is_ours and rule.reach == "element"] + list(COMPOSED)
FAR = ["lamb", "adai", "adafactor", "muon", "sam"]
SHAPES = ((6, 4), (5,), (4, 3))
TOLERANCE = 1e-10  # one rounding is 1e-16, a gradient of the wrong shard 1e-2


def rule_of(name):
    return COMPOSED[name]() if name in COMPOSED else rules.get(name)


def values(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def train(name, lay):
    """Eight steps of parameters laid out by `lay(values, index)`."""
    params = [torch.nn.Parameter(lay(x, i)) for i, x in enumerate(values(0))]
    optimizer = build(rule_of(name), params, lr=0.02)
    for k in range(8):
        for i, (p, x) in enumerate(zip(params, values(100 + k), strict=True)):
            p.grad = lay(x, i)
        optimizer.step()
    return params, optimizer


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


def compare_shards(names):
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

    mesh = init_device_mesh("cpu", (2,))
    layouts = (Shard(0), Shard(0), Replicate())  # the second does not divide evenly

    def shard(x, i):
        return distribute_tensor(x, mesh, [layouts[i]])

    for name in names:
        params, optimizer = train(name, shard)
        whole, other = train(name, lambda x, i: x)
        assert (optimizer.engine, other.engine) == ("plain", "kernel")
        for p, q in zip(params, whole, strict=True):
            torch.testing.assert_close(p.detach().full_tensor(), q.detach(), rtol=TOLERANCE, atol=TOLERANCE)
    for name in FAR:
        with pytest.raises(SteepestError, match=r"shape \(6, 4\) is sharded: what it sums is not yet summed over the mesh"):
            train(name, shard) if name != "sam" else sam_of(shard)


def sam_of(shard):
    p = torch.nn.Parameter(shard(values(0)[0], 0))
    p.grad = shard(values(1)[0], 0)
    steepest.optim.SAM([p]).step(lambda: 0.0)


def test_shards_take_the_numbers_of_the_whole_and_what_looks_far_refuses_them():
    in_two_processes(compare_shards, FEW)


@pytest.mark.slow
def test_shards_take_the_numbers_of_the_whole_with_every_rule():
    in_two_processes(compare_shards, ALL)


def compare_models():
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
        optimizer = steepest.optim.AdamW(model.parameters(), lr=0.05)
        for k in range(6):
            x = torch.randn(8, 4, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()
        found = [p.detach() for p in model.parameters()]
        ends[name] = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in found]
    for name in ("fsdp", "parallel"):
        for p, q in zip(ends[name], ends["whole"], strict=True):
            torch.testing.assert_close(p, q, rtol=TOLERANCE, atol=TOLERANCE)


def test_fsdp2_and_tensor_parallelism_train_as_one_process_does():
    in_two_processes(compare_models)


def test_another_wrapper_runs_plain_and_gets_each_partys_numbers():
    """TwoTensor holds two tensors and has no memory itself; it computes on both."""

    def lay(x, i):
        return TwoTensor(x.clone(), -x)

    params, optimizer = train("adam", lay)
    whole, _ = train("adam", lambda x, i: x)
    mirrored, _ = train("adam", lambda x, i: -x)
    assert optimizer.engine == "plain"
    for p, a, b in zip(params, whole, mirrored, strict=True):
        torch.testing.assert_close(p.a, a.detach(), rtol=TOLERANCE, atol=TOLERANCE)
        torch.testing.assert_close(p.b, b.detach(), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("mark", ["_is_flat_param", "_fsdp_flattened"])
def test_shards_of_the_first_fsdp_are_refused_by_what_looks_far(mark):
    p = torch.nn.Parameter(torch.ones(6))
    setattr(p, mark, True)
    p.grad = torch.ones(6)
    with pytest.raises(SteepestError, match=r"LAMB looks over a whole tensor, and a parameter of shape .* is sharded"):
        steepest.optim.LAMB([p]).step()
    steepest.optim.AdamW([p]).step()


class Named(torch.nn.Parameter):
    """A subclass that is memory like any other."""


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
        (torch.ones(3, dtype=torch.complex64).conj().imag, False),  # its memory holds the negative
        (torch._efficientzerotensor(3), False),
    ],
    ids=lambda x: "" if isinstance(x, bool) else type(x).__name__,
)
def test_the_kernels_take_only_memory_that_was_checked(tensor, fits):
    assert kernel.is_memory(tensor) is fits


def test_a_later_gradient_of_another_kind_is_not_read_as_the_first(monkeypatch):
    """After a first step that a kernel took, a negated view or another dtype gives what torch's operations give."""
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
