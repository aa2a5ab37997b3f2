"""Walks of S leaky networks at once, forward and backward: all steps in one kernel each way.

    x_t = (1 − f) x_{t−1} + f W u_{t−1} + d_t      u_t = tanh x_t      t = 1, ..., T                 (1)

d is all that drives the units beside each other, f the step over the time constant; u_0 = tanh x_0. Trajectories are
independent, so a program takes a few of them through all steps, with W on chip. Each function runs a Triton kernel
where there is one for its tensors and else its twin in plain PyTorch, ``*_reference``, which also takes float64.

Letters: S networks, T steps, B trajectories, N units, at most `MOST_UNITS` of them in a kernel.
"""

from typing import no_type_check

import torch
from torch import Tensor

from entorhinal.families.kernel import fused, jit, tanh, tl, triton

__all__ = ["MOST_UNITS", "leaky_walk", "leaky_walk_backward_", "leaky_walk_backward_reference_", "leaky_walk_reference"]

MOST_UNITS = 128

_TRAJECTORIES = 16
_ROUNDED = {"highest": "tf32x3", "high": "tf32", "medium": "tf32"}
"""What products are rounded to, by PyTorch's setting; three products in tf32 are one in float32."""


def leaky_walk(start: Tensor, drive: Tensor, recurrent: Tensor, fraction: float) -> Tensor:
    """u_0, ..., u_T, ``(S, T + 1, B, N)``, eq. (1).

    start, x_0: ``(S, B, N)``. drive, d: ``(S, T, B, N)``. recurrent, W: ``(S, N, N)``.
    """
    if not _has_kernel(drive):
        return leaky_walk_reference(start, drive, recurrent, fraction)
    networks, steps, trajectories, units = drive.shape
    rates = drive.new_empty(networks, steps + 1, trajectories, units)
    _walk_kernel[_grid(drive)](
        start.contiguous(), drive, recurrent.contiguous(), rates, fraction, steps, trajectories, units, **_sizes(units)
    )
    return rates


def leaky_walk_reference(start: Tensor, drive: Tensor, recurrent: Tensor, fraction: float) -> Tensor:
    """The twin of `leaky_walk` in plain PyTorch."""
    x, u = start, torch.tanh(start)
    rates = [u]
    for drive_t in drive.unbind(1):
        x = torch.baddbmm(drive_t + (1 - fraction) * x, u, recurrent.mT, alpha=fraction)
        u = torch.tanh(x)
        rates.append(u)
    return torch.stack(rates, 1)


def leaky_walk_backward_(by_rates: Tensor, rates: Tensor, recurrent: Tensor, fraction: float) -> Tensor:
    """From the gradient by u_1, ..., u_T to that by d, in place; returns that by x_0, ``(S, B, N)``.

    by_rates: ``(S, T, B, N)``, what the gradient by each u_t is without the later steps. rates: of `leaky_walk`.
    """
    if not _has_kernel(by_rates):
        return leaky_walk_backward_reference_(by_rates, rates, recurrent, fraction)
    networks, steps, trajectories, units = by_rates.shape
    by_start = by_rates.new_empty(networks, trajectories, units)
    _walk_backward_kernel[_grid(by_rates)](
        by_rates, rates, recurrent.contiguous(), by_start, fraction, steps, trajectories, units, **_sizes(units)
    )
    return by_start


def leaky_walk_backward_reference_(by_rates: Tensor, rates: Tensor, recurrent: Tensor, fraction: float) -> Tensor:
    """The twin of `leaky_walk_backward_` in plain PyTorch."""
    by_x = torch.zeros_like(by_rates[:, 0])
    for by_u, u in zip(reversed(by_rates.unbind(1)), reversed(rates[:, 1:].unbind(1)), strict=True):
        by_u.baddbmm_(by_x, recurrent, alpha=fraction)
        by_x = by_u.copy_(by_u * (1 - u.square()) + (1 - fraction) * by_x)
    return fraction * (by_x @ recurrent) * (1 - rates[:, 0].square()) + (1 - fraction) * by_x


