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
# # Races, and what keeps a network honest
#
# Two hills that made optimizers famous, rates that fall by a function, and two layers that change what is trained rather
# than how. The lesson follows a course's Lab 7, Optimization, called *the lab* below.
#
# MNIST must be here: `steepest data fetch mnist`. An exercise is a function whose body is `...`: write it, run the cell, and
# the answer is checked. `hint("nesterov", 1)` to `hint("nesterov", 3)` help in three steps, and `solution("nesterov")` shows
# an answer. With blanks left blank the notebook still runs.
#
# Some words. A **step** changes the parameters $w$ once, by about the **learning rate** (or rate) $\eta$ times the gradient $g$
# of the loss. On data, the gradient is computed on a **batch** of examples; an **epoch** is as many steps as use every example
# once. Descent with all examples in a batch is called batch descent, with some mini-batch descent, with one stochastic descent,
# and torch's `SGD` is all three, by the batches that you give it. Rate, size of batch and momentum are **hyperparameters**: you
# choose them, training does not.

# %%
# %matplotlib inline
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import steepest
from steepest import optim, surfaces
from steepest.paths.descent import descend
from steepest.paths.loop import formula_of, trajectory
from steepest.report.surface import pictures
from steepest.rules import get, switch
from steepest_workshop.lessons import ask, check, filled, hint, learner, rule, solution
from steepest_workshop.lessons.training import images

# %% [markdown]
# ## A step with momentum
#
# With momentum a step is 0.9 of the previous one, plus a gradient step:
#
# $$v_t = 0.9\,v_{t-1} + \eta\,g_t, \qquad w_t = w_{t-1} - v_t$$
#
# As code:


# %%
def momentum(w, g, t, state):
    state["v"] = 0.9 * state.get("v", 0.0) + 0.1 * g
    return w - state["v"]


# %% [markdown]
# If the gradient stays the same, $v$ tends to the solution of $v = 0.9\,v + \eta g$, which is $\eta g / (1 - 0.9)$: ten plain
# steps. Where gradients alternate in sign, it tends to $\eta g / (1 + 0.9)$, half a plain step.
#
# Nesterov first takes 0.9 of the previous step, and computes the gradient there. So the function gets no gradient, but `slope`,
# which computes it at any point.

# %%
rule("nesterov_lookahead")

# %%
ask("nesterov")


# %%
def nesterov(w, slope, t, state):
    """The new w (2,).

    Known: slope(at), the gradient at a point; rate 0.1, momentum 0.9; keep v in state,
    empty at t = 1.
    """
    ...


check("nesterov", nesterov)

# %% [markdown]
# Yours on the valley $(x^2 + 20\,y^2)/2$, at a rate of 0.04, beside momentum and our own Nesterov:

# %%
valley = replace(surfaces.get("(x**2 + 20*y**2)/2"), start=(-4.5, 1.2))
walks = {
    name: trajectory(get(name), formula_of(valley), valley.start, 60, lr=0.04)[0] for name in ("momentum", "nesterov_lookahead")
}
if filled(nesterov):
    walks["yours"] = learner.walked(nesterov, valley, 60, lr=0.04, sloped=True)
learner.paths(valley, walks, (-5, 4, -1.6, 1.6))

# %% [markdown]
# ## The saddle
#
# Down on two sides, up on two. We start a thousandth beside the ridge.

# %%
ask("saddle")

# %%
check("saddle", ...)  # your answer in place of the dots

# %%
race = steepest.trajectory("saddle", "sgd,momentum,nesterov,adagrad,rmsprop,adam", (1, 1e-3), 200)
pictures.panels(race)

# %% [markdown]
# The lab says that SGD and momentum are stuck there. Over the 80 settings of [the reproduction](../docs/reproduction.md) (how
# the saddle is turned, how near the ridge one starts, which rates) SGD leaves after RMSprop in all and after Adam in most,
# but before Adagrad in most: the picture shows an exception. Momentum leaves before Adagrad in all. Exactly on the ridge
# nobody leaves: there the gradient has no part along the way out, and all of these rules multiply it by something.
#
# *In the playground:* [the saddle](../docs/playground.md#lesson-1).

# %%
ridge = steepest.trajectory("saddle", "sgd,rmsprop,adam", (1, 0), 200)
for path in ridge.paths:
    print(f"{path.name:8} after 200 steps from the ridge: {path.points[-1, 1]:g} off it")

# %% [markdown]
# ## The valley
#
# Steep across, flat along.

# %%
ask("valley")

