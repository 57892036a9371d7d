# Made by `steepest conformance` from the classes; a test compares them.
from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import LBFGS as LBFGS
from torch.optim import Optimizer as Optimizer
from torch.optim import SparseAdam as SparseAdam
from torch.optim import lr_scheduler as lr_scheduler
from torch.optim import swa_utils as swa_utils

from .rules import Rule
from .update.torch_class.optimizer import RuleOptimizer
from .update.torch_class.param_groups import groups as groups
from .update.torch_class.two_calls import still as still

def from_rule(rule: Rule) -> type[RuleOptimizer]: ...

class ASGD(RuleOptimizer):
    """Plain descent that also averages the points it has visited. The average is less noisy than the last point.

    Use: for convex problems with noise, late in a run.
    Avoid: when the average is used early: it still contains the start.

    Polyak & Juditsky 1992, SIAM J. Control Optim. 30; with the rates of Bottou's ASGD.

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
        exact: bool = False,
    ) -> None: ...

class AdaBelief(RuleOptimizer):
    """Adam that divides by how far a gradient is from its average, not by its size. Steady gradients give long steps.

    Use: when Adam works and slopes are long and steady.
    Avoid: when gradients are nearly constant: eps then sets the step.

    Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2.

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
        exact: bool = False,
    ) -> None: ...

class Adadelta(RuleOptimizer):
    """RMSprop that multiplies by the root mean square of its own past updates. Units cancel, and so does the rate.

    Use: when the rate cannot be tuned at all.
    Avoid: when the rate can be tuned: it starts slowly and is rarely the best.

    Zeiler 2012, arXiv:1212.5701, Algorithm 1.

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
        exact: bool = False,
    ) -> None: ...

class Adafactor(RuleOptimizer):
    """Store row and column averages of squared gradients in place of the whole matrix: nearly no state for a large layer.

    Use: when the model fills the memory.
    Avoid: when models are small: there is nothing to save.

    Shazeer & Stern 2018, arXiv:1804.04235, Algorithms 4 and 5.

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
        exact: bool = False,
    ) -> None: ...

class Adagrad(RuleOptimizer):
    """Divide each coordinate by the root of the sum of its squared gradients. Rare features keep a large rate.

    Use: when features are sparse: words, clicks, embeddings.
    Avoid: when runs are long: the sum only grows, and the effective rate goes to zero.

    Duchi, Hazan & Singer 2011, JMLR 12.

    The same numbers as torch.optim.Adagrad. Hyperparameters outside their domain raise SteepestError.
    - eps is outside the root (torch); eps_inside=True puts it inside, as the paper does."""

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
        exact: bool = False,
    ) -> None: ...

class Adai(RuleOptimizer):
    """Adapt the momentum in place of the rate: flat coordinates get more of it.

    Use: when momentum generalizes well and you would rather not tune it.
    Avoid: when the first few hundred steps matter.

    Xie et al. 2022, arXiv:2006.15815, Algorithm 2.

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
        exact: bool = False,
    ) -> None: ...

class Adam(RuleOptimizer):
    """Divide an average of gradients by the root of an average of their squares, both corrected for starting at zero. A step
    is about as long as the rate, whatever the size of the gradient.

    Use: as a first choice on most networks, at a rate near 0.001.
    Avoid: when you want weight decay (use AdamW), or memory is short: it stores two numbers for each weight.

    Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1; AMSGrad: Reddi, Kale & Kumar 2018, arXiv:1904.09237.

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
        exact: bool = False,
    ) -> None: ...

class AdamW(RuleOptimizer):
    """Adam with weight decay applied to the weights themselves, not to the gradient, so that it is not divided away.

    Use: for transformers and fine-tuning, with a warm-up and a cosine schedule.
    Avoid: when memory is short, or momentum trains the network equally well.

    Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2.

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
        exact: bool = False,
    ) -> None: ...

class Adamax(RuleOptimizer):
    """Adam that divides by the largest recent gradient in place of a root mean square. This bounds its steps exactly.

    Use: when gradients are small except for rare bursts.
    Avoid: in other cases: it is Adam with a longer memory of the largest gradient.

    Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2.

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
        exact: bool = False,
    ) -> None: ...

