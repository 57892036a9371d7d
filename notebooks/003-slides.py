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
# # Rates, betas, and a run that collapses
#
# Six optimizers on one small convolutional network. Most of them end alike, which is the first lesson; one training stays at
# 11.35 % for ever, which is the second. The lesson follows the slides "Optimizers" by Cabrera, Errahmouni, Molins and
# Viladrich, called *the slides* below.
#
# MNIST must be here: `steepest data fetch mnist`. An exercise is a function whose body is `...`: write it, run the cell, and
# the answer is checked. `hint("accuracy", 1)` to `hint("accuracy", 3)` help in three steps, and `solution("accuracy")` shows
# an answer. With blanks left blank the notebook still runs.
#
# Some words. A **step** changes all parameters once, by the gradient of the loss on a **batch**, here 128 images; an
# **epoch** is as many steps as use every image once, here 469. The **learning rate** (or rate) says how far a step goes. It
# is a **hyperparameter**, chosen before training; so are momentum, and the betas of Adam, which say how long it remembers. A
# **seed** fixes the random numbers of a run: its start and its batches.

# %%
# %matplotlib inline
import numpy as np
import torch
from torch import nn

from steepest import optim
from steepest_workshop.lessons import Mine, ask, check, collapse, filled, hint, learner, rule, solution
from steepest_workshop.lessons.training import images

data = images(flat=False, mean=0.1307, deviation=0.3081)  # 60,000 and 10,000 images of (1, 28, 28)

# %% [markdown]
# The slides print the loss on 10,000 images and how many of them are right; we take the share.

# %%
ask("accuracy")


# %%
def accuracy(scores, labels):
    """The share from 0 to 1.

    Known: scores (examples, classes) and labels (examples,), whole numbers; both NumPy
    arrays.
    """
    ...


check("accuracy", accuracy)

# %% [markdown]
# ## The training
#
# A hundred steps, a fifth of an epoch, enough to see who is fast and who dies. With `accuracy` written, it is your function
# that measures.


# %%
def share(scores, labels):
    if filled(accuracy):
        return accuracy(scores.numpy(), labels.numpy())
    return float((scores.argmax(1) == labels).float().mean())


def network():
    body = [nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))


def train(make, steps=100, seed=0, size=128):
    """The losses of all steps, and the test accuracy in per cent."""
    torch.manual_seed(seed)
    model, losses = network(), []
    optimizer = make(model.parameters())
    for _ in range(steps):
        index = torch.randint(len(data.x), (size,))
        loss = nn.functional.cross_entropy(model(data.x[index]), data.y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        scores = torch.cat([model(part) for part in data.test_x.split(2000)])
    return losses, 100 * share(scores, data.test_y)


def draw(runs, title):
    """Losses, averaged over ten steps, with the test accuracy of each run; the grey line is ln 10."""
    smooth = {
        f"{name}: {right:.1f} %": np.convolve(losses, np.ones(10) / 10, "valid") for name, (losses, right) in runs.items()
    }
    figure = learner.lines(smooth, range(10, 101), "step", "training loss", title)
    figure.axes[0].axhline(np.log(10), color="#888888", linewidth=0.8)
    figure.axes[0].set_ylim(0, 2.6)
    return figure


# %% [markdown]
# ## The rate, and momentum
#
# Momentum keeps a velocity, $v_t = \gamma v_{t-1} + \alpha g_t$, with $\alpha$ the learning rate, and steps by it,
# $\theta_t = \theta_{t-1} - v_t$. The slides give it $\gamma = 0.5$.

# %%
ask("steady")

# %%
check("steady", ...)  # your answer in place of the dots

# %%
draw(
    {
        "SGD at 0.04": train(lambda p: optim.SGD(p, lr=0.04)),
        "SGD at 0.01": train(lambda p: optim.SGD(p, lr=0.01)),
        "SGD at 0.005": train(lambda p: optim.SGD(p, lr=0.005)),
        "the same, momentum 0.5": train(lambda p: optim.SGD(p, lr=0.005, momentum=0.5)),
    },
    "The grey line is ln 10: a network that has learnt nothing",
)

# %% [markdown]
# Which of the plain runs is the fair one to compare momentum with? If gradients agree, $v$ tends to $\alpha g / (1 - \gamma)$.
#
# Nesterov's momentum takes the gradient where the velocity leads. In torch it is one more argument:

# %%
ask("optimizer_nesterov")


# %%
def optimizer_nesterov(params):
    """An optimizer of params: Nesterov's momentum 0.9 at a learning rate of 0.1."""
    ...


check("optimizer_nesterov", optimizer_nesterov)

# %% [markdown]
# A rate of 0.1 with momentum 0.9 goes as far as a plain rate of 1, which is too bold for this network. An optimizer's rate is
# in its `param_groups`, where it can be changed; we train with a fifth of it.


# %%
def at(rate, make):
    """Makes the optimizers of `make`, at another rate."""

    def made(params):
        optimizer = make(params)
        optimizer.param_groups[0]["lr"] = rate
        return optimizer

    return made


runs = {
    "momentum 0.9 at 0.02": train(lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9)),
    "Nesterov": train(lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True)),
    "plain SGD at 0.2": train(lambda p: torch.optim.SGD(p, lr=0.2)),
}
if filled(optimizer_nesterov):
    runs["yours: Nesterov"] = train(at(0.02, optimizer_nesterov))
