"""Oracles of adaptive rules."""

import numpy as np

from .each import each


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
