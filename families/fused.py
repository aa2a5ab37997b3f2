"""Where are there Triton kernels?  Triton and its language if they are installed, and stand-ins to be read without.

    from entorhinal.families.fused import HAS_TRITON, fused, jit, tl, triton

A module of kernels decorates them with `jit` and asks `fused` before it launches one.
"""

import importlib
import importlib.util
import os
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

__all__ = ["HAS_TRITON", "fused", "jit", "tl", "triton"]

HAS_TRITON = importlib.util.find_spec("triton") is not None
triton: Any = importlib.import_module("triton") if HAS_TRITON else None
tl: Any = importlib.import_module("triton.language") if HAS_TRITON else SimpleNamespace(constexpr=object)


def jit(function: Any) -> Any:
    """`triton.jit`; the function itself without Triton."""
    return triton.jit(function) if HAS_TRITON else function


def fused(tensor: Tensor, *dtypes: torch.dtype) -> bool:
    """Is there a kernel for this tensor? On a CPU only in Triton's interpreter, which is for tests."""
    where = tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"
    return HAS_TRITON and where and tensor.dtype in dtypes
