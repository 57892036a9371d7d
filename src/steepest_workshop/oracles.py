"""Float64 NumPy updates, written from the papers and from torch's documentation, independent of the rules.

Each takes the tensors of a model, a function `grad(k, tensors)` for the gradients of step k (from 0), the rates of all steps,
and the hyperparameters of each tensor; it returns the tensors after every step.
"""

import numpy as np


def each(update):
    """Make an oracle from a generator for one tensor, which is sent (gradient, rate, t) and yields the tensor."""

    def run(ps, grad, lrs, hypers):
        path, workers = [], []
        for p, hyper in zip(ps, hypers, strict=True):
            workers.append(update(np.array(p, float), **hyper))
            next(workers[-1])
        now = [np.array(p, float) for p in ps]
        for k, lr in enumerate(lrs):
            gs = grad(k, now)
            now = [w.send((g, lr, k + 1)) for w, g in zip(workers, gs, strict=True)]
            path.append(now)
        return path

    return run


@each
def sgd(p, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, rate_inside=False):
    buf = None
    while True:
        g, lr, _ = yield p
        g = g + weight_decay * p
        if momentum == 0:
            p = p - lr * g
        elif rate_inside:  # v <- momentum v + lr g; p <- p - v
            d = lr * g
            buf = d if buf is None else momentum * buf + (1 - dampening) * d
            p = p - (d + momentum * buf if nesterov else buf)
        else:
            buf = g if buf is None else momentum * buf + (1 - dampening) * g
            p = p - lr * (g + momentum * buf if nesterov else buf)


@each
def adagrad(p, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, eps_inside=False):
    total = np.full_like(p, initial_accumulator_value)
    while True:
        g, lr, t = yield p
        g = g + weight_decay * p
        total = total + g**2
        denominator = np.sqrt(total + eps) if eps_inside else np.sqrt(total) + eps
        p = p - lr / (1 + (t - 1) * lr_decay) * g / denominator


@each
def rmsprop(p, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, eps_inside=False):
    square, mean, buf = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    while True:
        g, lr, _ = yield p
        g = g + weight_decay * p
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        n = square - mean**2 if centered else square
        buf = momentum * buf + g / (np.sqrt(n + eps) if eps_inside else np.sqrt(n) + eps)
        p = p - lr * buf


@each
def adam(p, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled_weight_decay=False):
    # Kingma & Ba, Algorithm 1; Loshchilov & Hutter, Algorithm 2 with the rate in the decay
    m, v, largest = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    while True:
        g, lr, t = yield p
        if decoupled_weight_decay:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        largest = np.maximum(largest, v)
        m_hat = m / (1 - beta1**t)
        v_hat = (largest if amsgrad else v) / (1 - beta2**t)
        p = p - lr * m_hat / (np.sqrt(v_hat) + eps)


def adamw(ps, grad, lrs, hypers):
    return adam(ps, grad, lrs, [{"weight_decay": 1e-2, "decoupled_weight_decay": True} | h for h in hypers])


@each
def rprop(p, lr0=None, etaminus=0.5, etaplus=1.2, step_min=1e-6, step_max=50.0):
    size, before = None, np.zeros_like(p)
    while True:
        g, lr, _ = yield p
        size = np.full_like(p, lr) if size is None else size
        g = np.array(g)
        for i in np.ndindex(p.shape):  # element by element, as in the paper
            product = g[i] * before[i]
            if product > 0:
                size[i] = min(size[i] * etaplus, step_max)
            elif product < 0:
                size[i] = max(size[i] * etaminus, step_min)
                g[i] = 0.0
        before = g
        p = p - np.sign(g) * size


@each
def lion(p, beta1=0.9, beta2=0.99, weight_decay=0.0):
    m = np.zeros_like(p)
    while True:
        g, lr, _ = yield p
        p = p - lr * weight_decay * p
        p = p - lr * np.sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g


@each
def asgd(p, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0):
    eta = None
    while True:
        g, lr, t = yield p
        eta = lr if eta is None else eta
        g = g + weight_decay * p
        p = p - lambd * eta * p - eta * g
        eta = lr / (1 + lambd * lr * t) ** alpha


@each
def asgd_view(p, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0):
    # the mean of the points from step t0 + 2 on (torch), before that the point; for gradients that do not depend on p
    eta, points = None, []
    while True:
        g, lr, t = yield np.mean(points, axis=0) if points else p
        eta = lr if eta is None else eta
        p = p - lambd * eta * p - eta * (g + weight_decay * p)
        eta = lr / (1 + lambd * lr * t) ** alpha
        if t <= t0 + 2:
            points.clear()
        points.append(p)


