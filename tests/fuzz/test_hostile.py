"""Random command lines succeed, or end with code 2 and one sentence: no traceback, no hang, no unescaped output.

A sixth of the words or less runs always, other words for each command; `pytest -m slow tests/fuzz` draws thousands more.
"""

import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from steepest import surfaces
from steepest.cli import app
from steepest.errors import SteepestError
from steepest.surfaces.formula import FUNCTIONS

LIMIT = 30.0  # seconds before a command counts as hung, on a busy machine

WORDS = st.sampled_from(
    [
        *(
            "",
            " ",
            "\0",
            "\n",
            "\r\n",
            "a\nb",
            "\x1b[31m",
            "x" * 300,
            "ü" * 300,
            "x" * 10_000,
            "<script>alert(1)</script>",
            "../" * 200,
        ),
        *(
            "digits",
            "adam",
            "sgd",
            "cosine",
            "saddle",
            "bowl",
            "x**2 + y**2",
            "0.1",
            "auto",
            "-1",
            "nan",
            "inf",
            "1e400",
            "0x10",
        ),
        *(
            "adam(",
            "adam)",
            "adam()()",
            "adam(lr=",
            "adam(lr=1e400)",
            "adam(betas=(1,2))",
            "sgd(momentum=[])",
            "adam(beta1='x')",
        ),
        *("((x+1)**100+1)**100", "x1+x50", "bowl(dims=5000)", "bowl(dims=-1)", "bowl(dims=1.5)", "valley(condition=1e400)"),
        *(
            "*".join(f"(x-{i})" for i in range(60)),
            "sin(" * 100 + "x" + ")" * 100,
            "x" + "**x" * 100,
            "x*(-2)**0.5",
            "1/0",
            "0**-1*x",
        ),
        *(
            "(" * 400 + "x" + ")" * 400,
            "*".join(["constant"] * 50),
            "*".join(["constant"] * 5000),
            "-" * 5000 + "x",
            "9" * 5000,
        ),
        *(
            "step(size=10**400)",
            "step(size=1e309)",
            "step(size=-1)",
            "constant.then(cosine, at=nan)",
            "warmup(0)",
            "cosine(floor='a')",
        ),
        *(
            "none.py",
            "/",
            ".",
            "~",
            "/dev/null",
            "/proc/self/mem",
            "-",
            "--",
            "--json",
            "%s",
            "{}",
            "$(x)",
            "`x`",
            "1,2,3",
            "=,=,=",
            "sgd=",
        ),
    ]
)
TEXT = st.one_of(WORDS, st.text(max_size=40), st.lists(WORDS, min_size=2, max_size=3).map("".join).map(lambda s: s[:12_000]))

QUICK = (
    "--steps",
    "3",
    "--seeds",
    "1",
    "--lrs",
    "0.1",
    "--schedules",
    "constant",
    "--optimizers",
    "sgd",
    "--store",
    ":memory:",
)
# a command, and the position of the random arguments
COMMANDS = {
    "compare a problem": ("compare", "{}", *QUICK),
    "compare optimizers": ("compare", "digits", *QUICK, "--optimizers", "{}", "--lrs", "0.1"),
    "compare schedules": ("compare", "digits", *QUICK, "--schedules", "{}"),
    "compare rates": ("compare", "digits", *QUICK, "--lrs", "{}"),
    "compare in a store": ("compare", "digits", *QUICK, "--store", "{}"),
    "compare to a report": ("compare", "digits", *QUICK, "--report", "{}"),
    "compare in a time": ("compare", "digits", *QUICK[2:], "--budget", "{}", "--seeds", "1", "--steps", "3"),
    "compare in memory": ("compare", "digits", *QUICK, "--memory", "{}"),
    "compare by a plan": ("compare", "digits", *QUICK, "--plan", "{}"),
    "compare on": ("compare", "digits", *QUICK, "--device", "{}"),
    "compare steps": ("compare", "digits", *QUICK, "--steps", "{}", "--budget", "1s"),
    "compare by an engine": ("compare", "digits", *QUICK, "--engine", "{}"),
    "compare at": ("compare", "digits", *QUICK, "--address", "{}"),
    "work a slice": ("work", "digits", *QUICK, "--slice", "{}"),
    "work in a store": ("work", "--store", "{}", "--slice", "1/2"),
    "path on": ("path", "{}", "--optimizers", "sgd,adam", "--steps", "5"),
    "path by": ("path", "bowl", "--steps", "5", "--optimizers", "{}"),
    "path at": ("path", "bowl", "--steps", "5", "--lrs", "{}"),
    "path from": ("path", "bowl", "--steps", "5", "--start={}"),
    "path along": ("path", "bowl", "--steps", "5", "--schedule", "{}"),
    "path to": ("path", "bowl", "--steps", "5", "--optimizers", "sgd", "--out", "{}"),
    "path seen": ("path", "bowl", "--steps", "5", "--view", "{}"),
    "surface": ("surface", "{}"),
    "schedule": ("schedule", "{}", "--steps", "20"),
    "show": ("show", "{}"),
    "show as": ("show", "adam", "--language", "{}"),
    "list": ("list", "{}"),
    "list to": ("list", "optimizers", "--json", "{}"),
    "play": ("play", "{}", "--out", "p.html"),
    "play by": ("play", "--out", "p.html", "--optimizers", "{}"),
    "report": ("report", "{}"),
    "store ls": ("store", "ls", "{}"),
    "store show": ("store", "show", "kept.db", "{}"),
    "store merge": ("store", "merge", "new.db", "{}"),
    "store check": ("store", "check", "{}"),
    "store export": ("store", "export", "kept.db", "--out", "{}"),
    "data": ("data", "fetch", "{}"),
    "a command": ("{}",),
}
SHARES = 6  # of the words, of which one runs always
WHOLE = ("compare in a store", "compare to a report")  # where most words are a file's name, and a whole study runs


