"""Everything that the five documents hold, item by item, and where it is here: a row, a picture, or code.

A line of ITEMS is a document, what kind of thing it is, its words, and where it is: `row` and how a row's quantity or claim
begins, `picture` and its name, `code` and what to import, or `missing` and the reason; `&` between two places. What another
document has begins with it: `picture 001/begun`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import Row

ITEMS = """
000 | system | MNIST, downloaded, with the sizes of its files | row bytes of train-images
000 | system | the network, 784-100-10 with ReLU (its blanks) | code steepest_workshop.lessons.training.mlp
000 | system | loaders in batches of 100 that draw from seed 0 | code steepest_workshop.lessons.training.drawn
000 | system | the training loop of 3,000 iterations, tested at each 500th | code steepest_workshop.lessons.assignment.run
000 | experiment | SGD: accuracies | row SGD, accuracy after 500
000 | experiment | SGD: losses | row SGD, loss of batch 500
000 | experiment | momentum: accuracies | row momentum, accuracy after 500
000 | experiment | momentum: losses | row momentum, loss of batch 500
000 | experiment | Adam: accuracies | row Adam, accuracy after 500
000 | experiment | Adam: losses | row Adam, loss of batch 500
000 | formula | theta - eta * gradient | row formula: theta - eta * gradient
000 | claim | batch descent cannot fit whole datasets in memory | row batch descent is unable
000 | claim | batch descent is slow | row batch descent is slow
000 | system | batch, one sample, n samples a step | row batch descent is slow
000 | formula | momentum | row formula: v = gamma * v + eta
000 | claim | momentum is usually 0.9 | row momentum is usually set to 0.9
000 | claim | accelerated convergence | row momentum accelerates
000 | claim | it dampens: lower variation of the loss | row momentum lowers the variation
000 | formula | Adam's averages over 1 - beta | row Adam's averages are divided
000 | claim | averages that begin at 0 lean to it | row 001/then we use an unbiased & picture 001/begun
000 | system | Adam's recommended defaults | row 001/adam: default beta1
000 | claim | Adam's rate adapts by mean and variance | row 003/the step of Adam does not feel
000 | experiment | Adagrad, Adadelta, Adamax, RMSprop, named only | row adagrad, which it only names
000 | picture | accuracies by iteration | picture accuracies
001 | picture | unimodal and multimodal functions | picture shapes
001 | system | local and global optimum | picture shapes
001 | formula | convexity by chords | code steepest.surfaces.optimality.convexity
001 | picture | convex and concave | picture shapes
001 | claim | convex functions are unimodal | row convex functions are unimodal
001 | claim | unimodal functions need not be convex | row unimodal functions are not always convex
001 | system | the gradient is 0 at an optimum | code steepest.surfaces.optimality.stationary
001 | formula | the Hessian matrix | code steepest.surfaces.surface.Surface.hessian
001 | system | definite Hessians: minimum, maximum, saddle | picture rests
001 | claim | the Hessian is not always symmetric (Schwarz) | row the Hessian is not always symmetric
001 | formula | gradient descent | row formula: w - alpha * g
001 | system | a stopping criterion | row once the gradient is zero
001 | claim | a small enough fixed rate converges | row with a small enough rate
001 | claim | the time depends on the rate | row too small a rate
001 | claim | single examples: much faster updates | row an update is slow, medium, fast
001 | claim | the loss goes down only on average, bounces, is not optimal | row SGD bounces about the minimum
001 | claim | outliers take it to undesirable areas | row outliers take stochastic descent
001 | claim | bouncing helps out of local minima | row the bouncing of SGD helps
001 | claim | reduce the rate, but not too quickly | row a rate that decays too fast freezes
001 | claim | mini-batches come a little closer | row mini-batches get a little closer
001 | claim | and escape a little harder | row for mini-batches it is a little harder
001 | system | the mini-batch pseudocode | code steepest_workshop.lessons.batches.descend
001 | picture | paths of the three kinds of descent | picture batches
001 | claim | table: accuracy good, good, good | row the accuracy of all three is good
001 | claim | table: updates slow, fast, medium | row an update is slow, medium, fast
001 | claim | table: memory high, low, medium | row memory is high, medium, low
001 | claim | table: online or not | row mini-batches and single examples learn online
001 | claim | descent needs scaled features | row descent needs features in one range
001 | experiment | table of updates for M = 100, N = 10 | row updates of 10 epochs, batch
001 | claim | larger batches allow larger rates | row larger batches allow larger rates
001 | system | choosing a rate and a schedule | code steepest.compare
001 | claim | features of different scales | row descent needs features in one range
001 | claim | too small and too high a rate | row too small a rate & picture rates
001 | system | least squares on many features | row least squares, weight of radius after 570
001 | formula | the closed form | code steepest.problems.built_in.breast_cancer.solve
001 | claim | the closed form needs no scaling | row descent needs features in one range
001 | system | the breast-cancer data: ten rows shown | row tumour 90: diagnosis
001 | system | its 33 columns | row columns of the table
001 | system | ids of patients | row ids of ten patients
001 | picture | the plane in space | picture fit
001 | system | a generator of shuffled batches | code steepest_workshop.lessons.batches.order
001 | experiment | 56 batches | row batches of 10 in an epoch
001 | experiment | the trace of w, every 50 batches | row least squares, weight of radius after 50
001 | experiment | w at the end | row least squares, weight of area after 570
001 | claim | slow decay wastes computation | row decay slowly
001 | claim | aggressive decay cools too quickly | row a rate that decays too fast freezes
001 | formula | step decay | row schedule: half every 5 epochs
001 | system | multi-step decay | row MultiStep [50, 80, 100]
001 | system | reducing the rate when validation stops improving | row models benefit from reducing
001 | formula | exponential decay | row schedule: alpha0 * exp
001 | formula | 1/t decay | row schedule: alpha0 / (1 + k * t)
001 | formula | cosine annealing | row schedule: alpha_min
001 | picture | schedules, among them one-cycle and cyclic | picture schedules
001 | claim | step decay is slightly preferable | row step decay is slightly preferable
001 | claim | slower and longer, if you can afford it | row a slower decay and longer training
001 | system | torch's schedulers after each update | code steepest.schedules.Schedule.to_torch
001 | experiment | ReduceLROnPlateau on MNIST | row models benefit from reducing
001 | picture | a rate too high for a deeper, narrower minimum | picture narrow
001 | picture | one, two and three milestones | picture milestones
001 | picture | exponential step sizes on a residual network of 20 layers | picture curves
001 | experiment | the same at equal tuning | row exponential step sizes do as well
001 | claim | momentum almost always converges faster | row momentum almost always converges faster
001 | claim | every small enough step is an improvement | row with a small enough rate
001 | claim | a ball on a hill: damped, or it never stops | row momentum below 1 damps
001 | formula | momentum | row formula: z = beta * z - alpha * g; w + z
001 | claim | beta = 0 recovers descent | row with momentum 0
001 | claim | beta = 0.99 is a boost | row 000/momentum is usually set to 0.9
001 | claim | velocity builds up in a consistent direction | row 002/SGD with momentum speeds up
001 | claim | momentum works in larger batches | row momentum works in larger batches
001 | formula | Nesterov's momentum | row formula: z = beta * z - alpha * g(w
001 | picture | the vectors of the lookahead | picture ahead
001 | claim | Nesterov is slightly better than momentum | row Nesterov's momentum works slightly better
001 | claim | stronger guarantees for convex functions | row Nesterov's guarantee
001 | experiment | the program with Nesterov and a plateau | row models benefit from reducing
001 | system | adaptive rates, a rate a parameter; Rprop | code steepest.optim.Rprop
001 | system | everything can be had from torch.optim | code steepest_workshop.conformance
001 | formula | Adagrad | row formula: w - alpha / sqrt(G + eps)
001 | claim | Adagrad works well with sparse data | row Adagrad works well with sparse
001 | claim | without the root it is much worse | row Adagrad without the square root
001 | claim | Adagrad alleviates tuning | row Adagrad alleviates
001 | system | its defaults | row adagrad: default lr
001 | claim | its rate shrinks | row 002/Adagrad's rate shrinks
001 | formula | RMSprop | row formula: w - alpha / sqrt(E[g2])
001 | system | its defaults | row rmsprop: default alpha
001 | formula | Adam | row formula: w - alpha / (sqrt(v_hat) + eps)
001 | claim | Adam prefers flat minima | row Adam prefers flat minima
001 | claim | unbiased estimates | row then we use an unbiased & picture begun
001 | claim | epsilon 1e-8 may not be the best | row the default epsilon
001 | system | EAdam | row how epsilon impacts Adam
001 | system | AdamW mends weight decay | row for weight decay use AdamW & picture decays
001 | picture | contours and paths in time | picture contours
001 | claim | momentum overshoots | row momentum-based methods overshoot
001 | picture | a saddle | picture 002/saddle
001 | claim | SGD is stuck at it, RMSprop proceeds | row at a saddle SGD gets stuck
001 | claim | Adam, the king of optimizers | row adam: 1,000 steps on MNIST
001 | formula | AdaBelief, algorithm 2 | row formula: AdaBelief
001 | claim | large steps where the gradient is as predicted | row AdaBelief takes a large step
001 | claim | as fast as adaptive methods, general as SGD | row AdaBelief is as fast
001 | claim | stable training | row AdaBelief trains stably
001 | formula | the projection | row the projection keeps
001 | formula | MADGRAD | row formula: MADGRAD
001 | claim | MADGRAD as fast as Adam, general as SGD | row MADGRAD is as fast
001 | claim | less weight decay, often none | row MADGRAD needs less weight decay
001 | claim | "GPU-only" | row madgrad: 1,000 steps on MNIST
001 | formula | Adan | row formula: Adan
001 | claim | Adan is faster | row Adan is faster than Adam
001 | system | its restart | row Adan may be restarted
001 | claim | slightly more memory | row Adan has a slightly higher memory
001 | experiment | table: ResNet-50 and -101 on ImageNet | row ImageNet, ResNet-50, 100 epochs, SAM
001 | experiment | table: ConvNeXt on ImageNet | row ImageNet, ConvNeXt
001 | experiment | table: ResNet-18 on ImageNet | row ImageNet, ResNet-18, Adan & row the printed order of ResNet-18
001 | formula | Schedule-Free AdamW | row formula: Schedule-Free
001 | claim | schedules that know the last step are better | row schedules that depend on the last step
001 | claim | Schedule-Free needs none | row Schedule-Free AdamW needs no schedule
001 | experiment | Schedule-Free SGD, named | row schedule_free_sgd: 1,000 steps
001 | system | links to videos and credits | missing: links to other people's pages; there is nothing to compute
002 | picture | batch, mini-batch, stochastic descent | picture 001/batches
002 | system | torch's SGD is all three, by the batch | row 000/batch descent is slow
002 | formula | momentum | row formula: momentum x previous step + gradient
002 | picture | SGD with and without momentum | picture valley
002 | formula | Nesterov | row formula: momentum x previous step, then
002 | formula | AdaGrad | row formula: AdaGrad
002 | claim | frequently updated parameters have small rates | row 001/Adagrad works well with sparse
002 | claim | its rate may get close to 0 too soon | row Adagrad's rate shrinks
002 | formula | RMSprop | row formula: RMSprop: eta
002 | claim | RMSprop's rate does not go to 0 | row RMSprop's rate does not shrink
002 | formula | Adam, epsilon under the root | row formula: Adam: alpha
002 | picture | the race at the saddle | picture saddle
002 | claim | SGD and momentum stuck there | row sgd is stuck at the saddle
002 | claim | momentum speeds up | row SGD with momentum speeds up
002 | picture | the race in the valley | picture valley
002 | claim | SGD and momentum converge slower | row momentum converges slower
002 | claim | Adam converges fast | row Adam converges fast
002 | claim | SGD ends better, and takes longer | row SGD ends better
002 | claim | Adam first, then SGD | row use Adam first
002 | experiment | LambdaLR, 100 times 0.65 to the epoch | row LambdaLR, rate in epoch 9
002 | formula | a rate times a function of the epoch | row schedule: lr_initial
002 | picture | its rates by epoch | picture lambda
002 | picture | other schedulers, by link | picture 001/schedules
002 | picture | a network before and after dropout | picture dropout
002 | claim | dropout leaves out units | row dropout leaves out
002 | claim | BatchNorm over N, H and W | row BatchNorm normalises
002 | experiment | losses with and without both | row Dropout and BatchNorm help & picture regularized
003 | formula | SGD | row formula: theta - alpha * gradient
003 | picture | SGD at 0.04 and 0.005 | picture courses
003 | formula | momentum | row formula: v = gamma * v + alpha * gradient; theta
003 | picture | SGD at 0.005 with and without momentum | picture courses
003 | formula | Nesterov | row formula: v = gamma * v + alpha * gradient(
003 | picture | momentum with and without Nesterov | row Nesterov against momentum, drawn & picture courses-nesterov
003 | claim | Adam's step is bounded by its rate | row the step of Adam is bounded
003 | claim | and does not feel the gradient's size | row the step of Adam does not feel
003 | claim | Adam may not converge | row Adam may fail to converge
003 | formula | Adam, algorithm 1 | row formula: Adam, algorithm 1
003 | claim | unbiased estimates | row create unbiased estimates
003 | claim | Adadelta goes on learning | row Adadelta goes on learning
003 | system | Adadelta's defaults | row Adadelta: default rho
003 | experiment | Adadelta with rho 0.01 and 0.9 | row Adadelta(rho=0.01), drawn & picture courses-adadelta
003 | claim | it is robust to rho | row Adadelta is robust
003 | claim | more loss at 0.01 | row Adadelta has more loss
003 | formula | RMSprop, as a matrix | row formula: RMSprop: G
003 | claim | RMSprop is similar to momentum | row RMSprop is similar
003 | claim | it restricts oscillation | row RMSprop restricts
003 | claim | larger steps, faster | row RMSprop can take larger steps
003 | system | its usual beta and rate | row RMSprop: usual alpha
003 | formula | RMSprop, dw and db | row formula: RMSprop: dw
003 | system | the network, which is not told | row network tried, 1
003 | experiment | SGD 0.0005, ten epochs | row SGD(lr=0.0005, momentum=0.5), epoch 1:
003 | experiment | Adam 0.0005 | row Adam(lr=0.0005), epoch 1:
003 | experiment | RMSprop 0.01 at 11.35 % | row RMSprop at 0.01 stays & row RMSprop(lr=0.01), epoch 1: & picture collapse
003 | experiment | RMSprop 0.001 | row RMSprop(lr=0.001), epoch 1:
003 | experiment | RMSprop 0.00001 | row RMSprop(lr=1e-05), epoch 1:
003 | experiment | SGD 0.001 | row SGD(lr=0.001, momentum=0.5), epoch 1:
003 | experiment | Adam 0.001 | row Adam(lr=0.001), epoch 1:
003 | experiment | RMSprop 0.001 again | row RMSprop(lr=0.001) again, epoch 1:
003 | experiment | Adam 0.00025 | row Adam(lr=0.00025), epoch 1:
003 | experiment | RMSprop 0.00025 | row RMSprop(lr=0.00025), epoch 1:
003 | system | 9,911 of 1,000 images, a misprint | row images tested in the block
003 | picture | SGD 0.01, Adam 0.035 | picture courses & picture courses-adam
003 | experiment | betas of Adam: four settings | row Adam(lr=0.001, betas=(0.01, 0.01)), drawn & picture courses-adam
003 | claim | beta1 above beta2 | row beta1 > beta2 is bad
003 | picture | losses and accuracies of SGD's and Adam's blocks by epoch | picture epochs & picture epochs-adam
003 | picture | losses and accuracies of RMSprop's blocks by epoch | picture epochs-rmsprop & picture epochs-stuck
003 | system | the conclusions, a slide without words | missing: the slide has a picture only, which the text does not hold
004 | system | data with noise of 0.1, 1,000 and 50 examples | code steepest.problems.built_in.noisy_regression.data
004 | experiment | the exact theta | row exact solution, coordinate 0
004 | formula | loss and gradient of a power of the error | code steepest_workshop.lessons.noisy_regression.powered
004 | formula | its program's Adam | row formula: its program's Adam
004 | formula | its program's SGD | row formula: its program's SGD
004 | system | Adagrad, left to the reader | row Adagrad, left to the reader
004 | experiment | last theta of Adam, six exponents | row theta 0 after 1,000 steps of Adam
004 | experiment | last theta of SGD, six exponents | row theta 0 after 1,000 steps of SGD
004 | system | gradient noise, normal and of random signs | row which of SGD and Adam wins depends on the exponent (with g
004 | picture | test losses with 2.5 standard errors | picture exponents
004 | system | MNIST in batches of 64: shapes | row shape of a batch's images
004 | picture | the lowest mean test losses, in the title of an empty plot | picture lowest
004 | picture | a single digit | picture digit
004 | picture | sixty digits | picture digits
004 | system | the network 784-128-64-10 | row a layer of its network
004 | system | other optimizers, left to the reader | row other optimizers on its network
004 | experiment | mean losses of fifteen epochs | row mean training loss of epoch 0 & picture losses
004 | experiment | 3.22 minutes | row training time
004 | experiment | 97.17 % of 10,000 | row test accuracy after 15 epochs
004 | experiment | the digit it says of one image | row digit predicted
004 | picture | a digit and what is said of it | picture prediction
"""


class Item(NamedTuple):
    """A thing of a document: what kind, its words, and where it is here."""

    source: str
    kind: str
    words: str
    where: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Why it is missing; empty where it is not."""
        return self.where[0].removeprefix("missing: ") if self.where[0].startswith("missing") else ""


def items() -> list[Item]:
    """All of them, document by document."""
    parts = (line.split(" | ") for line in ITEMS.strip().splitlines())
    return [
        Item(source, kind, words, (where,) if where.startswith("missing") else tuple(where.split(" & ")))
        for source, kind, words, where in parts
    ]


def unmet(rows: Sequence[Row], pictures: Iterable[tuple[str, str]]) -> list[tuple[Item, str]]:
    """The places that are not there, of items that are said to be here; `pictures` are (document, name)."""
    told = {(row.source, str(row.printed if row.quantity == "claim" else row.quantity)) for row in rows}
    drawn, lost = set(pictures), []
    for item in items():
        for where in () if item.reason else item.where:
            kind, _, name = where.partition(" ")
            source, name = (name[:3], name[4:]) if name[3:4] == "/" else (item.source, name)
            if kind == "row":
                there = any(number == source and words.startswith(name) for number, words in told)
            else:
                there = (source, name) in drawn if kind == "picture" else _importable(name)
            if not there:
                lost.append((item, where))
    return lost


def _importable(path: str) -> bool:
    """Whether a module, or what a module has, is there."""
    module, _, name = path.rpartition(".")
    try:
        importlib.import_module(path)
    except ImportError:
        try:
            return hasattr(importlib.import_module(module), name)
        except ImportError:
            outer, _, inner = module.rpartition(".")
            return hasattr(getattr(importlib.import_module(outer), inner), name)
    return True
