"""The CPU kernels: a pass of a traced rule compiled by LLVM to one loop over memory, in place.

A kernel takes a table with a row for each run of up to `CHUNK` elements: where each of its tensors lies, how long it is, and
the numbers of this step (computed in float64, rounded once). So one call serves one large tensor, a thousand small ones,
or as many runs; threads share the rows; a changed rate compiles nothing. Compiled code is kept on disk.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import math
import os
import struct
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..rules.symbols import CONDITIONS, Symbol
from ..rules.trace import Graph
from .plain import Item, evaluate

CHUNK = 1 << 17  # elements in a row of the table
ALONE = 1 << 16  # elements below which one thread does all
TYPES = {torch.float32: "float", torch.float64: "double"}

_ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_COMPARISON = {"gt": "ogt", "lt": "olt", "ge": "oge", "le": "ole", "eq": "oeq", "ne": "une"}
_INTRINSIC = {"pow": "pow", "abs": "fabs", "sqrt": "sqrt", "maximum": "maximum", "minimum": "minimum"}
# Cube root: divide the exponent by 3 in the bits, then Halley's iteration. Magic number, integer type, iterations.
_CBRT = {"float": (709_958_130, "i32", 2), "double": (0x2A9F_7893_782D_A1CE, "i64", 3)}


def _double(x: float) -> str:
    """A double as LLVM writes it."""
    return "0x" + struct.pack(">d", x).hex().upper()


class _Body:
    """The body of a kernel's loop, in LLVM's language, for the symbols of one pass.

    `vector` says that the loop runs over elements, so that powers must be written out for LLVM to take several at once.
    """

    vector = True

    def __init__(self, type_: str) -> None:
        self.type, self.lines = type_, list[str]()
        self.values: dict[Symbol, str] = {}
        self.loads: list[Symbol] = []
        self.numbers: list[Symbol] = []
        self.declared: set[str] = set()

    def add(self, text: str) -> str:
        """Append an instruction; the name of its result."""
        name = f"%v{len(self.lines)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def constant(self, x: float) -> str:
        """A number as LLVM writes it: the bits of a double, rounded to the type first."""
        value = float(np.float32(x)) if self.type == "float" else float(x)
        return _double(value)

    def call(self, name: str, *args: str) -> str:
        """Call an intrinsic on values of the type."""
        full = f"llvm.{name}.{'f32' if self.type == 'float' else 'f64'}"
        self.declared.add(f"declare {self.type} @{full}({', '.join([self.type] * len(args))})")
        return self.add(f"call {self.type} @{full}({', '.join(f'{self.type} {a}' for a in args)})")

    def value(self, x: Any) -> str:
        """The value of a symbol or number as the type; conditions become 0 or 1."""
        if not isinstance(x, Symbol):
            return self.constant(float(x))
        name = self.emit(x)
        if self.inline(x):
            return self.add(f"uitofp i1 {name} to {self.type}")
        return name

    def wide(self, x: Any) -> str:
        """A number of the step as a double, before it is rounded to the type."""
        if not isinstance(x, Symbol):
            return _double(float(x))
        return self.emit(x).replace("%n", "%w") if self.type == "float" else self.emit(x)

    def condition(self, x: Any) -> str:
        """The value of a symbol as a truth."""
        if self.inline(x):
            return self.emit(x)
        return self.add(f"fcmp une {self.type} {self.value(x)}, 0.0")

    def inline(self, x: Any) -> bool:
        """Whether this symbol is computed here as a truth."""
        return isinstance(x, Symbol) and x.tensor and x.op in CONDITIONS

    def emit(self, x: Symbol) -> str:
        """The name of a symbol's value; numbers of the step and leaves are arguments of the kernel."""
        if x not in self.values:
            if not x.tensor:
                self.values[x] = f"%n{len(self.numbers)}"
                self.numbers.append(x)
            elif not x.args:
                self.values[x] = f"%x{len(self.loads)}"
                self.loads.append(x)
            else:
                self.values[x] = self._compute(x)
        return self.values[x]

    def _compute(self, x: Symbol) -> str:
        t = self.type
        if x.op == "where":
            c = self.condition(x.args[0])
            a, b = (self.value(a) for a in x.args[1:])
            return self.add(f"select i1 {c}, {t} {a}, {t} {b}")
        if x.op == "pow" and self.vector:
            return self._power(self.value(x.args[0]), self.wide(x.args[1]))
        args = [self.value(a) for a in x.args]
        if x.op in _ARITHMETIC:
            return self.add(f"{_ARITHMETIC[x.op]} contract {t} {args[0]}, {args[1]}")
        if x.op in _COMPARISON:
            return self.add(f"fcmp {_COMPARISON[x.op]} {t} {args[0]}, {args[1]}")
        if x.op in _INTRINSIC:
            return self.call(_INTRINSIC[x.op], *args)
        if x.op == "neg":
            return self.add(f"fneg {t} {args[0]}")
        if x.op == "sign":
            below = self.add(f"fcmp olt {t} {args[0]}, 0.0")
            above = self.add(f"fcmp ogt {t} {args[0]}, 0.0")
            lower = self.add(f"select i1 {below}, {t} -1.0, {t} {args[0]}")
            return self.add(f"select i1 {above}, {t} 1.0, {t} {lower}")
        assert x.op == "cbrt", x.op
        return self._cbrt(args[0])

    def _power(self, x: str, y: str) -> str:
        """x ** y for x >= 0 and a double y, as 2 ** (y log2 x): bits for the exponents, series for the fractions."""
        wide = self.type == "float"
        x = self.add(f"fpext float {x} to double") if wide else x

        def series(u: str, terms: list[float]) -> str:
            total = _double(terms[-1])
            for term in reversed(terms[:-1]):
                scaled = self.add(f"fmul contract double {total}, {u}")
                total = self.add(f"fadd contract double {scaled}, {_double(term)}")
            return total

        bits = self.add(f"bitcast double {x} to i64")
        exponent = self.add(f"lshr i64 {bits}, 52")
        exponent = self.add(f"or i64 {exponent}, {0x4330 << 48}")
        exponent = self.add(f"bitcast i64 {exponent} to double")
        exponent = self.add(f"fsub double {exponent}, {_double(2.0**52 + 1023)}")
        fraction = self.add(f"and i64 {bits}, {(1 << 52) - 1}")
        fraction = self.add(f"or i64 {fraction}, {0x3FF << 52}")
        fraction = self.add(f"bitcast i64 {fraction} to double")
        above = self.add(f"fcmp ogt double {fraction}, {_double(math.sqrt(2))}")
        halved = self.add(f"fmul double {fraction}, 0.5")
        raised = self.add(f"fadd double {exponent}, 1.0")
        fraction = self.add(f"select i1 {above}, double {halved}, double {fraction}")
        exponent = self.add(f"select i1 {above}, double {raised}, double {exponent}")
        over, under = self.add(f"fsub double {fraction}, 1.0"), self.add(f"fadd double {fraction}, 1.0")
        s = self.add(f"fdiv double {over}, {under}")
        square = self.add(f"fmul double {s}, {s}")
        tail = series(square, [2 / math.log(2) / (2 * k + 1) for k in range(12)])
        log = self.add(f"fmul double {s}, {tail}")
        log = self.add(f"fadd double {exponent}, {log}")
        product = self.add(f"fmul double {y}, {log}")
        shifted = self.add(f"fadd double {product}, {_double(1.5 * 2.0**52)}")  # its last bits are the nearest integer
        most = _double(1.5 * 2.0**52 + 1023)  # the largest exponent there is; the series bears the half more
        high = self.add(f"fcmp ogt double {shifted}, {most}")
        shifted = self.add(f"select i1 {high}, double {most}, double {shifted}")
        whole = self.add(f"fsub double {shifted}, {_double(1.5 * 2.0**52)}")
        rest = self.add(f"fsub double {product}, {whole}")
        power = series(rest, [math.log(2) ** k / math.factorial(k) for k in range(14)])
        integer = self.add(f"bitcast double {shifted} to i64")
        integer = self.add(f"add i64 {integer}, 1023")
        integer = self.add(f"shl i64 {integer}, 52")
        scale = self.add(f"bitcast i64 {integer} to double")
        found = self.add(f"fmul double {power}, {scale}")
        infinity, nan = "0x7FF0000000000000", "0x7FF8000000000000"
        for test, instead in (
            (f"fcmp oge double {product}, 1024.0", infinity),
            (f"fcmp ole double {product}, -1022.0", "0.0"),
        ):
            found = self.add(f"select i1 {self.add(test)}, double {instead}, double {found}")
        grows, falls = self.add(f"fcmp ogt double {y}, 0.0"), self.add(f"fcmp olt double {y}, 0.0")
        at_zero = self.add(
            f"select i1 {grows}, double 0.0, double {self.add(f'select i1 {falls}, double {infinity}, double 1.0')}"
        )
        at_infinity = self.add(
            f"select i1 {grows}, double {infinity}, double {self.add(f'select i1 {falls}, double 0.0, double 1.0')}"
        )
        for test, instead in (
            (f"fcmp olt double {x}, 0x0010000000000000", at_zero),
            (f"fcmp oeq double {x}, {infinity}", at_infinity),
            (f"fcmp ult double {x}, 0.0", nan),
        ):
            found = self.add(f"select i1 {self.add(test)}, double {instead}, double {found}")
        return self.add(f"fptrunc double {found} to float") if wide else found

    def _cbrt(self, x: str) -> str:
        t = self.type
        magic, integer, iterations = _CBRT[t]
        a = self.call("fabs", x)
        bits = self.add(f"bitcast {t} {a} to {integer}")
        third = self.add(f"udiv {integer} {bits}, 3")
        shifted = self.add(f"add {integer} {third}, {magic}")
        y = self.add(f"bitcast {integer} {shifted} to {t}")
        for _ in range(iterations):  # y <- y (y^3 + 2a) / (2 y^3 + a), as y - y (y^3 - a) / (2 y^3 + a)
            square = self.add(f"fmul {t} {y}, {y}")
            cube = self.add(f"fmul {t} {square}, {y}")
            over = self.add(f"fsub {t} {cube}, {a}")
            under = self.add(f"fadd {t} {cube}, {cube}")
            under = self.add(f"fadd {t} {under}, {a}")
            ratio = self.add(f"fdiv {t} {over}, {under}")
            move = self.add(f"fmul {t} {y}, {ratio}")
            y = self.add(f"fsub {t} {y}, {move}")
        least, most = "0x3810000000000000" if t == "float" else "0x0010000000000000", "0x7FF0000000000000"
        usual = self.add(f"fcmp oge {t} {a}, {least}")  # zeros and subnormals give zero, infinity and NaN themselves
        small = self.add(f"fmul {t} {a}, 0.0")
        small = self.add(f"select i1 {usual}, {t} {y}, {t} {small}")
        whole = self.add(f"fcmp one {t} {a}, {most}")
        root = self.add(f"select i1 {whole}, {t} {small}, {t} {a}")
        return self.call("copysign", root, x)


