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
# The whole subject on one least-squares problem, a few hills, and digits at the end. The lesson follows T. Daniel's Tutorial 03
# on optimization and gradient descent, called *the tutorial* below.
#
# MNIST must be here: `steepest data fetch mnist`. An exercise is a function whose body is `...`: write it, run the cell, and
# the answer is checked. `hint("kind", 1)` to `hint("kind", 3)` help in three steps, and `solution("kind")` shows an answer.
# With blanks left blank the notebook still runs.
#
# Some words. The **parameters** $w$ are the numbers to be found, $f(w)$ is the **loss**, its **gradient** $g = \nabla f(w)$
# points uphill. A **step** changes $w$ once, by about the **learning rate** (often just rate) $\eta$ times the gradient. Where
# the loss is a mean over examples, the gradient can be computed on a few of them, a **batch**; an **epoch** is as many steps as
# use every example once. What is chosen before training and not changed by it (the rate, the size of a batch, the number of
# epochs) is a **hyperparameter**.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import nn

import steepest
from steepest import optim, schedules, surfaces
from steepest.report.surface import pictures
from steepest.surfaces import optimality
from steepest_workshop.lessons import ask, batches, check, drawn, filled, hint, learner, rule, solution
from steepest_workshop.lessons.training import images

# %% [markdown]
# ## One valley, or many
#
# A function is **unimodal** if it has one valley: every local minimum is the global one. It is **convex** if no chord lies
# below it, $f(t a + (1 - t) b) \le t f(a) + (1 - t) f(b)$. Convex functions are unimodal; the picture in the middle shows that
# the reverse is false.

# %%
examples = {
    "convex, so unimodal": lambda x: x**2 / 2,
    "unimodal, not convex": lambda x: np.log1p(9 * x**2),
    "multimodal": lambda x: (x**4 - 3 * x**2 + x) / 2 + 2.5,
}
figure, panels = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained", sharey=True)
x = np.linspace(-2, 2, 300)
for axes, (name, f), (a, b) in zip(panels, examples.items(), ((-1.6, 1.2), (0.3, 1.9), (-1.3, 1.13))):
    axes.plot(x, f(x), color="#0072B2")
    axes.plot([a, b], [f(a), f(b)], "o--", color="#D55E00", label="a chord")
    axes.set_title(name, loc="left")
    axes.set_ylim(-0.3, 4)
panels[0].legend(frameon=False)
plt.show()

# %% [markdown]
# A **line search** looks for the lowest point along one direction. **Most assume one valley**: they begin with an interval,
# compare the heights of two points inside, and drop the end beyond the higher one. With one valley the minimum cannot be
# there. With two it can:

# %%
for name, f in examples.items():
    for low, high in ((-2, 2), (-2, 3)):
        found = minimize_scalar(f, bounds=(low, high), method="bounded").x
        best = min(np.linspace(low, high, 100_001), key=f)
        print(f"{name:20} searched in [{low}, {high}]: {found:+.3f}; the least point is {best:+.3f}")

# %% [markdown]
# A wider interval made it worse: from [-2, 3] the search returns the local minimum, with no sign that there is a lower one.
# **Unimodal is still easy** even where it is not convex, for descent too. From a hundred starts, with a small rate:

# %%
for name, slope in {
    "convex": lambda x: x,
    "unimodal, not convex": lambda x: 18 * x / (1 + 9 * x**2),
    "multimodal": lambda x: 2 * x**3 - 3 * x + 0.5,
}.items():
    x = np.linspace(-2, 2, 100)
    for _ in range(2000):
        x = x - 0.05 * slope(x)
    ends, count = np.unique(np.round(x, 2) + 0.0, return_counts=True)
    print(f"{name:20} ends: " + ", ".join(f"{n} at {end:+.2f}" for end, n in zip(ends, count)))
x = 30.0
for _ in range(200):
    x = x - 0.05 * 18 * x / (1 + 9 * x**2)
print(f"unimodal, from 30: at {x:.1f} after 200 steps, since the slope far out is small")