draw(runs, "With and without the look ahead")

# %% [markdown]
# ## Adam: a step as long as the rate
#
# Adam averages gradients, and divides by the root of the average of their squares. Multiply the loss by 1,000, and both grow
# alike: the step stays. Both averages begin at 0. Under a constant gradient they are $(1 - \beta^t)$ times too small after
# $t$ steps, since $(1 - \beta)(1 + \beta + \dots + \beta^{t-1}) = 1 - \beta^t$; dividing by that corrects them.

# %%
rule("adam")

# %%
ask("first_step")

# %%
check("first_step", ...)  # your answer in place of the dots

# %% [markdown]
# So Adam's rate is nearly the length of its steps in every parameter, and dividing by the root of the squares is what is
# called **preconditioning**: where the loss is steep its gradients are large, and the division takes that out, so that steps
# are about as long along steep and flat coordinates.
#
# The betas decide how long Adam remembers. An average that keeps $\beta$ of itself at a step weighs a gradient $k$ steps old
# by $\beta^k$, in all $1 + \beta + \beta^2 + \dots = 1/(1 - \beta)$ steps' worth: ten gradients for 0.9, a thousand squares
# for 0.999. Forget squares sooner than gradients, and a burst of large gradients outlives the division that should tame it
# (*in the playground:* [forgetting](../docs/playground.md#lesson-10)):


