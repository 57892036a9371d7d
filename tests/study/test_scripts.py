"""Typical training scripts: the values of a study agree with those of the script's own loop, over seeds.

Each script has two halves that share its data, model and loss: the arguments of `steepest.Problem`, and a loop in plain torch.
A study picks an optimizer and a rate; the loop then trains with them on other seeds, and both means must agree within LIMIT
standard errors of their difference. The nearest wrong programs (a sampler ignored, noise left out, padding counted) are
trained too, and must differ by more.
"""

import functools
import math
import textwrap

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from typer.testing import CliRunner

import steepest
from steepest.cli import app

pytestmark = pytest.mark.usefixtures("one_thread")

LIMIT = 3.5  # standard errors of the difference: exceeded in one of about 300, for 8 seeds on each side
SEEDS, WRONG = 8, 4  # of what is compared, and of programs that are wrong
TWINS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def studied(problem, optimizers, lrs, **more):
    """The pick's optimizer and rate, and its values on seeds that nothing was chosen by; of one rate, nothing is."""
    study = steepest.compare(
        problem, optimizers, lrs=lrs, schedules="constant", seeds=SEEDS, store=":memory:", **{"plan": "one"} | more
    )
    pick = study.to_dict()["optimizers"][0]
    assert study.answer().repeats is True
    assert (pick["name"], pick["lr"]) == (study.best().name, study.best().lr)
    assert None not in pick["values"]
    return pick["name"], pick["lr"], pick["values"]


def looped(script, name, lr, count=SEEDS):
    """The script's own result, on seeds that the study does not use."""
    results = []
    for seed in range(1000, 1000 + count):
        torch.manual_seed(seed)
        np.random.seed(seed)
        results.append(script(lambda model: TWINS[name](model.parameters(), lr=lr)))
    return results


def apart(a, b):
    """The distance of two means, in standard errors of their difference."""
    se = math.hypot(*(np.std(x, ddof=1) / math.sqrt(len(x)) for x in (a, b)))
    return abs(np.mean(a) - np.mean(b)) / se


def forever(loader):
    while True:
        yield from loader


PIXELS, DIGITS = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
PIXELS, DIGITS = (PIXELS / 16).float(), DIGITS.long()


class Pictures(Dataset):
    """Normalised like torchvision's transforms."""

    def __init__(self, chosen, mean=0.305, std=0.376):
        self.x, self.y, self.mean, self.std = PIXELS[chosen].view(-1, 1, 8, 8), DIGITS[chosen], mean, std

    def __len__(self):
        return len(self.x)

    def __getitem__(self, k):
        return (self.x[k] - self.mean) / self.std, int(self.y[k])


class SmallCNN(nn.Module):
    """The network of PyTorch's MNIST example, for 8 x 8 images."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x):
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        x = functional.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return functional.log_softmax(self.fc2(self.dropout2(x)), dim=1)


class TestMnist:
    STEPS = 50
    TRAIN, VALID = slice(0, 400), slice(1200, 1500)

    def problem(self):
        return steepest.Problem(
            model=SmallCNN,
            loss=functional.nll_loss,
            metric="accuracy",
            train=DataLoader(Pictures(self.TRAIN), batch_size=32, shuffle=True),
            valid=DataLoader(Pictures(self.VALID), batch_size=100),
            steps=self.STEPS,
        )

    def script(self, optimizer_of):
        """The accuracy, and that with dropout left on where it is evaluated."""
        model = SmallCNN()
        optimizer = optimizer_of(model)
        model.train()
        batches = forever(DataLoader(Pictures(self.TRAIN), batch_size=32, shuffle=True))
        for _ in range(self.STEPS):
            data, target = next(batches)
            optimizer.zero_grad()
            functional.nll_loss(model(data), target).backward()
            optimizer.step()
        return tuple(self.accuracy(model.train(drops)) for drops in (False, True))

    def accuracy(self, model):
        right = 0
        with torch.no_grad():
            for data, target in DataLoader(Pictures(self.VALID), batch_size=100):
                right += (model(data).argmax(dim=1) == target).sum().item()
        return 100 * right / 300

    def test_a_network_with_dropout_and_a_loader_reaches_the_accuracy_of_its_script(self):
        name, lr, values = studied(self.problem(), "adam", [1e-3, 5e-3], plan="auto")
        own, drops = zip(*looped(self.script, name, lr), strict=True)
        assert apart(values, own) < LIMIT
        assert apart(drops[:WRONG], own) > LIMIT


class VAE(nn.Module):
    """The variational autoencoder of PyTorch's examples."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(64, 32), nn.Linear(32, 4), nn.Linear(32, 4)
        self.fc3, self.fc4 = nn.Linear(4, 32), nn.Linear(32, 64)

    def forward(self, x):
        hidden = torch.relu(self.fc1(x))
        mu, logvar = self.fc21(hidden), self.fc22(hidden)
        z = mu + self.noise(logvar)
        return torch.sigmoid(self.fc4(torch.relu(self.fc3(z)))), mu, logvar

    def noise(self, logvar):
        std = torch.exp(0.5 * logvar)
        return torch.randn_like(std) * std


