"""Methods that `torch.compile` does not trace, without importing torch._dynamo, which takes 0.7 s."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

# torch's own methods, out of the wrappers by which it disables tracing: a wrapper's first call imports torch._dynamo
add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
before_loading = inspect.unwrap(torch.optim.Optimizer.register_load_state_dict_pre_hook)
after_loading = inspect.unwrap(torch.optim.Optimizer.register_load_state_dict_post_hook)


def outside_graphs(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Break the graph of a caller that `torch.compile` traces, so that the method runs as it is.

    `torch.compiler.disable` does so, but imports torch._dynamo when it is called, so it is called only under tracing.
    """

    @functools.wraps(method)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        if torch.compiler.is_compiling():
            apart: Callable[_Arguments, _Result] = torch.compiler.disable(method)  # type: ignore[no-untyped-call]
            return apart(*args, **kwargs)
        return method(*args, **kwargs)

    # a code object for each method: torch recompiles one at most 8 times
    call.__code__ = call.__code__.replace(co_name=method.__name__)  # type: ignore[attr-defined]
    return call
