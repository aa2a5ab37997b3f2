"""Fast training of networks that predict place cells: gradients for S networks at once, and the parts they are made of.

`rectified_population_gradients` is what autograd finds for `supervised/sorscher` (Sorscher et al. 2019), written out,
and `gated_population_gradients` for `supervised/nayebi` (Nayebi et al. 2021): every product over all T steps is one,
only the recurrence goes step by step, and targets are made where they are compared, so that they are never stored.
`place_code` and `place_cell_cross_entropy` serve any network with that target.

Each public function runs a Triton kernel where there is one for its tensors (CUDA, Triton installed) and else its twin
in plain PyTorch, ``*_reference``, which also takes float64. Nothing waits for the device and no shape depends on data,
so that a whole training step fits in a CUDA graph.

Letters: S networks, N units, P place cells, B trajectories, T steps, M rows (positions).
"""

from typing import Any, Literal, no_type_check

import torch
from torch import Tensor

from entorhinal.families.codes import difference_of_softmaxes_place_cells, softmax_place_cells
from entorhinal.families.kernel import fused, jit, tl

__all__ = [
    "Precision",
    "cross_entropy_to_place_code",
    "gated_population_gradients",
    "gated_step",
    "gated_step_backward_",
    "gated_step_backward_reference_",
    "gated_step_reference",
    "place_cell_cross_entropy",
    "place_cell_cross_entropy_reference",
    "place_code",
    "place_code_reference",
    "rectified",
    "rectified_population_gradients",
    "rectified_reference",
    "rectified_step_",
    "rectified_step_backward_",
    "rectified_step_backward_reference_",
    "rectified_step_reference_",
]

Precision = Literal["float32", "tf32", "bf16"]

_TILE = {"ROWS": 32, "COLUMNS": 128, "num_warps": 4}  # of the kernels of a step
_TINY = torch.finfo(torch.float32).tiny


def _fused(tensor: Tensor) -> bool:
    return fused(tensor, torch.float32, torch.bfloat16)


# ---------------------------------------------------------------------------------------------------------------------
# The target: place cells as probabilities, and the cross entropy to them