def _has_kernel(walk: Tensor) -> bool:
    return walk.shape[-1] <= MOST_UNITS and walk.is_contiguous() and fused(walk, torch.float32)


def _grid(walk: Tensor) -> tuple[int, int]:
    networks, _, trajectories, _ = walk.shape
    return -(-trajectories // _TRAJECTORIES), networks


def _sizes(units: int) -> dict[str, int | str]:
    padded = max(16, triton.next_power_of_2(units))
    rounded = _ROUNDED[torch.get_float32_matmul_precision()]
    return {"BLOCK": _TRAJECTORIES, "P": padded, "ROUNDED": rounded, "num_warps": 8 if padded == MOST_UNITS else 4}


@jit
@no_type_check
def _place(B: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, P: tl.constexpr):
    """Where the entries of a step are that a program takes, which are there, and the network it takes them of."""
    b, n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[:, None], tl.arange(0, P)[None, :]
    return b * N + n, (b < B) & (n < N), tl.program_id(1).to(tl.int64)


@jit
@no_type_check
def _walk_kernel(
    start,
    drive,
    recurrent,
    rates,
    fraction,
    T: tl.constexpr,
    B: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    P: tl.constexpr,
    ROUNDED: tl.constexpr,
):
    entry, there, s = _place(B, N, BLOCK, P)
    onto, of = tl.arange(0, P)[None, :], tl.arange(0, P)[:, None]
    weights = tl.load(recurrent + s * N * N + onto * N + of, mask=(onto < N) & (of < N), other=0.0)  # Wᵀ
    drive += s * T * B * N
    rates += s * (T + 1) * B * N
    x = tl.load(start + s * B * N + entry, mask=there, other=0.0)
    u = tanh(x)
    tl.store(rates + entry, u, mask=there)
    coming = tl.load(drive + entry, mask=there, other=0.0)
    for t in range(T):
        own = coming + (1 - fraction) * x
        drive += B * N
        coming = tl.load(drive + entry, mask=there & (t + 1 < T), other=0.0)  # while the product is made
        x = own + fraction * tl.dot(u, weights, input_precision=ROUNDED)
        u = tanh(x)
        rates += B * N
        tl.store(rates + entry, u, mask=there)


@jit
@no_type_check
def _walk_backward_kernel(
    by_rates,
    rates,
    recurrent,
    by_start,
    fraction,
    T: tl.constexpr,
    B: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    P: tl.constexpr,
    ROUNDED: tl.constexpr,
):
    entry, there, s = _place(B, N, BLOCK, P)
    onto, of = tl.arange(0, P)[:, None], tl.arange(0, P)[None, :]
    weights = tl.load(recurrent + s * N * N + onto * N + of, mask=(onto < N) & (of < N), other=0.0)  # W
    by_rates += (s * T + T - 1) * B * N
    rates += (s * (T + 1) + T) * B * N
    by_x = tl.zeros((BLOCK, P), tl.float32)
    by_u = tl.load(by_rates + entry, mask=there, other=0.0)
    u = tl.load(rates + entry, mask=there, other=0.0)
    for t in range(T):
        own, slope = by_u, 1 - u * u
        rates -= B * N
        u = tl.load(rates + entry, mask=there, other=0.0)  # while the product is made
        by_u = tl.load(by_rates - B * N + entry, mask=there & (t + 1 < T), other=0.0)
        own += fraction * tl.dot(by_x, weights, input_precision=ROUNDED)
        by_x = own * slope + (1 - fraction) * by_x
        tl.store(by_rates + entry, by_x, mask=there)
        by_rates -= B * N
    own = fraction * tl.dot(by_x, weights, input_precision=ROUNDED)
    tl.store(by_start + s * B * N + entry, own * (1 - u * u) + (1 - fraction) * by_x, mask=there)
