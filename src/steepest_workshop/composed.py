"""Oracles of combinators: clipping, Lookahead, a switch. Like `oracles`, float64 NumPy, independent of the rules."""

import inspect

import numpy as np


def changed_gradients(change, inner):
    """The oracle `inner` on gradients that `change(k, gradients of all tensors)` has transformed."""

    def run(ps, grad, lrs, hypers):
        names = inspect.signature(change).parameters
        own = {k: v for h in hypers for k, v in h.items() if k in names}
        rest = [{k: v for k, v in h.items() if k not in names} for h in hypers]
        return inner(ps, lambda k, at: change(k, grad(k, at), **own), lrs, rest)

    return run


def clip_by_norm(k, gs, max_norm=1.0):
    length = np.sqrt(sum((g**2).sum() for g in gs))
    return [g * min(1.0, max_norm / (length + 1e-6)) for g in gs]


def clip_by_value(k, gs, max_value=1.0):
    return [np.minimum(np.maximum(g, -max_value), max_value) for g in gs]


def lookahead_momentum(ps, grad, lrs, hypers):
    fast, path = [np.array(p, float) for p in ps], []
    slow, buffers = [p.copy() for p in fast], [None] * len(ps)
    for k, lr in enumerate(lrs):
        gs = grad(k, fast)
        for i, h in enumerate(hypers):
            buffers[i] = gs[i] if k == 0 else h.get("momentum", 0.9) * buffers[i] + gs[i]
            fast[i] = fast[i] - lr * buffers[i]
            if (k + 1) % h.get("slow_steps", 5) == 0:
                slow[i] = slow[i] + h.get("slow_rate", 0.5) * (fast[i] - slow[i])
                fast[i] = slow[i].copy()
        path.append(list(fast))
    return path


def boxed_adam(ps, grad, lrs, hypers):
    ps, path = [np.array(p, float) for p in ps], []
    ms, vs = ([np.zeros_like(p) for p in ps] for _ in range(2))
    for k, lr in enumerate(lrs):
        gs = grad(k, ps)
        for i, h in enumerate(hypers):
            one, two = h.get("beta1", 0.9), h.get("beta2", 0.999)
            ms[i] = one * ms[i] + (1 - one) * gs[i]
            vs[i] = two * vs[i] + (1 - two) * gs[i] ** 2
            root = np.sqrt(vs[i] / (1 - two ** (k + 1))) + h.get("eps", 1e-8)
            ps[i] = ps[i] - lr * ms[i] / (1 - one ** (k + 1)) / root
            ps[i] = np.minimum(np.maximum(ps[i], h.get("low", -1.0)), h.get("high", 1.0))
        path.append(list(ps))
    return path


def momentum_in_a_ball(ps, grad, lrs, hypers):
    ps, path, buffers = [np.array(p, float) for p in ps], [], [None] * len(ps)
    for k, lr in enumerate(lrs):
        gs = grad(k, ps)
        for i, h in enumerate(hypers):
            buffers[i] = gs[i] if k == 0 else h.get("momentum", 0.9) * buffers[i] + gs[i]
            ps[i] = ps[i] - lr * buffers[i]
        length = np.sqrt(sum((p**2).sum() for p in ps))
        ps = [p * min(1.0, hypers[0].get("radius", 1.0) / length) for p in ps]
        path.append(list(ps))
    return path


def switched(first, then):
    """An oracle that follows `first` for `at` steps, then `then`."""

    def run(ps, grad, lrs, hypers):
        at, ratio = int(hypers[0]["at"]), hypers[0].get("then_ratio", 1.0)
        before = [{k: v for k, v in h.items() if not k.startswith("then_") and k != "at"} for h in hypers]
        after = [{k[5:]: v for k, v in h.items() if k.startswith("then_") and k != "then_ratio"} for h in hypers]
        path = first(ps, grad, lrs[:at], before)
        rates = [ratio * lr for lr in lrs[at:]]
        return path + then(path[-1], lambda k, x: grad(k + at, x), rates, after)

    return run