class Adan(RuleOptimizer):
    """Adam with an average of the gradient's change, which gives Nesterov's look-ahead without a second gradient.

    Use: for large models and large batches, where it was developed.
    Avoid: when memory is short: it stores three averages and the last gradient.

    Xie et al. 2022, arXiv:2208.06677, Algorithm 1.

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
        exact: bool = False,
    ) -> None: ...

class GD(RuleOptimizer):
    """Step against the gradient, by the rate. Every other rule here changes this line.

    Use: when the surface is smooth and equally curved in all directions, or you want a baseline for what a change gains.
    Avoid: when curvatures differ: the steepest direction limits the rate, and flat ones make no progress.

    Cauchy 1847, Comptes rendus 25; Robbins & Monro 1951.

    Hyperparameters outside their domain raise SteepestError."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | torch.Tensor = 0.01,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        state_dtype: torch.dtype | None = None,
        exact: bool = False,
    ) -> None: ...

class LAMB(RuleOptimizer):
    """Adam with the step of each tensor scaled to the tensor's norm, so that large batches do not overshoot in any layer.

    Use: for batches of thousands.
    Avoid: for ordinary batches, where AdamW is as good and simpler.

    You et al. 2020, arXiv:1904.00962, Algorithm 2, with phi the identity.

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
        exact: bool = False,
    ) -> None: ...

class LARS(RuleOptimizer):
    """Momentum with the step of each tensor scaled to a share of the tensor's norm.

    Use: for large batches on convolutional networks.
    Avoid: for small batches, or biases and norms that are not excluded.

    You, Gitman & Ginsburg 2017, arXiv:1708.03888, Algorithm 1.

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
        exact: bool = False,
    ) -> None: ...

class Lion(RuleOptimizer):
    """Step by the sign of an average of gradients, and store only that average: half of Adam's state.

    Use: when memory is short and batches are large; at a third to a tenth of AdamW's rate.
    Avoid: when batches are small: a sign is as large for noise as for a slope.

    Chen et al. 2023, arXiv:2302.06675, Algorithm 2.

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
        exact: bool = False,
    ) -> None: ...

class MADGRAD(RuleOptimizer):
    """Sum gradients from the start, weighted by time, and divide by the cube root of summed squares. Each point is computed
    from the starting point.

    Use: when problems are sparse, or momentum works but is slow to tune; with little weight decay.
    Avoid: when weight decay was tuned for Adam: the best value differs here.

    Defazio & Jelassi 2022, arXiv:2101.11075, Algorithm 1.

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
        exact: bool = False,
    ) -> None: ...

class Muon(RuleOptimizer):
    """Make the momentum matrix orthogonal, so that all directions of a layer move equally far.

    Use: for hidden matrices of transformers, with another rule for the rest.
    Avoid: for biases, norms, embeddings, first and last layers.

    Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks.

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
        exact: bool = False,
        matrices_only: bool = True,
    ) -> None: ...

class NAdam(RuleOptimizer):
    """Adam with Nesterov's correction of its average of gradients.

    Use: when Adam works and its first steps should be faster.
    Avoid: when both are tuned: the difference is small.

    Dozat 2016, Incorporating Nesterov Momentum into Adam.

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
        exact: bool = False,
    ) -> None: ...