# %%
check("valley", ...)  # your answer in place of the dots

# %%
valley = steepest.trajectory("valley", "sgd,momentum,nesterov,adagrad,rmsprop,adam", steps=60, lrs="auto")
pictures.panels(valley)

# %% [markdown]
# Why do some need no swing? They divide each coordinate by the size of its gradients. Along an axis of curvature $\lambda$
# the gradient is $\lambda$ times the distance, so the division takes the curvature out, and a long valley becomes a round
# bowl. That is called **preconditioning**. It works coordinate by coordinate: turn the valley by 45 degrees, and both
# coordinates see the same mixture of steep and flat.
#
# *In the playground:* [the long valley](../docs/playground.md#lesson-2), [the turned valley](../docs/playground.md#lesson-7).

# %%
names = ("sgd", "momentum", "adagrad", "rmsprop", "adam")
for turn in (0, 45):
    turned = replace(surfaces.get("valley"), start=(-4.5, 1.2)).turned(turn)
    paths = descend(turned, [get(name) for name in names], turned.start, 60, {}).paths
    print(f"turned by {turn:2}: " + ", ".join(f"{path.name} {path.values[-1]:.1e}" for path in paths))

# %% [markdown]
# Turned, Adagrad and RMSprop end at a few tenths instead of next to nothing. Adam, which leans on its momentum, hardly
# changes; plain descent and momentum do not feel the turn at all.
#
# ## Adagrad to Adam, three formulas
#
# Adagrad sums squares: under gradients of one size the sum is $t\,g^2$, and the steps shrink like $1/\sqrt{t}$. RMSprop forgets
# old squares. Adam adds momentum, and corrects both averages for their start at 0: under a constant gradient they are
# $(1 - \beta^t)$ times too small.

# %%
rule("adagrad")

# %%
rule("rmsprop")

# %%
rule("adam")

# %% [markdown]
# The lab puts Adam's $\varepsilon$ under the root; the paper and torch put it outside. Under the root 1e-8 counts like 1e-4
# outside, and shortens every step whose gradient is smaller than that
# (*in the playground:* [the ε of Adam](../docs/playground.md#lesson-8)). The share of a full step that is left:

# %%
for g in (1e-2, 1e-4, 1e-6):
    print(f"gradient {g:.0e}: outside {g / (g + 1e-8):.3f} of a step, under the root {g / np.sqrt(g**2 + 1e-8):.3f}")

# %% [markdown]
# ## Adam first, then SGD
#
# Two rules and a step at which to switch make a third, an optimizer like any other.
#
# *In the playground:* [Adam, then SGD](../docs/playground.md#lesson-6).

# %%
adam_then_sgd = switch(get("adam"), get("sgd"), at=200, then_ratio=100.0)
data = images()


def train(make, model, steps=400, size=100):
    optimizer, losses = make(model.parameters()), []
    for _ in range(steps):
        index = torch.randint(len(data.x), (size,))
        loss = nn.functional.cross_entropy(model(data.x[index]), data.y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        accuracy = 100 * (model(data.test_x).argmax(1) == data.test_y).float().mean().item()
    return accuracy, losses


for name, make in {
    "Adam": lambda p: optim.Adam(p, lr=0.001),
    "Adam, then SGD": lambda p: optim.from_rule(adam_then_sgd)(p, lr=0.001),
    "SGD": lambda p: optim.SGD(p, lr=0.1),
}.items():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    print(f"{name}: {train(make, model)[0]:.2f} %")

# %% [markdown]
# In this run, switched half way, it ends below Adam; one run proves little. [The reproduction](../docs/reproduction.md) has ten
# seeds, early and late switches, and longer runs.
#
# ## A rate by a function of the epoch
#
# A **schedule** changes the rate during training. Torch's most general one is LambdaLR: the initial rate times any function of
# the epoch.

# %%
ask("lambda_rate")


# %%
def lambda_rate(epoch):
    """The rate in this epoch, 0, 1, 2, ...; the initial rate is 100, the function 0.65 ** epoch."""
    ...


check("lambda_rate", lambda_rate)

# %%
optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=100)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.65**epoch)
rates = {"LambdaLR": []}
for _ in range(10):
    rates["LambdaLR"].append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    scheduler.step()
if filled(lambda_rate):
    rates["yours"] = [lambda_rate(epoch) for epoch in range(10)]
learner.lines(rates, range(10), "epoch", "rate", stairs=True)

