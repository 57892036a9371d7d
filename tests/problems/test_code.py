"""The digest of the user's code: what changes it, what does not, and its warnings about unreadable code."""

import ast
import collections
import importlib
import itertools
import os
import re
import runpy
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from steepest.problems import syntax
from steepest.problems.code import digest

HELPERS = '''
"""Helpers."""
OFFSET = 0.25
def shift(x):
    return x + OFFSET
def unrelated(x):
    return x
'''

TASK = '''
"""A problem with a bit of everything."""
import dataclasses
import enum
import functools
import typing
import numpy as np
import torch
from torch import nn
import helpers
from helpers import shift

SCALE = 2.0  # of the loss
TABLE = {"a": [1, 2], "b": (3, 4)}
WEIGHTS = torch.ones(3)
CLASSES = {"cat", "dog"}

def doubled(function):
    """Twice what a function gives."""
    @functools.wraps(function)
    def wrapper(*arguments):
        return 2 * function(*arguments)
    return wrapper

def scaled(by):
    table = torch.tensor([1.0, 5.0])
    def scale(x):  # inner
        return x * by + table.sum()
    return scale

scale = scaled(3)
first, second = lambda x: x + 1, lambda x: x + 2
power = functools.partial(torch.pow, exponent=2)

def clean(x, low=0.5, *, high=9.0):
    def inner(y):
        return y.clamp(low, high)
    return inner(x)

def unrelated(x):
    return x * 17

@doubled
def loss(output, target):
    """Mean error."""
    error = clean(scale(output) - target)  # clamped
    if torch.isnan(error).any():
        error = error * SCALE
    return (first(error) + power(shift(error))).mean() + TABLE["a"][0] + WEIGHTS.sum()

class Kind(enum.Enum):
    MEAN = "mean"
    SUM = "sum"

@dataclasses.dataclass
class Config:
    width: int = 4
    depth: int = 2

class Pair(typing.NamedTuple):
    left: float
    right: float = 0.5

class Base:
    threshold = 0.1
    def result(self, x):
        return x.mean() + 1

class Metric(Base):
    def __init__(self, margin):
        self.margin = margin
        self.kind = Kind.SUM
    def __call__(self, output, target):
        return self.result(self.distance(output, target)) + self.factor
    @staticmethod
    def distance(output, target):
        return (output - target).abs()
    @property
    def factor(self):
        return self.margin * 2

class Slotted:
    __slots__ = ("level",)
    def __init__(self, level):
        self.level = level

class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layer = nn.Linear(4, 2)
        nn.init.constant_(self.layer.weight, 0.5)
        nn.init.constant_(self.layer.bias, 0.0)
        self.register_forward_hook(hook)
    def forward(self, x):
        return torch.relu(self.layer(x))

@torch.no_grad()
def hook(module, inputs, output):
    return output + 0

def collate(items, size=Slotted(3)):
    import late
    return late.stacked(items, size.level, helpers.shift(len(CLASSES)), Pair(1.0).right)

class Rows:
    def __init__(self):
        self.values = np.arange(6.0)
        self.names = ["x", "y"]
    def __len__(self):
        return 6
    def __getitem__(self, i):
        raise AssertionError("the digest must not read examples")
    @property
    def secret(self):
        raise AssertionError("the digest must not read properties")
    def __getattr__(self, name):
        raise AssertionError("the digest must not ask for attributes")

class Sampler:
    def __init__(self, data):
        self.data = data
        data.sampler = self  # a cycle
    def __iter__(self):
        return iter(range(0, 6, 1))

rows = Rows()
things = {
    "model": Model(Config()), "loss": loss, "metric": Metric(0.3), "collate": collate,
    "dataset": rows, "sampler": Sampler(rows),
}
'''

LATE = """
import torch
def stacked(items, *rest):
    return torch.stack(items)
"""
FILES = {"task": TASK, "helpers": HELPERS, "late": LATE}
folders = itertools.count()


