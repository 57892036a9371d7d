# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Three optimizers, one network
#
# A network with one hidden layer learns to read digits. You will write the network, its loss and three optimizers
# yourself, and train with what you wrote, beside torch's. The lesson follows an assignment, called *the document* below:
# a program in PyTorch with blanks, the formulas of the three optimizers, and what the program printed when it was complete.
#
# MNIST must be here: `steepest data fetch mnist`. An exercise is a function whose body is `...`: write it, run the cell,
# and the answer is checked. `hint("sgd", 1)` to `hint("sgd", 3)` help in three steps, and `solution("sgd")` shows an answer.
# With blanks left blank the notebook still runs: it then uses torch's parts, and draws no curve of yours.

# %%
# %matplotlib inline
import numpy as np
import torch
from torch import nn

from steepest import optim
from steepest_workshop.lessons import Mine, ask, assignment, check, filled, hint, learner, rule, solution
from steepest_workshop.lessons.training import images

data = images()  # 60,000 and 10,000 images as rows of 784 numbers in [0, 1]
data.x.shape, data.test_x.shape

# %% [markdown]
# ## Seven words
#
# - A **parameter** is a number that training changes. This network has 784 · 100 + 100 + 100 · 10 + 10 = 79,510 of them.
# - The **loss** says in one number how wrong the network is; less is better.
# - The **gradient** is the slope of the loss along each parameter.
# - A **batch** is the handful of images that one gradient is computed from.
# - A **step** (or update, or iteration) changes all parameters once, by one batch.
# - An **epoch** is as many steps as use every image once.
# - The **learning rate** says how far a step goes. It is a **hyperparameter**, as are the size of a batch and the number
#   of epochs: you choose it before training, and training does not change it.

# %%
ask("updates")

# %%
check("updates", ...)  # your answer in place of the dots

# %% [markdown]
# ## The network
#
# 784 pixels become 100 hidden units, $h = \max(0,\, W_1 x + b_1)$, and these become ten scores, $W_2 h + b_2$, one for each
# digit. The largest score is the network's answer. In torch a network is a class: `__init__` makes the layers, and
# `forward` says what happens to the images. Without the kink at 0 (the ReLU) two layers would be no more than one, since
# $W_2 (W_1 x)$ is a single matrix times $x$.

# %%
ask("forward")


# %%
class Network(nn.Module):
    """Inputs, hidden units, scores."""

    def __init__(self, inputs=784, hidden=100, outputs=10):
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.relu = nn.ReLU()
        self.last = nn.Linear(hidden, outputs)

    def forward(self, x):
        """The scores, of shape (batch, outputs), of images x, of shape (batch, inputs)."""
        ...


check("forward", Network)

# %% [markdown]
# ## The loss
#
# Scores become probabilities by the softmax, $p_k = e^{s_k} / \sum_j e^{s_j}$, and the loss of an image is $-\ln p$ of its
# right digit: 0 where the network is sure and right, large where it is sure and wrong. A network that has learnt nothing
# gives each digit a tenth: a loss of ln 10, or 2.30. Remember that number; it shows that a training has died.

# %%
ask("cross_entropy")


# %%
def cross_entropy(scores, labels):
    """The mean loss, one number.

    Known: scores, a tensor (batch, classes); labels, a tensor (batch,) of whole numbers.
    """
    ...


check("cross_entropy", cross_entropy)

# %% [markdown]
# ## The loop
#
# This is all of training. None of its lines is specific to a network or to an optimizer. `loss.backward()` computes the
# gradient of every parameter by the chain rule, `optimizer.step()` changes the parameters, and `zero_grad()` clears the
# gradients of the step before. `torch.manual_seed(0)` is the **seed** of the random numbers: the same start and the same
# batches in every run.