@dataclass(frozen=True)
class Program:
    """A compiled pass: `numbers` are what it takes for each row, `slots` the leaves it reads and the letters it only writes."""

    numbers: list[Symbol]
    slots: list[Any]
    sums: int
    function: Any


def _source(type_: str, targets: dict[str, Any], sums: list[Symbol]) -> tuple[str, _Body, list[Any]]:
    """A pass in LLVM's language: `row` is the loop over elements, `table` calls it for each row."""
    body = _Body(type_)
    stores = {letter: body.value(x) for letter, x in targets.items()}
    terms = []
    for x in sums:
        wide = value = body.value(x.args[0])
        if type_ == "float":
            wide = body.add(f"fpext float {value} to double")
        terms.append(body.add(f"fmul double {wide}, {wide}") if "squares" in x.op else wide)
    slots: list[Any] = list(body.loads)
    places = {x.name: i for i, x in enumerate(slots) if x.op != "gradient"}
    for letter in stores:
        if letter not in places:
            places[letter] = len(slots)
            slots.append(letter)
    pointers = "".join(f"ptr noalias %a{i}, " for i in range(len(slots)))
    lines = [
        *sorted(body.declared),
        f"define internal void @row({pointers}i64 %n, ptr noalias %s, ptr noalias %r) noinline {{",
        "entry:",
    ]
    for i in range(len(body.numbers)):
        lines.append(f"  %q{i} = getelementptr double, ptr %s, i64 {i}")
        if type_ == "float":
            lines += [f"  %w{i} = load double, ptr %q{i}", f"  %n{i} = fptrunc double %w{i} to float"]
        else:
            lines.append(f"  %n{i} = load double, ptr %q{i}")
    lines += ["  %some = icmp sgt i64 %n, 0", "  br i1 %some, label %loop, label %done", "loop:"]
    lines.append("  %i = phi i64 [0, %entry], [%next, %loop]")
    lines += [f"  %sum{i} = phi double [0.0, %entry], [%new{i}, %loop]" for i in range(len(terms))]
    for i in range(len(slots)):
        lines.append(f"  %e{i} = getelementptr {type_}, ptr %a{i}, i64 %i")
    lines += [f"  %x{i} = load {type_}, ptr %e{i}" for i in range(len(body.loads))]
    lines += body.lines
    lines += [f"  store {type_} {value}, ptr %e{places[letter]}" for letter, value in stores.items()]
    lines += [f"  %new{i} = fadd reassoc double %sum{i}, {term}" for i, term in enumerate(terms)]
    lines += [
        "  %next = add nuw nsw i64 %i, 1",
        "  %end = icmp eq i64 %next, %n",
        "  br i1 %end, label %done, label %loop",
        "done:",
    ]
    for i in range(len(terms)):
        lines.append(f"  %final{i} = phi double [0.0, %entry], [%new{i}, %loop]")
    for i in range(len(terms)):
        lines += [f"  %o{i} = getelementptr double, ptr %r, i64 {i}", f"  store double %final{i}, ptr %o{i}"]
    lines += ["  ret void", "}", "define void @table(i64 %rows, ptr %p, ptr %sizes, ptr %s, ptr %r) {", "entry:"]
    lines += ["  %some = icmp sgt i64 %rows, 0", "  br i1 %some, label %loop, label %done", "loop:"]
    lines += ["  %i = phi i64 [0, %entry], [%next, %loop]", f"  %base = mul i64 %i, {len(slots)}"]
    for i in range(len(slots)):
        lines += [
            f"  %j{i} = add i64 %base, {i}",
            f"  %b{i} = getelementptr i64, ptr %p, i64 %j{i}",
            f"  %c{i} = load ptr, ptr %b{i}",
        ]
    lines += ["  %z = getelementptr i64, ptr %sizes, i64 %i", "  %n = load i64, ptr %z"]
    lines += [f"  %k = mul i64 %i, {len(body.numbers)}", "  %t = getelementptr double, ptr %s, i64 %k"]
    lines += [f"  %l = mul i64 %i, {len(terms)}", "  %u = getelementptr double, ptr %r, i64 %l"]
    passed = "".join(f"ptr %c{i}, " for i in range(len(slots)))
    lines += [f"  call void @row({passed}i64 %n, ptr %t, ptr %u)", "  %next = add nuw nsw i64 %i, 1"]
    lines += ["  %end = icmp eq i64 %next, %rows", "  br i1 %end, label %done, label %loop", "done:", "  ret void", "}"]
    return "\n".join(lines) + "\n", body, slots