class WithoutNoise(VAE):
    def noise(self, logvar):
        return 0.0


def negative_elbo(output, x):
    recon, mu, logvar = output
    bce = functional.binary_cross_entropy(recon, x, reduction="sum")
    return bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def per_example(output, x):
    return negative_elbo(output, x) / len(x)


class TestAutoencoder:
    STEPS = 100
    TRAIN, VALID = PIXELS[:600], PIXELS[1200:1500]

    def problem(self):
        return steepest.Problem(
            model=VAE, loss=negative_elbo, train=(self.TRAIN, self.TRAIN), valid=(self.VALID, self.VALID), steps=self.STEPS
        )

    def script(self, optimizer_of, model_of=VAE):
        """The loss over the validation data: a sum, as the script adds up its batches; and that of losses per example."""
        model = model_of()
        optimizer = optimizer_of(model)
        batches = forever(DataLoader(self.TRAIN, batch_size=32, shuffle=True))
        for _ in range(self.STEPS):
            x = next(batches)
            optimizer.zero_grad()
            negative_elbo(model(x), x).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            parts = [(model(x), x) for x in DataLoader(self.VALID, batch_size=100)]
            return tuple(sum(of(*part).item() for part in parts) for of in (negative_elbo, per_example))

    def test_a_variational_autoencoder_reaches_the_loss_of_its_script(self):
        name, lr, values = studied(self.problem(), "adam", 2e-2)
        own, per_examples = zip(*looped(self.script, name, lr), strict=True)
        assert apart(values, own) < LIMIT
        without, _ = zip(*looped(lambda made: self.script(made, WithoutNoise), name, lr, WRONG), strict=True)
        assert apart(without, own) > LIMIT
        assert apart(per_examples[:WRONG], own) > LIMIT


VOCABULARY, BLOCK = 12, 16


def chain(length, flatness, seed):
    """A text in which each letter depends on the previous one."""
    generator = np.random.default_rng(seed)
    moves = generator.dirichlet(np.full(VOCABULARY, flatness), size=VOCABULARY)
    text = [0]
    for _ in range(length):
        text.append(generator.choice(VOCABULARY, p=moves[text[-1]]))
    return text


# The second half has other transitions than the first: reading in order for part of an epoch never reaches it.
TEXT = torch.tensor(chain(6000, 0.2, 1) + chain(6000, 0.2, 2))
HELD_OUT = torch.tensor(chain(6600, 0.2, 1)[6000:] + chain(6600, 0.2, 2)[6000:])


class Windows(Dataset):
    def __init__(self, text, stride=4):
        self.text, self.stride = text, stride

    def __len__(self):
        return (len(self.text) - BLOCK - 1) // self.stride

    def __getitem__(self, k):
        k *= self.stride
        return self.text[k : k + BLOCK], self.text[k + 1 : k + BLOCK + 1]


