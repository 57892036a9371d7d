"""Lightning inside a training function: `steepest compare examples/loops/with_lightning.py`.

The module makes the candidate's optimizer in `configure_optimizers`, and reports its loss in `training_step`.
"""

import logging
import warnings

import pytorch_lightning as lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import steepest

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning")
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)


class Digits(lightning.LightningModule):
    def __init__(self, run):
        super().__init__()
        self.run = run
        self.net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def training_step(self, batch):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.run.report(loss)
        return loss

    def configure_optimizers(self):
        optimizer = self.run.optimizer(self.net)
        return [optimizer], [{"scheduler": self.run.scheduler(optimizer), "interval": "step"}]


@steepest.loop(metric="accuracy", direction="max", steps=100)
def train(run):
    module = Digits(run)
    loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_steps=run.steps, accelerator="gpu" if run.device == "cuda" else "cpu", devices=1, **quiet)
    trainer.fit(module, loader)
    with torch.no_grad():
        return 100.0 * (module.net.cpu()(x[1400:]).argmax(1) == y[1400:])


if __name__ == "__main__":
    print(f"accuracy at the defaults: {train().mean():.1f} %")
