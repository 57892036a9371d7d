# Made by `python -m steepest_workshop.stubs > src/steepest/optim.pyi`; a test holds it to the classes.
from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import LBFGS as LBFGS
from torch.optim import Optimizer as Optimizer
from torch.optim import SparseAdam as SparseAdam
from torch.optim import lr_scheduler as lr_scheduler
from torch.optim import swa_utils as swa_utils

from .rules import Rule
from .update.optimizer import RuleOptimizer
from .update.param_groups import groups as groups
from .update.two_calls import still as still

def from_rule(rule: Rule) -> type[RuleOptimizer]: ...

class ASGD(RuleOptimizer):
    """Polyak & Juditsky 1992, SIAM J. Control Optim. 30; with the rates of Bottou's ASGD.

    The same numbers as torch.optim.ASGD. Hyperparameters outside their domain raise SteepestError.
    - The decay lambd is part of the rule (torch); averaging begins after t0 steps."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.01,
        lambd: float = 0.0001,
        alpha: float = 0.75,
        t0: float = 1000000.0,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        *,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class AdaBelief(RuleOptimizer):
    """Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2.

    Hyperparameters outside their domain raise SteepestError.
    - Decay is decoupled and eps is 1e-16 (the authors' code).
    - rectify=True is the code's default, as RAdam: below rho = 5 the step is momentum's, and s is not corrected."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        rectify: bool = False,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Adadelta(RuleOptimizer):
    """Zeiler 2012, arXiv:1212.5701, Algorithm 1.

    The same numbers as torch.optim.Adadelta. Hyperparameters outside their domain raise SteepestError.
    - A rate multiplies the step, and rho is 0.9 (torch); the paper has no rate and 0.95."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-06,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Adafactor(RuleOptimizer):
    """Shazeer & Stern 2018, arXiv:1804.04235, Algorithms 4 and 5.

    The same numbers as torch.optim.Adafactor. Hyperparameters outside their domain raise SteepestError.
    - The rate is min(lr, 1 / sqrt(t)) times the larger of eps2 and the root mean square of p (torch).
    - eps1 bounds the estimate from below (torch); the paper adds it to g * g. 0 stands for the dtype's own epsilon.
    - A root mean square that is NaN clips nothing (torch). The averages are torch.lerp's, so that infinities become NaN."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.01,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 0.001),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Adagrad(RuleOptimizer):
    """Duchi, Hazan & Singer 2011, JMLR 12.

    The same numbers as torch.optim.Adagrad. Hyperparameters outside their domain raise SteepestError.
    - eps stands outside the root (torch); eps_inside=True puts it inside, as the paper does."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.01,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        eps_inside: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Adai(RuleOptimizer):
    """Xie et al. 2022, arXiv:2006.15815, Algorithm 2.

    Hyperparameters outside their domain raise SteepestError.
    - As long as every gradient is zero nothing moves; the authors' code divides zero by zero."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.1,
        betas: tuple[float, float] = (0.1, 0.99),
        eps: float = 0.001,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Adam(RuleOptimizer):
    """Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1; AMSGrad: Reddi, Kale & Kumar 2018, arXiv:1904.09237.

    The same numbers as torch.optim.Adam. Hyperparameters outside their domain raise SteepestError.
    - AMSGrad divides by the corrected maximum of v (torch); its paper corrects nothing."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class AdamW(RuleOptimizer):
    """Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2.

    The same numbers as torch.optim.AdamW. Hyperparameters outside their domain raise SteepestError.
    - The decay follows the rate, p * (1 - lr * weight_decay) (torch); the paper's follows the schedule only."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Adamax(RuleOptimizer):
    """Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2.

    The same numbers as torch.optim.Adamax. Hyperparameters outside their domain raise SteepestError.
    - eps is added to |g| inside the maximum (torch); the paper has none."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.002,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Adan(RuleOptimizer):
    """Xie et al. 2022, arXiv:2208.06677, Algorithm 1.

    Hyperparameters outside their domain raise SteepestError.
    - The betas are 1 minus the paper's (the authors' code); decay is proximal, a division by 1 + lr * weight_decay.
    - m, v and n start at 0 and their bias is corrected (the code). paper_start=True starts as the paper does, at m = g, n = g * g, and v = g - q at the second step, and corrects nothing.
    - restart is the radius R of the paper's condition, with paper_start; 0 never restarts (the code)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.001,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        paper_start: bool = False,
        restart: float = 0.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class GD(RuleOptimizer):
    """Cauchy 1847, Comptes rendus 25; Robbins & Monro 1951.

    Hyperparameters outside their domain raise SteepestError."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.01,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class LAMB(RuleOptimizer):
    """You et al. 2020, arXiv:1904.00962, Algorithm 2, with phi the identity.

    Hyperparameters outside their domain raise SteepestError.
    - A tensor whose norm, or whose update's norm, is zero moves at the plain rate."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-06,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class LARS(RuleOptimizer):
    """You, Gitman & Ginsburg 2017, arXiv:1708.03888, Algorithm 1.

    Hyperparameters outside their domain raise SteepestError.
    - A tensor whose norm, or whose gradient's norm, is zero moves at the plain rate."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Lion(RuleOptimizer):
    """Chen et al. 2023, arXiv:2302.06675, Algorithm 2.

    Hyperparameters outside their domain raise SteepestError."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.0001,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class MADGRAD(RuleOptimizer):
    """Defazio & Jelassi 2022, arXiv:2101.11075, Algorithm 1.

    Hyperparameters outside their domain raise SteepestError.
    - lambda is lr * sqrt(t); the authors' code adds eps to lr, so that a rate of 0 still moves."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.01,
        momentum: float = 0.9,
        eps: float = 1e-06,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Muon(RuleOptimizer):
    """Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks.

    The same numbers as torch.optim.Muon. Hyperparameters outside their domain raise SteepestError.
    - The buffer is an average, momentum * b + (1 - momentum) * g (torch); the author's is a sum.
    - The class takes matrices only (torch). With matrices_only=False, as in a study, a tensor of one dimension takes a step of AdamW with beta1 = momentum, and more than two count as (first, all others), as the author has it.
    - The iterations run in bfloat16 (torch, author); precise=True runs them in the tensor's own dtype."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.001,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-07,
        ns_steps: float = 5,
        adjust_lr_fn: str | None = None,
        *,
        beta_v: float = 0.95,
        precise: bool = False,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
        matrices_only: bool = True,
    ) -> None: ...

