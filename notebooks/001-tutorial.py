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
# # Down a hill, carefully
#
# What is a minimum, how does one walk to it when every look at the ground is rough, how fast, and with which memory?
# The whole subject on one least-squares problem, a few hills, and digits at the end.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import steepest
from steepest import optim, schedules, surfaces
from steepest.report.surface import pictures
from steepest.surfaces import optimality
from steepest_workshop.lessons import ask, batches, check, drawn, rule
from steepest_workshop.lessons.training import images

# %% [markdown]
# ## Stationary points
#
# Where the gradient is 0 a ball would rest, in a bowl, on a summit, or on a pass. The Hessian's eigenvalues, the
# curvatures along its own directions, tell which.
#
# *In the playground:* [the saddle](../docs/playground.md#lesson-1).

# %%
drawn.rests()

# %%
ask("kind")


# %%
def kind(H):
    return 1 if (np.diag(H) > 0).all() else 0  # is the diagonal enough?


check("kind", kind)

# %% [markdown]
# A convex function has one valley: no chord lies below it. The reverse is not true, and where there are many minima the
# start decides. Here are all stationary points of a function with four minima:

# %%
for point in optimality.stationary(surfaces.get("himmelblau")):
    print(f"{point.kind:8} at ({point.point[0]:+.3f}, {point.point[1]:+.3f}), curvatures {np.round(point.eigenvalues, 1)}")

# %% [markdown]
# ## The rate
#
# On a parabola of curvature 1 a step multiplies the distance by 1 minus the rate. Between 0 and 2 it shrinks. Everything
# about rates is in these four pictures.
#
# *In the playground:* [too large a rate](../docs/playground.md#lesson-3).

# %%
drawn.rates()

# %% [markdown]
# **Predict:** descent on $x^2$, whose curvature is 2. Above which rate does it grow?

# %%
ask("too_large")

# %%
check("too_large", "2")  # your guess

# %% [markdown]
# ## Least squares
#
# Perimeters of 569 tumours from radius and area, all standardised. A bowl with a known floor: perfect for watching.

# %%
regression = batches.data()
X, y = regression.x, regression.y
X.shape

# %%
ask("least_squares_gradient")


# %%
def least_squares_gradient(X, y, w):
    return X.T @ (X @ w - y)  # differentiate a square once more


check("least_squares_gradient", least_squares_gradient)

# %%
ask("closed_form")


# %%
def closed_form(X, y):
    return X.T @ y  # and what of X.T @ X?


check("closed_form", closed_form)

# %% [markdown]
# So why walk at all? With two features you would not. With a million you cannot invert; with a network there is nothing
# to invert.
#
# ## All of the data, some of it, or one
#
# Stochastic descent looks at one example, steps, and looks at the next. Each step is rough and cheap.
#
# *In the playground:* [noise and averaging](../docs/playground.md#lesson-4).
#
# **Predict:** twenty passes over the data, each at its best rate. Which ends nearest?

# %%
ask("batch_size")

# %%
check("batch_size", "10")  # your guess


