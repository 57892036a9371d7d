"""What is said of each rule in words: the idea in two sentences, when to reach for it, and when not."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """The idea, when a rule is a good choice, and when it is not."""

    idea: str
    use: str
    avoid: str


WORDS = {
    "gd": Words(
        "Go against the gradient by the rate. Everything else here is a change to this line.",
        "The surface is smooth and equally curved in all directions, or you want to see what a change buys.",
        "Curvatures differ: the steepest sets the rate, and the flattest waits.",
    ),
    "sgd": Words(
        "Plain descent on the gradient of a batch, with an optional velocity. The batch makes the step rough and cheap.",
        "A rate and its schedule can be tuned; no memory is to spare; the model has normalisation layers.",
        "Gradients of layers differ by decades, as in transformers, or the rate cannot be tuned.",
    ),
    "momentum": Words(
        "Keep a velocity that forgets a tenth of itself at each step. Where gradients agree it grows tenfold, where they "
        "alternate it cancels.",
        "Convolutional networks with a falling rate, where it is hard to beat.",
        "The rate is taken over from plain descent: cut it by as much as the velocity adds.",
    ),
    "nesterov": Words(
        "Momentum that corrects itself a step earlier. torch's form moves the lookahead into the update.",
        "Wherever momentum is; in valleys it ends lower.",
        "Noise dominates: the correction then reacts to noise.",
    ),
    "nesterov_lookahead": Words(
        "Nesterov's own form: take the gradient where the velocity will lead, then step. It needs a closure.",
        "To see the idea, and on deterministic convex problems, where its theorem holds.",
        "In a training loop without a closure: use `nesterov`, which is the same method in other variables.",
    ),
    "sam": Words(
        "Climb a little way uphill, take the gradient there, and step from where you were. Sharp minima are left.",
        "Generalisation matters more than twice the time of a step.",
        "The budget is time: each step takes two gradients.",
    ),
    "adagrad": Words(
        "Divide each coordinate by the root of all its squared gradients so far. Rare features keep a large rate.",
        "Sparse features: words, clicks, embeddings.",
        "Long runs: the sum only grows, and the rate goes to nothing.",
    ),
    "rmsprop": Words(
        "Adagrad with a memory that fades: an average of squares in place of their sum. The rate no longer dies.",
        "Recurrent networks, reinforcement learning, streams that change.",
        "The first steps matter: without a bias correction each weight moves by ten rates at once.",
    ),
    "adadelta": Words(
        "RMSprop whose numerator is the root of its own past moves. Units cancel, and so does the rate.",
        "A rate cannot be tuned at all.",
        "Anything that can be tuned: it starts slowly and is rarely best.",
    ),
    "adam": Words(
        "An average of gradients over the root of an average of their squares, both corrected for their start at zero. "
        "A step is about as long as the rate, whatever the gradient's size.",
        "A first choice on most networks at a rate near 0.001.",
        "Weight decay is wanted (take AdamW), or memory is short: it keeps two numbers a weight.",
    ),
    "adamw": Words(
        "Adam with the decay taken off the weights themselves, not put into the gradient. The decay is then not divided away.",
        "Transformers and fine-tuning, with a warm-up and a cosine.",
        "Memory is short, or the network trains as well by momentum.",
    ),
    "adamax": Words(
        "Adam with the largest recent gradient in place of the root of an average of squares. Steps are bounded exactly.",
        "Gradients come in rare bursts.",
        "Otherwise: it is Adam with a longer memory of its worst moment.",
    ),
    "nadam": Words(
        "Adam with Nesterov's correction of its first average.",
        "Adam already works and you want its first steps faster.",
        "You tune both anyway: the difference is small.",
    ),
    "radam": Words(
        "Adam that steps as momentum does until its second average has seen enough to be trusted. A warm-up without a setting.",
        "Adam needs a warm-up and you would not tune one.",
        "A warm-up schedule is there already.",
    ),
    "madgrad": Words(
        "Sum gradients from the start, weighted by time, and divide by the cube root of summed squares. The point is always "
        "built anew from the start.",
        "Sparse problems, and where momentum works but is slow to tune; with little weight decay.",
        "Long runs with decay tuned for Adam: its optimum is elsewhere.",
    ),
    "padam": Words(
        "Adam whose root is a power between momentum's 0 and Adam's 1/2.",
        "To walk from momentum to Adam by one number.",
        "No budget to tune that number too.",
    ),
    "adabelief": Words(
        "Adam that divides by how much a gradient surprises, not by how large it is. Steady gradients give long steps.",
        "Adam is wanted, with longer steps along steady slopes.",
        "Gradients are nearly constant: epsilon then decides.",
    ),
    "adan": Words(
        "Adam with an average of the gradient's change, by which Nesterov's lookahead is had without a second gradient.",
        "Large models and large batches, where it was made.",
        "Memory is short: it keeps three averages and the last gradient.",
    ),
    "rprop": Words(
        "Look at signs only: grow a coordinate's step while its sign stays, shrink it when the sign turns.",
        "Whole batches, where the gradient is exact.",
        "Mini-batches: noise turns signs.",
    ),
    "lion": Words(
        "Step by the sign of an average, and keep one average only. Half of Adam's state.",
        "Memory is short and batches are large; at a third to a tenth of AdamW's rate.",
        "Small batches: a sign is as sure of noise as of slope.",
    ),
    "lamb": Words(
        "Adam whose step for each tensor has the length of the tensor. Large batches do not outrun any layer.",
        "Batches of thousands.",
        "Ordinary batches, where AdamW is as good and simpler.",
    ),
    "lars": Words(
        "Momentum whose step for each tensor is a share of the tensor's length.",
        "Large batches on convolutional networks.",
        "Small batches, or biases and norms that you have not left out.",
    ),
    "adai": Words(
        "Adapt not the rate but the momentum: flat coordinates get more of it.",
        "Generalisation of momentum with less tuning of its weight.",
        "The first few hundred steps decide.",
    ),
    "adafactor": Words(
        "Keep row and column averages of squares in place of the whole matrix. The state of a large layer all but vanishes.",
        "Models that fill the memory.",
        "Small models: what it saves is nothing there.",
    ),
    "muon": Words(
        "Make momentum's matrix orthogonal, so that every direction of a layer moves equally far.",
        "Hidden matrices of transformers, with another rule for the rest.",
        "Biases, norms, embeddings and first or last layers.",
    ),
    "asgd": Words(
        "Plain descent that also averages the points it has been to. The average is less noisy than the last point.",
        "Convex problems with noise, late in a run.",
        "The average is read too early: it remembers the start.",
    ),
    "schedule_free_adamw": Words(
        "AdamW that steps from one point, averages into another, and takes gradients between. It needs no schedule.",
        "The length of the run is open.",
        "The run's length is known and a cosine can be tuned; and do not forget `optimizer.eval()`.",
    ),
    "schedule_free_sgd": Words(
        "Plain descent that steps from one point, averages into another, and takes gradients between. The average does what a "
        "falling rate would.",
        "Where momentum would do, and the length of the run is open.",
        "A schedule is tuned already; and do not forget `optimizer.eval()`.",
    ),
}  # fmt: skip
