"""Runs every example of "In your training loop"."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import steepest
from steepest.update.torch_class.dtensor import whole

PAGE = Path(__file__).parents[2] / "docs" / "how-to-trainers.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


class Told(nn.Module):
    """A model as Hugging Face's Trainer expects it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x, labels):
        return {"loss": ((self.layer(x) - labels) ** 2).mean()}


def surroundings(folder):
    """The names that a reader has defined before each example."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    loader = torch.utils.data.DataLoader([(torch.randn(16, 4), torch.randn(16, 2)) for _ in range(8)], batch_size=None)
    inputs, target = next(iter(loader))
    dataset = [{"x": torch.randn(4), "labels": torch.randn(2)} for _ in range(32)]
    names = {"model": model, "loader": loader, "inputs": inputs, "target": target, "dataset": dataset}
    return {"torch": torch, "steepest": steepest, "loss_function": nn.functional.mse_loss, **names}


@pytest.mark.filterwarnings("ignore:.*LeafSpec")  # Lightning's warning
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_the_page_runs_as_it_stands(number, tmp_path, monkeypatch):
    text, names = EXAMPLES[number], surroundings(tmp_path)
    monkeypatch.chdir(tmp_path)
    if "lightning" in text:
        lightning = pytest.importorskip("pytorch_lightning", reason="Lightning is in the test extra")
        monkeypatch.setitem(__import__("sys").modules, "lightning", lightning)  # the same under its other name
        quiet = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        full = lightning.Trainer
        monkeypatch.setattr(lightning, "Trainer", lambda **given: full(**given, **quiet, enable_model_summary=False))
    if "transformers" in text:
        transformers = pytest.importorskip("transformers", reason="transformers is in the test extra")
        names["model"] = Told()
        names["arguments"] = transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True)
    if "fully_shard" in text:
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    before = [p.detach().clone() for p in names["model"].parameters()]
    try:
        exec(text, names)
        after = [whole(p.detach()) for p in names["model"].parameters()]
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    if ("step()" in text and "weights" not in text) or "trainer." in text:
        assert not all(map(torch.equal, after, before)), "nothing was trained"