# %%
def descend(size, rate, epochs, seed=0):
    rng, w, path = np.random.default_rng(seed), np.zeros(2), []
    for _ in range(epochs):
        for index in np.array_split(rng.permutation(len(X)), max(1, len(X) // size)):
            gradient = 2 * X[index].T @ (X[index] @ w - y[index]) / len(index)
            w = w - rate * gradient
            path.append(w)
    return np.array(path)


for size, rate in ((569, 0.32), (10, 0.068), (1, 0.01)):
    path = descend(size, rate, 20)
    print(f"batches of {size:3}: {len(path):6,} updates, {batches.excess(regression, path[-1]):.1e} above the least loss")

# %%
batches.paths()

# %% [markdown]
# What surprises: at the best rate of each, **single examples end nearer than mini-batches** here, although they bounce. And
# that larger batches allow larger rates is half true: the largest that works is 0.1 for single examples, 0.5 for batches of
# 10 and of 57, and 0.4 for all of the data, whose 20 updates are too few for the swing to die down.
#
# When it fails: raw features. Area spreads a hundred times as far as radius, the bowl becomes a ravine, and the rate that the
# steep side allows is far too small for the flat one. The closed form does not care.

# %%
for row in batches.scaling():
    print(
        f"{row['features']:12} condition number {row['condition']:.3g}, largest rate {row['rate']:.2g}, "
        f"excess loss left after 2,000 steps {row['left']:.2g}; the closed form's loss {row['exact']:.5f}"
    )

# %% [markdown]
# ## Letting the rate fall
#
# A constant rate bounces for ever; a rate that falls too soon freezes on the way.

# %%
drawn.multiples(("step", "multi_step", "exponential", "inverse_time", "cosine", "one_cycle", "cyclic"))

# %%
ask("inverse_time")


# %%
def inverse_time(t, k):
    return 1 / (k * t) if t else 1.0


check("inverse_time", inverse_time)

# %%
ask("cosine")


# %%
def cosine(t, n, least):
    return least + (1 + np.cos(np.pi * t / n)) / 2  # where does it begin?


check("cosine", cosine)

# %%
ask("plateau")


# %%
def plateau(accuracies):
    rate = 1.0
    for before, after in zip(accuracies, accuracies[1:]):
        rate *= 1.0 if after > before else 0.1
    return rate


check("plateau", plateau)

# %% [markdown]
# Two more, as torch's StepLR and MultiStepLR have them:

# %%
ask("step_decay")


# %%
def step_decay(epoch):
    return 0.5 ** (epoch / 5)  # does it stay for five epochs?


check("step_decay", step_decay)

# %%
ask("multi_step")


# %%
def multi_step(epoch):
    return 0.1 ** sum(epoch > milestone for milestone in (50, 80, 100))


check("multi_step", multi_step)

# %% [markdown]
# **A schedule of your own.** Any function of the step will do. Plot it, then train with it below.

# %%
mine = schedules.function(lambda step: 1 - step / 400)  # yours: the multiplier at a step, from 0 to 399
plt.figure(figsize=(5, 2.2), layout="constrained")
plt.plot(mine.values(400), color="#0072B2")
plt.xlabel("step")
plt.ylabel("multiplier")
plt.show()

# %% [markdown]
# ## A heavy ball
#
# Momentum keeps a velocity: $z_{k+1} = \beta z_k - \alpha \nabla f(w_k)$, $w_{k+1} = w_k + z_{k+1}$. Written with $v = -z$:

# %%
ask("momentum")


# %%
def momentum(w, g, t, state):
    return w - 0.9 * state.get("v", 0.0) - 0.1 * g  # and the next step's v?


check("momentum", momentum)

# %% [markdown]
# Nesterov looks ahead: it asks for the gradient where the velocity will have carried it.

# %%
drawn.ahead()

# %%
rule("nesterov_lookahead")

# %%
ask("nesterov")


# %%
def nesterov(w, slope, t, state):
    v = state.get("v", np.zeros_like(w))
    state["v"] = 0.9 * v + 0.1 * slope(w)  # slope of where?
    return w - state["v"]


check("nesterov", nesterov)

# %% [markdown]
# The claim that it is slightly better than plain momentum: in valleys it ends lower in every setting that we tried. Its
# theorem is stronger: steps go with the root of the condition number instead of the condition number, not only on quadratics,
# where a well tuned heavy ball manages too, but on every smooth, strongly convex function.
#
# *In the playground:* [rate and momentum](../docs/playground.md#lesson-9), [momentum's overshoot](../docs/playground.md#lesson-5).
#
# ## A learning rate for each coordinate
#
# Adagrad divides by the root of all squares so far. Rare features keep a large rate; frequent ones slow down. The sum
# never shrinks, and that is its end.

# %%
rule("adagrad")

# %%
ask("adagrad")


# %%
def adagrad(w, g, t, state):
    state["G"] = state.get("G", 0.0) + (g**2).sum()  # one number for all coordinates?
    return w - 0.1 * g / (np.sqrt(state["G"]) + 1e-8)


check("adagrad", adagrad)

# %% [markdown]
# **Predict:** under a gradient that never changes, how long is Adagrad's step 100 beside its first?

# %%
ask("adagrad_later")

# %%
check("adagrad_later", "a hundredth")  # your guess

# %%
rule("rmsprop")

# %%
ask("rmsprop")


# %%
def rmsprop(w, g, t, state):
    state["v"] = 0.1 * state.get("v", 0.0) + 0.9 * g**2
    return w - 0.1 * g / (np.sqrt(state["v"]) + 1e-8)


check("rmsprop", rmsprop)

# %% [markdown]
# Adam puts momentum and RMSprop together, and corrects both averages for their start at zero.

# %%
rule("adam")

# %%
ask("adam")


# %%
def adam(w, g, t, state):
    m = state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * g**2
    return w - 0.1 * m / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)  # one correction is missing


check("adam", adam)

# %% [markdown]
# AdaBelief measures the square not of the gradient but of its surprise.

# %%
ask("adabelief")


# %%
def adabelief(w, g, t, state):
    m = state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    s = state["s"] = 0.999 * state.get("s", 0.0) + 0.001 * g**2 + 1e-8
    return w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)


check("adabelief", adabelief)

# %% [markdown]
# ## All of them on one hill
#
# Each at its best rate, each on its own map: on a shared one they would hide each other.

# %%
race = steepest.trajectory("beale", "sgd,momentum,nesterov,adagrad,rmsprop,adam", steps=200, lrs="auto")
pictures.panels(race)

# %% [markdown]
# ## And on digits, with your schedule

# %%
data = images()


def train(make, schedule, steps=400, size=100):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = make(model.parameters())
    rate = optimizer.param_groups[0]["lr"]
    for multiplier in schedule.values(steps):
        optimizer.param_groups[0]["lr"] = rate * multiplier
        index = torch.randint(len(data.x), (size,))
        loss = nn.functional.cross_entropy(model(data.x[index]), data.y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return 100 * (model(data.test_x).argmax(1) == data.test_y).float().mean().item()


for name, schedule in (("constant", schedules.constant()), ("yours", mine)):
    for label, make in (
        ("Nesterov", lambda p: optim.SGD(p, lr=0.3, momentum=0.9, nesterov=True)),
        ("Adam", lambda p: optim.Adam(p, lr=0.01)),
    ):
        print(f"{label:9} {name:9} {train(make, schedule):.1f} %")

# %% [markdown]
# A falling schedule pays where the rate begins too high to end with. At a third of these rates it only shortens the training.
#
# ## When it fails, and what evidence says
#
# - "Momentum almost always converges faster": in two thirds of the valleys that we tried. "Momentum breaks in small batches": yes, its
#   largest rate falls forty-fold from all of the data to one example.
# - "Adagrad spares you the tuning": on a valley twice as many decades of rates work as for descent, on Beale's function
#   fewer.
# - "Adam prefers flat minima": at one of three rates, and so do SGD and momentum.
#
# Each sentence has its experiment in [the reproduction](../docs/reproduction.md). For your own model:
# `steepest compare model.py`.