class Named(Windows):
    """As in data sets from a tokenizer."""

    def __getitem__(self, k):
        x, y = super().__getitem__(k)
        return {"input_ids": x, "labels": y}


class GPT(nn.Module):
    """One block of nanoGPT; returns logits and, if there are targets, the loss."""

    def __init__(self, width=24, heads=2):
        super().__init__()
        self.heads = heads
        self.wte, self.wpe = nn.Embedding(VOCABULARY, width), nn.Embedding(BLOCK, width)
        self.ln_1, self.ln_2, self.ln_f = (nn.LayerNorm(width) for _ in range(3))
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))
        self.lm_head = nn.Linear(width, VOCABULARY, bias=False)
        self.lm_head.weight = self.wte.weight

    def attended(self, x):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(c, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(b, t, c))

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1], device=idx.device))
        x = x + self.attended(self.ln_1(x))
        x = x + self.mlp(self.ln_2(x))
        logits = self.lm_head(self.ln_f(x))
        if targets is None:
            return logits, None
        return logits, functional.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))


class Labelled(GPT):
    """As in Hugging Face: keyword arguments, and a dict with the loss."""

    def forward(self, input_ids, labels=None):
        logits, loss = super().forward(input_ids, labels)
        return {"loss": loss, "logits": logits}


def next_letter(output, target):
    logits, _ = output
    return functional.cross_entropy(logits.flatten(0, 1), target.flatten())


class TestLanguageModel:
    STEPS = 50

    @staticmethod
    @functools.cache
    def own(name, lr, count=SEEDS, shuffle=True):
        """What the script's loop reaches, whose data are those of both studies."""
        return looped(lambda made: TestLanguageModel().script(made, shuffle), name, lr, count)

    def script(self, optimizer_of, shuffle):
        model = GPT()
        optimizer = optimizer_of(model)
        batches = forever(DataLoader(Windows(TEXT), batch_size=16, shuffle=shuffle))
        for _ in range(self.STEPS):
            _, loss = model(*next(batches))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            losses = [(model(x, y)[1].item(), len(x)) for x, y in DataLoader(Windows(HELD_OUT, 8), batch_size=64)]
        return np.average([loss for loss, _ in losses], weights=[n for _, n in losses])

    @pytest.mark.parametrize(
        ("data", "model", "loss", "lrs"),
        [(Windows, GPT, next_letter, [3e-3, 1e-2]), (Named, Labelled, lambda output, target: output["loss"], 1e-2)],
        ids=["a tuple with None", "a dict with labels"],
    )
    def test_a_small_gpt_reaches_the_loss_of_its_script(self, data, model, loss, lrs):
        problem = steepest.Problem(
            model=model,
            loss=loss,
            train=DataLoader(data(TEXT), batch_size=16, shuffle=True),
            valid=DataLoader(data(HELD_OUT, 8), batch_size=64),
            steps=self.STEPS,
        )
        name, lr, values = studied(problem, "adamw", lrs)
        own = self.own(name, lr)
        assert apart(values, own) < LIMIT
        assert apart(self.own(name, lr, WRONG, shuffle=False), own) > LIMIT


def words(count, seed):
    """Words of 2 to 11 letters from one Markov chain; the first letters are hard to predict."""
    generator = np.random.default_rng(seed)
    text, made, at = chain(count * 13, 0.1, 5), [], 0
    for _ in range(count):
        length = int(generator.integers(2, 12))
        made.append(torch.tensor(text[at : at + length + 1]))
        at += 13
    return made


WORDS = words(500, 0)
SPELLED, UNSEEN = WORDS[:400], WORDS[400:]


class Letters(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY + 1, 16, padding_idx=VOCABULARY)
        self.rnn, self.head = nn.GRU(16, 24, batch_first=True), nn.Linear(24, VOCABULARY)

    def forward(self, x):
        return self.head(self.rnn(self.embedding(x))[0])


def padding(ignored):
    """A collate function that pads to the longest word of the batch."""

    def collate(batch):
        x = pad_sequence([word[:-1] for word in batch], batch_first=True, padding_value=VOCABULARY)
        y = pad_sequence([word[1:] for word in batch], batch_first=True, padding_value=ignored)
        return x, y

    return collate


