"""What oracles are made with: a generator for each tensor."""

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
