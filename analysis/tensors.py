"""What every measure shares: arrays in, float64 tensors out, and work cut into chunks of bounded memory."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Array = Tensor | np.ndarray
"""What the public functions accept."""

CPU_BUDGET = 16 * 2**20
"""Bytes of working memory a chunk may use on a CPU; accelerators get 64 times as much."""


def as_tensor(values: Array, name: str, shape: str, *, like: Tensor | None = None) -> Tensor:
    """``values`` as a detached floating tensor, checked to have the dimensions that ``shape`` names.

    Args:
        values: tensor or array; it stays on its device (or goes to that of ``like``).
        name: what the caller calls it, for the error message.
        shape: comma-separated dimension names such as ``"N, H, W"``; a leading ``"..."`` allows any number more.
        like: take this tensor's device.

    Returns:
        float64, except on devices that lack it (MPS), where it is float32.

    Raises:
        ValueError: wrong number of dimensions, or values that are not real numbers.
    """
    try:
        tensor = torch.as_tensor(values, device=None if like is None else like.device).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is {type(values).__name__}; give a tensor or a numeric array ({shape})") from error
    wanted = [part.strip() for part in shape.split(",")]
    open_ended = wanted[0] == "..."
    enough = tensor.ndim >= len(wanted) - 1 if open_ended else tensor.ndim == len(wanted)
    if not enough or tensor.is_complex():
        kind = "complex " if tensor.is_complex() else ""
        raise ValueError(f"{name} has {kind}shape {tuple(tensor.shape)}; give real numbers of shape ({shape})")
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def chunk_size(bytes_each: float, device: torch.device) -> int:
    """How many items of ``bytes_each`` fit the working memory of ``device``; at least one."""
    return max(1, int(CPU_BUDGET * (1 if device.type == "cpu" else 64) // max(bytes_each, 1)))


def in_chunks(function: Callable[[Tensor], Tensor], maps: Tensor, *, copies: float) -> Tensor:
    """``function`` over the first axis of ``maps``, in chunks whose ``copies`` of the input fit the budget."""
    if not len(maps):  # some transforms refuse an empty batch: take the shape of the answer from one map
        return function(maps.new_zeros(1, *maps.shape[1:]))[:0]
    size = chunk_size(copies * maps[:1].numel() * maps.element_size(), maps.device)
    return torch.cat([function(chunk) for chunk in maps.split(size)])


def standardized(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maps with mean 0 and variance 1 over their visited (finite) bins, and the mask of those.

    Args:
        maps: (N, H, W).

    Returns:
        values (N, H, W), 0 where unvisited and in maps that are constant or empty; visited (N, H, W), 0 or 1.
    """
    visited = maps.isfinite()
    mask = visited.to(maps.dtype)
    filled = maps.where(visited, 0)
    count = mask.sum((-2, -1), keepdim=True).clamp_min(1)
    size = filled.abs().amax((-2, -1), keepdim=True)  # dividing by it first keeps tiny rates from underflowing
    unit = filled / size.where(size > 0, 1)
    centred = (unit - unit.sum((-2, -1), keepdim=True) / count) * mask
    spread = (centred.square().sum((-2, -1), keepdim=True) / count).sqrt()
    constant = spread < 1e4 * torch.finfo(maps.dtype).eps
    return centred.where(~constant, 0) / spread.where(~constant, 1), mask