def cache_folder() -> Path:
    """Where compiled kernels are kept: $STEEPEST_CACHE, or the user's cache."""
    given = os.environ.get("STEEPEST_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "steepest" / "kernels"


@functools.cache
def _machine() -> tuple[Any, Any, str]:
    """LLVM's binding, this processor as a target, and a name for both."""
    import llvmlite
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3)
    return llvm, target, f"{llvmlite.__version__} {cpu} {features}"


_engines: list[Any] = []  # compiled code lives as long as its engine
_lock = threading.RLock()
compiled = 0  # kernels compiled in this process, not loaded from disk


def load(source: str) -> Any:
    """The function `table` of a source: from the disk, or compiled and kept there."""
    global compiled
    with _lock:
        llvm, target, machine = _machine()
        path = cache_folder() / f"{hashlib.sha256((machine + source).encode()).hexdigest()}.o"
        code = _kept(path)
        if code is None:
            module = llvm.parse_assembly(source)
            options = llvm.create_pipeline_tuning_options(speed_level=3)
            options.loop_vectorization = options.loop_interleaving = True
            builder = llvm.create_pass_builder(target, options)
            builder.getModulePassManager().run(module, builder)
            code = target.emit_object(module)
            compiled += 1
            _keep(path, code)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _engines.append(engine)
        pointer = ctypes.c_void_p
        return ctypes.CFUNCTYPE(None, ctypes.c_int64, pointer, pointer, pointer, pointer)(engine.get_function_address("table"))


