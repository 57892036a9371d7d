"""Float64 NumPy updates, written from the papers and from torch's documentation, independent of the rules.

Each takes the tensors of a model, a function `grad(k, tensors)` for the gradients of step k (from 0), the rates of all steps,
and the hyperparameters of each tensor; it returns the tensors after every step.
"""

from .adaptive import *
from .averaging import *
from .combinators import *
from .gradient import *
from .layerwise import *
from .sign import *
