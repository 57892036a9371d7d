"""A pass in LLVM's language: one loop over memory, in place, and a table of the tensors it runs over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....rules.symbols import Expr, Symbol
from .lowering import STORED, Body


def source(
    type_: str, targets: Mapping[str, Expr], sums: Sequence[Symbol], stored: dict[str, str], written: dict[Symbol, str]
) -> tuple[str, Body]:
    """A pass in LLVM's language, computed in `type_`: its text and its body.

    `stored` has the type in memory of each letter, `written` the symbols that an earlier pass has written under their letters.
    Sums are taken in `type_` over a row, which is short for that reason (see `kernel.SHORT`), and in double over the rows.

    The function `part` runs a part of the table's rows; each thread of a team calls `team`, which runs its parts. Both take a
    block of addresses and counts (see `kernel.Table`).
    """
    body = Body(type_, written, stored)
    values = {letter: body.of(x) for letter, x in targets.items()}
    terms = []
    for x in sums:
        term = body.of(x.args[0])
        squares = x.reduction is not None and x.reduction.kind == "squares"
        terms.append(term * term if squares else term)
    for letter, value in values.items():
        body.store(letter, value)
    dtypes = [stored[letter] for letter in body.slots]
    pointers = "".join(f"ptr noalias %a{i}, " for i in range(len(dtypes)))
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
    lines += body.lines
    lines += [f"  %new{i} = fadd reassoc {type_} %sum{i}, {term.name}" for i, term in enumerate(terms)]
    lines += [
        "  %next = add nuw nsw i64 %i, 1",
        "  %end = icmp eq i64 %next, %n",
        "  br i1 %end, label %done, label %loop",
        "done:",
    ]
    lines += [f"  %final{i} = phi {type_} [0.0, %entry], [%new{i}, %loop]" for i in range(len(terms))]
    for i in range(len(terms)):
        lines.append(f"  %o{i} = getelementptr double, ptr %r, i64 {i}")
        if type_ == "float":
            lines += [f"  %wide{i} = fpext float %final{i} to double", f"  store double %wide{i}, ptr %o{i}"]
        else:
            lines.append(f"  store double %final{i}, ptr %o{i}")
    lines += ["  ret void", "}", *_table(dtypes, len(body.numbers), len(terms)), *_team()]
    return "\n".join(lines) + "\n", body


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
