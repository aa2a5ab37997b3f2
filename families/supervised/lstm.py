"""A step of S LSTM networks at once, forward and backward, but for its products with the recurrent weights.

    i, f, o = σ(a_i, a_f, a_o)      c̃ = tanh(a_c)      c_t = f ⊙ c_{t−1} + i ⊙ c̃      h_t = o ⊙ tanh c_t

(Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.) Each function runs a Triton kernel where
there is one for its tensors and else its twin in plain PyTorch, ``*_reference``, which also takes float64.

Letters: S networks, B trajectories, N cells. Networks lie apart by any stride: tensors may be steps of longer ones.
"""

from typing import no_type_check

import torch
from torch import Tensor

from entorhinal.families.kernel import fused, jit, tanh, tl

__all__ = ["lstm_step_", "lstm_step_backward_", "lstm_step_backward_reference_", "lstm_step_reference_"]

_BLOCK = 256


def lstm_step_(gates: Tensor, before: Tensor, cell: Tensor, hidden: Tensor) -> None:
    """From (a_i, a_f, a_o, a_c) to (i, f, o, c̃), in place, and to c_t and h_t, written to ``cell`` and ``hidden``.

    gates: ``(S, B, 4N)``. before, c_{t−1}, cell and hidden: ``(S, B, N)``.
    """
    if not fused(gates, torch.float32):
        lstm_step_reference_(gates, before, cell, hidden)
        return
    networks, trajectories, cells = cell.shape
    grid = -(-trajectories * cells // _BLOCK), networks
    strides = gates.stride(0), before.stride(0), cell.stride(0), hidden.stride(0)
    _step_kernel[grid](gates, before, cell, hidden, *strides, B=trajectories, N=cells, BLOCK=_BLOCK, num_warps=4)


def lstm_step_reference_(gates: Tensor, before: Tensor, cell: Tensor, hidden: Tensor) -> None:
    """The twin of `lstm_step_` in plain PyTorch."""
    n = cell.shape[-1]
    gates[..., : 3 * n].sigmoid_()
    gates[..., 3 * n :].tanh_()
    enter, forget, exit_, candidate = gates.chunk(4, -1)
    cell.copy_(torch.addcmul(forget * before, enter, candidate))
    hidden.copy_(exit_ * torch.tanh(cell))


def lstm_step_backward_(gates: Tensor, before: Tensor, cell: Tensor, by_hidden: Tensor, by_cell: Tensor) -> None:
    """From (i, f, o, c̃) to the gradient by (a_i, a_f, a_o, a_c), and from that by c_t to that by c_{t−1}, in place.

    gates: ``(S, B, 4N)``. before, c_{t−1}, cell, c_t, by_hidden, the gradient by h_t, and by_cell, what that by c_t is
    without h_t: ``(S, B, N)``.
    """
    if not fused(gates, torch.float32):
        lstm_step_backward_reference_(gates, before, cell, by_hidden, by_cell)
        return
    networks, trajectories, cells = cell.shape
    grid = -(-trajectories * cells // _BLOCK), networks
    strides = gates.stride(0), before.stride(0), cell.stride(0), by_hidden.stride(0), by_cell.stride(0)
    _step_backward_kernel[grid](
        gates, before, cell, by_hidden, by_cell, *strides, B=trajectories, N=cells, BLOCK=_BLOCK, num_warps=4
    )


def lstm_step_backward_reference_(
    gates: Tensor, before: Tensor, cell: Tensor, by_hidden: Tensor, by_cell: Tensor
) -> None:
    """The twin of `lstm_step_backward_` in plain PyTorch."""
    enter, forget, exit_, candidate = gates.chunk(4, -1)
    shown = torch.tanh(cell)
    by_own = by_cell + by_hidden * exit_ * (1 - shown.square())
    by_cell.copy_(by_own * forget)
    by_gates = (
        by_own * candidate * enter * (1 - enter),
        by_own * before * forget * (1 - forget),
        by_hidden * shown * exit_ * (1 - exit_),
        by_own * enter * (1 - candidate.square()),
    )
    gates.copy_(torch.cat(by_gates, -1))


@jit
@no_type_check
def _place(B, N, BLOCK: tl.constexpr):
    """Where an entry of ``(B, N)`` is in its network's part of gates and of the rest, and whether there is one."""
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    return entry // N * 4 * N + entry % N, entry, entry < B * N


@jit
@no_type_check
def _step_kernel(
    gates,
    before,
    cell,
    hidden,
    gates_stride,
    before_stride,
    cell_stride,
    hidden_stride,
    B,
    N,
    BLOCK: tl.constexpr,
):
    """One thread a cell and trajectory; what is not a number stays so, for the harness to see."""
    s = tl.program_id(1).to(tl.int64)
    gate, entry, there = _place(B, N, BLOCK)
    at = gates + s * gates_stride + gate
    enter = 1 / (1 + tl.exp(-tl.load(at, mask=there, other=0.0)))
    forget = 1 / (1 + tl.exp(-tl.load(at + N, mask=there, other=0.0)))
    exit_ = 1 / (1 + tl.exp(-tl.load(at + 2 * N, mask=there, other=0.0)))
    candidate = tanh(tl.load(at + 3 * N, mask=there, other=0.0))
    now = forget * tl.load(before + s * before_stride + entry, mask=there, other=0.0) + enter * candidate
    tl.store(at, enter, mask=there)
    tl.store(at + N, forget, mask=there)
    tl.store(at + 2 * N, exit_, mask=there)
    tl.store(at + 3 * N, candidate, mask=there)
    tl.store(cell + s * cell_stride + entry, now, mask=there)
    tl.store(hidden + s * hidden_stride + entry, exit_ * tanh(now), mask=there)


@jit
@no_type_check
def _step_backward_kernel(
    gates,
    before,
    cell,
    by_hidden,
    by_cell,
    gates_stride,
    before_stride,
    cell_stride,
    by_hidden_stride,
    by_cell_stride,
    B,
    N,
    BLOCK: tl.constexpr,
):
    """One thread a cell and trajectory."""
    s = tl.program_id(1).to(tl.int64)
    gate, entry, there = _place(B, N, BLOCK)
    at = gates + s * gates_stride + gate
    enter = tl.load(at, mask=there, other=0.0)
    forget = tl.load(at + N, mask=there, other=0.0)
    exit_ = tl.load(at + 2 * N, mask=there, other=0.0)
    candidate = tl.load(at + 3 * N, mask=there, other=0.0)
    shown = tanh(tl.load(cell + s * cell_stride + entry, mask=there, other=0.0))
    slope = tl.load(by_hidden + s * by_hidden_stride + entry, mask=there, other=0.0)
    own = by_cell + s * by_cell_stride + entry
    by_own = tl.load(own, mask=there, other=0.0) + slope * exit_ * (1 - shown * shown)
    earlier = tl.load(before + s * before_stride + entry, mask=there, other=0.0)
    tl.store(at, by_own * candidate * enter * (1 - enter), mask=there)
    tl.store(at + N, by_own * earlier * forget * (1 - forget), mask=there)
    tl.store(at + 2 * N, slope * shown * exit_ * (1 - exit_), mask=there)
    tl.store(at + 3 * N, by_own * enter * (1 - candidate * candidate), mask=there)
    tl.store(own, by_own * forget, mask=there)
