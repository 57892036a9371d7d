"""The exercises of the lessons: correct answers, common mistakes, and the feedback on each."""

import ast
import html
import math
import re

import numpy as np
import pytest
import torch

from steepest import rules
from steepest.errors import SteepestError
from steepest.paths.loop import formula_of, trajectory
from steepest.surfaces import get
from steepest_workshop import mutants
from steepest_workshop.lessons import ask, check, hint, solution, task
from steepest_workshop.lessons.exercises import EXERCISES, SCHEDULES, STEPS, VALUES, steps

WRITTEN = [exercise.name for exercise in (*STEPS, *VALUES, *SCHEDULES)]


@pytest.mark.parametrize("name", WRITTEN)
def test_the_right_answer_is_called_right(name):
    room = {"np": np, "torch": torch, "nn": torch.nn}
    exec(solution(name), room)  # the shown code can be pasted
    answer = check(name, list(room.values())[-1])
    assert answer, answer
    assert repr(answer).startswith("Right: ")


@pytest.mark.parametrize("name", WRITTEN)
def test_a_usual_slip_is_called_by_its_name(name):
    exercise = EXERCISES[name]
    for words, wrong in exercise.wrong:
        answer = check(name, wrong)
        assert not answer, words
        assert words in repr(answer), (words, answer)


def broken(*args):
    raise ValueError("a slip of the pen")


