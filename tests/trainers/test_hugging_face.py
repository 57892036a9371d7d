"""The callback for Hugging Face's Trainer, against plain training loops."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import steepest

transformers = pytest.importorskip("transformers", reason="transformers is in the test extra")
pytest.importorskip("accelerate", reason="accelerate is in the test extra")
from steepest.trainers.hugging_face import SteepestCallback  # noqa: E402

from . import by_hand  # noqa: E402

PARTS, SIZE, COUNT, EPOCHS, RHO = 3, 8, 48, 2, 0.2


class Network(nn.Module):
    """A model as the Trainer expects it: labels among its inputs, the loss among its outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).double()

    def forward(self, x, labels):
        output = self.body(x)
        return {"loss": ((output - labels) ** 2).mean(), "logits": output}


def examples(count=COUNT, seed=0):
    both = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return [{"x": row[:4], "labels": row[4:]} for row in both]


def batches():
    rows = examples()
    for begin in range(0, COUNT, SIZE):
        yield {k: torch.stack([row[k] for row in rows[begin : begin + SIZE]]) for k in ("x", "labels")}


class InOrder(transformers.Trainer):
    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def trainer(folder, make, callback=True, **options):
    model = Network()
    optimizer = make(model)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1.0)
    defaults = {"num_train_epochs": EPOCHS, "per_device_train_batch_size": SIZE, "report_to": "none", "use_cpu": True}
    defaults |= {"disable_tqdm": True, "save_strategy": "no", "max_grad_norm": 0.0, "logging_steps": 1}
    args = transformers.TrainingArguments(str(folder), **(defaults | options))
    made = InOrder(model, args, train_dataset=examples(), eval_dataset=examples(8, 1), optimizers=(optimizer, constant))
    if callback:
        made.add_callback(SteepestCallback(made))
    return made


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_sam_takes_its_second_gradient_from_all_parts_of_the_step_and_keeps_the_statistics_of_the_first_pass(tmp_path, clip):
    made = trainer(
        tmp_path,
        lambda model: steepest.optim.SAM(model.parameters(), lr=0.1, momentum=0.9, rho=RHO),
        gradient_accumulation_steps=PARTS,
        max_grad_norm=clip,
    )
    made.train()
    model = Network()
    by_hand.sam(
        model,
        EPOCHS * by_hand.cut(batches(), PARTS),
        lambda model, batch: model(**batch)["loss"],
        rho=RHO,
        clip_first=clip,
        clip_second=clip,
    )
    for (name, a), b in zip(made.model.state_dict().items(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}")
    assert made.training_step.__func__ is InOrder.training_step  # the trainer is unchanged


def test_the_view_is_evaluated_saved_and_left_with_its_own_statistics_and_training_resumes_as_if_never_stopped(tmp_path):
    def make(model):
        return steepest.optim.ScheduleFreeAdamW(model.parameters(), lr=0.05)

    straight = trainer(tmp_path / "a", make, num_train_epochs=4, eval_strategy="epoch", save_strategy="epoch")
    straight.train()
    model, valid, seen = Network(), [], []
    optimizer, norm = make(model), model.body[1]
    held_out = {k: torch.stack([row[k] for row in examples(8, 1)]) for k in ("x", "labels")}
    for epoch in range(4):
        for batch in batches():
            optimizer.zero_grad()
            model(**batch)["loss"].backward()
            optimizer.step()
        kept = {k: v.clone() for k, v in model.named_buffers()}
        optimizer.eval()
        seen = (seen + list(batches()))[-16:]
        with torch.no_grad():
            hidden = [model.body[0](batch["x"]) for batch in seen]
            norm.running_mean.copy_(torch.stack([h.mean(0) for h in hidden]).mean(0))
            norm.running_var.copy_(torch.stack([h.var(0) for h in hidden]).mean(0))
            model.eval()
            valid.append(model(**held_out)["loss"].item())
            model.train()
        left = {k: v.clone() for k, v in model.state_dict().items() if "tracked" not in k}
        if epoch == 1:
            found = load_file(tmp_path / "a" / "checkpoint-12" / "model.safetensors")
            for k, v in left.items():
                torch.testing.assert_close(found[k], v, rtol=1e-10, atol=1e-10)
        optimizer.train()
        for k, v in model.named_buffers():
            v.copy_(kept[k])
    logged = [row["eval_loss"] for row in straight.state.log_history if "eval_loss" in row]
    assert logged == pytest.approx(valid, rel=1e-10)
    found = straight.model.state_dict()
    for k, v in left.items():
        torch.testing.assert_close(found[k], v, rtol=1e-10, atol=1e-10)
    assert straight.model.body[1].momentum == 0.1
    other = trainer(tmp_path / "b", make, num_train_epochs=4)
    other.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-12"))
    for p, q in zip(other.model.parameters(), straight.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("library", [steepest.optim, torch.optim])
def test_the_lengths_of_updates_are_logged_for_any_optimizer(tmp_path, library):
    made = trainer(tmp_path, lambda model: library.SGD(model.parameters(), lr=0.1), logging_steps=2)
    made.train()
    logged = {row["step"]: row for row in made.state.log_history if "steepest/effective_rate" in row}
    model = Network()
    for k, batch in enumerate([*batches(), *batches()], start=1):
        model.zero_grad()
        model(**batch)["loss"].backward()
        before = torch.cat([p.detach().flatten() for p in model.parameters()])
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
        if k % 2 == 0:
            ratio = 0.1 * gradient.norm().item() / before.norm().item()
            assert logged[k]["steepest/effective_rate"] == pytest.approx(0.1, rel=1e-6)
            assert logged[k]["steepest/update_to_weight"] == pytest.approx(ratio, rel=1e-6)
    assert sorted(logged) == [2, 4, 6, 8, 10, 12]
    assert len([row for row in made.state.log_history if "loss" in row]) == 6


def test_the_length_of_an_update_of_sam_is_from_where_it_began(tmp_path):
    made = trainer(tmp_path, lambda model: steepest.optim.SAM(model.parameters(), lr=1e-9, rho=0.5))
    made.train()
    lengths = [row["steepest/update_to_weight"] for row in made.state.log_history if "steepest/update_to_weight" in row]
    assert len(lengths) == 12
    assert max(lengths) < 1e-7