# %%
def train(make, network, loss_of, steps=1000, size=100, every=100):
    """Test accuracies in per cent, at every hundredth step; `make` makes an optimizer of the parameters."""
    torch.manual_seed(0)
    model, curve = network(), []
    optimizer = make(model.parameters())
    for step in range(steps):
        index = torch.randint(len(data.x), (size,))
        loss = loss_of(model(data.x[index]), data.y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % every == every - 1:
            with torch.no_grad():
                right = (model(data.test_x).argmax(1) == data.test_y).float().mean()
            curve.append(100 * right.item())
    return curve


def torchs():
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


curves = {}  # by name, filled below
parts = [
    Network if filled(Network) else torchs,
    cross_entropy if filled(cross_entropy) else nn.functional.cross_entropy,
]

# %% [markdown]
# ## Plain descent
#
# Near where we are the loss is a plane: $J(\theta - \eta g) \approx J(\theta) - \eta\, |g|^2$. Going against the gradient $g$
# lowers it, and no other direction lowers it faster. How far the plane can be trusted is another matter, and the reason
# why the learning rate $\eta$ is not simply large.

# %%
rule("gd")

# %%
ask("sgd")


# %%
def sgd(w, g, t, state):
    """The new w, an array of the shape of w.

    Known: the gradient g at w; the learning rate is 0.1; t and state are not needed.
    """
    ...


check("sgd", sgd)

# %% [markdown]
# In torch an optimizer is an object that is made from the parameters. This is the blank of the document's program,
# `optimizer = ...`, as a function:

# %%
ask("optimizer_sgd")


# %%
def optimizer_sgd(params):
    """An optimizer of params: plain SGD at a learning rate of 0.1."""
    ...


check("optimizer_sgd", optimizer_sgd)

# %% [markdown]
# Now the network is trained twice: with torch's parts, and with your network, your loss and your step.
# `Mine(parameters, sgd)` calls your function for each of the four parameters (two matrices, two vectors), each with its
# own `state`. For a rate other than 0.1, `Mine(..., lr=r)` multiplies your move by r / 0.1.

# %%
curves["SGD at 0.1"] = train(lambda p: torch.optim.SGD(p, lr=0.1), torchs, nn.functional.cross_entropy)
if filled(sgd):
    curves["yours: SGD"] = train(lambda p: Mine(p, sgd), *parts)
learner.lines(curves, range(100, 1001, 100), "step", "test accuracy, %")

# %% [markdown]
# **Batch, one sample, or some?** All of the images give the exact gradient and one step an epoch; a hundred give a rough
# gradient and 600 steps for the same work. Two epochs, each at the best of three rates, end near 71 % with whole batches and
# above 96 % with a hundred or with one image a step (`steepest reproduce 000`). Exactness costs too much here.
#
# ## Momentum
#
# A velocity $v$ collects the gradients, and forgets a tenth of itself at each step:
#
# $$v_t = \beta\, v_{t-1} + \eta\, g_t, \qquad \theta_t = \theta_{t-1} - v_t, \qquad \beta = 0.9$$
#
# Written out, $v_t = \eta\,(g_t + \beta g_{t-1} + \beta^2 g_{t-2} + \dots)$. If the gradient stays the same, that is
# $\eta g\,(1 + \beta + \beta^2 + \dots) = \eta g / (1 - \beta)$: ten times the plain step. If it changes its sign at every
# step, it is $\eta g\,(1 - \beta + \beta^2 - \dots) = \eta g / (1 + \beta)$, about half of the plain step. So momentum speeds
# up where gradients agree, and calms down where they alternate.

# %%
ask("momentum")


# %%
def momentum(w, g, t, state):
    """The new w.

    Known: the gradient g at w; rate 0.1, beta 0.9. Keep the velocity in the dict state;
    it is empty at t = 1.
    """
    ...


check("momentum", momentum)

# %%
ask("optimizer_momentum")


# %%
def optimizer_momentum(params):
    """An optimizer of params: SGD at a learning rate of 0.1, with momentum 0.9."""
    ...


check("optimizer_momentum", optimizer_momentum)

# %% [markdown]
# (Torch stores $v / \eta$, and multiplies by $\eta$ afterwards. The path is the same as long as the rate is constant.)
#
# *In the playground:* [momentum's overshoot](../docs/playground.md#lesson-5),
# [rate and momentum](../docs/playground.md#lesson-9).
#
# At equal rates momentum looks fast partly because it goes ten times as far. So give plain SGD ten times the rate:

# %%
for name, make in {
    "SGD at 0.1": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum 0.9 at 0.1": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "SGD at 1": lambda p: torch.optim.SGD(p, lr=1.0),
}.items():
    print(f"{name:20} {train(make, torchs, nn.functional.cross_entropy)[-1]:.2f} % after 1,000 steps")

# %% [markdown]
# Most of the gap is closed. And momentum does *not* calm the loss by itself. Here is the parabola $w^2/2$ with noise in its
# gradient, after the start is forgotten:


# %%
def noisy(rate, beta, steps=20_000):
    """The mean height on w ** 2 / 2 under gradients with noise."""
    rng, w, v, heights = np.random.default_rng(0), 0.0, 0.0, []
    for noise in rng.standard_normal(steps):
        v = beta * v + rate * (w + noise)
        w = w - v
        heights.append(w**2 / 2)
    return np.mean(heights[2000:])


for rate, beta in ((0.01, 0), (0.001, 0.9), (0.01, 0.9)):
    print(f"rate {rate:<5}, momentum {beta:<3}: mean height {noisy(rate, beta):.4f}")

# %% [markdown]
# With momentum and a tenth of the rate the height is that of plain descent; at the same rate it is ten times as high.
#
# ## Adam
#
# A single rate for all parameters fits none of them: the weights of pixels in the middle of the image have large gradients,
# those of pixels at the rim nearly none. Adam keeps two moving averages for each parameter, of the gradient and of its
# square, and divides the first by the root of the second. The size of the gradient cancels, and every parameter moves by
# about one learning rate.
#
# Both averages start at 0, and lean towards it at first. Under a constant gradient $g$ the first is, after $t$ steps,
# $m_t = (1 - \beta)(1 + \beta + \dots + \beta^{t-1})\, g = (1 - \beta^t)\, g$. So dividing by $1 - \beta^t$ makes it $g$ again,
# exactly, at every step. That is the **bias correction**. For $\beta = 0.999$ it matters for
# about $1/(1 - \beta)$ steps, a thousand.

# %%
rule("adam")

# %%
ask("adam")


# %%
def adam(w, g, t, state):
    """The new w.

    Known: the gradient g at w; t = 1, 2, ...; rate 0.1, betas 0.9 and 0.999, epsilon
    1e-8; averages in state.
    """
    ...


check("adam", adam)

# %%
ask("optimizer_adam")


# %%
def optimizer_adam(params):
    """An optimizer of params: Adam at a learning rate of 0.001."""
    ...


check("optimizer_adam", optimizer_adam)

# %% [markdown]
# The document prints another formula: it divides by $1 - \beta$ at every step alike. It also puts $\varepsilon$ under the root,
# where 1e-8 counts like 1e-4 outside. Its own figures refute both: `steepest reproduce 000` trains by each formula, and counts
# how many of the document's twelve Adam figures come out.
#
# All three, from one start and in one order of batches, and yours beside them:

# %%
three = {
    "SGD at 0.1": (lambda p: torch.optim.SGD(p, lr=0.1), sgd, 0.1),
    "momentum 0.9 at 0.1": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), momentum, 0.1),
    "Adam at 0.001": (lambda p: torch.optim.Adam(p, lr=0.001), adam, 0.001),
}
curves = {name: train(make, torchs, nn.functional.cross_entropy) for name, (make, _, _) in three.items()}
for name, (_, step, rate) in three.items():
    if filled(step):
        curves[f"yours: {name}"] = train(lambda p: Mine(p, step, lr=rate), *parts)
