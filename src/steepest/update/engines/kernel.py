"""CPU kernels: each pass of a traced rule is compiled by LLVM to one in-place loop over memory.

A kernel takes a table with a row for each chunk of a tensor: the addresses of p, g and state, and the index of its set of
numbers (computed in float64, rounded once). So one call updates one large tensor, a thousand small ones, or as many runs;
threads share the rows; a changed rate compiles nothing.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...rules.symbols import Expr, Symbol
from ...rules.trace import Graph
from ..numbers import Index, Known, Numbers, numeric
from ..work import Work, is_memory
from .choose import register
from .llvm.compiler import load
from .llvm.loops import BLOCK, source

CHUNK = 1 << 17  # elements in a row of the table at most
SHORT = 1 << 13  # elements in a row that is summed: so few that a sum in float32 is as good as its terms
ALONE = 1 << 17  # elements below which one thread is used
TYPES = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "bfloat"}


@dataclass(frozen=True)
class Program:
    """A compiled pass: the letters of its slots, the function that computes the numbers of a row, and its entry points."""

    slots: list[str]
    numbers: Callable[[Known], list[Any]]
    count: int
    sums: int
    part: Any
    team: int


def shared_dtypes(tensors: list[torch.Tensor]) -> tuple[torch.dtype, ...] | None:
    """The dtypes of the tensors of one parameter, p first; None where the kernels cannot update it.

    All must be dense memory on the CPU, with elements in the same order.
    """
    if not all(map(is_memory, tensors)):
        return None
    p = tensors[0]
    for t in tensors:
        alike = t.stride() == p.stride() or (p.is_contiguous() and t.is_contiguous())
        if t.dtype not in TYPES or t.shape != p.shape or not alike:
            return None
    return tuple(t.dtype for t in tensors) if torch.ops.aten.is_non_overlapping_and_dense(p) else None


class _Threads:
    """Runs the parts of a table on torch's own threads where they are OpenMP's, else on a pool.

    torch's threads spin for a while after their work; a second team would compete with them for the same cores.
    """

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None
        self.forked = False
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self.pool, self.forked = None, True  # OpenMP's threads do not outlive a fork

    @functools.cached_property
    def openmp(self) -> Any:
        """OpenMP's call to run a function on a team, and the addresses of its queries for a thread's number and count."""
        try:
            library = ctypes.CDLL(None)
            run = library.GOMP_parallel
            queries = [getattr(library, f"omp_get_{x}") for x in ("thread_num", "num_threads")]
            addresses = [ctypes.cast(query, ctypes.c_void_p).value for query in queries]
        except (AttributeError, OSError, TypeError):
            return None
        run.argtypes, run.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
        return run, *addresses

    def run(self, program: Program, parts: int, block: int) -> None:
        if parts == 1:
            program.part(0, block)
        elif self.openmp and not self.forked:
            self.openmp[0](program.team, block, parts, 0)
        else:
            if self.pool is None:
                self.pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="steepest")
            waiting = [self.pool.submit(program.part, k, block) for k in range(1, parts)]
            program.part(0, block)
            for part in waiting:
                part.result()


_threads = _Threads()
_entry = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)


@functools.lru_cache(64)
def _rows(sizes: bytes, chunk: int, threads: int) -> tuple[Index, Index, Index, Index]:
    """Rows for tensors of these sizes: the tensor, first element and length of each, and where each thread's rows begin."""
    elements = np.frombuffer(sizes, np.int64)
    counts = -(-elements // chunk)
    tensor = np.repeat(np.arange(len(elements)), counts)
    begin = (np.arange(len(tensor)) - np.repeat(np.cumsum(counts) - counts, counts)) * chunk
    length = np.minimum(elements[tensor] - begin, chunk)
    if elements.sum() < ALONE:
        threads = 1
    done = np.cumsum(length)
    cuts = [0, *(int(np.searchsorted(done, done[-1] * k / threads)) for k in range(1, threads)), len(tensor)]
    return tensor, begin, length, np.array([a for a, b in itertools.pairwise(cuts) if b > a] + [len(tensor)], np.int64)


class Table:
    """The arrays that a compiled pass reads to run over the tensors of a work, and the block of their addresses."""

    def __init__(self, program: Program, work: Work, known: Known) -> None:
        self.program = program
        self.threads = torch.get_num_threads()
        sizes = np.ascontiguousarray(work.sizes).tobytes()
        shares = int(work.sizes.sum()) // (8 * self.threads)  # rows small enough that the threads end together
        chunk = SHORT if program.sums else min(CHUNK, max(SHORT, shares // SHORT * SHORT))
        self.tensor, self.begin, self.length, self.cuts = _rows(sizes, chunk, self.threads)
        self.parts = len(self.cuts) - 1
        if work.graph.reductions and not program.sums:  # start with what the previous pass read last, which is in the cache
            order = np.concatenate([np.arange(a, b)[::-1] for a, b in itertools.pairwise(self.cuts)] or [self.tensor])
            self.tensor, self.begin, self.length = (
                np.ascontiguousarray(x[order]) for x in (self.tensor, self.begin, self.length)
            )
        self.which = np.zeros(len(work), np.int64) if known.rows == 1 else np.arange(len(work))
        self.numbers = np.zeros((known.rows, program.count))
        self.out = np.zeros((len(self.tensor), program.sums))
        self.pointers = np.zeros((len(program.slots), len(work)), np.int64)
        self.seen: list[Index | None] = [None] * len(program.slots)
        fields: dict[str, Any] = {**vars(self), "tensors": len(work), "thread": 0, "threads": 0}
        if _threads.openmp:
            fields["thread"], fields["threads"] = _threads.openmp[1:]
        addresses = [f.ctypes.data if isinstance(f := fields[name], np.ndarray) else f for name in BLOCK]
        self.block = np.array(addresses, np.int64)
        self.address = self.block.ctypes.data

    def run(self, work: Work, known: Known) -> None:
        """Fill in the addresses and numbers that changed since the last step, and run."""
        for k, letter in enumerate(self.program.slots):
            addresses = work.tensors[letter].addresses
            if addresses is not self.seen[k]:
                self.pointers[k] = addresses
                self.seen[k] = addresses
        values = self.program.numbers(known)
        if known.rows == 1:
            self.numbers[0] = values
        else:
            for k, value in enumerate(values):
                self.numbers[:, k] = value
        if self.parts:
            _threads.run(self.program, self.parts, self.address)


_programs: dict[tuple[Any, ...], tuple[Any, Program]] = {}


class Kernel:
    """The passes of an update by compiled kernels, for tensors that have `shared_dtypes`."""

    name = "kernel"

    reads_memory = True
    wave = 1 << 21

    def takes(self, graph: Graph, tensors: Sequence[torch.Tensor]) -> Hashable:
        """The dtypes of dense tensors; None for others, and where a rule looks at rows and columns."""
        return shared_dtypes(list(tensors)) if graph.elementwise else None

    @staticmethod
    def program(work: Work, targets: Mapping[str, Expr], sums: Sequence[Symbol], written: dict[Symbol, str]) -> Program:
        """The compiled pass that writes the targets and takes the sums; cached in the process and on disk."""
        dtypes = {letter: column.first.dtype for letter, column in work.tensors.items()}
        key = id(work.graph), *map(id, targets.values()), *map(id, sums), *dtypes.values()
        if key not in _programs:
            type_ = "double" if dtypes["p"] is torch.float64 else "float"
            text, body = source(type_, targets, sums, {k: TYPES[d] for k, d in dtypes.items()}, written)
            part, team = load(text, "part", "team")
            program = Program(body.slots, numeric(body.numbers), len(body.numbers), len(sums), _entry(part), team)
            _programs[key] = work.graph, program
        return _programs[key][1]

    @staticmethod
    def _early(work: Work) -> dict[str, Symbol]:
        """The state that the first pass writes: of the dtype that is computed in, so that no later pass reads a rounded one."""
        if "early" not in work.scratch:
            exact = torch.float64 if work.tensors["p"].first.dtype is torch.float64 else torch.float32
            work.scratch["early"] = {k: x for k, x in work.graph.early.items() if work.tensors[k].first.dtype is exact}
        return work.scratch["early"]  # type: ignore[no-any-return]

    def _run(self, work: Work, targets: Mapping[str, Expr], sums: Sequence[Symbol], known: Known, first: bool) -> Table:
        key = *targets.items(), *sums, known.rows  # a letter may be written twice: to a point, then to the end
        table: Table | None = work.scratch.get(key)
        if table is None or table.threads != torch.get_num_threads():
            written = {} if first else {x: letter for letter, x in self._early(work).items()}
            table = work.scratch[key] = Table(self.program(work, targets, sums, written), work, known)
        table.run(work, known)
        return table

    def reduce(self, work: Work, symbols: Sequence[Symbol], known: Known) -> Numbers:
        """The sum of each reduction's terms over the elements of each tensor, (tensors, symbols).

        The first pass writes the state that it can, so that later ones read less.
        """
        first = symbols[0].args[0].stage == 0
        table = self._run(work, self._early(work) if first else {}, symbols, known, first)
        return np.stack([np.bincount(table.tensor, column, len(work)) for column in table.out.T], axis=1)

    def write(self, work: Work, targets: Mapping[str, Expr], known: Known) -> None:
        """Write each target, by letter, to p or state."""
        if work.graph.reductions:
            targets = {k: x for k, x in targets.items() if k not in self._early(work)}
        self._run(work, targets, [], known, first=not work.graph.reductions)


register(Kernel())