def of_letters(ignored):
    return lambda output, target: functional.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=ignored)


class TestCharacters:
    STEPS = 30

    def script(self, optimizer_of, ignored):
        """Per cent of letters, and with those that pad as errors."""
        model, loss_of = Letters(), of_letters(ignored)
        optimizer = optimizer_of(model)
        batches = forever(DataLoader(SPELLED, batch_size=16, shuffle=True, collate_fn=padding(ignored)))
        for _ in range(self.STEPS):
            x, y = next(batches)
            loss = loss_of(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        right = count = padded = 0
        model.eval()
        with torch.no_grad():
            for x, y in DataLoader(UNSEEN, batch_size=20, collate_fn=padding(ignored)):
                right += ((model(x).argmax(-1) == y) & (y != ignored)).sum().item()
                count += (y != ignored).sum().item()
                padded += y.numel()
        return 100 * right / count, 100 * right / padded

    def test_accuracy_of_padded_words_is_of_letters_in_however_many_batches_they_come(self):
        """Sorted by length, as in bucketing: short words are harder, and have fewer letters."""
        short_first, collate = sorted(UNSEEN, key=len), padding(-100)
        whole = collate(short_first)
        values = []
        for data in (whole, DataLoader(short_first, batch_size=20, collate_fn=collate)):
            one = steepest.Problem(model=Letters, loss=of_letters(-100), metric="accuracy", train=whole, valid=data)
            torch.manual_seed(0)
            model = Letters()
            nn.init.zeros_(model.head.weight)
            values.append(one.evaluate(model, one.valid)[1])
        assert values[1] == pytest.approx(values[0], rel=1e-6)

    @pytest.mark.parametrize("ignored", [-1, -100])
    def test_a_model_of_padded_words_reaches_the_accuracy_of_its_script(self, ignored):
        problem = steepest.Problem(
            model=Letters,
            loss=of_letters(ignored),
            metric="accuracy",
            train=DataLoader(SPELLED, batch_size=16, shuffle=True, collate_fn=padding(ignored)),
            valid=DataLoader(UNSEEN, batch_size=20, collate_fn=padding(ignored)),
            steps=self.STEPS,
        )
        name, lr, values = studied(problem, "adam", 5e-3)
        own, padded = zip(*looped(lambda made: self.script(made, ignored), name, lr), strict=True)
        assert apart(values, own) < LIMIT
        assert apart(padded[:WRONG], own) > LIMIT


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(x + self.bn2(self.conv2(y)))


def residual():
    stem = [nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*stem, Block(8), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 10))


def rare_and_common():
    """A tenth as many of the digits from 5 on as of the others."""
    first = [torch.nonzero(DIGITS[:1200] == k).flatten() for k in range(10)]
    return torch.cat([rows[: 60 if k < 5 else 6] for k, rows in enumerate(first)])


class Shifted(Pictures):
    """Shifted by up to a pixel, at random."""

    def __getitem__(self, k):
        x, y = super().__getitem__(k)
        return torch.roll(x, torch.randint(-1, 2, (2,)).tolist(), (1, 2)), y


def balanced(data, weighted=True):
    """The training loader; `weighted`: every digit equally often."""
    if not weighted:
        return DataLoader(data, batch_size=32, shuffle=True, drop_last=True)
    weights = 1 / torch.bincount(data.y)[data.y]
    return DataLoader(data, batch_size=32, sampler=WeightedRandomSampler(weights.tolist(), len(data)), drop_last=True)