class NAdam(RuleOptimizer):
    """Dozat 2016, Incorporating Nesterov Momentum into Adam.

    The same numbers as torch.optim.NAdam. Hyperparameters outside their domain raise SteepestError.
    - m has a constant beta1 (torch), while the momentum of the step follows the schedule of the report."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.002,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0,
        momentum_decay: float = 0.004,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class NesterovLookahead(RuleOptimizer):
    """Nesterov 1983; Sutskever et al. 2013, section 2: the gradient at p - momentum * v.

    Hyperparameters outside their domain raise SteepestError.
    - The rate is inside, v = momentum * v + lr * g; sgd's nesterov stores the look-ahead point instead."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Padam(RuleOptimizer):
    """Chen et al. 2020, arXiv:1806.06763, Algorithm 1.

    Hyperparameters outside their domain raise SteepestError.
    - eps, which the paper has not, is added to the root of v; partial is 1/8 (the paper's experiments; the code's 1/4).
    - bias_correction=True corrects as the authors' code does: by sqrt(1 - beta2 ** t) whatever partial is."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.1,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        partial: float = 0.125,
        bias_correction: bool = False,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class RAdam(RuleOptimizer):
    """Liu et al. 2020, arXiv:1908.03265, Algorithm 2.

    The same numbers as torch.optim.RAdam. Hyperparameters outside their domain raise SteepestError.
    - The step is rectified where rho > 5 (torch and the authors' code; the paper says 4), below it is momentum's.
    - eps joins the root of v before its bias is corrected (torch).
    - m goes a share of the way to g, so that after an infinite gradient it is NaN (torch)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class RMSprop(RuleOptimizer):
    """Tieleman & Hinton 2012, Lecture 6.5; centred form: Graves 2013, arXiv:1308.0850.

    The same numbers as torch.optim.RMSprop. Hyperparameters outside their domain raise SteepestError.
    - alpha is 0.99 (torch) where the lecture says 0.9.
    - eps stands outside the root and momentum before the rate (torch); eps_inside=True is Graves' form.
    - The centred variance is not clamped at zero (torch)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-08,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        *,
        eps_inside: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class Rprop(RuleOptimizer):
    """Riedmiller & Braun 1993; the variant iRprop-: Igel & Hüsken 2000.

    The same numbers as torch.optim.Rprop. Hyperparameters outside their domain raise SteepestError.
    - A gradient whose sign has flipped counts as zero (iRprop-, torch); the original takes the step back."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.01,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-06, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class SAM(RuleOptimizer):
    """Foret et al. 2021, arXiv:2010.01412, around Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013; as torch.optim.SGD writes them.

    Hyperparameters outside their domain raise SteepestError."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.001,
        momentum: float = 0.9,
        dampening: float = 0.0,
        nesterov: bool = False,
        rate_inside: bool = False,
        weight_decay: float = 0.0,
        rho: float = 0.05,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class SGD(RuleOptimizer):
    """Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013; as torch.optim.SGD writes them.

    The same numbers as torch.optim.SGD. Hyperparameters outside their domain raise SteepestError.
    - The first buffer is the gradient itself, without dampening (torch).
    - rate_inside=True is the papers' and the tutorials' form, b = momentum * b + lr * g; p = p - b: the same path while the rate is constant, another when it changes.
    - Nesterov in torch's form, which stores the look-ahead point."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.001,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        rate_inside: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class ScheduleFreeAdamW(RuleOptimizer):
    """Defazio et al. 2024, arXiv:2405.15682, Algorithm 1.

    Hyperparameters outside their domain raise SteepestError.
    - The weight of a step is t ** r * (largest rate so far) ** weight_lr_power, as the authors' code has it.
    - The bias of v is corrected as the tutorial prints it, and as the authors' code does from version 1.3 on."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.0025,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        warmup_steps: float = 0.0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...

class ScheduleFreeSGD(RuleOptimizer):
    """Defazio et al. 2024, arXiv:2405.15682, equations 3 to 5.

    Hyperparameters outside their domain raise SteepestError.
    - The weight of a step is t ** r * (largest rate so far) ** weight_lr_power, as the authors' code has it."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup_steps: float = 0.0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None: ...
