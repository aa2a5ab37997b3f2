"""What every kernel begins with: Triton, where it is installed, and whether a tensor is one for a kernel."""

import importlib
import importlib.util
import os
from types import SimpleNamespace
from typing import Any, no_type_check

import torch
from torch import Tensor

__all__ = ["HAS_TRITON", "fused", "jit", "tanh", "tl", "triton"]

HAS_TRITON = importlib.util.find_spec("triton") is not None
triton: Any = importlib.import_module("triton") if HAS_TRITON else None
tl: Any = importlib.import_module("triton.language") if HAS_TRITON else SimpleNamespace(constexpr=object)


def jit(function: Any) -> Any:
    """`triton.jit`, or the function as it is where there is no Triton and it is never called."""
    return triton.jit(function) if HAS_TRITON else function


def fused(tensor: Tensor, *dtypes: torch.dtype) -> bool:
    """Is there a kernel for a tensor, given one for ``dtypes``?  On a CPU only in Triton's interpreter."""
    return HAS_TRITON and (tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1") and tensor.dtype in dtypes


@jit
@no_type_check
def tanh(x):
    """In a kernel; what is not a number stays so."""
    return 2 / (1 + tl.exp(-2 * x)) - 1