for name, curve in curves.items():
    print(f"{name:26} {curve[-1]:.2f} % after 1,000 steps")
learner.lines(curves, range(100, 1001, 100), "step", "test accuracy, %", "One start, one order of batches")

# %% [markdown]
# Yours and torch's may differ by a few images in ten thousand: your step is computed in float64, torch's in float32.
#
# One run each. Resist the conclusion: another start may reorder them, and so may another rate.
#
# ## The document's own program
#
# Your three `optimizer =` in it: 3,000 steps with its seed and its order of batches, and what it prints every 500.

# %%
for name, make in {"SGD": optimizer_sgd, "momentum": optimizer_momentum, "Adam": optimizer_adam}.items():
    if not filled(make):
        print(f"{name}: blank, nothing to train")
        continue
    for (step, loss, accuracy), *printed in zip(assignment.run(make, data), *assignment.PRINTED[name]):
        print(f"{name:8} step {step}: loss {loss:.5f}, accuracy {accuracy:.2f}; printed {printed[0]:.5f}, {printed[1]:.2f}")

# %% [markdown]
# A seed fixes the random numbers, but not how a processor rounds. Compare the columns: where every printed digit comes out,
# years later and on another machine, the rule is the right one. Where digits differ, look at how the difference grows with the
# steps: at a large rate one rounding early on becomes another path, even by the right rule. A figure that no rerun can match
# says nothing about the optimizer.
#
# **And with ours?** `steepest.optim.Adam` computes the same formula in one pass over memory, compiled, in another order of
# operations than torch's loop. Each order rounds the last bit of some numbers differently, and 3,000 steps can carry such a bit
# into the printed digits, or not: that depends on the processor. `exact=True` computes by torch's operations in torch's order,
# and is equal to `torch.optim.Adam(foreach=False)` bit by bit. Here, after 500 and 3,000 steps:

