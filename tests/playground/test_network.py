"""The page's small network, in Node, against torch and the library's optimizers."""

import numpy as np
import pytest
import torch
from torch import nn

import steepest
from steepest.playground import page, script
from steepest.rules import RULES

from .node import node

TRAINED = {
    "sgd": ({"momentum": 0.9, "nesterov": True}, 0.1),
    "adam": ({}, 0.01),
    "adamw": ({"weight_decay": 0.1}, 0.01),
    "rmsprop": ({"centered": True}, 0.003),
    "adagrad": ({}, 0.05),
    "lion": ({"weight_decay": 0.1}, 0.003),
    "lamb": ({}, 0.01),
    "lars": ({"trust": 0.1}, 0.5),
    "adan": ({}, 0.01),
    "schedule_free_sgd": ({}, 0.5),
}


def network_script(code):
    parts = [script.kept(), script.rules_script([*RULES.values(), page.SWITCH], {page.SWITCH.name: page.OFFERED})]
    return "\n".join([*parts, script.engine(), script.file("network.js"), code])


def torch_network(sizes, activation, tensors):
    layers = []
    for k in range(len(sizes) - 1):
        linear = nn.Linear(sizes[k], sizes[k + 1], dtype=torch.float64)
        weight, bias = tensors[2 * k : 2 * k + 2]
        linear.weight.data = torch.tensor(weight, dtype=torch.float64).reshape(linear.weight.shape)
        linear.bias.data = torch.tensor(bias, dtype=torch.float64)
        layers += [linear] + ([nn.ReLU() if activation == "relu" else nn.Tanh()] if k < len(sizes) - 2 else [])
    return nn.Sequential(*layers)


def loss_of(network, x, y, places):
    points = torch.tensor(x, dtype=torch.float64).reshape(-1, 2)[places]
    return nn.functional.binary_cross_entropy_with_logits(network(points)[:, 0], torch.tensor(y, dtype=torch.float64)[places])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", [[5], [8, 4], [6, 7, 5]])
def test_gradients_are_those_of_torch(tmp_path, activation, hidden):
    sizes = [2, *hidden, 1]
    code = """
    const { sizes, activation } = GIVEN, { x, y } = makeData("moons", 30, 0.2, 3), tensors = makeNetwork(sizes, 1);
    tensors.forEach(({ p, name }) => name[0] === "b" && p.set(normals(7, p.length)));
    const trainer = makeTrainer(sizes, activation, 40), places = [3, 14, 1, 5, 9, 26];
    const before = trainer.gradients(tensors, x, y, [0, 1]);  // what is left over from another batch must not show
    const loss = trainer.gradients(tensors, x, y, places), shapes = tensors.map(({ shape }) => shape);
    const grads = tensors.map(({ g }) => g.slice()), logits = trainer.logits(tensors, x, new Float64Array(30));
    print({ x, y, loss, grads, shapes, logits, places, p: tensors.map(({ p }) => p), all: judged(logits, y) });
    """
    made = node(tmp_path, network_script(code), {"sizes": sizes, "activation": activation})
    network = torch_network(sizes, activation, made["p"])
    loss = loss_of(network, made["x"], made["y"], made["places"])
    loss.backward()
    assert made["loss"] == pytest.approx(loss.item(), rel=1e-13)
    for ours, theirs in zip(made["grads"], network.parameters(), strict=True):
        grad = theirs.grad.flatten().numpy()
        np.testing.assert_allclose(ours, grad, rtol=0, atol=1e-12 * np.abs(grad).max())
    assert [list(p.shape) for p in network.parameters()] == made["shapes"]
    logits = network(torch.tensor(made["x"], dtype=torch.float64).reshape(-1, 2))[:, 0]
    np.testing.assert_allclose(made["logits"], logits.detach().numpy(), rtol=1e-12, atol=1e-13)
    assert made["all"]["loss"] == pytest.approx(loss_of(network, made["x"], made["y"], range(30)).item(), rel=1e-12)
    assert made["all"]["accuracy"] == ((logits > 0).numpy() == (np.array(made["y"]) > 0.5)).mean()


def test_a_penalty_adds_its_slopes_to_the_weights_and_leaves_the_biases(tmp_path):
    code = """
    const sizes = [2, 6, 4, 1], { x, y } = makeData("circles", 30, 0.2, 3), tensors = makeNetwork(sizes, 1);
    const trainer = makeTrainer(sizes, "tanh", 30), places = Array.from({ length: 30 }, (_, k) => k);
    tensors.forEach(({ p, name }) => name[0] === "b" && p.set(normals(7, p.length)));
    tensors[0].p[0] = 0; // |w| has slope 0 there
    trainer.gradients(tensors, x, y, places);
    penalise(tensors, 0.03, 0.2);
    print({ x, y, p: tensors.map(({ p }) => p), grads: tensors.map(({ g }) => g) });
    """
    made = node(tmp_path, network_script(code), None)
    network = torch_network([2, 6, 4, 1], "tanh", made["p"])
    weights = [p for p in network.parameters() if p.ndim == 2]
    penalty = sum(0.03 / 2 * (w**2).sum() + 0.2 * w.abs().sum() for w in weights)
    (loss_of(network, made["x"], made["y"], range(30)) + penalty).backward()
    for ours, theirs in zip(made["grads"], network.parameters(), strict=True):
        np.testing.assert_allclose(ours, theirs.grad.flatten().numpy(), rtol=1e-10, atol=1e-14)