def _kept(path: Path) -> bytes | None:
    """The code kept under this name, or None where there is none or it is damaged (LLVM would end the process)."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content[32:] if hashlib.sha256(content[32:]).digest() == content[:32] else None


def _keep(path: Path, code: bytes) -> None:
    """Write the code and its hash in one move; a folder that cannot be written only costs time at the next start."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(file.name, path)
    except OSError:
        pass


class _Threads:
    """Threads that run parts of a table; made when first needed, and anew in a forked process."""

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self.pool = None

    def run(self, parts: list[Any]) -> None:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="steepest")
        waiting = [self.pool.submit(part) for part in parts[1:]]
        parts[0]()
        for part in waiting:
            part.result()


_threads = _Threads()


@functools.lru_cache(64)
def _layout(
    sizes: tuple[int, ...], threads: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], list[tuple[int, int]]]:
    """Rows for tensors of these sizes: the tensor, the first element and the length of each, and each thread's rows."""
    rows = [(i, begin, min(CHUNK, size - begin)) for i, size in enumerate(sizes) for begin in range(0, size, CHUNK)]
    index, begin, length = (
        (np.array(column, np.int64) for column in zip(*rows, strict=True)) if rows else (np.zeros(0, np.int64),) * 3
    )
    if sum(sizes) < ALONE or threads == 1:
        return index, begin, length, [(0, len(rows))]
    done = np.cumsum(length)
    cuts = [0, *(int(np.searchsorted(done, done[-1] * k / threads)) for k in range(1, threads)), len(rows)]
    return index, begin, length, [(a, b) for a, b in itertools.pairwise(cuts) if b > a]


