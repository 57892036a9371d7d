"""Slips that any answer may have: each is named, and none is accepted as right."""

import inspect
import math

import numpy as np
import pytest
import torch

from steepest_workshop.lessons import check
from steepest_workshop.lessons.exercises import EXERCISES, SCHEDULES, STEPS, VALUES, engine, slips, trials
from steepest_workshop.lessons.exercises.values import CASES, ORACLES

STEPPING = [exercise.name for exercise in STEPS]
GIVING = [exercise.name for exercise in (*VALUES, *SCHEDULES)]
WRITTEN = [*STEPPING, *GIVING]
RIGHT = {name: ORACLES.get(name, EXERCISES[name].solution) for name in WRITTEN}  # functions of arrays


def of_result(change):
    """An answer whose result is changed."""

    def changed(function):
        def mine(*args):
            args = [np.asarray(each) if isinstance(each, torch.Tensor) else each for each in args]
            return change(np.asarray(function(*args), float), args)

        return mine

    return changed


def of_move(change):
    """A step whose move is changed."""
    return lambda function: lambda w, g, t, state: w + change(np.asarray(function(w, g, t, state)) - w)


def counted(factor):
    """A factor of the length of the first array, where it is above 1."""
    return of_result(lambda r, args: factor(len(args[0])) * r if np.ndim(args[0]) and len(args[0]) > 1 else r)


ON_VALUES = {
    "twice": of_result(lambda r, _: 2 * r),
    "half": of_result(lambda r, _: r / 2),
    "sign": of_result(lambda r, _: -r),
    "per cent": of_result(lambda r, _: 100 * r),
    "a hundredth": of_result(lambda r, _: r / 100),
    "1.7 times": of_result(lambda r, _: 1.7 * r),
    "more": of_result(lambda r, _: r + 0.5),
    "sum for mean": counted(lambda n: n),
    "mean for sum": counted(lambda n: 1 / n),
    "n - 1 for n": counted(lambda n: n / (n - 1)),
    "n for n - 1": counted(lambda n: math.sqrt((n - 1) / n)),
    "without the root of n": counted(math.sqrt),
    "base 10": of_result(lambda r, _: r / math.log(10)),
    "base 2": of_result(lambda r, _: r / math.log(2)),
    "square": of_result(lambda r, _: r**2),
    "root": of_result(lambda r, _: np.sqrt(r)),
    "exp": of_result(lambda r, _: np.exp(r)),
    "1 minus": of_result(lambda r, _: 1 - r),
    "1 over": of_result(lambda r, _: 1 / r),
    "transposed": of_result(lambda r, _: r.T),
    "reversed": of_result(lambda r, _: r[::-1] if r.ndim else r),
    "another shape": of_result(lambda r, _: r.reshape(*r.shape, 1)),
    "mean of all": of_result(lambda r, _: r.mean()),
    "sum of all": of_result(lambda r, _: r.sum()),
    "mean missing": of_result(lambda r, _: np.stack([r - 1, r + 1])),
    "rounded": of_result(lambda r, _: np.round(r, 3)),
    "a constant rounded": of_result(lambda r, _: r * (1 + 2e-6)),
}
ON_STEPS = {
    "twice": of_move(lambda move: 2 * move),
    "half": of_move(lambda move: move / 2),
    "uphill": of_move(lambda move: -move),
    "a hundredth": of_move(lambda move: move / 100),
    "100 times": of_move(lambda move: 100 * move),
    "not moved": of_move(lambda move: 0 * move),
    "a constant rounded": of_move(lambda move: move * (1 + 2e-6)),
    "only the step": lambda function: lambda w, g, t, state: function(w, g, t, state) - w,
}
FREE = {"nesterov"}  # its gradient depends on where it is: a factor of the move changes the path's shape


def same(name, changed):
    """Whether a change changes nothing on the inputs of an exercise."""
    right, wrong = (engine.results(function, CASES[name]) for function in (RIGHT[name], changed))
    return slips.alike(wrong, right)


@pytest.mark.parametrize("name", GIVING)
@pytest.mark.parametrize("slip", ON_VALUES)
def test_a_slip_of_a_value_is_named_and_not_right(name, slip):
    changed = ON_VALUES[slip](RIGHT[name])
    with np.errstate(all="ignore"):
        if same(name, changed) or (name, slip) == ("standard_error", "n for n - 1"):  # which is right by the document
            pytest.skip("changes nothing here")
        answer = check(name, changed)
    assert not answer, answer
    assert ";" in repr(answer), answer


