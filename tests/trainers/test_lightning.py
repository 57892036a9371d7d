"""The callback for Lightning, against plain training loops."""

import gc
import logging
import warnings

import pytest
import torch
from torch import nn

import steepest

pl = pytest.importorskip("pytorch_lightning", reason="Lightning is in the test extra")
from steepest.trainers.lightning import SteepestCallback  # noqa: E402

from . import by_hand  # noqa: E402

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
PARTS, BATCHES, EPOCHS = 3, 6, 2


def batches(count=BATCHES, first=0):
    for k in range(first, first + count):
        both = torch.randn(8, 6, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        yield both[:, :4].contiguous(), both[:, 4:].contiguous()


def loader(batches):
    return torch.utils.data.DataLoader(list(batches), batch_size=None)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).double()


def loss_of(model, batch):
    return ((model(batch[0]) - batch[1]) ** 2).mean()


class Module(pl.LightningModule):
    def __init__(self, make):
        super().__init__()
        self.model, self.make, self.valid, self.passes = network(), make, [], 0

    def configure_optimizers(self):
        return self.make(self.model)

    def training_step(self, batch, batch_idx):
        self.passes += 1
        loss = loss_of(self.model, batch)
        self.log("loss", loss, on_step=True, on_epoch=True)
        return {"loss": loss}

    def validation_step(self, batch, batch_idx):
        self.valid.append(loss_of(self.model, batch).item())


