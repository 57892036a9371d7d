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
# # A power of the error
#
# The same ten numbers, fitted by six losses: the error to the power 0.4, 0.7, 1, 2, 3, 5. Below 1 the gradient *grows* as
# the error shrinks; at 5 it all but vanishes. Which optimizer wins? It depends, and one can see why. Then digits again.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from steepest import optim
from steepest_workshop.lessons import ask, check, rule, variants
from steepest_workshop.lessons.training import images

rng = np.random.default_rng(0)
A, truth = rng.uniform(-1, 1, size=(1000, 10)), np.ones(10)
y = A @ truth + 0.1 * rng.normal(size=1000)
A_test = rng.uniform(-1, 1, size=(50, 10))
y_test = A_test @ truth + 0.1 * rng.normal(size=50)

# %% [markdown]
# For the square there is an exact answer, to compare with.

# %%
ask("closed_form")


# %%
def closed_form(X, y):
    return np.linalg.inv(X) @ y  # is X square?


check("closed_form", closed_form)

# %%
np.round(np.linalg.solve(A.T @ A, A.T @ y), 3)

# %% [markdown]
# For the others one walks. The gradient of |error| to a power:

# %%
ask("power_gradient")


# %%
def power_gradient(w, x, y, power):
    e = x @ w - y
    return power * abs(e) ** (power - 1) * x  # and which way?


check("power_gradient", power_gradient)

# %%
for power in (0.4, 1, 2, 5):
    sizes = [power * e ** (power - 1) for e in (1.0, 0.1, 0.01)]
    print(f"power {power}: slope {sizes[0]:.2g} at error 1, {sizes[1]:.2g} at 0.1, {sizes[2]:.2g} at 0.01")

# %% [markdown]
# ## Three rules
#
# Plain descent takes the gradient as it comes. Adam takes its sign, nearly, times the rate. Adagrad is left to the reader:

# %%
rule("adagrad")

# %%
ask("adagrad")


# %%
def adagrad(w, g, t, state):
    state["G"] = 0.9 * state.get("G", 0.0) + 0.1 * g**2  # a sum, or an average?
    return w - 0.1 * g / (np.sqrt(state["G"]) + 1e-8)


check("adagrad", adagrad)

# %%
ask("sgd")


# %%
def sgd(w, g, t, state):
    return w - g


check("sgd", sgd)

# %%
ask("adam")


# %%
def adam(w, g, t, state):
    m = state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * g**2
    return w - 0.1 * (m / (1 - 0.9**t)) / (v / (1 - 0.999**t) + 1e-8)


check("adam", adam)

# %% [markdown]
# ## The experiment
#
# One example a step, a thousand steps, ten replicates. The loop, with the update as a function that you may replace by
# yours (put your `adam` from above in):


# %%
def replicate(power, update, seed, steps=1000, rate=0.001):
    rng, w, losses = np.random.default_rng(seed), 0.1 * np.random.default_rng(99).random(10), []
    m = v = np.zeros(10)
    for t in range(1, steps + 1):
        if t % 50 == 1:
            losses.append(np.mean(np.abs(A_test @ w - y_test) ** power))
        i = rng.integers(len(A))
        e = A[i] @ w - y[i]
        g = power * abs(e) ** (power - 1) * np.sign(e) * A[i]
        if update == "sgd":
            w = w - rate * g
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return losses


# %% [markdown]
# The bars of the picture are 2.5 standard errors of the mean of ten.

# %%
ask("standard_error")


# %%
def standard_error(losses):
    return losses.std(0) / np.sqrt(len(losses))  # n, or n - 1?


check("standard_error", standard_error)

# %%
figure, panels = plt.subplots(2, 3, figsize=(9.5, 5), layout="constrained", sharex=True)
for axes, power in zip(panels.flat, (0.4, 0.7, 1, 2, 3, 5)):
    for update, colour, dash in (("sgd", "#0072B2", "-"), ("adam", "#56B4E9", "--")):
        losses = np.array([replicate(power, update, seed) for seed in range(10)])
        error = losses.std(0, ddof=1) / np.sqrt(10)
        axes.errorbar(np.arange(0, 1000, 50), losses.mean(0), 2.5 * error, color=colour, linestyle=dash, label=update)
    axes.set_title(f"power {power}", loc="left")
    axes.grid(alpha=0.25)
panels[0, 0].legend(frameon=False)
figure.supxlabel("update")
figure.supylabel("test loss")
plt.show()

# %% [markdown]
# **Predict, then look:** Adam's step is about the rate whatever the slope. At a rate of 0.001 and a thousand steps, how
# far can it go at most? And why is that hopeless at power 5, where plain descent starts with slopes of five?
#
# What surprises: with gradient noise the picture can turn. Below power 1 the winner with noise is not the one without:
# `steepest reproduce 004` tells both. And the claim "Adam wins" or "SGD wins" is about *this rate*. At 0.01 Adagrad does
# well where at 0.001 it hardly leaves the start.
#
# ## Digits, once more
#
# A network of two hidden layers, and whatever optimizer you feel like: the program says so, and so do we.

# %%
data = images(mean=0.5, deviation=0.5)
variants.digits(20)

# %%
ask("optimizer_adam")

# %%
check("optimizer_adam", lambda params: torch.optim.Adam(params, lr=0.003))


# %%
def train(make, steps=600, size=64):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = make(model.parameters())
    for _ in range(steps):
        index = torch.randint(len(data.x), (size,))
        loss = nn.functional.cross_entropy(model(data.x[index]), data.y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = (model(data.test_x).argmax(1) == data.test_y).float().mean().item()
    return model, 100 * right


model, right = train(lambda p: optim.Adam(p, lr=0.001))  # or yours
print(f"{right:.2f} % after 600 updates of 14,070")

# %%
variants.prediction(model, index=115)

# %% [markdown]
# ## When it fails
#
# A share that the network calls 0.99 is no promise: it is a softmax. Look for an image on which it is sure and wrong:

# %%
with torch.no_grad():
    shares, said = torch.softmax(model(data.test_x), 1).max(1)
wrong = torch.nonzero(said != data.test_y).flatten()
surest = int(wrong[shares[wrong].argmax()])
variants.prediction(model, index=surest)

# %% [markdown]
# To choose the optimizer for it with an interval: `steepest compare mnist-mlp`.
