"""Independent float64 NumPy steps, written from the papers and from torch's documentation, apart from the rules.

Each takes the parameter and a list of gradients and rates, and returns the parameter after every step.
"""

import numpy as np


def sgd(p, gs, lrs, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, rate_inside=False):
    path, buf = [], None
    for g, lr in zip(gs, lrs, strict=True):
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
        path.append(p)
    return path


def adagrad(p, gs, lrs, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, eps_inside=False):
    path, total = [], np.full_like(p, initial_accumulator_value)
    for k, (g, lr) in enumerate(zip(gs, lrs, strict=True)):
        g = g + weight_decay * p
        total = total + g**2
        denominator = np.sqrt(total + eps) if eps_inside else np.sqrt(total) + eps
        p = p - lr / (1 + k * lr_decay) * g / denominator
        path.append(p)
    return path


def rmsprop(p, gs, lrs, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, eps_inside=False):
    path, square, mean, buf = [], np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for g, lr in zip(gs, lrs, strict=True):
        g = g + weight_decay * p
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        n = square - mean**2 if centered else square
        step = g / (np.sqrt(n + eps) if eps_inside else np.sqrt(n) + eps)
        buf = momentum * buf + step
        p = p - lr * buf
        path.append(p)
    return path


def adam(
    p, gs, lrs, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled_weight_decay=False
):  # Kingma & Ba, Algorithm 1; Loshchilov & Hutter, Algorithm 2 with the rate in the decay
    path, m, v, largest = [], np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for t, (g, lr) in enumerate(zip(gs, lrs, strict=True), start=1):
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
        path.append(p)
    return path


def adamw(p, gs, lrs, weight_decay=1e-2, **hyper):
    hyper.setdefault("decoupled_weight_decay", True)
    return adam(p, gs, lrs, weight_decay=weight_decay, **hyper)