@pytest.fixture
def digested(tmp_path, monkeypatch):
    """A function that writes files to a new folder, loads one and digests its `things`."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(files=FILES, main="task", imported=False, keep=lambda things: []):
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(folder))
        for name in [*FILES, "plain"]:
            monkeypatch.delitem(sys.modules, name, raising=False)
        if imported:
            things = importlib.import_module(main).things
        else:
            things = runpy.run_path(str(folder / f"{main}.py"), run_name=main)["things"]
        return digest(things, keep(things))

    return run


def edited(old, new, name="task"):
    assert FILES[name].count(old) == 1, old
    return {**FILES, name: FILES[name].replace(old, new)}


EDITS = {
    "a constant in the loss": ('TABLE["a"][0]', 'TABLE["a"][1]'),
    "a condition in the loss": ("isnan(error).any()", "isnan(error).all()"),
    "an operator": ("scale(output) - target", "scale(output) + target"),
    "a statement left out": ("        error = error * SCALE\n", "        pass\n"),
    "an integer that became a float": ("x.mean() + 1", "x.mean() + 1.0"),
    "a constant default": ("low=0.5", "low=0.6"),
    "a default by keyword": ("high=9.0", "high=8.0"),
    "an attribute of an object in a default": ("size=Slotted(3)", "size=Slotted(4)"),
    "a closure's number": ("scale = scaled(3)", "scale = scaled(4)"),
    "a tensor in a closure": ("torch.tensor([1.0, 5.0])", "torch.tensor([1.0, 5.5])"),
    "the body of a function that was returned": ("return x * by + ", "return x * by - "),
    "a global number": ("SCALE = 2.0", "SCALE = 2.5"),
    "a global tensor": ("WEIGHTS = torch.ones(3)", "WEIGHTS = torch.ones(4)"),
    "the dtype of a global tensor": ("WEIGHTS = torch.ones(3)", "WEIGHTS = torch.ones(3).double()"),
    "an item deep in a global": ('"a": [1, 2]', '"a": [1, 3]'),
    "the order of a dict": ('{"a": [1, 2], "b": (3, 4)}', '{"b": (3, 4), "a": [1, 2]}'),
    "an element of a set": ('{"cat", "dog"}', '{"cat", "cow"}'),
    "a decorator's function": ("return 2 * function(*arguments)", "return 3 * function(*arguments)"),
    "a decorator left out": ("@doubled\n", ""),
    "a lambda beside another on its line": ("lambda x: x + 1, lambda", "lambda x: x + 3, lambda"),
    "an argument of a partial": ("exponent=2", "exponent=3"),
    "the function of a partial": ("functools.partial(torch.pow,", "functools.partial(torch.float_power,"),
    "a nested function": ("y.clamp(low, high)", "y.clamp(low, high + 1)"),
    "an attribute of an object": ("Metric(0.3)", "Metric(0.4)"),
    "another member of an enum": ("self.kind = Kind.SUM", "self.kind = Kind.MEAN"),
    "the value of a member of an enum": ('SUM = "sum"', 'SUM = "total"'),
    "a method": ("self.distance(output, target)) +", "self.distance(output, target)) -"),
    "a static method": ("(output - target).abs()", "(output - target).square()"),
    "a property": ("self.margin * 2", "self.margin * 3"),
    "a class attribute": ("threshold = 0.1", "threshold = 0.2"),
    "a method of a base class": ("return x.mean() + 1", "return x.mean() + 2"),
    "another base class": ("class Metric(Base):", "class Metric(Base, dict):"),
    "a default of a dataclass": ("width: int = 4", "width: int = 5"),
    "a default of a named tuple": ("right: float = 0.5", "right: float = 0.6"),
    "a model's forward": ("torch.relu(self.layer(x))", "torch.tanh(self.layer(x))"),
    "a parameter": ("self.layer.weight, 0.5", "self.layer.weight, 0.6"),
    "a hook": ("return output + 0", "return output + 1"),
    "a layer's kind": ("self.layer = nn.Linear(4, 2)", "self.layer = nn.Bilinear(4, 1, 2)"),
    "a dataset's method": ('AssertionError("the digest must not read examples")', "IndexError(i)"),
    "a dataset's array": ("np.arange(6.0)", "np.arange(6.0)[::-1]"),
    "a dataset's list": ('["x", "y"]', '["x", "z"]'),
    "a sampler": ("range(0, 6, 1)", "range(0, 6, 2)"),
}
NEIGHBOURS = {
    "a function of a neighbour module": ("helpers", "return x + OFFSET", "return x - OFFSET"),
    "a global of a neighbour module": ("helpers", "OFFSET = 0.25", "OFFSET = 0.5"),
    "a module that a function imports": ("late", "torch.stack(items)", "torch.stack(items) + 1"),
}
TWINS = {
    "comments": ("  # of the loss", ""),
    "a comment more": ("def hook(", "# a hook\ndef hook("),
    "a docstring": ('"""Mean error."""', '"""Mean error, doubled."""'),
    "a docstring left out": ('    """Mean error."""\n', ""),
    "a docstring in a decorator": ('    """Twice what a function gives."""\n', ""),
    "blank lines": ("\nSCALE", "\n\n\n\n\nSCALE"),
    "line breaks": ("error = clean(scale(output) - target)", "error = clean(\n        scale(output)\n        - target,\n    )"),
    "parentheses": ("return x * by + table.sum()", "return ((x * by) + (table.sum()))"),
    "quotes": ('TABLE["a"][0]', "TABLE['a'][0]"),
    "a string in two pieces": ('TABLE["a"][0]', 'TABLE["" "a"][0]'),
    "a number written in another way": ("x.mean() + 1", "x.mean() + 0x1"),
    "a type comment": ("error = error * SCALE", "error = error * SCALE  # type: ignore"),
    "an unrelated function": ("return x * 17", "return x * 18"),
    "an unrelated lambda on the same line": ("lambda x: x + 2", "lambda x: (x, 5)"),
    "an import nobody uses": ("import enum\n", "import enum\nimport json\n"),
    "the order of a set": ('{"cat", "dog"}', '{"dog", "cat"}'),
    "a class nobody uses": ("class Slotted:", "class Unused:\n    x = 3\n\nclass Slotted:"),
}
UNREAD = TASK[TASK.index("def unrelated") : TASK.index("@doubled\ndef")]
LENGTH = "    def __len__(self):\n        return 6\n"
SECRET = '        raise AssertionError("the digest must not read properties")\n'
REORDERED = {
    "functions": TASK.replace(UNREAD, "").replace("def scaled(", UNREAD + "def scaled("),
    "methods": TASK.replace(LENGTH, "").replace(SECRET, SECRET + LENGTH),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_of_what_is_computed_changes_the_digest(digested, name):
    before, after = digested(), digested(edited(*EDITS[name]))
    assert before[0] != after[0]
    assert before[1] == after[1] == []


def test_an_edit_under_a_librarys_decorator_changes_the_digest_of_an_imported_module(digested):
    before, after = digested(imported=True), digested(edited(*EDITS["a hook"]), imported=True)
    assert before[0] != after[0]


def test_an_optimizers_class_has_one_digest_before_and_after_its_first_instance():
    class Own(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    before = digest({"optimizer": Own})
    Own([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    assert digest({"optimizer": Own}) == before


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_an_edit_in_another_file_of_the_users_changes_the_digest(digested, name):
    file, old, new = NEIGHBOURS[name]
    assert digested() != digested(edited(old, new, file))


@pytest.mark.parametrize("name", TWINS)
def test_an_edit_that_computes_the_same_keeps_the_digest(digested, name):
    assert digested() == digested(edited(*TWINS[name]))


@pytest.mark.parametrize("name", REORDERED)
def test_the_order_in_which_things_are_written_keeps_the_digest(digested, name):
    assert REORDERED[name] != TASK
    assert digested() == digested({**FILES, "task": REORDERED[name]})


def test_a_function_of_a_neighbour_module_that_nobody_calls_keeps_the_digest(digested):
    assert digested() == digested(edited("return x\n", "return 2 * x\n", "helpers"))


@pytest.mark.parametrize("main", ["other", "random", "test-2", "__main__"])
def test_the_files_name_and_folder_are_no_part_of_the_digest(digested, main):
    """A file that is run belongs to no module; `random` is also the name of a Python module."""
    assert digested() == digested({"helpers": HELPERS, "late": LATE, main: TASK}, main)


@pytest.mark.parametrize("name", [None, *EDITS])
def test_a_file_that_is_imported_has_the_digest_of_one_that_is_run(digested, name):
    files = edited(*EDITS[name]) if name else FILES
    assert digested(files) == digested(files, imported=True)


def test_another_process_with_another_hash_seed_gives_the_same_digest(digested, tmp_path):
    expected = digested()[0]
    folder = max((f for f in tmp_path.iterdir()), key=lambda f: f.stat().st_mtime)
    script = (
        "import runpy, sys; from steepest.problems.code import digest\n"
        "print(digest(runpy.run_path('task.py', run_name='task')['things'])[0])"
    )
    for seed in ("1", "2"):
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == expected, done.stderr


def test_a_file_edited_after_it_was_loaded_counts_as_what_was_loaded(digested, tmp_path):
    """The text no longer matches the code; the digest uses the code itself, so that no later edit has the same digest."""
    path = tmp_path / "loaded.py"
    path.write_text("def loss(x):\n    return x + 1\n")
    loss = runpy.run_path(str(path))["loss"]
    first = digest({"loss": loss})
    path.write_text("def loss(x):\n    return x + 2\n\n")
    edited_since, later = digest({"loss": loss}), digest({"loss": runpy.run_path(str(path))["loss"]})
    assert len({first[0], edited_since[0], later[0]}) == 3


def test_code_without_a_file_counts_as_its_bytecode():
    def made(text):
        space = {}
        exec(text, space)
        return digest({"loss": space["loss"]})

    one = made("def helper(x):\n    return x + 1\ndef loss(x):\n    return helper(x)")
    assert one == made("def helper(x):  # a comment\n    return x + 1\ndef loss(x):\n    return helper(x)")
    assert one != made("def helper(x):\n    return x + 2\ndef loss(x):\n    return helper(x)")
    assert one[1] == []


def test_a_notebooks_cell_is_read_as_a_file_is():
    interactive = pytest.importorskip("IPython.core.interactiveshell")

    def made(*cells):
        shell = interactive.InteractiveShell()
        for cell in cells:
            assert shell.run_cell(cell).success
        return digest({"loss": shell.user_ns["loss"]})

    one = made("K = 2\ndef helper(x):\n    return x", "loss = lambda x: helper(x) + K")
    assert one == made("def helper(x):\n    'text'\n    return x  # same", "K = 2\n\nloss = lambda x: (helper(x) + K)")
    assert one != made("def helper(x):\n    return -x", "K = 2\nloss = lambda x: helper(x) + K")


def test_lambdas_in_each_other_on_one_line_are_told_apart(tmp_path):
    path = tmp_path / "lambdas.py"
    path.write_text(
        "outer = lambda x: lambda y: lambda z: y + 1\ninner = outer(1)\nlast = inner(1)\npair = [lambda: 1, lambda: 2]\n"
    )
    space = runpy.run_path(str(path))
    text = path.read_text()
    functions = space["outer"], space["inner"], space["last"], *space["pair"]
    found = [ast.unparse(syntax.find(f.__code__, text)) for f in functions]
    assert found == [
        *("lambda x: lambda y: lambda z: y + 1", "lambda y: lambda z: y + 1", "lambda z: y + 1", "lambda: 1", "lambda: 2")
    ]


def test_kept_objects_count_as_their_type():
    def kept(x):
        return digest({"dataset": Holder(x)}, [x])

    assert kept(np.arange(6.0)) == kept(np.arange(7.0))
    assert kept(np.arange(6.0))[0] != kept([*range(6)])[0]
    assert kept(np.arange(6.0))[0] != digest({"dataset": Holder(np.arange(6.0))})[0]
    assert digest({"dataset": (data := np.arange(6.0))}, [data]) == digest({"dataset": (data := np.arange(7.0))}, [data])


def hold(x):
    def loss(output, target):
        return x

    return loss


class Holder:
    def __init__(self, x):
        self.inner = x


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (socket.socket, "loss: the closure variable `x` (socket.socket)"),
        (threading.Lock, "loss: the closure variable `x` (_thread.lock)"),
        (lambda: iter([1, 2]), "loss: the closure variable `x` (list_iterator)"),
        (lambda: (i for i in "ab"), "loss: the closure variable `x` (generator)"),
        (Path(os.devnull).open, "loss: the closure variable `x` (_io.TextIOWrapper)"),
        (lambda: Holder(threading.Lock()), "loss: the attribute `inner` of the closure variable `x` (_thread.lock)"),
        (lambda: {"a": [threading.Lock()]}, "loss: an item of the value of 'a' (_thread.lock)"),
        (lambda: torch.zeros(2, device="meta"), "loss: the closure variable `x` (torch.Tensor)"),
    ],
)
def test_what_cannot_be_digested_is_named_and_counts_as_its_type(make, said):
    one, two = make(), make()
    try:
        first, second = digest({"loss": hold(one)}), digest({"loss": hold(two)})
    finally:
        for x in (one, two):
            if hasattr(x, "close"):
                x.close()
    assert first == second
    assert first[1] == [said]
    assert first[0] != digest({"loss": hold(None)})[0]


class Counter(dict):
    pass


class Slotted:
    __slots__ = ("level", "unset")

    def __init__(self, level):
        self.level = level


def hooked(hook):
    module = nn.ReLU()
    module.register_forward_hook(hook)
    return module


PAIRS = {  # two different objects of each kind
    "int": lambda k: 10**5000 + k,
    "float": lambda k: [float("nan"), float("inf")][k],
    "zeros": lambda k: [0.0, -0.0][k],
    "types of numbers": lambda k: [1, True][k],
    "lists of numbers": lambda k: [[1], [1.0]][k],
    "list or tuple": lambda k: [[1], (1,)][k],
    "str": lambda k: ["\ud800", "\ud801"][k],
    "bytes": lambda k: bytes([k]),
    "complex": lambda k: complex(0, k),
    "slice": lambda k: slice(k),
    "range": lambda k: range(k),
    "a subclass of dict": lambda k: Counter(a=k),
    "a dict of objects": lambda k: {(1, Holder): k},
    "a default factory": lambda k: collections.defaultdict([list, set][k]),
    "a deque": lambda k: collections.deque([1, k]),
    "numpy": lambda k: np.array([[1.0, k]]),
    "numpy dtype": lambda k: np.zeros(2, ["i4", "f4"][k]),
    "numpy shape": lambda k: np.zeros([(), (1,)][k]),
    "numpy objects": lambda k: np.array([{"a": k}, None], dtype=object),
    "numpy scalar": lambda k: np.float32(k),
    "ufunc": lambda k: [np.add, np.exp][k],
    "tensor": lambda k: torch.tensor([k]),
    "bfloat16": lambda k: torch.tensor([k], dtype=torch.bfloat16),
    "requires grad": lambda k: torch.zeros(1, requires_grad=bool(k)),
    "shape": lambda k: torch.zeros([(2, 3), (3, 2)][k]),
    "a shared tensor": lambda k: [(t := torch.zeros(1)), [t, torch.zeros(1)][k]],
    "torch dtype": lambda k: [torch.float32, torch.float64][k],
    "device": lambda k: [torch.device("cpu"), torch.device("meta")][k],
    "Size": lambda k: torch.Size([k]),
    "a built-in function": lambda k: [torch.relu, torch.tanh][k],
    "a method written in C": lambda k: [torch.Tensor.mean, torch.Tensor.sum][k],
    "a library's function": lambda k: [nn.functional.cross_entropy, nn.functional.mse_loss][k],
    "a library's object": lambda k: nn.CrossEntropyLoss(label_smoothing=k / 10),
    "training": lambda k: nn.ReLU().train(bool(k)),
    "slots": lambda k: Slotted([[k]]),
    "a hook": lambda k: hooked([lambda *x: None, lambda *x: 1][k]),
    "a function inside a library's": lambda k: torch.vmap([lambda x: x, lambda x: -x][k]),
    "a bound method": lambda k: Holder(k).__init__,
    "pandas": lambda k: pd.DataFrame({"a": [1, 2], "b": ["x", "yz"[k]]}),
    "pandas columns": lambda k: pd.DataFrame({"ab"[k]: [1, 2]}),
    "pandas times": lambda k: pd.Series(pd.date_range(f"202{k}", periods=2, tz="UTC")),
    "a pattern": lambda k: re.compile(["a", "b"][k]),
    "a type": lambda k: [int | str, int | None][k],
    "a module": lambda k: [np, torch][k],
    "a set of objects": lambda k: {Holder(1), Holder(k)},
    "nested sets": lambda k: frozenset({frozenset({("a", k)}), frozenset({1})}),
}


@pytest.mark.parametrize("name", PAIRS)
def test_objects_of_every_kind_count_by_their_contents(name):
    first, again, other = (digest({"loss": hold(PAIRS[name](k))}) for k in (0, 0, 1))
    assert first == again
    assert first[0] != other[0]
    assert first[1] == other[1] == []


def test_the_order_of_a_set_of_objects_that_share_one_keeps_the_digest():
    """Their order depends on addresses, and differs between sets."""

    def made():
        shared = [hold]
        return {Holder((shared, k)) for k in range(20)}

    assert len({digest({"loss": hold(made())})[0] for _ in range(5)}) == 1


def test_text_of_an_f_string_counts_in_one_piece():
    """Python 3.12 ends a format string with an empty text, and Python 3.13 does not."""
    name, texts = ast.Name("x", ast.Load()), [ast.Constant(k) for k in ("a", "b", "ab", "")]
    first = ast.JoinedStr([*texts[:2], name, texts[3]])
    assert syntax.dump(first) == syntax.dump(ast.JoinedStr([texts[2], name]))
    assert syntax.dump(first) != syntax.dump(ast.JoinedStr([texts[0], name]))


def test_what_says_nothing_of_the_computation_counts_as_its_type():
    for one, two in [
        (Path("/a"), Path("/b")),
        (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
        (weakref.ref(Holder), weakref.ref(hold)),
    ]:
        assert digest({"loss": hold(one)}) == digest({"loss": hold(two)})


def test_depth_and_cycles_raise_nothing():
    deep = []
    for _ in range(50_000):
        deep = [deep, hold]
    loop = {"me": None}
    loop["me"] = (loop, {"again": loop})
    sets = frozenset()
    for _ in range(100):
        sets = frozenset({sets})
    assert digest({"deep": deep, "loop": loop})[1] == []
    assert digest({"sets": sets})[1] == ["sets: an element (frozenset)"]
    while deep:
        deep = deep[0]  # one by one, since Python frees nested lists recursively


PLAIN = """
import abc, collections, contextlib, dataclasses, enum, functools, logging, math, typing
K, log = 3, logging.getLogger(__name__)
def twice(f):
    @functools.wraps(f)
    def wrapper(*a):
        return f(*a) * 2
    return wrapper