# %% [markdown]
# ## Stationary points
#
# At a minimum the gradient is 0, but not only there: also on a summit, and on a pass. Near such a point
# $f(w + d) \approx f(w) + \frac{1}{2} d^\top H d$, with $H$ the **Hessian**, the matrix of second derivatives. Along an
# eigenvector of $H$ the function curves by its eigenvalue: up if it is positive, down if it is negative.
#
# *In the playground:* [the saddle](../docs/playground.md#lesson-1).

# %%
drawn.rests()

# %%
ask("kind")


# %%
def kind(H):
    """1, -1 or 0: a minimum, a maximum or a saddle.

    Known: the Hessian H, a symmetric array (d, d) without eigenvalue 0.
    """
    ...


check("kind", kind)

# %% [markdown]
# Here are all stationary points of Himmelblau's function, which has four minima, and what you say of each:

# %%
hill = surfaces.get("himmelblau")
for point in optimality.stationary(hill):
    yours = f", yours: {kind(hill.hessian(point.point))}" if filled(kind) else ""
    at = f"({point.point[0]:+.3f}, {point.point[1]:+.3f})"
    print(f"{point.kind:8} at {at}, curvatures {np.round(point.eigenvalues, 1)}{yours}")

# %% [markdown]
# ## The learning rate
#
# On a parabola of curvature $\lambda$, $f = \lambda x^2 / 2$, the gradient is $\lambda x$, and a step turns $x$ into
# $x - \eta \lambda x = (1 - \eta\lambda)\, x$. After $t$ steps the distance is $(1 - \eta\lambda)^t$ of what it was. It
# shrinks if $|1 - \eta\lambda| < 1$, that is for $0 < \eta < 2/\lambda$; above $2/\lambda$ every step lands further from 0
# than the one before, and descent **diverges**.
#
# In several dimensions each eigenvector of the Hessian has its own $\lambda$, and all share $\eta$. The steepest one,
# $\lambda_{\max}$, sets the bound $2/\lambda_{\max}$; the flattest one then shrinks by $1 - \eta\lambda_{\min}$ a step, which
# is slow if $\lambda_{\max}/\lambda_{\min}$, the **condition number**, is large. Most of what follows is about that.
#
# *In the playground:* [too large a rate](../docs/playground.md#lesson-3).

# %%
drawn.rates()

# %%
ask("too_large")

# %%
check("too_large", ...)  # your answer in place of the dots

# %% [markdown]
# ## Least squares
#
# Perimeters of 569 tumours from radius and area, all standardised, that is shifted and scaled to mean 0 and standard deviation
# 1: $X$ is (569, 2), $y$ is (569,), and the loss is $f(w) = |Xw - y|^2$, a bowl with a known floor.
#
# By hand: $f(w) = (Xw - y)^\top (Xw - y)$, and multiplied out $w^\top X^\top X w - 2\, w^\top X^\top y + y^\top y$. The first
# term has the derivative $2 X^\top X w$ (as $a w^2$ has $2 a w$), the second $-2 X^\top y$, the third none. Together: the
# gradient. Setting it to 0 gives the **normal equations** $X^\top X\, w = X^\top y$.

# %%
regression = batches.data()
X, y = regression.x, regression.y
X.shape

# %%
ask("least_squares_gradient")


# %%
def least_squares_gradient(X, y, w):
    """The gradient (features,) of |X w - y| ** 2.

    Known: X (examples, features), y (examples,), w (features,).
    """
    ...


check("least_squares_gradient", least_squares_gradient)

# %%
ask("closed_form")


# %%
def closed_form(X, y):
    """The w (features,) that makes |X w - y| ** 2 least.

    Known: X (examples, features), y (examples,).
    """
    ...


check("closed_form", closed_form)

# %% [markdown]
# Your gradient, put to use: ten epochs in batches of ten, at a rate of 0.001. The tutorial prints the w at the end,
# [0.55894282 0.42792729].

# %%
if filled(least_squares_gradient):
    w, order = np.zeros(2), np.random.RandomState(0).permutation(len(X))
    for _ in range(10):
        for first in range(0, len(X), 10):
            index = order[first : first + 10]
            w = w - 0.001 * least_squares_gradient(X[index], y[index], w)
    print("w by your gradient:", w)
print("the least point:   ", closed_form(X, y) if filled(closed_form) else regression.exact)