def fit(module, folder, callbacks=None, ckpt_path=None, **options):
    callbacks = [SteepestCallback()] if callbacks is None else callbacks
    defaults = {"max_epochs": EPOCHS, "accumulate_grad_batches": 1, "log_every_n_steps": 1, "enable_checkpointing": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    trainer = pl.Trainer(default_root_dir=folder, callbacks=callbacks, num_sanity_val_steps=0, **(defaults | quiet | options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's warnings: few workers, short epochs
        trainer.fit(module, loader(batches()), loader(batches(1, 100)), ckpt_path=ckpt_path)
    return trainer


def assert_same(model, other, tolerance=1e-12):
    for (name, a), b in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("clip", [None, 0.5])
def test_sam_takes_its_second_gradient_from_all_parts_of_the_step_and_keeps_the_statistics_of_the_first_pass(tmp_path, clip):
    module = Module(lambda model: steepest.optim.SAM(model.parameters(), lr=0.1, momentum=0.9, rho=0.2))
    fit(module, tmp_path, accumulate_grad_batches=PARTS, gradient_clip_val=clip)
    model = network()
    by_hand.sam(model, EPOCHS * by_hand.cut(batches(), PARTS), loss_of, rho=0.2, clip_second=clip or 0.0)
    assert_same(module.model, model, 1e-10)
    assert module.passes == 2 * BATCHES * EPOCHS


@pytest.mark.parametrize("parts", [1, 3])
def test_training_resumes_as_if_never_stopped(tmp_path, parts):
    def make(model):
        return steepest.optim.ScheduleFreeAdamW(model.parameters(), lr=0.05)

    straight, half, other = Module(make), Module(make), Module(make)
    fit(straight, tmp_path, max_epochs=4, accumulate_grad_batches=parts)
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, filename="kept")
    fit(
        half, tmp_path, [SteepestCallback(), checkpoint], max_epochs=2, enable_checkpointing=True, accumulate_grad_batches=parts
    )
    fit(other, tmp_path, max_epochs=4, ckpt_path=tmp_path / "kept.ckpt", accumulate_grad_batches=parts)
    for p, q in zip(other.parameters(), straight.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-10)


def test_the_view_is_evaluated_saved_and_left_with_its_own_statistics(tmp_path):
    def make(model):
        return steepest.optim.ScheduleFreeAdamW(model.parameters(), lr=0.05)

    straight = Module(make)
    fit(straight, tmp_path, max_epochs=4)
    model, valid, seen = network(), [], []
    optimizer = make(model)
    for _ in range(4):
        for batch in batches():
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
        kept = {k: v.clone() for k, v in model.named_buffers()}
        optimizer.eval()
        norm = model[1]
        seen = (seen + list(batches()))[-16:]
        with torch.no_grad():
            hidden = [model[0](x) for x, _ in seen]
            norm.running_mean.copy_(torch.stack([h.mean(0) for h in hidden]).mean(0))
            norm.running_var.copy_(torch.stack([h.var(0) for h in hidden]).mean(0))
            model.eval()
            valid.append(loss_of(model, next(batches(1, 100))).item())
            model.train()
        left = {k: v.clone() for k, v in model.state_dict().items()}
        optimizer.train()
        for k, v in model.named_buffers():
            v.copy_(kept[k])
    assert straight.valid == pytest.approx(valid, rel=1e-10)
    for k, v in straight.model.state_dict().items():
        if k != "1.num_batches_tracked":
            torch.testing.assert_close(v, left[k], rtol=1e-10, atol=1e-10)
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, filename="kept")
    half = Module(make)
    fit(half, tmp_path, [SteepestCallback(), checkpoint], max_epochs=2, enable_checkpointing=True)
    saved = torch.load(tmp_path / "kept.ckpt", weights_only=False)["state_dict"]
    torch.testing.assert_close(saved["model.0.weight"], half.model[0].weight.detach())  # what is evaluated
    assert half.model[1].momentum == 0.1
    kept = {k: v.clone() for k, v in half.model.state_dict().items()}
    gc.collect()  # of the trainer
    assert_same(half.model, type("Kept", (), {"state_dict": lambda self: kept})())


def test_frozen_statistics_stay_frozen(tmp_path):
    class Frozen(Module):
        def on_train_epoch_start(self):
            self.model[1].eval()

    module = Frozen(lambda model: steepest.optim.ScheduleFreeSGD(model.parameters(), lr=0.05))
    fit(module, tmp_path)
    assert torch.equal(module.model[1].running_mean, torch.zeros(6, dtype=torch.float64))


def test_a_second_pass_that_raises_leaves_the_model_where_it_was(tmp_path):
    class Broken(Module):
        def training_step(self, batch):  # without the batch index
            if self.passes == BATCHES + 1:
                raise ValueError("mine")
            return super().training_step(batch, 0)["loss"]

    module = Broken(lambda model: steepest.optim.SAM(model.parameters(), lr=0.0, rho=0.5))
    with pytest.raises(ValueError, match="mine"):
        fit(module, tmp_path)
    for p, q in zip(module.model.parameters(), network().parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("library", [steepest.optim, torch.optim])
def test_the_lengths_of_updates_are_logged_for_any_optimizer(tmp_path, library):
    logged = []

    class Spy(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            logged.append({k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("steepest/")})

    fit(
        Module(lambda model: library.SGD(model.parameters(), lr=0.1)),
        tmp_path,
        [SteepestCallback(), Spy()],
        log_every_n_steps=2,
    )
    model = network()
    for k, batch in enumerate([*batches(), *batches()]):
        model.zero_grad()
        loss_of(model, batch).backward()
        before = torch.cat([p.detach().flatten() for p in model.parameters()])
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
        if k % 2:
            ratio = 0.1 * gradient.norm().item() / before.norm().item()
            assert logged[k] == pytest.approx({"steepest/effective_rate": 0.1, "steepest/update_to_weight": ratio}, rel=1e-5)


def test_a_module_that_steps_by_hand_is_told_so(tmp_path):
    module = Module(lambda model: steepest.optim.SAM(model.parameters(), lr=0.1))
    module.automatic_optimization = False
    with pytest.raises(steepest.SteepestError, match="optimizes manually; call first_step and second_step"):
        fit(module, tmp_path)


def test_a_module_without_optimizers_is_left_alone(tmp_path):
    module = Module(lambda model: None)
    fit(module, tmp_path)
    for p, q in zip(module.model.parameters(), network().parameters(), strict=True):
        assert torch.equal(p, q)