class NesterovLookahead(RuleOptimizer):
    """Nesterov's own form: take the gradient where the velocity will lead, then step. It needs a closure.

    Use: to see the idea, and on deterministic convex problems, where its theorem holds.
    Avoid: when the training loop has no closure: `nesterov` is the same method in other variables.

    Nesterov 1983; Sutskever et al. 2013, section 2: the gradient at p - momentum * v.

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
        exact: bool = False,
    ) -> None: ...

class Padam(RuleOptimizer):
    """Adam with a power of the second moment between momentum's 0 and Adam's 1/2.

    Use: to interpolate between momentum and Adam with one number.
    Avoid: when there is no budget to tune that number too.

    Chen et al. 2020, arXiv:1806.06763, Algorithm 1.

    Hyperparameters outside their domain raise SteepestError.
    - eps, absent from the paper, is added to the root of v; partial is 1/8 (the paper's experiments; the code's 1/4).
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
        exact: bool = False,
    ) -> None: ...

class RAdam(RuleOptimizer):
    """Adam that takes momentum's steps until its average of squares covers enough gradients. A warm-up without a setting.

    Use: when Adam needs a warm-up and you would rather not tune one.
    Avoid: when there is a warm-up schedule already.

    Liu et al. 2020, arXiv:1908.03265, Algorithm 2.

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
        exact: bool = False,
    ) -> None: ...

class RMSprop(RuleOptimizer):
    """Adagrad with an average of squared gradients in place of their sum, so that the effective rate does not vanish.

    Use: for recurrent networks, reinforcement learning, data that change over time.
    Avoid: when the first steps matter: without bias correction, the first one moves each weight by ten rates.

    Tieleman & Hinton 2012, Lecture 6.5; centred form: Graves 2013, arXiv:1308.0850.

    The same numbers as torch.optim.RMSprop. Hyperparameters outside their domain raise SteepestError.
    - alpha is 0.99 (torch) where the lecture says 0.9.
    - eps is outside the root and momentum before the rate (torch); eps_inside=True is Graves' form.
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
        exact: bool = False,
    ) -> None: ...

class Rprop(RuleOptimizer):
    """Use signs only: a coordinate's step grows while its gradient's sign stays, and shrinks when the sign flips.

    Use: when gradients are exact: full batches.
    Avoid: for mini-batches: noise flips signs.

    Riedmiller & Braun 1993; the variant iRprop-: Igel & Hüsken 2000.

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
        exact: bool = False,
    ) -> None: ...

class SAM(RuleOptimizer):
    """Climb a little way uphill, take the gradient there, and step from the original point. This leaves sharp minima.

    Use: when generalization matters more than time: a step costs two gradients.
    Avoid: when time is the budget.

    Foret et al. 2021, arXiv:2010.01412, around Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013; as torch.optim.SGD writes them.

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
        exact: bool = False,
    ) -> None: ...

class SGD(RuleOptimizer):
    """Plain descent on the gradient of a batch, with optional momentum. Batches make steps noisy and cheap.

    Use: when rate and schedule can be tuned, memory is short, or the model has normalization layers.
    Avoid: when gradients of layers differ by orders of magnitude, as in transformers, or the rate cannot be tuned.

    Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013; as torch.optim.SGD writes them.

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
        exact: bool = False,
    ) -> None: ...

class ScheduleFreeAdamW(RuleOptimizer):
    """AdamW that steps from one point, averages into another, and takes gradients between them. It needs no schedule.

    Use: when the length of the run is open.
    Avoid: when the length is known and a cosine can be tuned. Call `optimizer.eval()` before you evaluate.

    Defazio et al. 2024, arXiv:2405.15682, Algorithm 1.

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
        exact: bool = False,
    ) -> None: ...

class ScheduleFreeSGD(RuleOptimizer):
    """Plain descent that steps from one point, averages into another, and takes gradients between them. The average does
    what a falling rate would.

    Use: when momentum would work, and the length of the run is open.
    Avoid: when a schedule is tuned already. Call `optimizer.eval()` before you evaluate.

    Defazio et al. 2024, arXiv:2405.15682, equations 3 to 5.

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
        exact: bool = False,
    ) -> None: ...
