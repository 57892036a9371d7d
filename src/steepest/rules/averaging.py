"""Rules that average their points and are evaluated at the average (the view)."""

from .combinators import coupled
from .definition import copy_of_p, rule, scalar, zeros
from .vocabulary import debias, ema, maximum, sqrt, where


@coupled
@rule(
    "Polyak & Juditsky 1992, SIAM J. Control Optim. 30; with the rates of Bottou's ASGD",
    twin="ASGD",
    keys={"a": "ax"},
    view="a",
    rate=0.2,
    deviations=("The decay lambd is part of the rule (torch); averaging begins after t0 steps.",),
)
def asgd(p, g, t, eta=scalar("lr"), mu=scalar(1.0), a=zeros, *, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6):
    """Plain descent that also averages the points it has visited. The average is less noisy than the last point.

    Use: for convex problems with noise, late in a run.
    Avoid: when the average is used early: it still contains the start.
    """
    p = p * (1 - lambd * eta) - eta * g
    a = a + mu * (p - a)
    return p, lr / (1 + lambd * lr * t) ** alpha, 1 / maximum(1, t - t0), a


@rule(
    "Defazio et al. 2024, arXiv:2405.15682, Algorithm 1",
    class_name="ScheduleFreeAdamW",
    origin="the authors' code",
    view="x",
    rate=1e-2,
    deviations=(
        "The weight of a step is t ** r * (largest rate so far) ** weight_lr_power, as the authors' code has it.",
        "The bias of v is corrected as the tutorial prints it, and as the authors' code does from version 1.3 on.",
    ),
)
def schedule_free_adamw(
    p, g, t, v=zeros, z=copy_of_p, x=copy_of_p, total=scalar(0.0, per="group"), largest=scalar(0.0, per="group"), *,
    lr=2.5e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, warmup_steps=0.0, r=0.0, weight_lr_power=2.0,
):  # fmt: skip
    """AdamW that steps from one point, averages into another, and takes gradients between them. It needs no schedule.

    Use: when the length of the run is open.
    Avoid: when the length is known and a cosine can be tuned. Call `optimizer.eval()` before you evaluate.
    """
    rate = lr * where(t < warmup_steps, t / warmup_steps, 1.0)
    v = ema(v, g * g, beta2)
    z = z - rate * (g / (sqrt(debias(v, beta2, t)) + eps) + weight_decay * p)
    largest = maximum(largest, rate)
    weight = t**r * largest**weight_lr_power
    total = total + weight
    c = where(total > 0, weight / total, 0.0)
    x = (1 - c) * x + c * z
    return (1 - beta1) * z + beta1 * x, v, z, x, total, largest


@rule(
    "Defazio et al. 2024, arXiv:2405.15682, equations 3 to 5",
    class_name="ScheduleFreeSGD",
    origin="the authors' code",
    view="x",
    rate=0.5,
    deviations=("The weight of a step is t ** r * (largest rate so far) ** weight_lr_power, as the authors' code has it.",),
)
def schedule_free_sgd(
    p, g, t, z=copy_of_p, x=copy_of_p, total=scalar(0.0, per="group"), largest=scalar(0.0, per="group"), *,
    lr=1.0, momentum=0.9, weight_decay=0.0, warmup_steps=0.0, r=0.0, weight_lr_power=2.0,
):  # fmt: skip
    """Plain descent that steps from one point, averages into another, and takes gradients between them. The average does
    what a falling rate would.

    Use: when momentum would work, and the length of the run is open.
    Avoid: when a schedule is tuned already. Call `optimizer.eval()` before you evaluate.
    """
    rate = lr * where(t < warmup_steps, t / warmup_steps, 1.0)
    z = z - rate * (g + weight_decay * p)
    largest = maximum(largest, rate)
    weight = t**r * largest**weight_lr_power
    total = total + weight
    c = where(total > 0, weight / total, 0.0)
    x = (1 - c) * x + c * z
    return (1 - momentum) * z + momentum * x, z, x, total, largest