@pytest.mark.parametrize("name", sorted(set(STEPPING) - FREE))
@pytest.mark.parametrize("slip", ON_STEPS)
def test_a_slip_of_a_step_is_named_and_not_right(name, slip):
    answer = check(name, ON_STEPS[slip](RIGHT[name]))
    assert not answer, answer
    assert ";" in repr(answer), answer


REASONS = [  # an exercise that has no words of its own for the slip
    ("forward", "transposed", "is it transposed?"),
    ("forward", "twice", "is there a factor of 2 too many?"),
    ("closed_form", "half", "is a factor of 2 missing?"),
    ("closed_form", "per cent", "is it in per cent?"),
    ("closed_form", "a hundredth", "is it divided by 100 once too often?"),
    ("replicate_mean", "sign", "does it have the other sign?"),
    ("replicate_mean", "mean for sum", "is it the mean, not the sum?"),
    ("replicate_mean", "n - 1 for n", "is it divided by n - 1 where n belongs?"),
    ("replicate_mean", "n for n - 1", "is it divided by n where n - 1 belongs?"),
    ("replicate_mean", "without the root of n", "is it not divided by the root of n?"),
    ("cross_entropy", "base 2", "is the logarithm to base 2?"),
    ("cross_entropy", "exp", "is a logarithm missing?"),
    ("cosine", "root", "is there a root too many?"),
    ("inverse_time", "1 over", "is it 1 over what is asked for?"),
    ("inverse_time", "1 minus", "is it 1 minus what is asked for?"),
    ("least_squares_gradient", "reversed", "are its entries in the reverse order?"),
    ("least_squares_gradient", "another shape", "its numbers are right, in another shape"),
    ("accuracy", "mean missing", "is the mean missing?"),
    ("replicate_mean", "mean of all", "is it the mean of what is asked for?"),
    ("replicate_mean", "sum of all", "is it the sum of what is asked for?"),
    ("batch_norm", "1.7 times", "it is 1.7 times the right one everywhere"),
    ("batch_norm", "square", "is a root missing?"),
    ("cosine", "more", "it is 0.5 more than the right one everywhere"),
    ("dropout", "rounded", "is it rounded to 3 digits?"),
    ("power_gradient", "a constant rounded", "it is right up to 2e-06 of it"),
]


@pytest.mark.parametrize(("name", "slip", "words"), REASONS, ids=[f"{name}, {slip}" for name, slip, _ in REASONS])
def test_a_slip_is_named_by_its_reason(name, slip, words):
    with np.errstate(all="ignore"):
        assert words in repr(check(name, ON_VALUES[slip](RIGHT[name])))


def test_an_input_that_counts_from_another_number_is_named():
    assert "does it count from 1?" in repr(check("cosine", lambda t, n, least: RIGHT["cosine"](t + 1, n, least)))
    assert "7 of the 9 inputs are right" in repr(check("kind", lambda H: max(0, RIGHT["kind"](H))))


WITH_EPSILON = [name for name in WRITTEN if "1e-" in inspect.getsource(RIGHT[name])]


@pytest.mark.parametrize("name", WITH_EPSILON)
def test_an_epsilon_that_is_missing_moved_or_another_is_named(name):
    """Also where everything is computed in float32, in which most epsilons are lost."""
    named = seen = 0
    trial = EXERCISES[name].trial()
    right = trials.run(RIGHT[name], trial).arrays
    for words, function in slips.variants(RIGHT[name]):
        if "epsilon" in words:
            answer = check(name, function)
            assert not answer, (words, answer)
            assert ";" in repr(answer), (words, answer)
            named += "epsilon" in repr(answer)
            if not slips.alike(trials.run(function, trial).arrays, right, engine.SINGLE):
                assert not check(name, in_float32(function)), words
                seen += 1
    assert named > 6
    assert seen > 6


def in_float32(function):
    """A function whose arguments and result are of float32, as torch's tensors are by default."""

    def mine(*args):
        arrays = [np.asarray(a) if isinstance(a, torch.Tensor) else a for a in args]
        singles = [a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype == float else a for a in arrays]
        return np.asarray(function(*singles), np.float32)

    return mine


@pytest.mark.parametrize("name", sorted(set(WRITTEN) - FREE))
def test_float32_is_right_with_a_remark(name):
    answer = check(name, in_float32(RIGHT[name]))
    assert answer, answer
    assert repr(answer).startswith(("Right up to float32's rounding: ", "Right: "))