# %%
for name, make in {
    "torch's loop": lambda p: torch.optim.Adam(p, lr=0.001, foreach=False),
    "exact=True": lambda p: optim.Adam(p, lr=0.001, exact=True),
    "compiled": lambda p: optim.Adam(p, lr=0.001),
}.items():
    seen = assignment.run(make, data)
    for step, loss, accuracy in (seen[0], seen[-1]):
        print(f"{name:12} after {step:5,} steps: loss {loss!r}, accuracy {accuracy:.2f}")
print(f"printed      after 3,000 steps: loss {assignment.PRINTED['Adam'][0][-1]}, accuracy {assignment.PRINTED['Adam'][1][-1]}")

# %% [markdown]
# ## When it fails
#
# *In the playground:* [too large a rate](../docs/playground.md#lesson-3).
#
# Too large a rate and too small a one can end alike, near 2.30. Look at the largest loss on the way:


# %%
def losses(rate, steps=200):
    torch.manual_seed(0)
    model, seen = torchs(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(steps):
        index = torch.randint(len(data.x), (100,))
        loss = nn.functional.cross_entropy(model(data.x[index]), data.y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen


for rate in (0.001, 0.1, 10.0):
    seen = losses(rate)
    print(f"SGD at {rate:6}: first loss {seen[0]:.2f}, largest {max(seen):.1f}, last {np.mean(seen[-20:]):.2f}")

# %% [markdown]
# ## Open questions
#
# 1. Momentum goes ten times as far on a steady slope. At which rate does plain SGD come closest to it, and what does momentum
#    still do better there?
# 2. Above, Adam is below momentum after 1,000 steps. Is that the rate, the number of steps, or the optimizer? What would you
#    have to vary to tell?
# 3. The document tests on the same 10,000 images at every 500th step, and a reader picks the best optimizer by them. What is
#    wrong with the accuracy that is then reported?
#
# Which of the three does *this* network need? `steepest compare mnist-mlp` tunes each with the same effort, uses fresh seeds,
# and stops when an interval says so.