def test_the_pictures_of_units_are_what_the_layers_compute(tmp_path):
    code = """
    const sizes = [2, 6, 4, 1], { x } = makeData("moons", 30, 0.2, 3), tensors = makeNetwork(sizes, 1);
    const trainer = makeTrainer(sizes, "relu", 30);
    trainer.logits(tensors, x, new Float64Array(30));
    print({ x, p: tensors.map(({ p }) => p), hidden: trainer.hidden() });
    """
    made = node(tmp_path, network_script(code), None)
    network = torch_network([2, 6, 4, 1], "relu", made["p"])
    points = torch.tensor(made["x"], dtype=torch.float64).reshape(-1, 2)
    assert len(made["hidden"]) == 2
    for ours, upto in zip(made["hidden"], (2, 4), strict=True):
        np.testing.assert_allclose(ours, network[:upto](points).detach().flatten().numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", TRAINED)
def test_fifty_steps_are_those_of_the_librarys_optimizer(tmp_path, name):
    hyper, lr = TRAINED[name]
    code = """
    const sizes = [2, 8, 6, 1], { x, y } = makeData("spirals", 60, 0.05, 0), tensors = makeNetwork(sizes, 4);
    const start = tensors.map(({ p }) => p.slice()), trainer = makeTrainer(sizes, "tanh", 60), next = makeBatches(60, 12, 5);
    const run = makeRun(GIVEN.name, GIVEN.hyper, tensors), batches = [];
    for (let k = 0; k < 50; k++) {
      const places = next();
      batches.push(Array.from(places));
      trainer.gradients(tensors, x, y, places);
      run.step(GIVEN.lr);
    }
    print({ x, y, start, batches, end: tensors.map(({ p }) => p) });
    """
    made = node(tmp_path, network_script(code), {"name": name, "hyper": hyper, "lr": lr})
    network = torch_network([2, 8, 6, 1], "tanh", made["start"])
    optimizer = getattr(steepest.optim, RULES[name].class_name)(network.parameters(), lr=lr, **hyper)
    for places in made["batches"]:
        optimizer.zero_grad()
        loss_of(network, made["x"], made["y"], places).backward()
        optimizer.step()
    moved = 0.0
    for ours, theirs, start in zip(made["end"], network.parameters(), made["start"], strict=True):
        np.testing.assert_allclose(ours, theirs.detach().flatten().numpy(), rtol=1e-9, atol=1e-9)
        moved = max(moved, np.abs(np.subtract(ours, start)).max())
    assert moved > 0.02


def test_data_batches_and_rules_are_what_they_say(tmp_path):
    code = """
    const kinds = Object.fromEntries(DATA.map((kind) => [kind, makeData(kind, 400, 0, 2)]));
    const next = makeBatches(10, 4, 0), drawn = [1, 2, 3, 4].map(() => Array.from(next()));
    const refused = Object.fromEntries(Object.values(RULES).map((rule) => [rule.name, refusedInNetwork(rule)]));
    print({ kinds, drawn, refused, again: makeData("moons", 400, 0.1, 2).x[7] === makeData("moons", 400, 0.1, 2).x[7],
            scaled: scaled(kinds.moons.x, 10) });
    """
    made = node(tmp_path, network_script(code), None)
    x, y = np.reshape(made["kinds"]["circles"]["x"], (-1, 2)), np.array(made["kinds"]["circles"]["y"])
    assert np.allclose(np.linalg.norm(x, axis=1), np.where(y == 1, 0.5, 1.0))
    for kind in made["kinds"].values():
        assert np.mean(kind["y"]) == 0.5
        assert np.abs(kind["x"]).max() < 2
    first, second, third, fourth = map(set, made["drawn"])
    assert not first & second
    assert not third & fourth
    assert made["drawn"][0] != made["drawn"][2]
    plain, wide = np.reshape(made["kinds"]["moons"]["x"], (-1, 2)), np.reshape(made["scaled"], (-1, 2))
    assert np.array_equal(wide, plain * [1, 10])
    assert {k for k, why in made["refused"].items() if why} == {
        *("muon", "adafactor", "sam", "nesterov_lookahead", "adai", "switch(adam,sgd)"),
    }
    assert made["again"]


def test_weights_are_he_normal_and_biases_zero(tmp_path):
    made = node(
        tmp_path,
        network_script("print(makeNetwork([50, 200, 100, 1], 3).map(({ name, shape, p }) => ({ name, shape, p })));"),
        None,
    )
    assert [(item["name"], item["shape"]) for item in made[:4]] == [
        ("W1", [200, 50]),
        ("b1", [200]),
        ("W2", [100, 200]),
        ("b2", [100]),
    ]
    for item in made:
        if item["name"][0] == "b":
            assert not np.any(item["p"])
        elif len(item["p"]) > 1000:
            assert np.std(item["p"]) == pytest.approx(np.sqrt(2 / item["shape"][1]), rel=0.03)


def test_logits_of_more_points_than_a_trainer_holds_are_those_of_each(tmp_path):
    code = """
    const sizes = [2, 5, 1], { x } = makeData("moons", 30, 0.2, 3), tensors = makeNetwork(sizes, 1);
    print([7, 40].map((most) => makeTrainer(sizes, "relu", most).logits(tensors, x, new Float64Array(30))));
    """
    few, many = node(tmp_path, network_script(code), None)
    assert few == many
    assert len(set(few)) == 30