def test_steps_of_torch_in_float32_added_to_float64_are_right():
    def mine(w, g, t, state):
        state["G"] = state.get("G", 0.0) + torch.tensor(g, dtype=torch.float32) ** 2
        return w - (0.1 * torch.tensor(g, dtype=torch.float32) / (state["G"].sqrt() + 1e-8)).numpy()

    assert repr(check("adagrad", mine)).startswith("Right up to float32's rounding: ")


def test_float64_computed_in_part_in_float32_is_right():
    def mine(w, g, t, state):
        v = state.setdefault("v", np.zeros(4, np.float32))
        v[:] = 0.9 * v + 0.1 * g**2
        return w - 0.1 * g / (np.sqrt(v) + 1e-8)

    assert repr(check("rmsprop", mine)).startswith("Right up to float32's rounding: ")
    error = check("standard_error", lambda a: torch.Tensor(a).std(0).numpy().astype(float) / np.sqrt(len(a)))
    assert repr(error).startswith("Right up to float32's rounding: ")
    rounded = check("cosine", lambda t, n, least: least + (1 - least) / 2 * (1 + np.cos(3.14159 * t / n)))
    assert not rounded
    assert "is a constant rounded" in repr(rounded)


def test_a_tensor_with_a_gradient_is_a_result():
    def mine(w, x, y, power):
        return (torch.tensor(x) @ torch.tensor(w, requires_grad=True) - y).abs() ** power

    assert check("power_loss", mine)


def test_the_number_of_right_inputs_is_said_as_it_is():
    assert "every other input is right: is a case forgotten?" in repr(check("step_decay", lambda epoch: 1 - 0.5 * (epoch >= 5)))
    assert "2 of the 4 inputs are right" in repr(
        check("cosine", lambda t, n, a: [1, 0.5, 0.1, 0.5][(t > 0) + (t > 3) + (n > 10)])
    )
    alone = check("step_decay", lambda epoch: 0.5 * (epoch // 5))
    assert "1 of the 4 inputs is right" in repr(alone), alone


@pytest.mark.parametrize(
    "mine",
    [
        lambda H: 0 if np.linalg.det(H) < 0 else 1 if H[0, 0] > 0 else -1,
        lambda H: int(np.sign(np.linalg.eigvalsh(H)).sum() / 2),
        lambda H: int(np.sign(np.trace(H))) if np.linalg.det(H) > 0 else 0,
    ],
)
def test_a_rule_for_points_of_two_coordinates_is_not_right_for_more(mine):
    assert not check("kind", mine)


def test_an_adam_with_a_little_weight_decay_is_not_right():
    answer = check("optimizer_adam", lambda params: torch.optim.Adam(params, lr=1e-3, weight_decay=1e-5))
    assert not answer
    assert "weight_decay is 1e-05" in repr(answer)
    assert check("optimizer_adam", lambda params: torch.optim.Adam(params, lr=torch.tensor(1e-3)))


@pytest.mark.parametrize("shape", [(1,) * 32, (0, 10**9), (300, 300)], ids=str)
def test_a_result_of_a_shape_that_cannot_be_judged_is_refused(shape):
    assert "numbers, of shape (" in repr(check("replicate_mean", lambda losses: np.broadcast_to(1.0, shape)))


def test_the_documents_standard_error_is_right_and_said_to_be_the_documents():
    answer = check("standard_error", lambda losses: np.std(losses, axis=0) / np.sqrt(len(losses)))
    assert answer
    assert "the document's, by n; by n - 1" in repr(answer)
    assert "the document" not in repr(check("standard_error", RIGHT["standard_error"]))


def test_a_difference_below_six_digits_is_printed():
    answer = repr(check("least_squares_gradient", lambda X, y, w: 2 * X.T @ (X @ w - y) * (1 + 4e-7)))
    assert "yours differs from " in answer
    assert "e-07" in answer or "e-06" in answer


def test_text_booleans_and_too_many_numbers_are_no_results():
    assert "returned str; expected numbers" in repr(check("inverse_time", lambda t, k: "1.0"))
    assert "2,000,000 numbers" in repr(check("inverse_time", lambda t, k: np.zeros(2_000_000)))
    assert "is the mean missing?" in repr(check("accuracy", lambda scores, labels: scores.argmax(1) == labels))
    assert "expected numbers" in repr(check("inverse_time", lambda t, k: 1j))