# %%
def adam_steps(gradients, beta1, beta2):
    m = v = 0.0
    moved = []
    for t, g in enumerate(gradients, 1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        moved.append((m / (1 - beta1**t)) / np.sqrt(v / (1 - beta2**t)))
    return np.array(moved)


burst = np.where(np.arange(200) == 100, 100.0, 1.0)  # a slope of 1, and a single gradient of 100
for beta1, beta2 in ((0.9, 0.99), (0.99, 0.9)):
    after = adam_steps(burst, beta1, beta2)[101:]
    print(
        f"betas {beta1}, {beta2}: after the burst the longest step is {after.max():.2f} rates, in all {after.sum():.0f} for {len(after)}"
    )

# %%
draw(
    {
        "betas 0.9, 0.99": train(lambda p: optim.Adam(p, lr=0.001, betas=(0.9, 0.99))),
        "betas 0.99, 0.9": train(lambda p: optim.Adam(p, lr=0.001, betas=(0.99, 0.9))),
        "betas 0.01, 0.01": train(lambda p: optim.Adam(p, lr=0.001, betas=(0.01, 0.01))),
        "rate 0.035": train(lambda p: optim.Adam(p, lr=0.035)),
    },
    "Adam: what the betas do, and a rate too large",
)

# %% [markdown]
# *In the playground:* [the ε of Adam](../docs/playground.md#lesson-8).
#
# ## Adadelta: no rate at all
#
# Its step is the gradient times the root mean square of past moves over that of past gradients. A gradient has the unit loss
# over parameter; the quotient turns it into the unit of a parameter, and no rate is needed. Torch multiplies by a rate all
# the same, 1 unless you set it.

# %%
rule("adadelta")

# %%
ask("adadelta")


# %%
def adadelta(w, g, t, state):
    """The new w.

    Known: the gradient g at w; rho 0.9, epsilon 1e-6 under both roots, no rate;
    averages in state, empty at t = 1.
    """
    ...


check("adadelta", adadelta)

# %%
runs = {
    "rho 0.01": train(lambda p: torch.optim.Adadelta(p, rho=0.01)),
    "rho 0.9": train(lambda p: torch.optim.Adadelta(p, rho=0.9)),
}
if filled(adadelta):
    runs["yours: rho 0.9"] = train(lambda p: Mine(p, adadelta))
draw(runs, "Adadelta: after 100 steps rho still shows")

# %% [markdown]
# After ten epochs it no longer does: the two cannot be told apart (`steepest reproduce 003`).
#
# ## RMSprop, and 11.35 %
#
# RMSprop divides the gradient by the root of a moving average of its squares.

# %%
rule("rmsprop")

# %% [markdown]
# At 0.01 the slides' RMSprop stays at 11.35 % for ten epochs. Why that number?

# %%
ones, zeros = (100 * (data.test_y == digit).float().mean() for digit in (1, 0))
print(f"of the test images {ones:.2f} % are ones, and {zeros:.2f} % zeros")

# %% [markdown]
# The average of squares begins at 0 and is not corrected: with $\alpha = 0.99$ it is $0.01\, g^2$ after the first step, whose
# root is $0.1\, |g|$, so that the first step moves every parameter by ten rates, a tenth, whatever its gradient. From some
# starts hardly a unit of the second convolution is then above 0 for any image. No layer after it can tell images apart, all
# scores are nearly the same for every image, and the loss stays near ln 10: the network gives the same digit for every image.

# %%
w, g, v = 0.0, 0.003, 0.0
for t in range(1, 5):
    v = 0.99 * v + 0.01 * g**2
    w = w - 0.01 * g / np.sqrt(v)
    print(f"RMSprop at 0.01, a constant gradient of {g}: step {t} is {0.01 * g / np.sqrt(v):.3f} long")

# %%
collapse.collapse(steps=40)

# %% [markdown]
# Not every start collapses. Of the twenty in [the reproduction](../docs/reproduction.md) five do. A verdict about RMSprop at
# 0.01 from one training is a verdict about one throw of the dice.
#
# **A rate of your own.** Find the largest at which three starts survive. (What does a network get right
# that always says 0?)

# %%
for rate in (0.001, 0.003, 0.01):
    ends = [train(lambda p: optim.RMSprop(p, lr=rate), steps=40, seed=seed)[1] for seed in range(3)]
    print(rate, ", ".join(f"{end:.1f} %" for end in ends))

# %% [markdown]
# ## What evidence says
#
# - The slides show one run twice, RMSprop at 0.001, and it ends at 99.01 and 99.23 %. Their fast runs differ by little more
#   than that: from their figures nobody can say which of Adam and RMSprop is better, or at which rate.
# - "RMSprop is similar to momentum": its steps in the valley point more like plain descent's.
# - "Adam may not converge": there is a stream of gradients on which it walks the wrong way for ever, and AMSGrad does not.
#
# Each sentence has its experiment, with its numbers, in [the reproduction](../docs/reproduction.md).
#
# ## Open questions
#
# 1. RMSprop's first step is ten rates long. Which single change to the rule would you make, and is it then another optimizer
#    that you have met?
# 2. How many trainings would it take to say that Adam at 0.001 is better than RMSprop at 0.001 by 0.1 points, if the same run
#    twice differs by 0.2?
# 3. Adadelta needs no rate, and yet torch gives it one. What does $\varepsilon$ have to do with the length of its first steps?
#
# To decide for a network of yours, at equal tuning, with intervals: `steepest compare model.py "adam,rmsprop,momentum"`.