class Kernel:
    """The passes of an update by compiled kernels, for contiguous float32 or float64 tensors of one dtype on the CPU."""

    name = "kernel"
    dtypes = tuple(TYPES)
    _programs: dict[tuple[Any, ...], tuple[Graph, Program]] = {}

    @staticmethod
    def takes(item: Item) -> bool:
        """Whether the kernels can update this item."""
        dtype = item.p.dtype
        if dtype not in TYPES:
            return False
        for t in (item.p, item.g, *item.state.values()):
            if isinstance(t, torch.Tensor) and not (t.dtype is dtype and t.is_cpu and t.is_contiguous()):
                return False
        return True

    def program(self, graph: Graph, dtype: torch.dtype, targets: dict[str, Any], sums: list[Symbol]) -> Program:
        """The compiled pass that writes the targets and sums the sums; compiled once in a process, and kept on disk."""
        key = id(graph), dtype, *map(id, targets.values()), *map(id, sums)
        if key not in self._programs:
            source, body, slots = _source(TYPES[dtype], targets, sums)
            self._programs[key] = graph, Program(body.numbers, slots, len(sums), load(source))
        return self._programs[key][1]

    def _run(
        self, graph: Graph, targets: dict[str, Any], sums: list[Symbol], items: list[Item], known: list[dict[Symbol, Any]]
    ) -> NDArray[np.float64]:
        """Run the pass over all items; the sums, (items, sums)."""
        dtype = items[0].p.dtype
        program = self.program(graph, dtype, targets, sums)
        sizes = tuple(item.p.numel() for item in items)
        index, begin, length, parts = _layout(sizes, torch.get_num_threads())
        pointers = np.array([self._pointers(graph, items, x) for x in program.slots], np.int64).reshape(-1, len(items)).T
        found: dict[int, list[float]] = {}
        for values in known:
            if id(values) not in found:
                found[id(values)] = [float(evaluate(x, values)) for x in program.numbers]
        numbers = np.array([found[id(values)] for values in known], np.float64).reshape(len(items), -1)
        width = items[0].p.element_size()
        table = np.ascontiguousarray(pointers[index] + (begin * width)[:, None])
        rows = np.ascontiguousarray(numbers[index])
        out = np.zeros((len(index), max(program.sums, 1)))

        def part(first: int, last: int) -> Any:
            places = [a[first:].ctypes.data for a in (table, length, rows, out)]
            return lambda: program.function(last - first, *places)

        if len(index):
            _threads.run([part(first, last) for first, last in parts])
        sums_of = np.zeros((len(items), max(program.sums, 1)))
        if program.sums:
            np.add.at(sums_of, index, out)
        return sums_of

    @staticmethod
    def _pointers(graph: Graph, items: list[Item], slot: Any) -> list[int]:
        """Where a slot lies for each item."""
        letter = slot.name if isinstance(slot, Symbol) and slot.op != "gradient" else slot
        if isinstance(letter, Symbol):
            return [item.tensor(graph, letter).data_ptr() for item in items]
        if letter == "p":
            return [item.p.data_ptr() for item in items]
        if letter == "g":
            return [item.g.data_ptr() for item in items]
        return [item.state[letter].data_ptr() for item in items]

    def reduce(
        self, graph: Graph, symbols: list[Symbol], items: list[Item], known: list[dict[Symbol, Any]]
    ) -> list[list[float]]:
        """For each item, the sum (or sum of squares) of each symbol's argument over its elements."""
        return self._run(graph, {}, symbols, items, known).tolist()  # type: ignore[no-any-return]

    def write(self, graph: Graph, targets: dict[str, Any], items: list[Item], known: list[dict[Symbol, Any]]) -> None:
        """Write each target, by letter, to the item's p or state."""
        self._run(graph, targets, [], items, known)