# %% [markdown]
# ## Dropout
#
# In training, dropout sets the output of each unit to 0 with probability $p$, drawn anew for every example and step. No unit
# can then rely on one other. After training all units work, and the mean of their sum should be what it was in training: so
# in training the outputs that stay are scaled up.
#
# A network, and what dropout leaves of it for one example; torch draws the masks:

# %%
torch.manual_seed(3)
sizes = (5, 5, 5, 1)
kept = [nn.Dropout(0.5)(torch.ones(size)) > 0 for size in sizes[:-1]] + [torch.ones(1) > 0]
figure, panels = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for axes, title, masks in zip(
    panels, ("all units", "dropout, p = 0.5"), ([torch.ones(size) > 0 for size in sizes], kept), strict=True
):
    place = [[(layer, unit - (size - 1) / 2) for unit in range(size)] for layer, size in enumerate(sizes)]
    for layer in range(len(sizes) - 1):
        for i, a in enumerate(place[layer]):
            for j, b in enumerate(place[layer + 1]):
                if masks[layer][i] and masks[layer + 1][j]:
                    axes.plot(*zip(a, b), color="#0072B2", linewidth=0.8, zorder=1)
    for points, mask in zip(place, masks):
        for point, stays in zip(points, mask):
            axes.plot(*point, "o", color="#0072B2" if stays else "#ffffff", markeredgecolor="#555555", markersize=13)
            if not stays:
                axes.plot(*point, "x", color="#D55E00", markersize=8)
    axes.set_title(f"{title}: {sum(int(mask.sum()) for mask in masks)} of {sum(sizes)} units", loc="left")
    axes.set_xticks(range(4), ("inputs", "hidden", "hidden", "output"))
    axes.set_yticks([])
    axes.set_frame_on(False)
plt.show()

# %%
ask("dropout")


# %%
def dropout(x, kept, p):
    """x after dropout in training, of its shape.

    Known: kept, 0 with chance p and else 1, of the shape of x.
    """
    ...


check("dropout", dropout)

# %% [markdown]
# ## Batch normalization
#
# A **channel** is one of the numbers at each place of an image, such as its red. BatchNorm brings each channel to mean 0 and
# standard deviation 1. The mean and the variance are taken over the examples of the batch and over the places in the image,
# not over the channels. (After training, torch takes running averages of both instead.)

# %%
ask("batch_norm")


# %%
def batch_norm(x):
    """x normalized, of its shape; epsilon is 1e-5.

    Known: x (N, C, H, W), that is N examples of C channels, H rows and W columns.
    """
    ...


check("batch_norm", batch_norm)

# %%
picture = 3 + 2 * torch.randn(64, 4, 8, 8) * torch.arange(1, 5).view(1, 4, 1, 1)
normed = nn.BatchNorm2d(4)(picture).detach()
print("deviations of the channels before:", picture.std((0, 2, 3)).numpy().round(2))
print("and after torch's BatchNorm:      ", normed.std((0, 2, 3)).numpy().round(2))
if filled(batch_norm):
    print(f"yours is within {np.abs(batch_norm(picture.numpy()) - normed.numpy()).max():.0e} of it")

# %% [markdown]
# Both in a network, and your dropout in it, which draws other masks than torch's:


# %%
class YourDropout(nn.Module):
    def forward(self, x):
        return dropout(x, (torch.rand_like(x) >= 0.5).float(), 0.5) if self.training else x


layers = {"neither": nn.Identity(), "dropout": nn.Dropout(0.5), "BatchNorm": nn.BatchNorm1d(100)}
if filled(dropout):
    layers["yours: dropout"] = YourDropout()
curves = {}
for name, layer in layers.items():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 100), layer, nn.ReLU(), nn.Linear(100, 10))
    accuracy, losses = train(lambda p: optim.SGD(p, lr=0.1, momentum=0.9), model)
    curves[name] = np.reshape(losses, (20, 20)).mean(1)
    print(f"{name:14} test accuracy {accuracy:.2f} %, training loss {np.mean(losses[-50:]):.3f}")
learner.lines(curves, range(20, 401, 20), "step", "training loss")

# %% [markdown]
# A surprise: on this network dropout costs accuracy. It is a cure for a network that knows its examples by heart, and
# after so few steps this one does not. When a cure does nothing, ask whether there was a disease.
#
# ## Open questions
#
# 1. On the ridge of the saddle nobody leaves. What does the noise of mini-batches change, and for whom most?
# 2. Does a network have valleys that lie along the axes? What would you compare to find out, given that momentum does not
#    feel a turn and RMSprop does?
# 3. After how many steps does dropout begin to pay here, and what would you have to hold out to see it?
