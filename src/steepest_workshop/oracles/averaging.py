"""Oracles of rules that average their weights."""

import numpy as np

from .each import each


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
