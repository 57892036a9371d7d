"""Independent float64 NumPy updates, written from the papers and from torch's documentation, apart from the rules.

Each takes the tensors of a model, a function `grad(k, tensors)` for the gradients of step k (from 0), the rates of all steps,
and for each tensor its hyperparameters; it returns the tensors after every step.
"""

import numpy as np


def each(update):
    """An oracle from a generator for one tensor: it is sent gradients and rates and yields the tensor."""

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
        for i in np.ndindex(p.shape):  # element by element, as the paper tells it
            product = g[i] * before[i]
            if product > 0:
                size[i] = min(size[i] * etaplus, step_max)
            elif product < 0:
                size[i] = max(size[i] * etaminus, step_min)
                g[i] = 0.0
        before = g
        p = p - np.sign(g) * size


@each
def lion(p, beta1=0.9, beta2=0.99, weight_decay=0.0, decoupled_weight_decay=False):
    m = np.zeros_like(p)
    while True:
        g, lr, _ = yield p
        if decoupled_weight_decay:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
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
        mean = np.concatenate([hat.ravel() for hat in hats]).mean()
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
    # x, y and z all stored; y = (1 - beta1) z + beta1 x is where gradients are taken
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
            buffers[i] = g if buffers[i] is None else momentum * buffers[i] + g
            ps[i] = p - lr * buffers[i]
        path.append(list(ps))
    return path
