"""Splitting hidden matrices to Muon and the rest to another rule, and what counts as a bias in a model's groups."""

import pytest
import torch
from torch import nn

from steepest import optim
from steepest.errors import SteepestError


class Tied(nn.Module):
    """A small language model whose head shares its embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.block(self.embedding(x)))


MODELS = {
    "a perceptron": (nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 4)), ["1.weight"]),
    "after convolutions": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 6), nn.Linear(6, 2)), ["2.weight"]),
    "a tied head": (
        Tied(),
        ["block.self_attn.in_proj_weight", "block.self_attn.out_proj.weight", "block.linear1.weight", "block.linear2.weight"],
    ),
}


def names(groups):
    return [name for group in groups for name, _ in group["params"]]


@pytest.mark.parametrize("kind", MODELS)
def test_hidden_matrices_are_muons_and_every_parameter_is_somewhere_once(kind, capsys, caplog):
    model, hidden = MODELS[kind]
    with caplog.at_level("INFO", logger="steepest"):
        split = optim.groups(model, muon=True, weight_decay=0.1)
    assert names(split.muon) == hidden
    assert sorted(names(split.muon) + names(split.rest)) == sorted(name for name, _ in model.named_parameters())
    assert capsys.readouterr() == ("", "")
    assert caplog.messages == [str(split)]
    assert f"Muon: {len(hidden)} tensors" in str(split)
    for muon in (optim.Muon, torch.optim.Muon):
        both = muon(split.muon, lr=0.02), optim.AdamW(split.rest, lr=1e-3)
        before = [p.detach().clone() for p in model.parameters()]
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
        for optimizer in both:
            optimizer.step()
        assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_split_can_be_named_and_mistakes_are_said():
    model, _ = MODELS["a perceptron"]
    split = optim.groups(model, muon=["0.*", "1.*"], lr={"3": 1e-5})
    assert names(split.muon) == ["0.weight", "1.weight"]
    assert [group["lr"] for group in split.rest if "lr" in group] == [1e-5]
    assert names(optim.groups(model, muon="1.weight").muon) == ["1.weight"]
    with pytest.raises(SteepestError, match="'head' fits no trainable parameter"):
        optim.groups(model, muon=["head"])
    with pytest.raises(SteepestError, match="no matrix between its first layer and its last"):
        optim.groups(nn.Linear(3, 2), muon=True)
    assert isinstance(optim.groups(model), list)


def test_what_is_no_matrix_is_said_to_be_none_and_a_model_without_hidden_ones_gets_advice():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(SteepestError, match=r"'0.weight' is of shape \(4, 3, 3, 3\), and Muon takes matrices, which have two"):
        optim.groups(network, muon=["3.weight", "0.weight"])
    with pytest.raises(SteepestError, match=r"'0.\*' fits no matrix: 0.weight is of shape \(4, 3, 3, 3\), and Muon takes"):
        optim.groups(network, muon=["0.*"])
    with pytest.raises(SteepestError, match=r"'3.bias' is of shape \(2,\), and Muon takes matrices"):
        optim.groups(network, muon="3.bias")
    with pytest.raises(SteepestError, match=r"'4.weight' fits no trainable parameter"):
        optim.groups(network, muon="4.weight")
    with pytest.raises(SteepestError) as said:
        optim.groups(network, muon=True)
    assert "(its matrices: 3.weight); give all parameters to one optimizer, such as AdamW" in str(said.value)
    assert "muon=" not in str(said.value)  # no pattern that would select the classifier
    assert names(optim.groups(network, muon=["3.*"]).muon) == ["3.weight"]


def test_one_word_is_one_word_and_a_bias_is_one_whatever_stands_around_it():
    attention = nn.MultiheadAttention(4, 2)
    normalized = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4), "bias", dim=None)
    model = nn.ModuleDict({"attention": attention, "normalized": normalized, "last": nn.Linear(4, 2)})
    decays = {
        name: group["weight_decay"]
        for group in optim.groups(model, weight_decay=0.1, no_decay="bias")
        for name, _ in group["params"]
    }
    spared = {name for name, decay in decays.items() if decay == 0}
    assert spared == {
        "attention.in_proj_bias",
        "attention.out_proj.bias",
        "normalized.parametrizations.bias.original0",
        "normalized.parametrizations.bias.original1",
        "last.bias",
    }
    assert len(decays) == len([*model.parameters()])


def test_what_is_no_model_and_what_is_no_name_is_one_sentence():
    model, _ = MODELS["a perceptron"]
    with pytest.raises(SteepestError, match=r"takes a model, a torch.nn.Module, and got an object of the class generator;"):
        optim.groups(model.parameters())
    for argument, given in (("lr", {1: 0.1}), ("no_decay", [1]), ("muon", [1])):
        with pytest.raises(SteepestError, match=f"groups: {argument} names parameters, such as 'encoder', and has 1."):
            optim.groups(model, **{argument: given})


@pytest.mark.parametrize(
    "arguments", [lambda name: {"lr": {name: 0.1}}, lambda name: {"no_decay": name}, lambda name: {"muon": [name]}]
)
def test_a_name_that_is_frozen_or_another_ones_is_said_to_be_that(arguments):
    model = Tied()
    model.block.linear1.requires_grad_(False)
    with pytest.raises(
        SteepestError, match=r"'head.weight' fits head.weight, which is the same parameter as embedding.weight;"
    ):
        optim.groups(model, **arguments("head.weight"))
    with pytest.raises(SteepestError, match=r"'block.linear1.weight' fits block.linear1.weight, which is frozen; leave"):
        optim.groups(model, **arguments("block.linear1.weight"))


def test_a_frozen_layer_keeps_its_place_as_the_first_or_the_last():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 9))
    model[0].requires_grad_(False)
    assert names(optim.groups(model, muon=True).muon) == ["1.weight", "2.weight"]
    model[3].requires_grad_(False)
    assert names(optim.groups(model, muon=True).muon) == ["1.weight", "2.weight"]