@twice
def formats(x, w, *, y: int = 3) -> str:
    log.info("formats")
    import json
    return f"{x:}" f"a{x!r:>{w}}b" f"{x = }" f"{x:a{w}b}" f"{{}}" u"text" + rf"\\{x}" + str([math.sqrt(i) + K for i in x])
async def waits(a, /, b=1, *c, d=-0.5, **e):
    async with a as b, c:
        yield [i async for i in a if i]
    match b:
        case [1, {"k": None}, *rest] if rest: return
        case None | True: raise ValueError from None
    try: del a[1:2, ...]
    except* (OSError, KeyError) as error: pass
    else: x: int = -1j if a < b <= c else not (d := 1_000)
@dataclasses.dataclass(order=True)
class Config:
    width: int = 4
    rates: list = dataclasses.field(default_factory=list)
class Pair(typing.NamedTuple):
    left: int
    right: float = 0.5
class Kind(enum.IntEnum):
    ONE = 1
    def named(self): return self.name
class Abstract(abc.ABC, typing.Generic[typing.TypeVar("T")]):
    @abc.abstractmethod
    def read(self): ...
class Reader(Abstract):
    @functools.cached_property
    def cached(self): return K
    @functools.lru_cache
    def read(self): return super().read()
class Callable(typing.Protocol):
    def __call__(self) -> int: ...
