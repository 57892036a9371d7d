"""Shared test cases: hyperparameters, composed rules, surfaces, a loopback server, and readers of pictures."""

import contextlib
import http.server
import threading

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image

from steepest import rules, surfaces
from steepest.report.palette import style
from steepest.rules import get
from steepest_workshop import composed, oracles

# Two sets of hyperparameters, for two groups of one model, in addition to those of `moved`.
CHOSEN = {
    "sgd": [{}, {"weight_decay": 0.05}],
    "momentum": [{"dampening": 0.3}, {"momentum": 0.7, "weight_decay": 0.05, "rate_inside": True}],
    "nesterov": [{}, {"momentum": 0.5}],
    "adagrad": [{"lr_decay": 0.1}, {"initial_accumulator_value": 0.2, "eps": 1e-3, "eps_inside": True}],
    "rmsprop": [{"momentum": 0.8}, {"centered": True, "alpha": 0.6, "eps": 1e-3}],
    "adam": [{"amsgrad": True}, {"beta1": 0.5, "beta2": 0.8, "eps": 1e-3, "weight_decay": 0.05}],
    "adamw": [{}, {"weight_decay": 0.3, "beta2": 0.9}],
    "rprop": [{}, {"etaminus": 0.3, "etaplus": 1.5, "step_max": 0.2, "step_min": 1e-3}],
    "asgd": [{}, {"lambd": 0.01, "alpha": 0.5, "t0": 10.0, "weight_decay": 0.05}],
    "nadam": [{}, {"beta1": 0.5, "momentum_decay": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": True}],
    "radam": [{"beta2": 0.9}, {"beta2": 0.99, "weight_decay": 0.05}],
    "madgrad": [{}, {"momentum": 0.5, "eps": 1e-3, "weight_decay": 0.01}],
    "lamb": [{"weight_decay": 0.1}, {"beta1": 0.5, "eps": 1e-3}],
    "adai": [{}, {"beta0": 0.3, "beta2": 0.9, "weight_decay": 0.02}],
    "schedule_free_adamw": [{"warmup_steps": 10.0, "weight_decay": 0.05}, {"beta1": 0.6, "r": 1.0, "weight_lr_power": 1.0}],
    "sam": [{"rho": 0.2}, {"momentum": 0.5, "rho": 0.01, "weight_decay": 0.05}],
}
CHOSEN |= {
    "adabelief": [{"weight_decay": 0.05}, {"rectify": True, "beta2": 0.9, "eps": 1e-3}],
    "padam": [{"weight_decay": 0.05}, {"bias_correction": True, "partial": 0.25, "eps": 1e-3}],
    "adan": [{"weight_decay": 0.05}, {"paper_start": True, "beta1": 0.7, "beta2": 0.8, "beta3": 0.9, "eps": 1e-3}],
    "schedule_free_sgd": [{"warmup_steps": 10.0, "weight_decay": 0.05}, {"momentum": 0.6, "r": 1.0, "weight_lr_power": 1.0}],
    "lars": [{"trust": 0.1, "weight_decay": 0.05}, {"trust": 0.02, "momentum": 0.5}],
    "adafactor": [{}, {"beta2_decay": -0.5, "eps1": 1e-3, "eps2": 0.1, "d": 1.5, "weight_decay": 0.05}],
    "muon": [{"precise": True}, {"precise": True, "nesterov": False, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3}],
}
COMPOSED = {
    rule.name: (rule, oracle, chosen)
    for rule, oracle, chosen in (
        (
            rules.clip_by_norm(get("adam")),
            composed.changed_gradients(composed.clip_by_norm, oracles.adam),
            [{"max_norm": 0.5}, {"max_norm": 0.5, "eps": 1e-3}],
        ),
        (
            rules.clip_by_value(rules.clip_by_norm(get("lamb"))),
            composed.changed_gradients(composed.clip_by_value, composed.changed_gradients(composed.clip_by_norm, oracles.lamb)),
            [{"max_norm": 2.0, "max_value": 0.2}, {"max_norm": 2.0, "max_value": 0.2, "weight_decay": 0.1}],
        ),
        (rules.sam(rules.clip_by_value(get("momentum"), 1e9)), oracles.sam, [{"rho": 0.2}, {"momentum": 0.5}]),
        (
            rules.lookahead(get("momentum")),
            composed.lookahead_momentum,
            [{}, {"slow_steps": 3.0, "slow_rate": 0.2, "momentum": 0.5}],
        ),
        (rules.box(get("adam")), composed.boxed_adam, [{"low": -0.3, "high": 0.4}, {"low": 0.1, "high": 0.2, "beta1": 0.5}]),
        (rules.ball(get("momentum")), composed.momentum_in_a_ball, [{"radius": 0.5}, {"radius": 0.5, "momentum": 0.5}]),
        (
            rules.switch(get("adam"), get("momentum"), at=40),
            composed.switched(oracles.adam, lambda *a: oracles.sgd(*a[:3], [{"momentum": 0.9} | h for h in a[3]])),
            [{"at": 40.0, "then_ratio": 0.5}, {"at": 40.0, "then_ratio": 0.5, "eps": 1e-3, "then_momentum": 0.4}],
        ),
        (
            rules.switch(get("sgd"), get("madgrad"), at=7, then_ratio=2.0),
            composed.switched(oracles.sgd, oracles.madgrad),
            [{"at": 7.0, "then_ratio": 2.0}] * 2,
        ),
    )
}
CHOSEN |= {name: chosen for name, (_, _, chosen) in COMPOSED.items()}


def moved(rule):
    """Move every float hyperparameter off its default."""
    floats = {k: v for k, v in rule.hyper.items() if isinstance(v, float) and k != "lr"}
    return {k: 0.8 * v if v else 0.05 for k, v in floats.items()}


CASES = {name: CHOSEN.get(name, [{}, moved(rule)]) for name, rule in rules.RULES.items()}
CASES |= {name: chosen for name, (_, _, chosen) in COMPOSED.items()}


def rule_of(name):
    return COMPOSED[name][0] if name in COMPOSED else get(name)


def oracle_of(name):
    """The oracle of a preset's base rule, and the hyperparameters in which the preset differs from it."""
    if name in COMPOSED:
        return COMPOSED[name][1], {}
    if hasattr(oracles, name):
        return getattr(oracles, name), {}
    base = rules.get(name).base
    changed = {k: v for k, v in rules.get(name).hyper.items() if v != base.hyper[k] and k != "lr"}
    return getattr(oracles, base.name), changed


SURFACES = [*surfaces.SURFACES, "rosenbrock(dims=5)", "ackley(dims=3)", "valley(condition=1000)", "bowl(dims=1)"]

# Hyperparameters of a rule and of torch's class: every flag, and numbers off their defaults.
FLAGS = {
    "sgd": {"momentum": (0, 0.9), "dampening": (0, 0.3), "weight_decay": (0, 0.05), "nesterov": (False, True)},
    "adagrad": {
        "lr_decay": (0, 0.1),
        "weight_decay": (0, 0.05),
        "initial_accumulator_value": (0, 0.2),
        "eps": (1e-10, 1e-3),
    },
    "rmsprop": {
        "alpha": (0.99, 0.6),
        "eps": (1e-8, 1e-3),
        "weight_decay": (0, 0.05),
        "momentum": (0, 0.8),
        "centered": (False, True),
    },
    "adam": {
        "eps": (1e-8, 1e-3),
        "weight_decay": (0, 0.05),
        "amsgrad": (False, True),
        "decoupled_weight_decay": (False, True),
    },
    "adamw": {"eps": (1e-8, 1e-3), "weight_decay": (1e-2, 0.3), "amsgrad": (False, True)},
}


@contextlib.contextmanager
def serving(handler):
    """A loopback server with this handler, stopped at the end of the block; `url` ends in a slash."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def colours_near(picture, colour, within=6):
    """The number of pixels of a picture whose colour is within a tolerance of this one, in each channel."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(np.asarray(picture.convert("RGB"), int) - wanted).max(-1) <= within).sum())


def inside_axes(picture, figure):
    """Crop a picture to its axes, without the legend."""
    across, down = picture.size / np.array(figure.bbox.size)
    for axes in figure.axes:
        box = axes.get_window_extent()
        yield picture.crop(
            (
                int(box.x0 * across),
                int(picture.height - box.y1 * down),
                int(box.x1 * across),
                int(picture.height - box.y0 * down),
            )
        )


def is_drawn(path, figure, colours, dpi=150):
    """Check that a PNG has the figure's size and each of these colours within its axes."""
    with Image.open(path) as picture:
        assert np.abs(picture.size - figure.get_size_inches() * dpi).max() <= 1
        parts = [*inside_axes(picture, figure)]
        for colour in colours:
            assert sum(colours_near(part, colour) for part in parts) > 20, f"{colour} is not on {path.name}"


def lines_of(axes, name):
    """The marker, x and y of each line that axes draw in an optimizer's colour."""
    shown = [line for line in axes.lines if to_hex(line.get_color()) == style(name).colour.lower()]
    return [(line.get_marker(), [*map(float, line.get_xdata())], [*map(float, line.get_ydata())]) for line in shown]
