"""Eight training programs in the form of well-known ones: what `@steepest.loop` changes in them, and that numbers stay."""

import difflib
import runpy
from pathlib import Path

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from steepest.errors import run_file
from steepest.schedules import Schedule, constant
from steepest.training.loop.definition import Loop
from steepest.training.loop.running import Asked, train
from steepest.update.foreign import find

FOLDER = Path(__file__).parent / "loops"
MOST_CHANGED = 10  # lines
SEEN = 20  # steps that are compared
LINEAR = Schedule("linear to zero", lambda k, n, history: 1 - k / n)
# Each program's seed, its optimizer with its rate, and its schedule.
PLAIN = {
    "chars": (1337, "torch.optim.AdamW", 3e-3, constant()),
    "gan": (0, "torch.optim.Adam(betas=(0.5, 0.999))", 1e-3, constant()),
    "vae": (1, "torch.optim.Adam", 1e-3, constant()),
    "lstm": (1111, "torch.optim.SGD", 2.0, constant()),
    "dqn": (0, "torch.optim.AdamW(amsgrad=True)", 1e-3, constant()),
    "graph": (42, "torch.optim.Adam(weight_decay=5e-4)", 0.01, constant()),
    "finetune": (7, "torch.optim.AdamW", 1e-3, LINEAR),
    "trainer": (3, "torch.optim.AdamW", 2e-3, LINEAR),
}


def trained(program):
    """The bytes of the parameters after each of the first steps of every optimizer, and what the program returns."""
    seen = {}

    def look(optimizer, *_):
        steps = seen.setdefault(id(optimizer), [])
        if len(steps) < SEEN:
            params = [p for group in optimizer.param_groups for p in group["params"]]
            steps.append(b"".join(p.detach().numpy().tobytes() for p in params))

    hook = register_optimizer_step_post_hook(look)
    try:
        value = program()
    finally:
        hook.remove()
    return [*seen.values()], value


def loop_of(name):
    path = FOLDER / "looped" / f"{name}.py"
    (loop,) = {id(x): x for x in run_file(path, "problem").values() if isinstance(x, Loop)}.values()
    return loop


def changed_lines(before, after):
    """The lines that an edit touches: of each part that changed the more of what it was and what it is."""
    before, after = ([line for line in text.splitlines() if line.strip()] for text in (before, after))
    opcodes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for tag, a, b, c, d in opcodes if tag != "equal")


def test_the_eight_programs_have_their_looped_twins():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(PLAIN) == {path.stem for path in (FOLDER / "looped").glob("*.py")}


@pytest.mark.parametrize("name", PLAIN)
def test_a_program_needs_ten_changed_lines_at_most(name):
    before, after = ((folder / f"{name}.py").read_text() for folder in (FOLDER, FOLDER / "looped"))
    assert 4 <= changed_lines(before, after) <= MOST_CHANGED


@pytest.mark.parametrize("name", PLAIN)
def test_a_looped_program_has_the_steps_and_the_result_of_the_plain_one_to_the_bit(name):
    seed, optimizer, lr, schedule = PLAIN[name]
    module = runpy.run_path(str(FOLDER / f"{name}.py"))
    steps, value = trained(module["train"])
    loop = loop_of(name)
    asked = Asked(find(optimizer), lr, seed, loop.steps or 0, schedule, config=loop.defaults)
    looped, ran = trained(lambda: train(loop, asked))
    assert len(steps) == (2 if name == "gan" else 1)
    assert all(len(own) == SEEN for own in steps)
    assert looped == steps
    assert ran.outcome.valid == value
