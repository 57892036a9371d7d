"""A pass in LLVM's language: one loop over memory, in place, and a table of the tensors it runs over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....rules.symbols import Expr, Symbol
from .lowering import Body

STORED = {"float": "float", "double": "double", "bfloat": "i16"}  # the type in memory: bfloat16 is a float's upper half


def source(
    type_: str, targets: Mapping[str, Expr], sums: Sequence[Symbol], stored: dict[str, str], written: dict[Symbol, str]
) -> tuple[str, Body, list[str]]:
    """A pass in LLVM's language, computed in `type_`: its text, its body and the letter of each slot.

    `stored` has the type in memory of each letter, `written` the symbols that an earlier pass has written under their letters.
    Sums are taken in `type_` over a row, which is short for that reason (see `kernel.SHORT`), and in double over the rows.

    The function `part` runs a part of the table's rows; each thread of a team calls `team`, which runs its parts. Both take a
    block of addresses and counts (see `kernel.Table`).
    """
    body = Body(type_, written, stored)
    stores = {letter: body.value(x) for letter, x in targets.items()}
    terms = []
    for x in sums:
        value = body.value(x.args[0])
        squares = x.reduction is not None and x.reduction.kind == "squares"
        terms.append(body.add(f"fmul {type_} {value}, {value}") if squares else value)
    slots = list(body.loads)
    slots += [letter for letter in stores if letter not in slots]
    dtypes = [stored[letter] for letter in slots]
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
    lines += [f"  %sum{i} = phi {type_} [0.0, %entry], [%new{i}, %loop]" for i in range(len(terms))]
    for i, dtype in enumerate(dtypes):
        lines.append(f"  %e{i} = getelementptr {STORED[dtype]}, ptr %a{i}, i64 %i")
    for i in range(len(body.loads)):
        lines += _read(i, dtypes[i], type_)
    lines += body.lines
    for letter, value in stores.items():
        lines += _write(slots.index(letter), stored[letter], type_, value)
    lines += [f"  %new{i} = fadd reassoc {type_} %sum{i}, {term}" for i, term in enumerate(terms)]
    lines += [
        "  %next = add nuw nsw i64 %i, 1",
        "  %end = icmp eq i64 %next, %n",
        "  br i1 %end, label %done, label %loop",
        "done:",
    ]
    for i in range(len(terms)):
        lines.append(f"  %final{i} = phi {type_} [0.0, %entry], [%new{i}, %loop]")
    for i in range(len(terms)):
        wide = f"%final{i}"
        if type_ == "float":
            wide = f"%wide{i}"
            lines.append(f"  {wide} = fpext float %final{i} to double")
        lines += [f"  %o{i} = getelementptr double, ptr %r, i64 {i}", f"  store double {wide}, ptr %o{i}"]
    lines += ["  ret void", "}", *_table(dtypes, len(body.numbers), len(terms)), *_team()]
    return "\n".join(lines) + "\n", body, slots


def _read(i: int, dtype: str, type_: str) -> list[str]:
    """Load an element of slot i as the type computed in."""
    if dtype == type_:
        return [f"  %x{i} = load {type_}, ptr %e{i}"]
    if dtype == "bfloat":
        short = [f"  %xs{i} = load i16, ptr %e{i}", f"  %xi{i} = zext i16 %xs{i} to i32", f"  %xh{i} = shl i32 %xi{i}, 16"]
        if type_ == "float":
            return [*short, f"  %x{i} = bitcast i32 %xh{i} to float"]
        return [*short, f"  %xf{i} = bitcast i32 %xh{i} to float", f"  %x{i} = fpext float %xf{i} to double"]
    how = "fpext" if dtype == "float" else "fptrunc"
    return [f"  %xs{i} = load {dtype}, ptr %e{i}", f"  %x{i} = {how} {dtype} %xs{i} to {type_}"]


def _write(i: int, dtype: str, type_: str, value: str) -> list[str]:
    """Store an element of slot i; to bfloat16 it is rounded to the nearest, ties to even."""
    if dtype == type_:
        return [f"  store {type_} {value}, ptr %e{i}"]
    if dtype == "bfloat":
        narrowed = [f"  %yf{i} = fptrunc double {value} to float"] if type_ == "double" else []  # as torch rounds it, twice
        value = f"%yf{i}" if narrowed else value
        return [
            *narrowed,
            f"  %yb{i} = bitcast float {value} to i32",
            f"  %yu{i} = lshr i32 %yb{i}, 16",
            f"  %yl{i} = and i32 %yu{i}, 1",
            f"  %yh{i} = add i32 %yl{i}, 32767",
            f"  %yr{i} = add i32 %yb{i}, %yh{i}",
            f"  %yn{i} = fcmp uno float {value}, 0.0",
            f"  %yq{i} = select i1 %yn{i}, i32 {0x7FC0 << 16}, i32 %yr{i}",
            f"  %yt{i} = lshr i32 %yq{i}, 16",
            f"  %ys{i} = trunc i32 %yt{i} to i16",
            f"  store i16 %ys{i}, ptr %e{i}",
        ]
    how = "fptrunc" if type_ == "double" else "fpext"
    return [f"  %ys{i} = {how} {type_} {value} to {dtype}", f"  store {dtype} %ys{i}, ptr %e{i}"]


# The fields of the block of addresses and counts that `part` and `team` take, in this order.
BLOCK = ("cuts", "parts", "tensor", "begin", "length", "which", "numbers", "out", "thread", "threads", "pointers", "tensors")


def _field(name: str) -> list[str]:
    place = f"  %at.{name} = getelementptr i64, ptr %block, i64 {BLOCK.index(name)}"
    type_ = "i64" if name in ("parts", "tensors") else "ptr"
    return [place, f"  %{name} = load {type_}, ptr %at.{name}"]


def _table(dtypes: list[str], numbers: int, sums: int) -> list[str]:
    """`part(k, block)`: the k-th part of the table's rows, each a chunk of one tensor, with its set of numbers."""

    def item(array: str, at: str, name: str) -> list[str]:
        return [f"  %{name}.p = getelementptr i64, ptr %{array}, i64 {at}", f"  %{name} = load i64, ptr %{name}.p"]

    lines = ["define void @part(i64 %k, ptr %block) {", "entry:"]
    for name in ("cuts", "tensor", "begin", "length", "which", "numbers", "out", "pointers", "tensors"):
        lines += _field(name)
    lines += [*item("cuts", "%k", "first"), "  %after = add i64 %k, 1", *item("cuts", "%after", "last")]
    lines += ["  %some = icmp slt i64 %first, %last", "  br i1 %some, label %loop, label %done", "loop:"]
    lines += ["  %i = phi i64 [%first, %entry], [%next, %loop]"]
    for array in ("tensor", "begin", "length"):
        lines += item(array, "%i", f"row.{array}")
    lines += item("which", "%row.tensor", "set")
    for i, dtype in enumerate(dtypes):
        lines += [f"  %j{i}.0 = mul i64 %tensors, {i}", f"  %j{i} = add i64 %j{i}.0, %row.tensor"]
        lines += [f"  %b{i} = getelementptr i64, ptr %pointers, i64 %j{i}", f"  %c{i}.0 = load ptr, ptr %b{i}"]
        lines.append(f"  %c{i} = getelementptr {STORED[dtype]}, ptr %c{i}.0, i64 %row.begin")
    lines += [f"  %s.0 = mul i64 %set, {numbers}", "  %s = getelementptr double, ptr %numbers, i64 %s.0"]
    lines += [f"  %r.0 = mul i64 %i, {sums}", "  %r = getelementptr double, ptr %out, i64 %r.0"]
    passed = "".join(f"ptr %c{i}, " for i in range(len(dtypes)))
    lines += [f"  call void @row({passed}i64 %row.length, ptr %s, ptr %r)", "  %next = add i64 %i, 1"]
    return [*lines, "  %end = icmp eq i64 %next, %last", "  br i1 %end, label %done, label %loop", "done:", "  ret void", "}"]


def _team() -> list[str]:
    """`team(block)`: every n-th part of n threads, from this thread's number on, which OpenMP knows."""
    lines = ["define void @team(ptr %block) {", "entry:"]
    for name in ("parts", "thread", "threads"):
        lines += _field(name)
    return [
        *lines,
        *("  %me = call i32 %thread()", "  %all = call i32 %threads()", "  %k0 = zext i32 %me to i64"),
        *("  %by = zext i32 %all to i64", "  br label %loop", "loop:", "  %k = phi i64 [%k0, %entry], [%next, %more]"),
        *("  %some = icmp slt i64 %k, %parts", "  br i1 %some, label %more, label %done", "more:"),
        *("  call void @part(i64 %k, ptr %block)", "  %next = add i64 %k, %by", "  br label %loop", "done:", "  ret void", "}"),
    ]