class Row(typing.TypedDict):
    name: str
@contextlib.contextmanager
def inside():
    yield K
@functools.singledispatch
def chosen(x): return 1
@chosen.register
def _(x: int): return 2
values = [1.5, -0.0, 1j, b"x", ..., {"a", "b"}, range(3), slice(1), int | None, typing.Callable[[int], str], math.pi, math.sin]
values += [collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1]), collections.defaultdict(list)]
classes = [Config(), Pair(1), Kind.ONE, Reader(), Callable, Row]
things = {"functions": [formats, waits, inside, chosen], "values": values, "classes": classes}
"""
GOLDEN = "ec979f8fed87f4aef1a1524877861d26516afa4ebfa1b425b3ec685f938cd2c5"


def test_the_digest_is_the_same_on_every_python(digested):
    assert digested({"plain": PLAIN}, "plain") == (GOLDEN, [])


def test_time_goes_with_the_number_of_modules_and_not_with_each_number_in_a_list():
    layers = [nn.Sequential(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU()) for _ in range(50)]
    words, numbers = [str(i) for i in range(10**6)], {str(i): i / 7 for i in range(10**6)}
    for x, most in ((nn.Sequential(*layers), 0.5), (words, 2), (numbers, 4)):  # ten seconds for what is written one by one
        begin = time.perf_counter()
        digest({"loss": hold(x)})
        assert time.perf_counter() - begin < most