GARBAGE = {
    "None": (lambda *args: None, "returned None; end it with `return`"),
    "raises": (broken, "stopped with ValueError: a slip of the pen"),
    "words": (lambda *args: "no", "returned str; expected numbers"),
    "shape": (lambda *args: np.zeros((2, 7, 1)), "your result has the shape (2, 7, 1); expected"),
    "arguments": (lambda: 1.0, "stopped with TypeError"),
    "huge": (lambda *args: np.full_like(np.asarray(args[0], float), 1e300), ""),
    "nan": (lambda *args: np.full_like(np.asarray(args[0], float), math.nan), ""),
    "no function": (3.0, "expected a function"),
    "a name": ("adam", "expected a function"),
    "dict": (lambda *args: {}, "returned dict; expected numbers"),
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("kind", GARBAGE)
def test_what_is_no_answer_is_a_sentence(name, kind):
    wrong, words = GARBAGE[kind]
    answer = check(name, wrong)
    assert not answer
    assert words in repr(answer)
    assert "\n" not in repr(answer)
    assert len(repr(answer)) < 300


SLOW = ["adabelief"]  # a rule with many possible mistakes


@pytest.mark.parametrize(
    "name",
    [pytest.param(e.name, marks=pytest.mark.slow if e.name in SLOW else ()) for e in STEPS if e.name != "nesterov"],
)
def test_an_error_of_the_rule_is_found_and_named(name):
    """Each mutant of the rule, as a learner's function that reproduces its path."""
    rule, hyper = {
        "sgd": ("gd", {}),
        "momentum": ("sgd", {"momentum": 0.9, "rate_inside": True}),
        "adagrad": ("adagrad", {"eps": 1e-8}),
        "rmsprop": ("rmsprop", {"alpha": 0.9}),
        "adabelief": ("adabelief", {"eps": 1e-8}),
        "adadelta": ("adadelta", {"lr": 1.0}),
    }.get(name, (name, {}))
    gradients, start = steps.world()
    named = 0
    for what, made in mutants.of(rules.get(rule), hyper):
        path = steps._plain(made, hyper, gradients, start)
        answer = check(name, lambda w, g, t, state, path=path: path[t - 1])
        if not answer:
            named += steps.SLIPS[what.partition(":")[0]] in repr(answer) or ";" in repr(answer)
    assert named >= 1
    right = steps._plain(rules.get(rule), hyper, gradients, start)
    assert check(name, lambda w, g, t, state: right[t - 1])  # the library's rule equals the oracle's


def test_the_oracle_of_nesterov_is_the_rule():
    surface, p, state, points = get("beale"), np.array([1.0, 1.5]), {}, []
    for t in range(1, 30):
        p = steps.nesterov(p, surface.gradient, t, state)
        points.append(p)
    ours = trajectory(rules.get("nesterov_lookahead"), formula_of(surface), (1.0, 1.5), 29, lr=0.1, momentum=0.9)[0][1:]
    np.testing.assert_allclose(points, ours, rtol=1e-9)


@pytest.mark.parametrize("name", EXERCISES)
def test_no_hint_and_no_page_contains_an_answer(name):
    tree = ast.parse(solution(name))
    returned = [ast.unparse(node.value) for node in ast.walk(tree) if isinstance(node, ast.Return)]
    answers = [answer for answer in returned if " " in answer]  # not a variable's name
    words = " ".join(hint(name, k) for k in (1, 2, 3))
    assert not [answer for answer in answers if answer.replace(" ", "") in re.sub(r"[ `]", "", words)]
    if not returned:
        assert not re.search(rf"\b{ast.literal_eval(solution(name))}\b", words.replace("1 - 2", ""))
    page = ask(name)._repr_html_()
    assert not [answer for answer in answers if answer in html.unescape(page)]


def test_a_blank_is_called_blank_and_not_wrong():
    def adam(w, g, t, state):
        """The new w."""
        ...

    class Network(torch.nn.Module):
        def forward(self, x): ...

    assert repr(check("adam", adam)) == repr(check("forward", Network)) == repr(check("updates", ...))
    assert repr(check("adam", adam)) == "Blank: put your answer in the place of its `...`."
    assert not check("adam", adam)


def test_a_function_that_works_in_place_is_right():
    def mine(w, g, t, state):
        w -= 0.1 * g
        return w

    assert check("sgd", mine)


def test_numbers_are_taken_as_people_write_them():
    assert check("updates", "6,000")
    assert check("too_large", 1.0)


def test_a_mistake_is_said_to_be_in_the_learners_line():
    def mine(w, g, t, state):
        return np.linalg.inv(w)

    line = mine.__code__.co_firstlineno + 1
    assert f"in line {line} of your cell" in repr(check("sgd", mine))


def test_what_is_far_and_what_is_short_is_told():
    assert "too far" in repr(check("sgd", lambda w, g, t, state: w - 0.3 * g))
    assert "too short" in repr(check("sgd", lambda w, g, t, state: w - 0.03 * g))
    late = check("momentum", lambda w, g, t, state: steps.momentum(w, g, t, state) if t < 5 else w)
    assert repr(late).startswith("Step 5: ")
    assert "not finite" in repr(check("sgd", lambda w, g, t, state: w / 0.0 * math.nan))


QUESTIONS = {
    "saddle": "rmsprop",
    "valley": "momentum",
    "too_large": 1,
    "first_step": "as far",
    "updates": 6000,
    "batch_size": 1,
    "adagrad_later": "a tenth",
    "steady": 0.01,
}


@pytest.mark.parametrize(("name", "right"), QUESTIONS.items(), ids=list(QUESTIONS))
def test_a_prediction_is_judged_by_a_run(name, right):
    answer = check(name, right)
    assert answer, answer
    assert repr(answer).startswith("Right. ")
    assert check(name, ast.literal_eval(solution(name)))
    choices = task(name).split("Answer with one of ")[1].rstrip(".").split(", ")
    for choice in choices:
        if choice != str(right):
            other = check(name, choice)
            assert not other
            assert repr(other).startswith(f"Not {choice}: ")
            assert f" {right} " not in repr(other).removeprefix("Not").replace(".", " ")  # a wrong guess reveals nothing
    assert repr(check(name, "perhaps")) == f"Given 'perhaps'; expected one of {', '.join(choices)}."


def test_the_blank_for_an_optimizer_takes_torchs_and_ours():
    from steepest import optim

    for module in (torch.optim, optim):
        assert check("optimizer_sgd", lambda p, module=module: module.SGD(p, lr=0.1))
        assert check("optimizer_momentum", lambda p, module=module: module.SGD(p, lr=0.1, momentum=0.9))
        assert check("optimizer_nesterov", lambda p, module=module: module.SGD(p, lr=0.1, momentum=0.9, nesterov=True))
        assert check("optimizer_adam", lambda p, module=module: module.Adam(p))
    assert "lr is 0.01" in repr(check("optimizer_sgd", lambda p: torch.optim.SGD(p, lr=0.01)))
    assert "momentum is 0" in repr(check("optimizer_momentum", lambda p: torch.optim.SGD(p, lr=0.1)))
    assert "nesterov is False" in repr(check("optimizer_nesterov", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)))
    assert "it is SGD" in repr(check("optimizer_adam", lambda p: torch.optim.SGD(p, lr=0.001)))
    assert "expected an optimizer" in repr(check("optimizer_adam", lambda p: list(p)))
    assert "TypeError" in repr(check("optimizer_adam", lambda: None))


def test_an_exercise_has_a_task_three_hints_and_a_solution():
    for name in EXERCISES:
        assert task(name)
        assert len({hint(name, k) for k in (1, 2, 3)}) == 3
        assert solution(name)
        page = ask(name)._repr_html_()
        assert page.count("<details>") == page.count("</details>") == 3
    with pytest.raises(SteepestError, match="expected 1 to 3"):
        hint("adam", 4)
    with pytest.raises(SteepestError, match="did you mean 'adam'"):
        check("adem", None)