def place_code(
    position_m: Tensor,
    centre_m: Tensor,
    width_m: Tensor,
    surround_variance_ratio: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The place code of S networks at M positions, ``(S, M, P)``, in ``dtype`` (that of position_m by default).

    position_m ``(M, 2)``, centre_m ``(P, 2)``, width_m ``(S,)``. With ``surround_variance_ratio (S,)`` it is
    `difference_of_softmaxes_place_cells`, else `softmax_place_cells` (`entorhinal.families.codes`).
    """
    if not _fused(position_m):
        return place_code_reference(position_m, centre_m, width_m, surround_variance_ratio).to(dtype)
    networks, rows, places = len(width_m), len(position_m), len(centre_m)
    code = position_m.new_empty(networks, rows, places, dtype=dtype)
    _place_code_kernel[rows, networks](
        position_m.contiguous(),
        centre_m.T.contiguous(),  # so that neighbouring threads read neighbouring numbers
        width_m,
        width_m if surround_variance_ratio is None else surround_variance_ratio,
        code,
        M=rows,
        P=places,
        SURROUND=surround_variance_ratio is not None,
        TINY=_TINY,
        **_row_block(places),
    )
    return code


def place_code_reference(
    position_m: Tensor, centre_m: Tensor, width_m: Tensor, surround_variance_ratio: Tensor | None = None
) -> Tensor:
    """The twin of `place_code` in plain PyTorch."""
    width_m = width_m[:, None, None]
    if surround_variance_ratio is None:
        return softmax_place_cells(position_m, centre_m, width_m)
    return difference_of_softmaxes_place_cells(position_m, centre_m, width_m, surround_variance_ratio[:, None, None])


def place_cell_cross_entropy(
    logits: Tensor,
    position_m: Tensor,
    centre_m: Tensor,
    width_m: Tensor,
    surround_variance_ratio: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of predictions to the place code, ``(S,)`` in nats, and its gradient by the logits.

    logits: log-probabilities up to a constant, ``(S, M, P)``, contiguous; lost, as the gradient may take their place.
    position_m, centre_m, width_m, surround_variance_ratio: as of `place_code`, whose values are never stored.
    dtype: of the gradient ``(S, M, P)``; that of the logits by default.
    """
    if not _fused(logits):
        gradient, loss = place_cell_cross_entropy_reference(
            logits, position_m, centre_m, width_m, surround_variance_ratio
        )
        return gradient.to(dtype), loss
    networks, rows, places = logits.shape
    gradient = logits if dtype in (None, logits.dtype) else torch.empty_like(logits, dtype=dtype)
    loss = logits.new_empty(networks, rows)
    _place_cell_cross_entropy_kernel[rows, networks](
        logits,
        position_m.contiguous(),
        centre_m.T.contiguous(),
        width_m,
        width_m if surround_variance_ratio is None else surround_variance_ratio,
        gradient,
        loss,
        M=rows,
        P=places,
        SURROUND=surround_variance_ratio is not None,
        TINY=_TINY,
        **_row_block(places),
    )
    return gradient, loss.mean(1)


def place_cell_cross_entropy_reference(
    logits: Tensor,
    position_m: Tensor,
    centre_m: Tensor,
    width_m: Tensor,
    surround_variance_ratio: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The twin of `place_cell_cross_entropy` in plain PyTorch; it keeps the logits."""
    code = place_code_reference(position_m, centre_m, width_m, surround_variance_ratio)
    predicted = torch.log_softmax(logits, -1)
    loss = -(code * predicted).sum(-1).mean(-1)
    return predicted.exp_().sub_(code).div_(len(position_m)), loss


class _CrossEntropyToPlaceCode(torch.autograd.Function):
    """`place_cell_cross_entropy` for autograd; under `torch.func.vmap` all networks at once."""

    @staticmethod
    def forward(
        logits: Tensor, position_m: Tensor, centre_m: Tensor, width_m: Tensor, ratio: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        surround = None if ratio is None else ratio[None]
        gradient, loss = place_cell_cross_entropy(logits.clone()[None], position_m, centre_m, width_m[None], surround)
        return loss[0], gradient[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, by_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return by_loss * gradient, None, None, None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        logits: Tensor,
        position_m: Tensor,
        centre_m: Tensor,
        width_m: Tensor,
        ratio: Tensor | None,
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        def stacked(value: Tensor, dim: int | None) -> Tensor:
            return value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)

        if in_dims[1] is not None or in_dims[2] is not None:
            raise NotImplementedError("networks side by side share their positions and centres")
        surround = None if ratio is None else stacked(ratio, in_dims[4]).contiguous()
        own = stacked(logits, in_dims[0]).clone(memory_format=torch.contiguous_format)
        width_m = stacked(width_m, in_dims[3]).contiguous()
        gradient, loss = place_cell_cross_entropy(own, position_m, centre_m, width_m, surround)
        return (loss, gradient), (0, 0)


def cross_entropy_to_place_code(
    logits: Tensor, position_m: Tensor, centre_m: Tensor, width_m: Tensor, surround_variance_ratio: Tensor | None = None
) -> Tensor:
    """Mean cross entropy of one network's predictions to the place code, 0-d, for `torch.func` and autograd.

    logits ``(M, P)``, position_m ``(M, 2)``, centre_m ``(P, 2)``; width_m and surround_variance_ratio 0-d.
    Differentiable by the logits alone. Under `torch.func.vmap` it is one call of `place_cell_cross_entropy`.
    """
    loss, _ = _CrossEntropyToPlaceCode.apply(logits, position_m, centre_m, width_m, surround_variance_ratio)
    return loss


def _row_block(places: int) -> dict[str, int]:
    """A program holds a whole row; in one warp while it fits, where sums need no shared memory."""
    block = max(16, 1 << (places - 1).bit_length())
    return {"BLOCK": block, "num_warps": min(16, max(1, block // 512))}


@jit
@no_type_check
def _code(
    position_m,
    centre_m,
    width_m,
    ratio,
    m,
    s,
    P,
    SURROUND: tl.constexpr,
    TINY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The place code of network s at position m, as `entorhinal.families.codes` has it; 0 in the padding."""
    place = tl.arange(0, BLOCK)
    inside = place < P
    dx = tl.load(position_m + 2 * m) - tl.load(centre_m + place, mask=inside, other=0.0)
    dy = tl.load(position_m + 2 * m + 1) - tl.load(centre_m + P + place, mask=inside, other=0.0)
    width = tl.load(width_m + s)
    drive = tl.where(inside, (dx * dx + dy * dy) * (-0.5 / (width * width)), -float("inf"))
    drive -= tl.max(drive, 0)
    code = tl.exp(drive)
    code *= 1 / tl.sum(code, 0)
    if SURROUND:
        surround = tl.exp(drive * (1 / tl.load(ratio + s)))
        difference = code - surround * (1 / tl.sum(surround, 0))
        lowest = tl.min(tl.where(inside, difference, float("inf")), 0)
        shifted = tl.where(inside, difference - lowest + TINY, 0.0)
        code = shifted * (1 / tl.sum(shifted, 0))
    return code


@jit
@no_type_check
def _place_code_kernel(
    position_m,
    centre_m,
    width_m,
    ratio,
    out,
    M,
    P,
    SURROUND: tl.constexpr,
    TINY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program a network and position."""
    m = tl.program_id(0)
    s = tl.program_id(1).to(tl.int64)
    place = tl.arange(0, BLOCK)
    code = _code(position_m, centre_m, width_m, ratio, m, s, P, SURROUND, TINY, BLOCK)
    tl.store(out + (s * M + m) * P + place, code.to(out.dtype.element_ty), mask=place < P)


@jit
@no_type_check
def _place_cell_cross_entropy_kernel(
    logits,
    position_m,
    centre_m,
    width_m,
    ratio,
    gradient,
    loss,
    M,
    P,
    SURROUND: tl.constexpr,
    TINY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program a network and position. All of its logits are read before the gradient takes their place."""
    m = tl.program_id(0)
    s = tl.program_id(1).to(tl.int64)
    place = tl.arange(0, BLOCK)
    inside = place < P
    at = (s * M + m) * P + place
    logit = tl.load(logits + at, mask=inside, other=-float("inf")).to(tl.float32)
    code = _code(position_m, centre_m, width_m, ratio, m, s, P, SURROUND, TINY, BLOCK)
    logit -= tl.max(logit, 0)
    predicted = tl.exp(logit)
    total = tl.sum(predicted, 0)
    tl.store(loss + s * M + m, tl.log(total) - tl.sum(tl.where(inside, code * logit, 0.0), 0))
    by_logit = (predicted * (1 / total) - code) * (1 / M)
    tl.store(gradient + at, by_logit.to(gradient.dtype.element_ty), mask=inside)


# ---------------------------------------------------------------------------------------------------------------------
# Tiles of rows and units, one a program, of the kernels of a step


def _grid(rows: int, units: int, networks: int) -> tuple[int, int, int]:
    return -(-rows // _TILE["ROWS"]), -(-units // _TILE["COLUMNS"]), networks


@jit
@no_type_check
def _tile(B, N, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Rows, units and network of a program, and which of its tile there are."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    return row, unit, tl.program_id(2).to(tl.int64), (row < B)[:, None] & (unit < N)[None, :]


@jit
@no_type_check
def _moved(displacement_m, row, B):
    """Δx and Δy of rows, as columns."""
    dx = tl.load(displacement_m + 2 * row, mask=row < B, other=0.0)
    return dx[:, None], tl.load(displacement_m + 2 * row + 1, mask=row < B, other=0.0)[:, None]


@jit
@no_type_check
def _drive(weights, dx, dy, inside, WIDTH: tl.constexpr):
    """What displacements drive, by WIDTH weights of each unit; a third is constant."""
    drive = dx * tl.load(weights, mask=inside, other=0.0)[None, :]
    drive += dy * tl.load(weights + 1, mask=inside, other=0.0)[None, :]
    if WIDTH == 3:
        drive += tl.load(weights + 2, mask=inside, other=0.0)[None, :]
    return drive


@jit
@no_type_check
def _store_slopes(out, by_drive, dx, dy, inside, WIDTH: tl.constexpr):
    """The gradient by the weights of `_drive`: sums over rows."""
    tl.store(out, tl.sum(by_drive * dx, 0), mask=inside)
    tl.store(out + 1, tl.sum(by_drive * dy, 0), mask=inside)
    if WIDTH == 3:
        tl.store(out + 2, tl.sum(by_drive, 0), mask=inside)


# ---------------------------------------------------------------------------------------------------------------------
# A step of the recurrence, but for its product


def rectified_step_(state: Tensor, displacement_m: Tensor, input: Tensor) -> None:
    """From W h to the next state, [W h + W_in Δx]₊, in place.

    state: ``(S, B, N)``, networks apart by any stride. displacement_m ``(B, 2)``, input: W_in, ``(S, N, 2)``.
    """
    if not _fused(state):
        rectified_step_reference_(state, displacement_m, input)
        return
    networks, trajectories, units = state.shape
    grid = _grid(trajectories, units, networks)
    _rectified_step_kernel[grid](
        state,
        displacement_m.contiguous(),
        input.contiguous(),
        state.stride(0),
        B=trajectories,
        N=units,
        **_TILE,
    )


def rectified_step_reference_(state: Tensor, displacement_m: Tensor, input: Tensor) -> None:
    """The twin of `rectified_step_` in plain PyTorch."""
    state.add_(displacement_m @ input.mT).relu_()


def rectified_step_backward_(gradient: Tensor, state: Tensor, displacement_m: Tensor) -> Tensor:
    """From the gradient by [a]₊ to that by a, in place, both ``(S, B, N)``; returns that by W_in in parts.

    state: [a]₊, in the dtype and with the strides of `gradient`. displacement_m: ``(B, 2)``.
    The gradient by W_in ``(S, N, 2)`` is the sum of its parts, ``(K, S, N, 2)``.
    """
    if not _fused(state):
        return rectified_step_backward_reference_(gradient, state, displacement_m)
    networks, trajectories, units = state.shape
    grid = _grid(trajectories, units, networks)
    by_input = state.new_empty(grid[0], networks, units, 2, dtype=torch.float32)
    _rectified_step_backward_kernel[grid](
        gradient,
        state,
        displacement_m.contiguous(),
        by_input,
        gradient.stride(0),
        state.stride(0),
        S=networks,
        B=trajectories,
        N=units,
        **_TILE,
    )
    return by_input


def rectified_step_backward_reference_(gradient: Tensor, state: Tensor, displacement_m: Tensor) -> Tensor:
    """The twin of `rectified_step_backward_` in plain PyTorch."""
    gradient.masked_fill_(state <= 0, 0)
    return (gradient.mT @ displacement_m)[None]


@jit
@no_type_check
def _rectified_step_kernel(
    state,
    displacement_m,
    input,
    stride,
    B,
    N,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program a tile; what is not a number stays so, for the harness to see."""
    row, unit, s, kept = _tile(B, N, ROWS, COLUMNS)
    at = state + s * stride + row[:, None] * N + unit[None, :]
    dx, dy = _moved(displacement_m, row, B)
    drive = tl.load(at, mask=kept, other=0.0).to(tl.float32)
    drive += _drive(input + (s * N + unit) * 2, dx, dy, unit < N, 2)
    tl.store(at, tl.where(drive < 0, 0.0, drive).to(state.dtype.element_ty), mask=kept)


@jit
@no_type_check
def _rectified_step_backward_kernel(
    gradient,
    state,
    displacement_m,
    by_input,
    gradient_stride,
    state_stride,
    S,
    B,
    N,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program a tile, which also sums its part of the gradient by W_in."""
    row, unit, s, kept = _tile(B, N, ROWS, COLUMNS)
    tile = row[:, None] * N + unit[None, :]
    rate = tl.load(state + s * state_stride + tile, mask=kept, other=0.0)
    at = gradient + s * gradient_stride + tile
    by_drive = tl.where(rate <= 0, 0.0, tl.load(at, mask=kept, other=0.0).to(tl.float32))
    tl.store(at, by_drive.to(gradient.dtype.element_ty), mask=kept)
    dx, dy = _moved(displacement_m, row, B)
    out = by_input + ((tl.program_id(0) * S + s) * N + unit) * 2
    _store_slopes(out, by_drive, dx, dy, unit < N, 2)


# ---------------------------------------------------------------------------------------------------------------------
# A step of the gated recurrence, but for its product, and the layer that reads it


def gated_step(
    product: Tensor, displacement_m: Tensor, into: Tensor, before: Tensor, active: Tensor, after: Tensor
) -> None:
    """From W h_{t−1} to (γ, [c]₊) and h_t (Nayebi et al. 2021), written to ``active`` and ``after``.

    product: W h_{t−1}, ``(S, B, 2N)``, contiguous. displacement_m ``(B, 2)``. into: what takes (Δx, 1) to the drive,
    ``(S, 2N, 3)``. before: h_{t−1}, like ``after`` ``(S, B, N)``. active: ``(S, B, 2N)``. Networks of what is not
    contiguous lie apart by any stride.
    """
    if not _fused(product):
        gated_step_reference(product, displacement_m, into, before, active, after)
        return
    networks, trajectories, units = before.shape
    grid = _grid(trajectories, units, networks)
    _gated_step_kernel[grid](
        product,
        displacement_m.contiguous(),
        into.contiguous(),
        before,
        active,
        after,
        before.stride(0),
        active.stride(0),
        after.stride(0),
        B=trajectories,
        N=units,
        **_TILE,
    )


def gated_step_reference(
    product: Tensor, displacement_m: Tensor, into: Tensor, before: Tensor, active: Tensor, after: Tensor
) -> None:
    """The twin of `gated_step` in plain PyTorch."""
    drive = torch.baddbmm(into[:, None, :, 2], displacement_m.expand(len(into), -1, -1), into[..., :2].mT)
    gate, candidate = drive.add_(product).chunk(2, -1)
    gate.add_(1).sigmoid_()
    candidate.relu_()
    active.copy_(drive)
    after.copy_(torch.lerp(candidate, before.to(gate), gate))


def gated_step_backward_(
    active: Tensor, by_after: Tensor, before: Tensor, by_before: Tensor, displacement_m: Tensor
) -> Tensor:
    """From (γ, [c]₊) to the gradient by (a, c), in place, and that by ``into`` in parts; by_before gains γ by_after.

    active: ``(S, B, 2N)``. by_after, the gradient by h_t, before, h_{t−1}, and by_before: ``(S, B, N)``. Networks lie
    apart by any stride. displacement_m: ``(B, 2)``.
    The gradient by ``into (S, 2N, 3)`` of `gated_step` is the sum of its parts, ``(K, S, 2N, 3)``.
    """
    if not _fused(before):
        return gated_step_backward_reference_(active, by_after, before, by_before, displacement_m)
    networks, trajectories, units = before.shape
    grid = _grid(trajectories, units, networks)
    by_into = before.new_empty(grid[0], networks, 2 * units, 3, dtype=torch.float32)
    _gated_step_backward_kernel[grid](
        active,
        by_after,
        before,
        by_before,
        displacement_m.contiguous(),
        by_into,
        active.stride(0),
        by_after.stride(0),
        before.stride(0),
        by_before.stride(0),
        S=networks,
        B=trajectories,
        N=units,
        **_TILE,
    )
    return by_into


def gated_step_backward_reference_(
    active: Tensor, by_after: Tensor, before: Tensor, by_before: Tensor, displacement_m: Tensor
) -> Tensor:
    """The twin of `gated_step_backward_` in plain PyTorch."""
    gate, candidate = active.chunk(2, -1)
    by_before.addcmul_(gate, by_after)
    by_candidate = (1 - gate).mul_(by_after)
    gate.mul_(before - candidate).mul_(by_candidate)
    candidate.copy_(by_candidate.masked_fill_(candidate <= 0, 0))
    return torch.cat((active.mT @ displacement_m, active.sum(1)[..., None]), -1)[None]


def rectified(sums: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """[x + b]₊ of x ``(S, M, N)``, contiguous, and b ``(S, N)``, in ``dtype``."""
    if not _fused(sums):
        return rectified_reference(sums, bias).to(dtype)
    networks, rows, units = sums.shape
    found = torch.empty_like(sums, dtype=dtype)
    grid = _grid(rows, units, networks)
    _rectified_kernel[grid](sums, bias.contiguous(), found, M=rows, N=units, **_TILE)
    return found


def rectified_reference(sums: Tensor, bias: Tensor) -> Tensor:
    """The twin of `rectified` in plain PyTorch."""
    return (sums + bias[:, None]).relu_()


@jit
@no_type_check
def _gated_step_kernel(
    product,
    displacement_m,
    into,
    before,
    active,
    after,
    before_stride,
    active_stride,
    after_stride,
    B,
    N,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program a tile of states; what is not a number stays so."""
    row, unit, s, kept = _tile(B, N, ROWS, COLUMNS)
    tile = row[:, None] * N + unit[None, :]
    pair = row[:, None] * 2 * N + unit[None, :]
    dx, dy = _moved(displacement_m, row, B)
    weights = into + (s * 2 * N + unit) * 3
    a = tl.load(product + s * 2 * B * N + pair, mask=kept, other=0.0) + _drive(weights, dx, dy, unit < N, 3)
    c = tl.load(product + s * 2 * B * N + pair + N, mask=kept, other=0.0) + _drive(weights + 3 * N, dx, dy, unit < N, 3)
    gate = 1 / (1 + tl.exp(-(a + 1)))
    candidate = tl.where(c < 0, 0.0, c)
    state = tl.load(before + s * before_stride + tile, mask=kept, other=0.0).to(tl.float32)
    state = candidate + gate * (state - candidate)
    tl.store(active + s * active_stride + pair, gate.to(active.dtype.element_ty), mask=kept)
    tl.store(active + s * active_stride + pair + N, candidate.to(active.dtype.element_ty), mask=kept)
    tl.store(after + s * after_stride + tile, state.to(after.dtype.element_ty), mask=kept)


@jit
@no_type_check
def _gated_step_backward_kernel(
    active,
    by_after,
    before,
    by_before,
    displacement_m,
    by_into,
    active_stride,
    by_after_stride,
    before_stride,
    by_before_stride,
    S,
    B,
    N,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program a tile of states, which also sums its part of the gradient by what takes (Δx, 1) to the drive."""
    row, unit, s, kept = _tile(B, N, ROWS, COLUMNS)
    tile = row[:, None] * N + unit[None, :]
    pair = active + s * active_stride + row[:, None] * 2 * N + unit[None, :]
    gate = tl.load(pair, mask=kept, other=0.0).to(tl.float32)
    candidate = tl.load(pair + N, mask=kept, other=0.0).to(tl.float32)
    slope = tl.load(by_after + s * by_after_stride + tile, mask=kept, other=0.0).to(tl.float32)
    state = tl.load(before + s * before_stride + tile, mask=kept, other=0.0).to(tl.float32)
    by_candidate = (1 - gate) * slope
    by_a = gate * (state - candidate) * by_candidate
    by_c = tl.where(candidate <= 0, 0.0, by_candidate)
    tl.store(pair, by_a.to(active.dtype.element_ty), mask=kept)
    tl.store(pair + N, by_c.to(active.dtype.element_ty), mask=kept)
    dx, dy = _moved(displacement_m, row, B)
    out = by_into + ((tl.program_id(0) * S + s) * 2 * N + unit) * 3
    _store_slopes(out, by_a, dx, dy, unit < N, 3)
    _store_slopes(out + 3 * N, by_c, dx, dy, unit < N, 3)
    earlier = by_before + s * by_before_stride + tile
    gained = tl.load(earlier, mask=kept, other=0.0).to(tl.float32) + gate * slope
    tl.store(earlier, gained.to(by_before.dtype.element_ty), mask=kept)


@jit
@no_type_check
def _rectified_kernel(sums, bias, out, M, N, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """One program a tile."""
    row, unit, s, kept = _tile(M, N, ROWS, COLUMNS)
    tile = s * M * N + row[:, None] * N + unit[None, :]
    value = tl.load(sums + tile, mask=kept, other=0.0) + tl.load(bias + s * N + unit, mask=unit < N, other=0.0)[None, :]
    tl.store(out + tile, tl.where(value < 0, 0.0, value).to(out.dtype.element_ty), mask=kept)


# ---------------------------------------------------------------------------------------------------------------------
# All of it: the gradients of a population


def rectified_population_gradients(
    params: dict[str, Tensor],
    buffers: dict[str, Tensor],
    batch: dict[str, Tensor],
    *,
    surround: bool,
    precision: Precision = "float32",
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of the total loss of S networks of `supervised/sorscher`, and its terms (Sorscher et al. 2019).

    params: ``start`` W_0 ``(S, N, P)``, ``input`` W_in ``(S, N, 2)``, ``recurrent`` W ``(S, N, N)``, ``readout`` W_out
        ``(S, P, N)``.
    buffers: ``centre_m (P, 2)``; ``place_width_m, surround_variance_ratio, weight_decay``, ``(S,)`` each.
    batch: ``start_m (B, 2)``, ``displacement_m (B, T, 2)``, ``position_m (B, T, 2)``.
    surround: place cells have one (`difference_of_softmaxes_place_cells`) or are Gaussian (`softmax_place_cells`).
    precision: of products on a GPU. "bf16" keeps states, gradients by them and copies of the weights in bfloat16; sums,
        logits, the softmax, the loss and the gradients by weights are float32. Products of float32 are rounded to tf32
        as `torch.set_float32_matmul_precision` says. On a CPU only the tensors' dtype counts.

    Returns the gradients by the names of `params`, and ``total, cross_entropy, weight_penalty``, ``(S,)`` each.
    """
    recurrent = params["recurrent"]
    networks, units, _ = recurrent.shape
    displacement_m, position_m = (batch[name].transpose(0, 1).contiguous() for name in ("displacement_m", "position_m"))
    steps, trajectories, _ = displacement_m.shape
    cells, dtype = _cells(buffers, surround), _dtype(recurrent, precision)
    w_start, w, w_out = (params[name].to(dtype) for name in ("start", "recurrent", "readout"))
    w_in = params["input"].contiguous()

    start_code = place_code(batch["start_m"], *cells, dtype=dtype)
    states = w.new_empty(networks, steps + 1, trajectories, units)
    torch.bmm(start_code, w_start.mT, out=states[:, 0])
    for t in range(steps):
        torch.bmm(states[:, t], w.mT, out=states[:, t + 1])
        rectified_step_(states[:, t + 1], displacement_m[t], w_in)
    rates = states[:, 1:].flatten(1, 2)  # (S, T·B, N)
    logits = _wide(torch.bmm, rates, w_out.mT)
    by_logits, cross_entropy = place_cell_cross_entropy(logits, position_m.flatten(0, 1), *cells, dtype=dtype)

    by_states = torch.bmm(by_logits, w_out).view(networks, steps, trajectories, units)
    by_input = []
    for t in reversed(range(steps)):
        by_input.append(rectified_step_backward_(by_states[:, t], states[:, t + 1], displacement_m[t]))
        if t:
            by_states[:, t - 1].baddbmm_(by_states[:, t], w)
    by_start = torch.bmm(by_states[:, 0], w)  # h_0 is not rectified

    grads = {name: torch.empty_like(value) for name, value in params.items()}
    torch.sum(torch.cat(by_input), 0, out=grads["input"])
    for s in range(networks):  # long sums of few outputs: only a product alone is split along them
        _wide(torch.mm, by_start[s].T, start_code[s], out=grads["start"][s])
        _wide(torch.mm, by_states[s].flatten(0, 1).T, states[s, :-1].flatten(0, 1), out=grads["recurrent"][s])
        _wide(torch.mm, by_logits[s].T, rates[s], out=grads["readout"][s])
    return grads, _with_penalty(cross_entropy, recurrent, buffers["weight_decay"], grads)


def gated_population_gradients(
    params: dict[str, Tensor],
    buffers: dict[str, Tensor],
    batch: dict[str, Tensor],
    *,
    surround: bool,
    precision: Precision = "float32",
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of the total loss of S networks of `supervised/nayebi`, and its terms (Nayebi et al. 2021).

    Both linear layers before the cells are one, U (M Δx + b_M) + b; U ``(2N, N)`` is ``input`` and W ``recurrent``.

    params: ``start`` W_0 ``(S, N, P)``, ``embed`` M ``(S, N, 2)``, ``input`` and ``recurrent`` ``(S, 2N, N)``,
        ``dense`` W_g ``(S, N, N)``, ``readout`` W_out ``(S, P, N)``, and the biases of all of them but W.
    buffers, batch, surround, precision: as of `rectified_population_gradients`. "bf16" keeps h, γ, [c]₊, g and
        gradients by them in bfloat16; a and c are summed in float32.

    Returns the gradients by the names of `params`, and ``total, cross_entropy, weight_penalty``, ``(S,)`` each.
    """
    recurrent = params["recurrent"]
    networks, _, units = recurrent.shape
    displacement_m, position_m = (batch[name].transpose(0, 1).contiguous() for name in ("displacement_m", "position_m"))
    steps, trajectories, _ = displacement_m.shape
    cells, dtype = _cells(buffers, surround), _dtype(recurrent, precision)
    w_start, w, w_dense, w_out = (params[name].to(dtype) for name in ("start", "recurrent", "dense", "readout"))
    embed = torch.cat((params["embed"], params["embed_bias"][..., None]), -1)  # (M, b_M), (S, N, 3)
    into = params["input"] @ embed  # U M and U b_M, (S, 2N, 3)
    into[..., 2] += params["input_bias"]

    start_code = place_code(batch["start_m"], *cells, dtype=dtype)
    states = w.new_empty(networks, steps + 1, trajectories, units)
    active = w.new_empty(networks, steps, trajectories, 2 * units)  # (γ, [c]₊)
    states[:, 0] = _wide(torch.bmm, start_code, w_start.mT) + params["start_bias"][:, None]
    for t in range(steps):
        product = _wide(torch.bmm, states[:, t], w.mT)
        gated_step(product, displacement_m[t], into, states[:, t], active[:, t], states[:, t + 1])
    hidden = states[:, 1:].flatten(1, 2)  # (S, T·B, N)
    rates = rectified(_wide(torch.bmm, hidden, w_dense.mT), params["dense_bias"], dtype)
    logits = _wide(torch.bmm, rates, w_out.mT).add_(params["readout_bias"][:, None])
    by_logits, cross_entropy = place_cell_cross_entropy(logits, position_m.flatten(0, 1), *cells, dtype=dtype)

    by_rates = torch.bmm(by_logits, w_out).masked_fill_(rates <= 0, 0)
    by_states = torch.bmm(by_rates, w_dense).view(networks, steps, trajectories, units)
    by_start, parts = torch.zeros_like(by_states[:, 0]), []
    for t in reversed(range(steps)):
        by_before = by_states[:, t - 1] if t else by_start
        parts.append(gated_step_backward_(active[:, t], by_states[:, t], states[:, t], by_before, displacement_m[t]))
        by_before.baddbmm_(active[:, t], w)  # active is the gradient by (a, c) now
    by_drive, by_into = active.flatten(1, 2), torch.cat(parts).sum(0)

    grads = {name: torch.empty_like(value) for name, value in params.items()}
    torch.bmm(by_into, embed.mT, out=grads["input"])
    by_embed = params["input"].mT @ by_into
    grads["embed"], grads["embed_bias"], grads["input_bias"] = by_embed[..., :2], by_embed[..., 2], by_into[..., 2]
    for name, by_bias in (("start", by_start), ("dense", by_rates), ("readout", by_logits)):
        grads[f"{name}_bias"] = by_bias.sum(1, dtype=recurrent.dtype)
    for s in range(networks):
        _wide(torch.mm, by_start[s].T, start_code[s], out=grads["start"][s])
        _wide(torch.mm, by_drive[s].T, states[s, :-1].flatten(0, 1), out=grads["recurrent"][s])
        _wide(torch.mm, by_rates[s].T, hidden[s], out=grads["dense"][s])
        _wide(torch.mm, by_logits[s].T, rates[s], out=grads["readout"][s])
    return grads, _with_penalty(cross_entropy, recurrent, buffers["weight_decay"], grads)


def _cells(buffers: dict[str, Tensor], surround: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """The place cells: centres, widths, and their surrounds' if they have one."""
    return buffers["centre_m"], buffers["place_width_m"], buffers["surround_variance_ratio"] if surround else None


def _dtype(weights: Tensor, precision: Precision) -> torch.dtype:
    """Of states, gradients by them and copies of the weights."""
    return torch.bfloat16 if precision == "bf16" and weights.is_cuda else weights.dtype


def _with_penalty(
    cross_entropy: Tensor, recurrent: Tensor, decay: Tensor, grads: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The terms of the loss; the penalty's gradient is added to that by W."""
    grads["recurrent"].addcmul_(recurrent, decay[:, None, None], value=2)
    weight_penalty = decay * torch.linalg.vector_norm(recurrent, dim=(1, 2)).square()
    terms = {"cross_entropy": cross_entropy, "weight_penalty": weight_penalty}
    return {"total": cross_entropy + weight_penalty, **terms}


def _wide(product: Any, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """`torch.mm` or `torch.bmm`, in float32 also where the factors have 16 bits."""
    given = {} if out is None else {"out": out}
    return product(a, b, out_dtype=torch.float32, **given) if a.dtype == torch.bfloat16 else product(a, b, **given)
