"""The Trainer of Hugging Face on a two-layer transformer, which learns which of two tokens is more frequent."""

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import steepest


def examples(n, seed):
    ids = torch.randint(2, 4, (n, 15), generator=torch.Generator().manual_seed(seed))
    return [{"input_ids": row, "labels": int((row == 3).sum() > 7)} for row in ids]


train_set, eval_set = examples(800, 0), examples(200, 1)
config = BertConfig(
    vocab_size=8,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=48,
    max_position_embeddings=16,
)


def accuracy(prediction):
    return {"accuracy": 100 * float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


@steepest.loop(metric="accuracy", steps=50)
def train(run):
    model = BertForSequenceClassification(config)
    optimizer = run.optimizer(model)
    scheduler = run.scheduler(optimizer)
    model.register_forward_hook(lambda model, inputs, output: run.report(output.loss) if model.training else None)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=16,
            max_steps=run.steps,
            seed=run.seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            logging_strategy="no",
            dataloader_pin_memory=False,
        )
        trainer = Trainer(
            model,
            arguments,
            train_dataset=train_set,
            eval_dataset=eval_set,
            compute_metrics=accuracy,
            optimizers=(optimizer, scheduler),
        )
        trainer.train()
        return trainer.evaluate()["eval_accuracy"]


if __name__ == "__main__":
    print(train())