class TestResidual:
    STEPS = 40
    TRAIN, VALID = rare_and_common(), slice(1200, 1350)

    def script(self, optimizer_of, data=Shifted, weighted=True):
        model = residual()
        optimizer = optimizer_of(model)
        batches = forever(balanced(data(self.TRAIN), weighted))
        for _ in range(self.STEPS):
            x, y = next(batches)
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(Pictures(self.VALID), batch_size=100))
        return 100 * right / 150

    def test_a_residual_network_with_batch_norm_reaches_the_accuracy_of_its_script(self):
        problem = steepest.Problem(
            model=residual,
            loss=nn.CrossEntropyLoss(),
            metric="accuracy",
            train=balanced(Shifted(self.TRAIN)),
            valid=DataLoader(Pictures(self.VALID), batch_size=100),
            steps=self.STEPS,
        )
        name, lr, values = studied(problem, "momentum", 0.02)
        own = looped(self.script, name, lr)
        assert apart(values, own) < LIMIT
        assert apart(looped(lambda made: self.script(made, weighted=False), name, lr, WRONG), own) > LIMIT
        assert apart(looped(lambda made: self.script(made, data=Pictures), name, lr), own) > LIMIT


@pytest.mark.parametrize("count", [500, 4000])
def test_a_loss_that_is_a_sum_is_the_sum_over_all_validation_data(count):
    x = torch.rand(count, 784, generator=torch.Generator().manual_seed(0))
    one = steepest.Problem(model=lambda: nn.Linear(784, 784), loss=nn.MSELoss(reduction="sum"), train=(x, x), valid=(x, x))
    model = one.start(0)
    with torch.no_grad():
        assert one.evaluate(model, one.valid)[0] == pytest.approx(((model(x) - x) ** 2).sum().item(), rel=1e-4)


def test_runs_of_one_study_are_measured_alike_whether_they_train_alone_or_together():
    """With three runs in chunks of two, one is left and trains alone."""
    x = torch.rand(4000, 784, generator=torch.Generator().manual_seed(0))
    one = steepest.Problem(
        model=lambda: nn.Linear(784, 784), loss=nn.MSELoss(reduction="sum"), train=(x[:500], x[:500]), valid=(x, x), steps=2
    )
    more = {"lrs": 1e-6, "schedules": "constant", "seeds": 3, "plan": "many:2", "store": ":memory:"}
    values = steepest.compare(one, "sgd", **more).to_dict()["optimizers"][0]["values"]
    assert max(values) < 1.5 * min(values)


CARRIED = """
import torch
from torch import nn
import steepest

ids = torch.randint(0, 20, (120,), generator=torch.Generator().manual_seed(0)).view(-1, 6)


class RNNModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.rnn, self.decoder = nn.Embedding(20, 8), nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 20)
        self.hidden = None

{forward}

problem = steepest.Problem(
    model=RNNModel,
    loss=lambda output, target: nn.functional.cross_entropy({logits}.flatten(0, 1), target.flatten()),
    train=(ids[:, :-1], ids[:, 1:]),
    valid=(ids[:, :-1], ids[:, 1:]),
    batch_size=5,
)
"""
ARGUMENT = """
    def forward(self, input, hidden):
        output, hidden = self.rnn(self.encoder(input), hidden)
        return self.decoder(output), hidden
"""
ATTRIBUTE = """
    def forward(self, input):
        output, hidden = self.rnn(self.encoder(input), self.hidden)
        self.hidden = tuple(h.detach() for h in hidden)
        return self.decoder(output)
"""


CARRIES = "keeps state from batch to batch, such as the hidden state of an LSTM"


@pytest.mark.parametrize(
    ("forward", "logits", "said"),
    [
        pytest.param(ARGUMENT, "output[0]", "missing 1 required positional argument: 'hidden'", id="argument"),
        pytest.param(
            ATTRIBUTE,
            "output",
            CARRIES,
            id="attribute",
        ),
    ],
)
def test_a_word_model_that_carries_its_hidden_state_is_refused_in_one_line(forward, logits, said, tmp_path, monkeypatch):
    (tmp_path / "words.py").write_text(CARRIED.format(forward=textwrap.indent(textwrap.dedent(forward), "    "), logits=logits))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["compare", "words.py", "--optimizers", "sgd", "--lrs", "0.1", "--seeds", "2"])
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert said in line
    assert "words" in line
    assert "Traceback" not in line
    assert not (tmp_path / "steepest-report.html").exists()