# %% [markdown]
# It is not there yet: the two features rise together, so that the bowl is a narrow valley, and ten epochs only reach its
# floor. So why walk at all? With two features you would not. With a million you cannot solve the equations; with a network
# there are none.
#
# ## All of the data, some of it, or one
#
# | | examples a step | steps in 10 epochs of 100 examples |
# |---|---|---|
# | batch descent | all 100 | 10 |
# | mini-batch descent | 10 | 100 |
# | stochastic descent | 1 | 1,000 |
#
# A step on fewer examples is cheaper and rougher: its gradient is right only on average.
#
# *In the playground:* [noise and averaging](../docs/playground.md#lesson-4).

# %%
ask("batch_size")

# %%
check("batch_size", ...)  # your answer in place of the dots


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
    print(f"batches of {size:3}: {len(path):6,} steps, {batches.excess(regression, path[-1]):.1e} above the least loss")

# %%
batches.paths()

# %% [markdown]
# "Larger batches allow larger rates." The largest rate that works, for each size of batch:

# %%
for row in batches.largest_rates():
    print(f"batches of {row['m']:3}: largest rate {row['largest rate']:.1f}")

# %% [markdown]
# So that is half true: with all of the data in a batch, 20 steps are too few for the swing to die down.
#
# When it fails: raw features. The area varies a hundred times as much as the radius, the condition number is huge, and the rate
# that the steep direction allows is far too small for the flat one. The closed form does not care.

# %%
radius, area = batches.data(standardised=False).x.std(0)
print(f"standard deviations: radius {radius:.1f}, area {area:.1f}")
for row in batches.scaling():
    print(
        f"{row['features']:12} condition number {row['condition']:.3g}, largest rate {row['rate']:.2g}, "
        f"excess loss left after 2,000 steps {row['left']:.2g}; the closed form's loss {row['exact']:.5f}"
    )

# %% [markdown]
# ## Letting the rate fall
#
# Under noise descent at a constant rate never settles, and the larger the rate, the higher it stays; with a rate that falls too
# soon it stops on the way. A **schedule** says by which factor the rate is multiplied at a step or in an epoch:
#
# - step decay: halved every so many epochs; multi-step decay: times 0.1 at given epochs, the milestones;
# - exponential decay: $\eta = \eta_0 e^{-kt}$; 1/t decay: $\eta = \eta_0 / (1 + kt)$;
# - cosine: $\eta = \eta_{\min} + \frac{1}{2}(\eta_0 - \eta_{\min})\left(1 + \cos\frac{\pi t}{n}\right)$;
# - on a plateau: times 0.1 whenever the validation accuracy stops rising.

# %%
drawn.multiples(("step", "multi_step", "exponential", "inverse_time", "cosine", "one_cycle", "cyclic"))

# %%
ask("step_decay")


# %%
def step_decay(epoch):
    """The multiplier in this epoch, 0, 1, 2, ...: halved every 5 epochs."""
    ...


check("step_decay", step_decay)

# %%
ask("multi_step")


# %%
def multi_step(epoch):
    """The multiplier in this epoch, 0, 1, 2, ...: times 0.1 at 50, 80 and 100."""
    ...


check("multi_step", multi_step)

# %%
ask("inverse_time")


# %%
def inverse_time(t, k):
    """The multiplier after t steps, 0, 1, 2, ...; k is how fast it decays."""
    ...


check("inverse_time", inverse_time)

# %%
ask("cosine")


# %%
def cosine(t, n, least):
    """The multiplier at step t of n: 1 at t = 0, least at t = n."""
    ...


check("cosine", cosine)

# %%
ask("plateau")


# %%
def plateau(accuracies):
    """The multiplier after these epochs.

    Known: a list of validation accuracies, one an epoch.
    """
    ...


check("plateau", plateau)

# %% [markdown]
# Those of them that you have written, beside torch's schedulers:


