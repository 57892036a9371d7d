"""The grammar of what people type: everything that is printed parses back, and anything else gets one sentence."""

import contextlib
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from steepest import grammar
from steepest.errors import SteepestError
from steepest.grammar import Ask, Between, One, OneOf, Parts

names = some.sampled_from(
    [
        "adam",
        "sgd",
        "torch.optim.NAdam",
        "mine.py:MyOpt",
        "./a b/mine.py:MyOpt",
        "heavyball:SOAP",
        "C:\\x\\mine.py:O",
        "all:lib",
    ]
)
keys = some.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
numbers = some.floats(allow_nan=False, allow_infinity=False) | some.integers(-(10**9), 10**9)
plain = numbers | some.booleans() | some.none() | some.text(max_size=8).filter(str.isprintable)
ranges = some.tuples(numbers.map(float), numbers.map(float)).filter(lambda p: p[0] < p[1] and math.isfinite(p[1] - p[0]))
searches = (
    some.just(Ask())
    | ranges.map(lambda p: Between(*p))
    | some.lists(plain, min_size=1, max_size=3).map(lambda values: OneOf(tuple(values)))
)
inside = plain | searches
values = plain | searches | some.lists(inside, max_size=3).map(tuple)
ones = some.builds(lambda name, own: One(name, tuple(own.items())), names, some.dictionaries(keys, values, max_size=3))
parts = some.dictionaries(some.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True), ones, min_size=1, max_size=3)
candidates = ones | parts.map(lambda own: Parts(tuple(own.items())))


@given(candidates)
def test_what_is_printed_parses_back(candidate):
    assert grammar.candidate(str(candidate)) == candidate


@given(some.lists(candidates, max_size=4))
def test_candidates_are_separated_by_commas_outside_brackets(several):
    text = ", ".join(map(str, several))
    assert len(text) > grammar.LONGEST or grammar.candidates(text) == several


@given(some.text(alphabet="ab=(){}[],:'\"?.0-1\\ ", max_size=40))
def test_any_text_parses_or_gets_one_sentence(text):
    for parse in (grammar.candidates, grammar.rates):
        with contextlib.suppress(SteepestError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("adam", One("adam")),
        ("adam()", One("adam")),
        ("sgd(momentum=0.9)", One("sgd", (("momentum", 0.9),))),
        ("adamw(weight_decay=?, beta2=0.9..0.999)", One("adamw", (("weight_decay", Ask()), ("beta2", Between(0.9, 0.999))))),
        ("adam(lr=[0.1, 0.01])", One("adam", (("lr", OneOf((0.1, 0.01))),))),
        ("x(betas=(?, .5..1))", One("x", (("betas", (Ask(), Between(0.5, 1.0))),))),
        ("x(a=1e-4..1e-2, b=-1..1)", One("x", (("a", Between(1e-4, 1e-2)), ("b", Between(-1.0, 1.0))))),
        ("x(a=(0.9), b=(0.9,))", One("x", (("a", 0.9), ("b", (0.9,))))),
        ("x(a='it\\'s, so')", One("x", (("a", "it's, so"),))),
        ("x(a='C:\\data')", One("x", (("a", "C:\\data"),))),
        ("x(a=1_000, b=0x10, c=1e3)", One("x", (("a", 1000), ("b", 16), ("c", 1000.0)))),
        ("{a: adam, b: m.py:O(c=1)}", Parts((("a", One("adam")), ("b", One("m.py:O", (("c", 1),)))))),
    ],
)
def test_each_form_is_read(text, expected):
    assert grammar.candidate(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sgd(", "')' is missing"),
        ("sgd)", "')' closes no bracket"),
        ("sgd(0.9)", "write it such as sgd(momentum=0.99)"),
        ("sgd(a=1, a=2)", "sets a twice"),
        ("sgd(a=1)b", "write it such as"),
        ("sgd(a='x)", "is missing"),
        ("sgd(a=2..1)", "write the lower end first"),
        ("sgd(a=1...5)", "1...5 is no number"),
        ("sgd(a=-1e308..1e308)", "is too wide"),
        ("sgd(a=1or 2)", "1or 2 is no number"),
        ("sgd(a='\\xq')", "is no number, text in quotes"),
        ("sgd(a=[?])", "square brackets hold one or more values"),
        ("sgd(a=[])", "square brackets hold one or more values"),
        ("sgd(a=1e999)", "write it such as"),
        ("sgd(a=f(1))", "write it such as"),
        ("sgd(a=x)", "write it such as"),
        ("{a: adam, a: sgd}", "has the part 'a' twice"),
        ("{a adam}", "write its parts such as {generator: adam"),
        ("{}", "write its parts such as"),
        ("{a: {b: adam}}", "write it such as"),
        ("{a: adam} b", "nothing can follow the closing brace"),
        ("", "write it such as"),
        ("adam, sgd", "write it such as"),
        ("a" * 3000, "expected at most 2,000"),
        ("x(a=" + "(" * 30 + ")" * 30 + ")", "nested too deeply"),
    ],
)
def test_what_cannot_be_read_gets_one_sentence(text, sentence):
    with pytest.raises(SteepestError, match=re.escape(sentence)):
        grammar.candidate(text)


def test_ends_of_a_range_are_numbers_that_parse_back():
    for ends in ((np.float64(0.5), 1), (np.float32(0.25), np.int64(2))):
        one = Between(*ends)
        assert grammar.candidate(f"x(a={one})").searched == {"a": one}
    with pytest.raises(SteepestError, match="is empty"):
        Between(1.0, 1.0)


def test_names_of_rates_are_canonical():
    assert grammar.rates("{a:adam,b:sgd}=0.1,{a: adam, b: sgd}=0.2") == {"{a: adam, b: sgd}": [0.1, 0.2]}


def test_fixed_and_searched_settings_are_told_apart():
    one = grammar.candidate("x(a=1, b=?, c=(0.9, ?), d=(1, 2))")
    assert one.fixed == {"a": 1, "d": (1, 2)}
    assert one.searched == {"b": Ask(), "c": (0.9, Ask())}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1", [0.1]),
        ("0.1,0.01", [0.1, 0.01]),
        ("sgd=0.1,adam=0.001,sgd=0.2", {"sgd": [0.1, 0.2], "adam": [0.001]}),
        ("sgd(momentum=0.9)=0.1", {"sgd(momentum=0.9)": [0.1]}),
        ("{a: adam, b: sgd}=0.1", {"{a: adam, b: sgd}": [0.1]}),
    ],
)
def test_rates_are_for_all_or_by_name(text, expected):
    assert grammar.rates(text) == expected


def test_rates_with_and_without_names_are_refused():
    with pytest.raises(SteepestError, match="write either all rates as name=rate, or none"):
        grammar.rates("sgd=0.1,0.2")
    with pytest.raises(SteepestError, match="is not a number"):
        grammar.rates("sgd=fast")