def filled(command, words):
    return [part.replace("{}", words) for part in COMMANDS[command]]


def judged(code, out, err):
    """Check for success, or for one sentence in one line and code 2."""
    assert "Traceback" not in err, err[-2000:]
    assert code in (0, 2), (code, err[-500:])
    if code == 2:
        lines = [line for line in err.strip().splitlines() if line.strip()]
        assert lines, out
        said = lines[-1]
        if said.startswith("steepest: "):
            assert len(lines) == 1, lines
            assert len(said) <= 310, said
            assert said.isprintable()
    assert "\x1b" not in err
    assert "\0" not in err


def called(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)[:500]
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A separate folder with a store."""
    from steepest.study.store import Store

    made = tmp_path_factory.mktemp("hostile")
    Store(made / "kept.db").close()
    return made


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("typer.launch", lambda *_: None)


@pytest.mark.parametrize("share", [0, *(pytest.param(share, marks=pytest.mark.slow) for share in range(1, SHARES))])
@pytest.mark.parametrize("command", COMMANDS)
def test_words_of_every_kind_work_or_are_one_sentence(command, share):
    step = 18 if share == 0 and command in WHOLE else SHARES
    for words in WORDS.elements[(share + [*COMMANDS].index(command)) % step :: step]:
        judged(*called(filled(command, words)))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@settings(
    max_examples=285, deadline=LIMIT * 1000, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=False
)
@given(words=TEXT)
def test_drawn_words_work_or_are_one_sentence(command, words):
    judged(*called(filled(command, words)))


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=False)
@given(command=st.sampled_from([*COMMANDS]), words=TEXT)
def test_drawn_words_as_commands(folder, command, words):
    arguments = filled(command, words)
    if any("\0" in argument for argument in arguments):
        return  # cannot be passed to a program
    done = subprocess.run(
        [sys.executable, "-m", "steepest", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )
    judged(done.returncode, done.stdout, done.stderr)


GROWING = {
    "a product of what three coordinates share": lambda n: "*".join(f"(x*y*z+{k})" for k in range(n)),
    "a product of functions": lambda n: "*".join(f"sin(x*y*z+{k})" for k in range(n)),
    "a product of many coordinates": lambda n: "*".join(f"x{k}" for k in range(1, n + 1)),
    "a power of a sum": lambda n: f"({'+'.join(f'x{k}' for k in range(1, n + 1))})**99",
    "a product of powers": lambda n: "*".join(f"(x+y+z+{k})**{k + 9}" for k in range(n)),
    "a tower": lambda n: "**".join("xy"[k % 2] for k in range(n + 1)),
    "powers of powers": lambda n: "(" * n + "x*y" + "+x)**9" * n,
    "fractions of fractions": lambda n: "x/(y+" * n + "z" + ")" * n,
    **{f"{name} of {name}": lambda n, name=name: f"{name}(" * n + "x*y*z" + ")" * n for name in FUNCTIONS},
    "absolute values of what is not real everywhere": lambda n: "abs(log(" * n + "x*y" + "))" * n,
}
OFTEN = (
    "a product of what three coordinates share",
    "a product of many coordinates",
    "absolute values of what is not real everywhere",
)
SECONDS, BYTES = 6.0, 200 * 2**20  # seconds for an accepted surface, in addition to the import
MEASURE = """
import resource, sys, time
from steepest import surfaces
from steepest.report.surface import text
text.text(surfaces.get("x**2 + y**2"))
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
text.text(surfaces.get(sys.argv[1]))
print(time.process_time() - began, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def largest(make):
    """The largest accepted formula of a kind."""
    passed = ""
    for n in range(1, 101):
        try:
            surfaces.get(make(n))
        except SteepestError:
            break
        passed = make(n)
    return passed


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[] if kind in OFTEN else [pytest.mark.slow]) for kind in GROWING])
def test_the_largest_formula_that_is_not_refused_takes_no_longer_than_is_said(kind):
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, largest(GROWING[kind])], capture_output=True, text=True, timeout=60, check=True
    )
    seconds, size = map(float, ran.stdout.split())
    assert seconds < SECONDS, largest(GROWING[kind])
    assert size < BYTES


@pytest.mark.parametrize(
    "formula",
    [
        "x*sin(exp(exp(30)))",
        "abs(sin(exp(exp(25))))*x",
        "x**sin(exp(exp(exp(9))))",
        GROWING["a product of what three coordinates share"](25),
    ],
)
def test_a_formula_that_would_take_long_is_refused_at_once(formula):
    began = time.process_time()
    with pytest.raises(SteepestError, match="is refused"):
        surfaces.get(formula)
    assert time.process_time() - began < 2
