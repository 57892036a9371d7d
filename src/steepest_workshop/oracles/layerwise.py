"""Oracles of rules that look at a whole layer."""

import numpy as np

from .each import each


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