# %%
def torchs_rates(scheduler, steps=120):
    """The multipliers of a scheduler of torch, at each step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    made, rates = scheduler(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return rates


scheduler = torch.optim.lr_scheduler
rates = {
    "StepLR(5, 0.5)": torchs_rates(lambda o: scheduler.StepLR(o, 5, 0.5)),
    "MultiStepLR(50, 80, 100)": torchs_rates(lambda o: scheduler.MultiStepLR(o, [50, 80, 100], 0.1)),
    "1 / (1 + 0.05 t)": torchs_rates(lambda o: scheduler.LambdaLR(o, lambda t: 1 / (1 + 0.05 * t))),
    "CosineAnnealingLR(120, 0.1)": torchs_rates(lambda o: scheduler.CosineAnnealingLR(o, 120, 0.1)),
}
for name, own in {
    "step_decay": step_decay,
    "multi_step": multi_step,
    "inverse_time": lambda t: inverse_time(t, 0.05) if filled(inverse_time) else ...,
    "cosine": lambda t: cosine(t, 120, 0.1) if filled(cosine) else ...,
}.items():
    if filled(own) and own(0) is not ...:
        rates[f"yours: {name}"] = [own(t) for t in range(120)]
learner.lines(rates, range(120), "step or epoch", "multiplier", stairs=True)

# %% [markdown]
# **A schedule of your own.** Any function of the step will do. It trains a network at the end.

# %%
mine = schedules.function(lambda step: 1 - step / 400)  # yours: the multiplier at a step, from 0 to 399

# %% [markdown]
# ## A heavy ball
#
# Momentum keeps a velocity $z$, a short memory of gradients; a ball with friction, if you like:
#
# $$z_{k+1} = \beta z_k - \eta \nabla f(w_k), \qquad w_{k+1} = w_k + z_{k+1}$$
#
# If the gradient stays $g$, the velocity tends to the $z$ with $z = \beta z - \eta g$, which is $-\eta g / (1 - \beta)$. So
# $\beta = 0.9$ goes ten times as far as descent, 0.99 a hundred times, 0.999 a thousand times. It takes about $1/(1 - \beta)$
# steps to get there, and as many to forget. What does that do on a valley of condition number 1,000?


# %%
def heavy(gradient, w, rate, beta, steps):
    """The points of descent with momentum."""
    z, points = np.zeros_like(w), [w]
    for _ in range(steps):
        z = beta * z - rate * gradient(w)
        w = w + z
        points.append(w)
    return np.array(points)


curvatures = np.array([1.0, 1000.0])
print("height after            100        1,000       10,000 steps, at a rate of 0.0003")
for beta in (0, 0.9, 0.99, 0.999):
    points = heavy(lambda w: curvatures * w, np.array([1.0, 1.0]), 0.0003, beta, 10_000)
    heights = (curvatures * points**2).sum(1) / 2
    print(f"momentum {beta:<5} " + " ".join(f"{heights[k]:12.1e}" for k in (100, 1000, 10_000)))

# %% [markdown]
# With 0.999 the ball is still swinging when that with 0.99 has long arrived: more momentum helps only until the memory is
# longer than the way.
#
# **Is momentum one adaptive rate for all parameters?** There is one $\beta$ for all of them, unlike what follows below. But
# what comes out is not one rate. Divide each move by $\eta$ times its gradient, with a gradient that is always 1 along the
# first coordinate, and alternates between 1 and -1 along the second:

# %%
velocity, rate, beta = np.zeros(2), 0.1, 0.9
for k in range(100):
    gradient = np.array([1.0, (-1.0) ** k])
    velocity = beta * velocity - rate * gradient
print("effective rate over the rate:", -velocity / (rate * gradient), "; 1/(1 - 0.9) = 10 and 1/(1 + 0.9) = 0.526")

# %% [markdown]
# A factor of 19 between the two: momentum adapts to each *direction*, by whether its gradients agree.
#
# Nesterov's momentum looks ahead: it takes the gradient where the velocity is about to carry it. If that is too far, the
# gradient there already points back. (Its exercise is in the lab's notebook, 002.)

# %%
drawn.ahead()

# %%
rule("nesterov_lookahead")

# %% [markdown]
# Is it "slightly better than plain momentum", as the tutorial says? In valleys it ends lower in every setting that
# [the reproduction](../docs/reproduction.md) tries. Its theorem is stronger: the number of steps goes with the root of the
# condition number instead of the condition number, not only on quadratics, where a well tuned heavy ball manages too, but on
# every smooth, strongly convex function.
#
# *In the playground:* [rate and momentum](../docs/playground.md#lesson-9),
# [momentum's overshoot](../docs/playground.md#lesson-5).
#
# ## A learning rate for each coordinate
#
# The condition number depends on the units. Measure a steep coordinate in units ten times as small, and its curvature falls a
# hundredfold. To change units so that all curvatures are alike is called **preconditioning**: instead of $g$ one follows
# $P^{-1} g$, where $P$ is easy to invert. $P = H$ would reach the floor of a quadratic in one step, but a network's Hessian is
# far too large. With a diagonal $P$ every coordinate has its own rate. Which diagonal? Along an axis of curvature $\lambda_i$
# the gradient is $\lambda_i d_i$, with $d_i$ the distance: where distances are alike, the size of the gradients is in
# proportion to the curvatures. Hence: **divide by the root of the squared gradients seen so far.**

# %%
turn = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
for name, H in {"along the axes": np.diag(curvatures), "turned by 45 degrees": turn @ np.diag(curvatures) @ turn.T}.items():
    gradients = (H @ np.random.default_rng(0).normal(size=(2, 1000))).T  # at a thousand points
    P = np.sqrt((gradients**2).mean(0))
    scaled = H / np.sqrt(np.outer(P, P))
    print(
        f"{name:21} condition number {np.linalg.cond(H):6.0f}, after dividing by the root of squares {np.linalg.cond(scaled):6.0f}"
    )

# %% [markdown]
# On the axes it works perfectly; for a valley that lies across them a diagonal cannot help.
#
# **Adagrad** sums all squares so far. Rare features keep a large rate; frequent ones slow down.

# %%
rule("adagrad")

# %% [markdown]
# Under gradients of one size $G_t = t\, g^2$, and the step is $\eta / \sqrt{t}$: the sum never shrinks, so the rate only falls.

# %%
ask("adagrad_later")

# %%
check("adagrad_later", ...)  # your answer in place of the dots

# %% [markdown]
# **RMSprop** replaces the sum by a moving average, $v_t = \beta v_{t-1} + (1 - \beta) g_t^2$ (torch calls this $\beta$
# `alpha`). Why average at all, and not divide by the last gradient's size? Because a batch's gradient is only a sample. Nine
# batches say 0.1 and the tenth says -0.9: on average there is no slope. And why not sum? Because of a bad beginning that is
# never forgotten.


# %%
def moves(gradients, squares, rate=0.01):
    """The moves along a stream of gradients; squares(v, g, t) renews what is under the root."""
    v, made = 0.0, []
    for t, g in enumerate(gradients, 1):
        v = squares(v, g, t)
        made.append(-rate * g / np.sqrt(v))
    return np.array(made)


kinds = {
    "the last square": lambda v, g, t: g**2,
    "Adagrad's sum": lambda v, g, t: v + g**2,
    "moving average": lambda v, g, t: 0.99 * v + 0.01 * g**2,
}
balanced = np.tile([0.1] * 9 + [-0.9], 100)  # mean 0
bad_start = np.r_[np.full(100, 100.0), np.full(2000, 0.1)]  # steep at first, then a gentle slope
for name, squares in kinds.items():
    drift, late = moves(balanced, squares)[500:].sum(), -moves(bad_start, squares)[-1]
    print(f"{name:16} drift without a slope {drift:+.2f}; a step long after a bad start {late / 0.01:.5f} rates")

# %% [markdown]
# Only the moving average passes both: it hardly drifts where there is no slope, and it takes a full step again once the steep
# start is forgotten.

# %%
rule("rmsprop")

# %%
ask("rmsprop")


# %%
def rmsprop(w, g, t, state):
    """The new w.

    Known: the gradient g at w; rate 0.1, beta 0.9, epsilon 1e-8; keep the average in
    state, empty at t = 1.
    """
    ...


check("rmsprop", rmsprop)

# %% [markdown]
# **Adam** puts momentum and RMSprop together. Both of its averages begin at 0, and under a constant gradient the first is
# $m_t = (1 - \beta)(1 + \beta + \dots + \beta^{t-1})\, g = (1 - \beta^t)\, g$; dividing by $1 - \beta^t$ corrects that
# **bias** exactly. (Its exercise is in notebook 000.)

# %%
rule("adam")

# %%
drawn.begun()

# %% [markdown]
# **AdaBelief** measures not the square of the gradient but that of its surprise, $(g_t - m_t)^2$: where the gradient is as
# expected it takes long steps. It also adds $\varepsilon$ to the average $s$ at every step, and once more to the root.

# %%
ask("adabelief")


# %%
def adabelief(w, g, t, state):
    """The new w.

    Known: g at w; rate 0.1, betas 0.9 and 0.999, epsilon 1e-8; m and s in state, empty
    at t = 1.
    """
    ...


check("adabelief", adabelief)

# %% [markdown]
# Yours on Beale's function, beside torch's RMSprop and our AdaBelief, 200 steps at a rate of 0.01:


# %%
def path(make, surface, steps):
    """The points of an optimizer of torch on a surface."""
    w = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
    optimizer, points = make([w]), [w.detach().numpy().copy()]
    for _ in range(steps):
        w.grad = torch.as_tensor(surface.gradient(w.detach().numpy()))
        optimizer.step()
        points.append(w.detach().numpy().copy())
    return np.array(points)


beale = surfaces.get("beale")
walks = {
    "RMSprop": path(lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9), beale, 200),
    "AdaBelief": path(lambda p: optim.AdaBelief(p, lr=0.01, eps=1e-8), beale, 200),
}
for name, step in {"RMSprop": rmsprop, "AdaBelief": adabelief}.items():
    if filled(step):
        walks[f"yours: {name}"] = learner.walked(step, beale, 200, lr=0.01)
        print(f"{name}: yours and the library's end {np.abs(walks[f'yours: {name}'][-1] - walks[name][-1]).max():.0e} apart")
learner.paths(beale, walks, (0.5, 3.5, -0.5, 2))

# %% [markdown]
# ## From descent to Adam on one hill
#
# Each at its best rate, each on its own map: on a shared one they would hide each other.

# %%
race = steepest.trajectory("beale", "sgd,momentum,adam", steps=200, lrs="auto")
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


chosen = {"constant": schedules.constant(), "falling to 0": mine}
if filled(cosine):
    chosen["your cosine"] = schedules.function(lambda step: cosine(step, 400, 0.0))
for name, schedule in chosen.items():
    for label, make in (
        ("Nesterov", lambda p: optim.SGD(p, lr=0.3, momentum=0.9, nesterov=True)),
        ("Adam", lambda p: optim.Adam(p, lr=0.01)),
    ):
        print(f"{label:9} {name:12} {train(make, schedule):.1f} %")

# %% [markdown]
# A falling schedule pays where the rate begins too high to end with. At a third of these rates it only shortens the training:

# %%
for name, schedule in {"constant": schedules.constant(), "falling to 0": mine}.items():
    for label, make in (
        ("Nesterov", lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
        ("Adam", lambda p: optim.Adam(p, lr=0.003)),
    ):
        print(f"{label:9} {name:12} {train(make, schedule):.1f} % at a third of the rate")

# %% [markdown]
#
# ## When it fails, and what evidence says
#
# - "Momentum almost always converges faster": in two thirds of the valleys that the reproduction tries. "Momentum breaks in
#   small batches": yes, its largest rate falls forty-fold from all of the data to one example.
# - "Adagrad spares you the tuning": on a valley twice as many decades of rates work as for descent, on Beale's function fewer.
# - "Adam prefers flat minima": at one of three rates, and so do SGD and momentum.
#
# Each sentence has its experiment, with its numbers, in [the reproduction](../docs/reproduction.md).
#
# ## Open questions
#
# 1. Single examples end nearest on these tumours, at the best rate of each batch size. Would they on a network, where a batch
#    of 100 costs hardly more time than one example?
# 2. A diagonal cannot help a turned valley. How would you find out, without the Hessian, whether the valleys of your network
#    lie along the axes?
# 3. AdaBelief and Adam differ where gradients are predictable. Which part of a network's training is that?
#
# For your own model: `steepest compare model.py`.
