"""SAM in a plain training loop."""

import torch


def sam(model, steps, loss_of, *, rho, lr=0.1, momentum=0.9, clip_first=0.0, clip_second=0.0):
    """Train on steps of several accumulated batches; BatchNorm keeps the statistics of the first pass."""
    params, velocity = list(model.parameters()), [torch.zeros_like(p) for p in model.parameters()]
    for step in steps:
        first = _gradient(model, params, step, loss_of, clip_first)
        statistics = {k: v.clone() for k, v in model.named_buffers()}
        length = torch.stack([g.norm() for g in first]).norm()
        for p, g in zip(params, first, strict=True):
            p.data += rho * g / length
        second = _gradient(model, params, step, loss_of, clip_second)
        for p, g in zip(params, first, strict=True):
            p.data -= rho * g / length
        for k, v in model.named_buffers():
            v.copy_(statistics[k])
        for p, v, g in zip(params, velocity, second, strict=True):
            v.copy_(momentum * v + g)
            p.data -= lr * v


def _gradient(model, params, step, loss_of, clip):
    model.zero_grad()
    for batch in step:
        (loss_of(model, batch) / len(step)).backward()
    length = torch.stack([p.grad.norm() for p in params]).norm().item()
    share = min(1.0, clip / (length + 1e-6)) if clip else 1.0
    return [p.grad * share for p in params]


def cut(batches, parts):
    """The batches of each step."""
    batches = list(batches)
    return [batches[begin : begin + parts] for begin in range(0, len(batches), parts)]
