"""The Trainer of Hugging Face inside a training function: `steepest compare examples/loops/with_transformers.py`.

The Trainer takes the optimizer and the scheduler as a pair, and steps both. A callback reports the loss of each step.
"""

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

import steepest


def examples(count, seed):
    """Sequences of two tokens; the label says which is more frequent."""
    ids = torch.randint(2, 4, (count, 15), generator=torch.Generator().manual_seed(seed))
    return [{"input_ids": row, "labels": int((row == 3).sum() > 7)} for row in ids]


train_set, valid_set = examples(800, 0), examples(200, 1)
size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
config = BertConfig(vocab_size=8, max_position_embeddings=16, **size)
quiet = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "dataloader_pin_memory": False}


class Report(TrainerCallback):
    def __init__(self, run):
        self.run = run

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.run.report(float(logs["loss"]))


@steepest.loop(metric="accuracy", direction="max", steps=100)
def train(run):
    model = BertForSequenceClassification(config)
    optimizer = run.optimizer(model)
    scheduler = run.scheduler(optimizer)
    with tempfile.TemporaryDirectory() as folder:  # the Trainer wants one, although it saves nothing here
        arguments = TrainingArguments(
            folder, max_steps=run.steps, seed=run.seed, logging_steps=1, use_cpu=run.device == "cpu", **quiet
        )
        pair = (optimizer, scheduler)
        trainer = Trainer(model, arguments, train_dataset=train_set, optimizers=pair, callbacks=[Report(run)])
        trainer.remove_callback(PrinterCallback)  # a line for each logged loss
        trainer.train()
        predicted = trainer.predict(valid_set)
    return 100.0 * (predicted.predictions.argmax(-1) == predicted.label_ids)  # one value per example


if __name__ == "__main__":
    print(f"accuracy at the defaults: {train().mean():.1f} %")
