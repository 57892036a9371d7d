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
from steepest_workshop.lessons.exercises import steps
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
# And Adagrad, which the document leaves to its reader:

# %%
ask("adagrad")


# %%
def adagrad(w, g, t, state):
    state["G"] = 0.9 * state.get("G", 0.0) + 0.1 * g**2  # a sum, or an average?
    return w - 0.1 * g / (np.sqrt(state["G"]) + 1e-8)


check("adagrad", adagrad)

# %% [markdown]
# ## The experiment
#
# One example a step, a thousand steps, ten replicates, and your three functions from above, where their checks say yes.


# %%
def replicate(power, update, seed, count=1000, rate=0.001):
    rng, w, losses, state = np.random.default_rng(seed), 0.1 * np.random.default_rng(99).random(10), [], {}
    for t in range(1, count + 1):
        if t % 50 == 1:
            losses.append(np.mean(np.abs(A_test @ w - y_test) ** power))
        i = rng.integers(len(A))
        e = A[i] @ w - y[i]
        g = power * abs(e) ** (power - 1) * np.sign(e) * A[i]
        w = w + rate / 0.1 * (update(w, g, t, state) - w)  # the steps above are written for a rate of 0.1
    return losses


# %% [markdown]
# The bars of the picture are 2.5 standard errors of the mean of ten. The document divides by n; its bars are 5 % shorter.

# %%
ask("standard_error")


# %%
def standard_error(losses):
    return losses.std(0) / np.sqrt(len(losses))  # n, or n - 1?


check("standard_error", standard_error)

# %% [markdown]
# **Predict:** which of SGD and Adam ends lower at power 0.4, and at power 5?

# %%
mine = {"sgd": sgd, "adam": adam, "adagrad": adagrad}
right = {name: step if check(name, step) else getattr(steps, name) for name, step in mine.items()}
figure, panels = plt.subplots(2, 3, figsize=(9.5, 5), layout="constrained", sharex=True)
for axes, power in zip(panels.flat, (0.4, 0.7, 1, 2, 3, 5)):
    for name, update, rate, colour, dash in (
        ("SGD", right["sgd"], 0.001, "#0072B2", "-"),
        ("Adam", right["adam"], 0.001, "#56B4E9", "--"),
        ("Adagrad at 0.01", right["adagrad"], 0.01, "#CC79A7", "-."),
    ):
        losses = np.array([replicate(power, update, seed, rate=rate) for seed in range(10)])
        error = losses.std(0, ddof=1) / np.sqrt(10)
        axes.errorbar(np.arange(0, 1000, 50), losses.mean(0), 2.5 * error, color=colour, linestyle=dash, label=name, capsize=2)
    axes.set_title(f"power {power}", loc="left")
    axes.grid(alpha=0.25)
figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
figure.supxlabel("update")
figure.supylabel("test loss")
plt.show()

# %% [markdown]
# Adam is ahead at powers up to 1, SGD above. Adam could reach the truth, for a thousand steps of
# 0.001 are 1. But gradients of single examples disagree, so that its average is small beside the root of its squares: a step is
# 0.3 rates at power 2, and 0.2 at power 5, where a few huge early gradients stay in v. Plain descent starts with slopes of a
# hundred. Whether "Adam wins" is a question of *this rate*: at 0.001 Adagrad hardly leaves the start, at 0.01 it beats SGD at
# powers up to 1. With gradient noise see `steepest reproduce 004`.
#
# *In the playground:* [noise and averaging](../docs/playground.md#lesson-4).
#
# ## Digits, once more
#
# A network of two hidden layers, and any optimizer you like, as the document suggests.

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
# A probability of 0.99 is no promise: a softmax always sums to 1, however unsure the network should be. Look for an image on
# which it is sure and wrong:

# %%
with torch.no_grad():
    shares, said = torch.softmax(model(data.test_x), 1).max(1)
wrong = torch.nonzero(said != data.test_y).flatten()
surest = int(wrong[shares[wrong].argmax()])
variants.prediction(model, index=surest)

# %% [markdown]
# To choose the optimizer for it with an interval: `steepest compare mnist-mlp`.