@each
def nadam(p, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, momentum_decay=4e-3, decoupled_weight_decay=False):
    m, v, product = np.zeros_like(p), np.zeros_like(p), 1.0
    while True:
        g, lr, t = yield p
        if decoupled_weight_decay:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        following = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        product = product * mu
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_bar = (1 - mu) * g / (1 - product) + following * m / (1 - product * following)
        p = p - lr * m_bar / (np.sqrt(v / (1 - beta2**t)) + eps)


@each
def radam(p, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False):
    m, v = np.zeros_like(p), np.zeros_like(p)
    while True:
        g, lr, t = yield p
        if decoupled_weight_decay:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        longest = 2 / (1 - beta2) - 1
        rho = longest - 2 * t * beta2**t / (1 - beta2**t)
        if rho > 5:
            adaptive = np.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)
            r = np.sqrt((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
            p = p - lr * r * m_hat * adaptive
        else:
            p = p - lr * m_hat


@each
def madgrad(p, momentum=0.9, eps=1e-6, weight_decay=0.0):
    start, s, v = p, np.zeros_like(p), np.zeros_like(p)
    while True:
        g, lr, t = yield p
        g = g + weight_decay * p
        scale = lr * np.sqrt(t)
        s = s + scale * g
        v = v + scale * g * g
        z = start - s / (np.cbrt(v) + eps)
        p = momentum * p + (1 - momentum) * z


@each
def lamb(p, beta1=0.9, beta2=0.999, eps=1e-6, weight_decay=0.0):
    m, v = np.zeros_like(p), np.zeros_like(p)
    while True:
        g, lr, t = yield p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        r = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps) + weight_decay * p
        size, length = np.linalg.norm(p), np.linalg.norm(r)
        p = p - lr * (size / length if size > 0 and length > 0 else 1.0) * r


def adai(ps, grad, lrs, hypers):
    ps, path = [np.array(p, float) for p in ps], []
    m, v, product = ([np.full_like(p, c) for p in ps] for c in (0.0, 0.0, 1.0))
    for k, lr in enumerate(lrs):
        gs = grad(k, ps)
        hats = []
        for i, (p, g) in enumerate(zip(ps, gs, strict=True)):
            h = {"beta0": 0.1, "beta2": 0.99, "eps": 1e-3, "weight_decay": 0.0} | hypers[i]
            gs[i] = g + h["weight_decay"] * p
            v[i] = h["beta2"] * v[i] + (1 - h["beta2"]) * gs[i] ** 2
            hats.append(v[i] / (1 - h["beta2"] ** (k + 1)))
        mean = np.concatenate([hat.ravel() for hat in hats]).mean() or 1.0
        for i in range(len(ps)):
            h = {"beta0": 0.1, "eps": 1e-3} | hypers[i]
            beta1 = np.clip(1 - h["beta0"] * hats[i] / mean, 0, 1 - h["eps"])
            m[i] = beta1 * m[i] + (1 - beta1) * gs[i]
            product[i] = product[i] * beta1
            ps[i] = ps[i] - lr * m[i] / (1 - product[i])
        path.append(list(ps))
    return path


@each
def schedule_free_adamw(p, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, warmup_steps=0, r=0.0, weight_lr_power=2.0):
    # stores x, y and z; gradients are taken at y = (1 - beta1) z + beta1 x
    y = z = x = p
    v, total, largest = np.zeros_like(p), 0.0, 0.0
    while True:
        g, lr, t = yield y
        rate = lr * min(1.0, t / warmup_steps) if warmup_steps else lr
        v = beta2 * v + (1 - beta2) * g**2
        z = z - rate * g / (np.sqrt(v / (1 - beta2**t)) + eps) - rate * weight_decay * y
        largest = max(largest, rate)
        weight = t**r * largest**weight_lr_power
        total += weight
        c = weight / total
        x = (1 - c) * x + c * z
        y = (1 - beta1) * z + beta1 * x


def sam(ps, grad, lrs, hypers):
    ps, path, buffers = [np.array(p, float) for p in ps], [], [None] * len(ps)
    for k, lr in enumerate(lrs):
        gs = grad(k, ps)
        norm = np.sqrt(sum((g**2).sum() for g in gs)) + 1e-12
        there = grad(k, [p + h.get("rho", 0.05) * g / norm for p, g, h in zip(ps, gs, hypers, strict=True)])
        for i, (p, g) in enumerate(zip(ps, there, strict=True)):
            momentum = hypers[i].get("momentum", 0.9)
            g = g + hypers[i].get("weight_decay", 0.0) * p
            fresh = 1 - hypers[i].get("dampening", 0.0)
            buffers[i] = g if buffers[i] is None else momentum * buffers[i] + fresh * g
            ps[i] = p - lr * buffers[i]
        path.append(list(ps))
    return path


@each
def gd(p, weight_decay=0.0):
    while True:
        g, lr, _ = yield p
        p = p - lr * (g + weight_decay * p)


def nesterov_lookahead(ps, grad, lrs, hypers):
    # theta_ahead = theta - momentum v; v = momentum v + lr g(theta_ahead); theta = theta - v
    ps, path = [np.array(p, float) for p in ps], []
    vs = [np.zeros_like(p) for p in ps]
    momenta = [h.get("momentum", 0.9) for h in hypers]
    for k, lr in enumerate(lrs):
        grad(k, ps)
        ahead = [p - m * v for p, m, v in zip(ps, momenta, vs, strict=True)]
        gs = grad(k, ahead)
        for i, h in enumerate(hypers):
            vs[i] = momenta[i] * vs[i] + lr * (gs[i] + h.get("weight_decay", 0.0) * ahead[i])
            ps[i] = ps[i] - vs[i]
        path.append(list(ps))
    return path


@each
def adadelta(p, rho=0.9, eps=1e-6, weight_decay=0.0):
    # Zeiler, Algorithm 1: E[g^2], then the step RMS[dx] / RMS[g] g, then E[dx^2]
    squares, moves = np.zeros_like(p), np.zeros_like(p)
    while True:
        g, lr, _ = yield p
        g = g + weight_decay * p
        squares = rho * squares + (1 - rho) * g**2
        dx = -np.sqrt(moves + eps) / np.sqrt(squares + eps) * g
        moves = rho * moves + (1 - rho) * dx**2
        p = p + lr * dx


@each
def adamax(p, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
    m, u = np.zeros_like(p), np.zeros_like(p)
    while True:
        g, lr, t = yield p
        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        u = np.maximum(beta2 * u, np.abs(g) + eps)
        p = p - lr / (1 - beta1**t) * m / u


@each
def padam(p, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, partial=0.125, bias_correction=False):
    m, v, largest = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    while True:
        g, lr, t = yield p
        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        largest = np.maximum(largest, v)
        alpha = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) if bias_correction else lr
        p = p - alpha * m / (np.sqrt(largest) + eps) ** (2 * partial)


@each
def adabelief(p, beta1=0.9, beta2=0.999, eps=1e-16, weight_decay=0.0, rectify=False):
    m, s = np.zeros_like(p), np.zeros_like(p)
    while True:
        g, lr, t = yield p
        p = p - lr * weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps
        m_hat, s_hat = m / (1 - beta1**t), s / (1 - beta2**t)
        if not rectify:
            p = p - lr * m_hat / (np.sqrt(s_hat) + eps)
            continue
        longest = 2 / (1 - beta2) - 1
        rho = longest - 2 * t * beta2**t / (1 - beta2**t)
        if rho >= 5:
            r = np.sqrt((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
            p = p - lr * r * m_hat * np.sqrt(1 - beta2**t) / (np.sqrt(s) + eps)
        else:
            p = p - lr * m_hat


def adan(ps, grad, lrs, hypers):
    # Algorithm 1 with betas as in the authors' code; restarts consider the whole model
    ps, path = [np.array(p, float) for p in ps], []
    default = {
        "beta1": 0.98,
        "beta2": 0.92,
        "beta3": 0.99,
        "eps": 1e-8,
        "weight_decay": 0.0,
        "paper_start": False,
        "restart": 0.0,
    }
    hypers = [default | h for h in hypers]
    m, v, n, before = ([None] * len(ps) for _ in range(4))
    ages, moved = [0] * len(ps), 0.0
    for k, lr in enumerate(lrs):
        gs = grad(k, ps)
        weighted = 0.0
        for i, (p, g, h) in enumerate(zip(ps, gs, hypers, strict=True)):
            b1, b2, b3, age = h["beta1"], h["beta2"], h["beta3"], ages[i]
            if age == 0:
                m[i], v[i], n[i] = (g, 0 * g, g**2) if h["paper_start"] else ((1 - b1) * g, 0 * g, (1 - b3) * g**2)
            else:
                y = g - before[i]
                m[i] = b1 * m[i] + (1 - b1) * g
                v[i] = y if age == 1 and h["paper_start"] else b2 * v[i] + (1 - b2) * y
                n[i] = b3 * n[i] + (1 - b3) * (g + b2 * y) ** 2
            before[i], ages[i] = g, age + 1
            c1, c2, c3 = (1, 1, 1) if h["paper_start"] else (1 - b1 ** ages[i], 1 - b2 ** ages[i], 1 - b3 ** ages[i])
            eta = lr / (np.sqrt(n[i] / c3) + h["eps"])
            new = (p - eta * (m[i] / c1 + b2 * v[i] / c2)) / (1 + lr * h["weight_decay"])
            weighted += ((new - p) ** 2 * np.sqrt(n[i])).sum()
            ps[i] = new
        moved += weighted
        for i, h in enumerate(hypers):
            if h["restart"] and ages[i] * moved > h["restart"] ** 2:
                ages[i] = 0
        if not all(ages):
            moved = 0.0
        path.append(list(ps))
    return path


@each
def schedule_free_sgd(p, momentum=0.9, weight_decay=0.0, warmup_steps=0, r=0.0, weight_lr_power=2.0):
    y = z = x = p
    total, largest = 0.0, 0.0
    while True:
        g, lr, t = yield y
        rate = lr * min(1.0, t / warmup_steps) if warmup_steps else lr
        z = z - rate * (g + weight_decay * y)
        largest = max(largest, rate)
        weight = t**r * largest**weight_lr_power
        total += weight
        x = (1 - weight / total) * x + weight / total * z
        y = (1 - momentum) * z + momentum * x


@each
def lars(p, momentum=0.9, weight_decay=0.0, trust=1e-3):
    v = np.zeros_like(p)
    while True:
        g, lr, _ = yield p
        size, slope = np.linalg.norm(p), np.linalg.norm(g)
        local = trust * size / (slope + weight_decay * size) if size > 0 and slope > 0 else 1.0
        v = momentum * v + lr * local * (g + weight_decay * p)
        p = p - v


@each
def adafactor(p, beta2_decay=-0.8, eps1=0.0, eps2=1e-3, d=1.0, weight_decay=0.0):
    R, C, V = 0.0, 0.0, 0.0
    floor = eps1 or np.finfo(float).eps
    while True:
        g, lr, t = yield p
        w = t**beta2_decay
        if p.ndim >= 2:
            R = (1 - w) * R + w * (g**2).mean(axis=-1)
            C = (1 - w) * C + w * (g**2).mean(axis=-2)
            estimate = np.outer(R, C) / max(R.mean(), floor)
        else:
            V = (1 - w) * V + w * g**2
            estimate = V
        u = g / np.sqrt(np.maximum(estimate, floor**2))
        u = u / max(1.0, np.sqrt((u**2).mean()) / d)
        size = np.sqrt((p**2).mean())
        p = p - lr * weight_decay * p - max(eps2, size) * min(lr, 1 / np.sqrt(t)) * u


@each
def muon(
    p, weight_decay=0.1, momentum=0.95, nesterov=True, ns_a=3.4445, ns_b=-4.775, ns_c=2.0315, eps=1e-7, ns_steps=5,
    adjust_lr_fn="original", beta_v=0.95, precise=True,
):  # fmt: skip
    assert precise  # bfloat16 is tested against torch
    b, v = np.zeros_like(p), np.zeros_like(p)
    while True:
        g, lr, t = yield p
        b = momentum * b + (1 - momentum) * g
        d = momentum * b + (1 - momentum) * g if nesterov else b
        if p.ndim >= 2:
            U, S, W = np.linalg.svd(d / max(np.linalg.norm(d), eps), full_matrices=False)
            for _ in range(ns_steps):  # the polynomial acts on the singular values
                S = ns_a * S + ns_b * S**3 + ns_c * S**5
            rows, columns = p.shape
            d = (
                U
                @ np.diag(S)
                @ W
                * (np.sqrt(max(1, rows / columns)) if adjust_lr_fn == "original" else 0.2 * np.sqrt(max(p.shape)))
            )
        else:
            v = beta_v * v + (1 - beta_v) * g**2
            d = (b / (1 - momentum**t)) / (np.sqrt(v / (1 - beta_v**t)) + eps)
        p = p - lr * weight_decay * p - lr * d
