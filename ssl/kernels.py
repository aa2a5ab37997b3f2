"""Fast training of many velocity networks side by side: gradients and optimiser step for S networks at once.

Source of the model: Schaeffer, Khona, Ma, Eyzaguirre, Koyejo & Fiete 2023, NeurIPS. Every trajectory of a batch uses
the same T velocities in its own order, so the multilayer perceptron runs on T inputs, and the gradient of all its
matrices is one batched product. The losses over all pairs of the M = B·T states, and their gradient, are one tiled pass
that stores nothing of size M², like flash attention.

Each public function runs a Triton kernel where there is one for its tensors (CUDA, float32, Triton installed) and else
its twin in plain PyTorch, ``*_reference``, which also takes float64. Nothing waits for the device and no shape depends
on data, so that a whole training step fits in a CUDA graph.

Letters: S networks, N units, H hidden units, B trajectories, T steps, M = B·T states, P parameters of a network.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal, no_type_check

import torch
from torch import Tensor

from entorhinal.families.kernel import fused, jit, tl, triton

__all__ = [
    "Activation",
    "HardPairs",
    "Precision",
    "Rollout",
    "Slopes",
    "Unrolled",
    "adam_step_",
    "adam_step_reference_",
    "count_pairs",
    "count_pairs_reference",
    "pair_losses",
    "pair_losses_reference",
    "population_gradients",
    "rollout",
    "rollout_backward",
    "rollout_backward_reference",
    "rollout_reference",
    "sic_population_gradients",
]

Activation = Literal["relu", "gelu", "tanh"]
Precision = Literal["float32", "tf32", "bf16"]

SMALLEST_NORM = 1e-8
TILE_ROWS = 128  # the pair kernel's states are padded to a multiple of this


def _fused(tensor: Tensor) -> bool:
    return fused(tensor, torch.float32)


@cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _power_of_two(count: int) -> int:
    return max(16, 1 << (count - 1).bit_length())


# ---------------------------------------------------------------------------------------------------------------------
# The recurrence: g_t = norm(relu(W(v_t) g_{t-1})), forward and backward


@dataclass(frozen=True)
class Rollout:
    """What S networks did along B trajectories, and what the way back needs of it.

    states: g_t, ``(S, B, T, N)``.
    previous: g_{t-1} by velocity, ``(S, T, B, N)``: entry (s, v, b) is the state of b just before it used velocity v.
    norm: ‖relu(W(v_t) g_{t-1})‖, ``(S, B, T)``; 0 where a state died.
    distance: ‖g_t - g_{t-1}‖, ``(S, B, T)``.
    total: the sum of a trajectory's states, ``(S, B, N)``.
    """

    states: Tensor
    previous: Tensor
    norm: Tensor
    distance: Tensor
    total: Tensor


def rollout(matrices: Tensor, order: Tensor, start: Tensor) -> Rollout:
    """States of S networks along B trajectories (Schaeffer et al. 2023, NeurIPS).

    matrices: W(v) for each velocity, ``(S, T, N, N)``; may be float16 where `start` is float32.
    order: which velocity trajectory b uses at step t, ``(B, T)``, each row a permutation of 0..T-1.
    start: g_0, ``(S, N)``.
    """
    if not _fused(start):
        return rollout_reference(matrices, order, start)
    networks, steps, units, _ = matrices.shape
    trajectories = len(order)
    made = Rollout(
        start.new_empty(networks, trajectories, steps, units),
        start.new_empty(networks, steps, trajectories, units),
        start.new_empty(networks, trajectories, steps),
        start.new_empty(networks, trajectories, steps),
        start.new_empty(networks, trajectories, units),
    )
    columns, rows, product, warps, stages = _matrix_tile(units, matrices.dtype)
    _rollout_kernel[trajectories, networks](
        matrices.contiguous(),
        order.contiguous(),
        start.contiguous(),
        made.states,
        made.previous,
        made.norm,
        made.distance,
        made.total,
        T=steps,
        B=trajectories,
        N=units,
        ROWS=rows,
        COLUMNS=columns,
        PRODUCT=product,
        STAGES=stages,
        SMALLEST=SMALLEST_NORM,
        num_warps=warps,
    )
    return made


def rollout_reference(matrices: Tensor, order: Tensor, start: Tensor) -> Rollout:
    """The twin of `rollout` in plain PyTorch."""
    networks, steps, units, _ = matrices.shape
    trajectory = torch.arange(len(order), device=order.device)
    state = start[:, None].expand(-1, len(order), -1)
    previous = start.new_empty(networks, steps, len(order), units)
    states, norms, distances = [], [], []
    for used in order.T:
        previous[:, used, trajectory] = state
        raw = torch.relu(matrices[:, used].to(start.dtype) @ state[..., None])[..., 0]
        norm = torch.linalg.vector_norm(raw, dim=-1)
        after = raw / norm.clamp_min(SMALLEST_NORM)[..., None]
        states.append(after)
        norms.append(norm)
        distances.append(torch.linalg.vector_norm(after - state, dim=-1))
        state = after
    whole = torch.stack(states, 2)
    return Rollout(whole, previous, torch.stack(norms, 2), torch.stack(distances, 2), whole.sum(2))


def rollout_backward(
    matrices: Tensor, order: Tensor, made: Rollout, gradient: Tensor, shared: Tensor, pull: Tensor
) -> tuple[Tensor, Tensor]:
    """From the gradient of a loss by the states to that by the pre-activations W(v) g and by g_0.

    gradient: of the loss by each state, in K parts whose sum it is, ``(K, S, B, T, N)``.
    shared: a further gradient that is the same for all states of a network, ``(S, N)``.
    pull: a further gradient of pull · (g_t - g_{t-1}) by g_t and of the opposite by g_{t-1}, ``(S, B, T)``.

    Returns the gradient by the pre-activations, by velocity as ``made.previous`` is, ``(S, T, B, N)``, so that
    dL/dW(v) is ``deltas[s, v].T @ previous[s, v]``, and the gradient by g_0 of each trajectory, ``(S, B, N)``.
    """
    if not _fused(made.states):
        return rollout_backward_reference(matrices, order, made, gradient, shared, pull)
    networks, trajectories, steps, units = made.states.shape
    deltas, start = torch.empty_like(made.previous), torch.empty_like(made.total)
    columns, rows, product, warps, stages = _matrix_tile(units, matrices.dtype)
    _rollout_backward_kernel[trajectories, networks](
        matrices.contiguous(),
        order.contiguous(),
        made.states,
        made.previous,
        made.norm,
        gradient.contiguous(),
        shared.contiguous(),
        pull.contiguous(),
        deltas,
        start,
        S=networks,
        T=steps,
        B=trajectories,
        N=units,
        PARTS=len(gradient),
        ROWS=rows,
        COLUMNS=columns,
        PRODUCT=product,
        STAGES=stages,
        SMALLEST=SMALLEST_NORM,
        num_warps=warps,
    )
    return deltas, start


def rollout_backward_reference(
    matrices: Tensor, order: Tensor, made: Rollout, gradient: Tensor, shared: Tensor, pull: Tensor
) -> tuple[Tensor, Tensor]:
    """The twin of `rollout_backward` in plain PyTorch."""
    trajectory = torch.arange(len(order), device=order.device)
    by_state = gradient.sum(0) + shared[:, None, None]
    deltas, carry = torch.empty_like(made.previous), torch.zeros_like(made.total)
    for step in reversed(range(order.shape[1])):
        used, state, norm = order[:, step], made.states[:, :, step], made.norm[:, :, step, None]
        pulled = pull[:, :, step, None] * (state - made.previous[:, used, trajectory])
        by_this = by_state[:, :, step] + carry + pulled
        along = torch.where(norm >= SMALLEST_NORM, (by_this * state).sum(-1, keepdim=True), 0)
        delta = torch.where(state > 0, (by_this - along * state) / norm.clamp_min(SMALLEST_NORM), 0)
        deltas[:, used, trajectory] = delta
        carry = (delta[..., None, :] @ matrices[:, used].to(delta.dtype))[..., 0, :] - pulled
    return deltas, carry


def _matrix_tile(units: int, dtype: torch.dtype) -> tuple[int, int, bool, int, int]:
    """How a program holds W(v): columns and rows at a time, on tensor cores or not, warps, pipeline stages."""
    columns = _power_of_two(units)
    rows = min(columns, 16384 // columns)
    if rows == columns and dtype == torch.float16:
        return columns, rows, True, 4, 2
    return columns, rows, False, 4, 1


@jit
@no_type_check
def _two_columns(vector):
    """A vector as two columns of float16 whose sum it is, and 14 of zeros: the least that tensor cores multiply."""
    place = tl.arange(0, 16)
    high = vector.to(tl.float16)
    low = (vector - high.to(tl.float32)).to(tl.float16)
    return tl.where(place[None, :] == 0, high[:, None], tl.where(place[None, :] == 1, low[:, None], 0.0))


@jit
@no_type_check
def _rollout_kernel(
    matrices,
    order,
    start,
    states,
    previous,
    norm_out,
    distance_out,
    total_out,
    T: tl.constexpr,
    B: tl.constexpr,
    N: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRODUCT: tl.constexpr,
    STAGES: tl.constexpr,
    SMALLEST: tl.constexpr,
):
    """One program a trajectory and network. On tensor cores the next matrix is on its way while this one is used."""
    b = tl.program_id(0)
    s = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, COLUMNS)
    row = tl.arange(0, ROWS)
    inside = column < N
    tile = row[:, None] * N + column[None, :]
    kept = (row[:, None] < N) & inside[None, :]
    state = tl.load(start + s * N + column, mask=inside, other=0.0)
    total = tl.zeros((COLUMNS,), tl.float32)
    for t in tl.range(T, num_stages=STAGES):
        after = states + ((s * B + b) * T + t) * N
        used = tl.load(order + b * T + t)
        if ROWS == COLUMNS:
            matrix = tl.load(matrices + (s * T + used) * N * N + tile, mask=kept, other=0.0)
        tl.store(previous + ((s * T + used) * B + b) * N + column, state, mask=inside)
        if PRODUCT:
            raw = tl.maximum(tl.sum(tl.dot(matrix, _two_columns(state)), 1), 0.0)
        elif ROWS == COLUMNS:
            raw = tl.maximum(tl.sum(matrix.to(tl.float32) * state[None, :], 1), 0.0)
        else:
            tl.debug_barrier()
            for first in range(0, N, ROWS):
                unit = first + row
                matrix = tl.load(
                    matrices + (s * T + used) * N * N + first * N + tile,
                    mask=(unit[:, None] < N) & inside[None, :],
                    other=0.0,
                )
                part = tl.maximum(tl.sum(matrix.to(tl.float32) * state[None, :], 1), 0.0)
                tl.store(after + unit, part, mask=unit < N)
            tl.debug_barrier()
            raw = tl.load(after + column, mask=inside, other=0.0)
            tl.debug_barrier()
        norm = tl.sqrt(tl.sum(raw * raw, 0))
        new = raw / tl.maximum(norm, SMALLEST)
        change = tl.sum(tl.where(inside, (new - state) * (new - state), 0.0), 0)
        tl.store(after + column, new, mask=inside)
        tl.store(norm_out + (s * B + b) * T + t, norm)
        tl.store(distance_out + (s * B + b) * T + t, tl.sqrt(change))
        total += new
        state = new
    tl.store(total_out + (s * B + b) * N + column, total, mask=inside)


@jit
@no_type_check
def _rollout_backward_kernel(
    matrices,
    order,
    states,
    previous,
    norm_in,
    gradient,
    shared,
    pull,
    deltas,
    start_gradient,
    S: tl.constexpr,
    T: tl.constexpr,
    B: tl.constexpr,
    N: tl.constexpr,
    PARTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRODUCT: tl.constexpr,
    STAGES: tl.constexpr,
    SMALLEST: tl.constexpr,
):
    """One program a trajectory and network, from the last step to the first."""
    b = tl.program_id(0)
    s = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, COLUMNS)
    row = tl.arange(0, ROWS)
    inside = column < N
    tile = row[:, None] * N + column[None, :]
    kept = (row[:, None] < N) & inside[None, :]
    common = tl.load(shared + s * N + column, mask=inside, other=0.0)
    carry = tl.zeros((COLUMNS,), tl.float32)
    path = (s * B + b) * T
    for back in tl.range(T, num_stages=STAGES):
        t = T - 1 - back
        used = tl.load(order + b * T + t)
        by_velocity = ((s * T + used) * B + b) * N
        if ROWS == COLUMNS:
            matrix = tl.load(matrices + (s * T + used) * N * N + tile, mask=kept, other=0.0)
        state = tl.load(states + (path + t) * N + column, mask=inside, other=0.0)
        before = tl.load(previous + by_velocity + column, mask=inside, other=0.0)
        slope = common
        for k in tl.static_range(PARTS):
            slope += tl.load(gradient + (k * S * B * T + path + t) * N + column, mask=inside, other=0.0)
        norm = tl.load(norm_in + path + t)
        strength = tl.load(pull + path + t)
        pulled = strength * (state - before)
        slope += carry + pulled
        along = tl.where(norm >= SMALLEST, tl.sum(slope * state, 0), 0.0)
        delta = tl.where(state > 0, (slope - along * state) / tl.maximum(norm, SMALLEST), 0.0)
        tl.store(deltas + by_velocity + column, delta, mask=inside)
        if PRODUCT:
            largest = tl.maximum(tl.max(tl.abs(delta), 0), 1e-30)
            carry = largest * tl.sum(tl.dot(tl.trans(matrix), _two_columns(delta / largest)), 1) - pulled
        elif ROWS == COLUMNS:
            carry = tl.sum(matrix.to(tl.float32) * delta[:, None], 0) - pulled
        else:
            tl.debug_barrier()
            carry = -pulled
            for first in range(0, N, ROWS):
                unit = first + row
                matrix = tl.load(
                    matrices + (s * T + used) * N * N + first * N + tile,
                    mask=(unit[:, None] < N) & inside[None, :],
                    other=0.0,
                )
                part = tl.load(deltas + by_velocity + unit, mask=unit < N, other=0.0)
                carry += tl.sum(matrix.to(tl.float32) * part[:, None], 0)
    tl.store(start_gradient + (s * B + b) * N + column, carry, mask=inside)


# ---------------------------------------------------------------------------------------------------------------------
# Near and far pairs: counting, once a batch


def count_pairs(position_m: Tensor, near_m: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of unordered near (closer than near_m) and far pairs of different states, two ``(S,)`` int64.

    position_m: ``(M, 2)``, shared by the networks. near_m: ``(S,)``; networks with the same one are counted once.
    """
    if not _fused(position_m):
        return count_pairs_reference(position_m, near_m)
    states, networks = len(position_m), len(near_m)
    rows, chunk = 64, 1024
    tiles, chunks = triton.cdiv(states, rows), triton.cdiv(states, chunk)
    found = torch.empty(networks, tiles * chunks, dtype=torch.int64, device=position_m.device)
    _count_kernel[tiles, chunks, networks](
        position_m.contiguous(),
        near_m,
        found,
        M=states,
        S=networks,
        NETWORKS=_power_of_two(networks),
        ROWS=rows,
        COLUMNS=64,
        CHUNK=chunk,
        num_warps=4,
    )
    near = (found.sum(1) * (near_m[:, None] == near_m)).amax(1)
    return near, states * (states - 1) // 2 - near


def count_pairs_reference(position_m: Tensor, near_m: Tensor) -> tuple[Tensor, Tensor]:
    """The twin of `count_pairs` in plain PyTorch."""
    states = len(position_m)
    near = torch.zeros(len(near_m), dtype=torch.int64, device=position_m.device)
    index = torch.arange(states, device=position_m.device)
    for rows in index.split(max(1, 2**21 // states)):
        squared_m2 = _squared_distances(position_m[rows], position_m)
        squared_m2.masked_fill_(rows[:, None] == index, torch.inf)
        near += torch.stack([(squared_m2 < limit).sum() for limit in _signed_square(near_m)])
    near //= 2
    return near, states * (states - 1) // 2 - near


def _squared_distances(some_m: Tensor, all_m: Tensor) -> Tensor:
    """Between places ``(R, 2)`` and ``(M, 2)``: ``(R, M)``."""
    dx, dy = ((some_m[:, None, axis] - all_m[:, axis]).square_() for axis in (0, 1))
    return dx.add_(dy)


def _signed_square(near_m: Tensor) -> Tensor:
    """The limit of a squared distance; below 0 (nothing is near) for a distance below 0."""
    return near_m * near_m.abs()


@jit
@no_type_check
def _count_kernel(
    position,
    near_m,
    found,
    M: tl.constexpr,
    S: tl.constexpr,
    NETWORKS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Pairs i < j in one chunk of columns; nothing for a network whose near_m an earlier one has too."""
    i = tl.program_id(0)
    k = tl.program_id(1)
    s = tl.program_id(2)
    mine = tl.load(near_m + s)
    network = tl.arange(0, NETWORKS)
    theirs = tl.load(near_m + network, mask=network < S, other=0.0)
    repeated = tl.sum(((network < s) & (theirs == mine)).to(tl.int32), 0) > 0
    near = tl.zeros((ROWS, COLUMNS), tl.int32)
    if (not repeated) & ((k + 1) * CHUNK > i * ROWS):
        limit = mine * tl.abs(mine)
        row = i * ROWS + tl.arange(0, ROWS)
        x = tl.load(position + 2 * row, mask=row < M, other=0.0)
        y = tl.load(position + 2 * row + 1, mask=row < M, other=0.0)
        for first in range(0, CHUNK, COLUMNS):
            column = k * CHUNK + first + tl.arange(0, COLUMNS)
            dx = x[:, None] - tl.load(position + 2 * column, mask=column < M, other=float("inf"))[None, :]
            dy = y[:, None] - tl.load(position + 2 * column + 1, mask=column < M, other=float("inf"))[None, :]
            here = (dx * dx + dy * dy < limit) & (row[:, None] < column[None, :])
            near += here.to(tl.int32)
    tl.store(found + (s * tl.num_programs(0) + i) * tl.num_programs(1) + k, tl.sum(tl.sum(near, 1), 0).to(tl.int64))


# ---------------------------------------------------------------------------------------------------------------------
# Separation and invariance over all pairs, with their gradient


@dataclass(frozen=True)
class HardPairs:
    """A second separation, narrower, of pairs farther apart than ``from_m``: it sees hardly more than repeats.

    mean over far pairs of exp(−‖g−g′‖²/2σ_h²), 0 for those within ``from_m`` metres; ours, not the paper's.
    from_m (not below near_m), width (σ_h), weight: ``(S,)``.
    """

    from_m: Tensor
    width: Tensor
    weight: Tensor


def pair_losses(
    states: Tensor,
    mean: Tensor,
    position_m: Tensor,
    near_m: Tensor,
    separation_width: Tensor,
    separation_weight: Tensor,
    invariance_weight: Tensor,
    near: Tensor,
    far: Tensor,
    *,
    hard: HardPairs | None = None,
    precision: Precision = "float32",
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Separation and invariance of S networks and the gradient of their weighted sum (Schaeffer et al. 2023, NeurIPS).

    states: g, ``(S, M, N)``, unit vectors or zeros. mean: of a network's states, ``(S, N)``; differences do not depend
        on it, and rounding is smaller without it.
    position_m: ``(M, 2)``. near_m, separation_width, the weights, near and far (of `count_pairs`): ``(S,)``.
    hard: a second, narrower separation of the pairs that are very far, if wanted.
    precision: of the products of centred states; "bf16" is float16 here, which has three bits more for such numbers.

    Returns the gradient of the weighted sum by the states, in K parts whose sum it is, ``(K, S, M, N)``; and
    separation, invariance and hard separation (0 without), ``(S,)`` each, not weighted.
    """
    if not _fused(states):
        return pair_losses_reference(
            states,
            mean,
            position_m,
            near_m,
            separation_width,
            separation_weight,
            invariance_weight,
            near,
            far,
            hard,
        )
    networks, count, units = states.shape
    columns = _power_of_two(units)
    padded = triton.cdiv(count, TILE_ROWS) * TILE_ROWS
    centred = states.new_empty(networks, padded, columns, dtype=torch.float16 if precision == "bf16" else None)
    squares = states.new_empty(networks, padded)
    _centre_kernel[padded // 16, networks](
        states, mean, centred, squares, M=count, PADDED=padded, N=units, COLUMNS=columns, ROWS=16, num_warps=4
    )
    flipped = centred if precision == "bf16" else centred.mT.contiguous()  # for float32, tensor cores want both
    place_m = position_m.new_full((2, padded), torch.inf)
    place_m[:, :count] = position_m.T
    rows, tile, warps, stages = _pair_tile(columns, precision)
    tiles = padded // rows
    parts = max(1, min(4, 2 * _multiprocessors(states.device) // (tiles * networks), padded // tile))
    gradient = states.new_empty(parts, networks, count, units)
    sums = states.new_empty(2 if hard is None else 3, networks, parts * tiles)
    _pair_kernel[tiles, parts, networks](
        states,
        mean,
        centred,
        flipped,
        squares,
        place_m,
        near_m,
        separation_width,
        separation_weight,
        invariance_weight,
        near,
        far,
        near_m if hard is None else hard.from_m,
        near_m if hard is None else hard.width,
        near_m if hard is None else hard.weight,
        gradient,
        sums,
        S=networks,
        M=count,
        PADDED=padded,
        N=units,
        COLUMNS=columns,
        HARD=hard is not None,
        ROWS=rows,
        TILE=tile,
        CHUNK=triton.cdiv(padded // tile, parts) * tile,
        INPUT={"float32": "tf32x3", "tf32": "tf32", "bf16": "ieee"}[precision],
        FLIPPED=precision != "bf16",
        STAGES=stages,
        num_warps=warps,
    )
    total = sums.sum(-1)
    separation = total[0] - count * (near_m <= 0)  # where nothing is near, the kernel took each state and itself too
    twice = (2 * far).clamp_min(1)
    hard_separation = torch.zeros_like(separation) if hard is None else total[2] / twice
    return gradient, separation / twice, total[1] / (2 * near).clamp_min(1), hard_separation


def pair_losses_reference(
    states: Tensor,
    mean: Tensor,
    position_m: Tensor,
    near_m: Tensor,
    separation_width: Tensor,
    separation_weight: Tensor,
    invariance_weight: Tensor,
    near: Tensor,
    far: Tensor,
    hard: HardPairs | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The twin of `pair_losses` in plain PyTorch, in tiles of rows and with K = 1."""
    networks, count, _ = states.shape
    centred = states - mean[:, None]
    squares = centred.square().sum(-1)
    scale = -0.5 / separation_width.square()
    near_coefficient = 2 * invariance_weight / near.clamp_min(1)
    far_coefficient = 2 * scale * separation_weight / far.clamp_min(1)
    gradient = torch.empty_like(states)
    separation, invariance, hard_separation = (torch.zeros_like(near_m) for _ in range(3))
    index = torch.arange(count, device=states.device)
    for rows in index.split(max(1, 2**21 // (networks * count))):
        squared_m2 = _squared_distances(position_m[rows], position_m)
        is_near = squared_m2 < _signed_square(near_m)[:, None, None]
        itself = rows[:, None] == index
        dots = centred[:, rows] @ centred.mT
        distance = (squares[:, rows, None] + squares[:, None] - 2 * dots).clamp_min(0)
        alike = torch.exp(scale[:, None, None] * distance).masked_fill(is_near | itself, 0)
        separation += alike.sum((1, 2))
        invariance += distance.masked_fill(~is_near | itself, 0).sum((1, 2))
        coefficient = torch.where(is_near, near_coefficient[:, None, None], far_coefficient[:, None, None] * alike)
        if hard is not None:
            far_enough = squared_m2 > hard.from_m.square()[:, None, None]
            repeated = torch.exp(distance * (-0.5 / hard.width.square())[:, None, None]) * far_enough
            hard_separation += repeated.sum((1, 2))
            coefficient -= (hard.weight / (hard.width.square() * far.clamp_min(1)))[:, None, None] * repeated
        gradient[:, rows] = coefficient.sum(-1, keepdim=True) * centred[:, rows] - coefficient @ centred
    twice = (2 * far).clamp_min(1)
    return gradient[None], separation / twice, invariance / (2 * near).clamp_min(1), hard_separation / twice


def _pair_tile(columns: int, precision: Precision) -> tuple[int, int, int, int]:
    """Rows and columns of a tile of pairs, warps and pipeline stages: what fits, and for N = 128 what is fast."""
    table = {
        "bf16": ((64, 128, 4, 2), (64, 64, 8, 2), (64, 32, 8, 2)),
        "tf32": ((128, 64, 8, 2), (64, 32, 8, 1), (32, 16, 8, 1)),
        "float32": ((128, 32, 8, 2), (32, 32, 8, 2), (16, 16, 4, 1)),
    }
    return table[precision][(columns > 128) + (columns > 256)]


@jit
@no_type_check
def _centre_kernel(
    states,
    mean,
    centred,
    squares,
    M: tl.constexpr,
    PADDED: tl.constexpr,
    N: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """States less their mean, rounded, in rows of 2^n and with rows of zeros at the end, whose square is infinite."""
    s = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.arange(0, COLUMNS)
    kept = (row[:, None] < M) & (unit[None, :] < N)
    value = tl.load(states + (s * M + row[:, None]) * N + unit[None, :], mask=kept, other=0.0)
    value -= tl.load(mean + s * N + unit, mask=unit < N, other=0.0)[None, :]
    value = tl.where(kept, value, 0.0).to(centred.dtype.element_ty)
    tl.store(centred + (s * PADDED + row[:, None]) * COLUMNS + unit[None, :], value)
    square = tl.sum(value.to(tl.float32) * value.to(tl.float32), 1)
    tl.store(squares + s * PADDED + row, tl.where(row < M, square, float("inf")))


@jit
@no_type_check
def _pair_kernel(
    states,
    mean,
    centred,
    flipped,
    squares,
    place_m,
    near_m,
    separation_width,
    separation_weight,
    invariance_weight,
    near_count,
    far_count,
    hard_m,
    hard_width,
    hard_weight,
    gradient,
    sums,
    S: tl.constexpr,
    M: tl.constexpr,
    PADDED: tl.constexpr,
    N: tl.constexpr,
    COLUMNS: tl.constexpr,
    HARD: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    CHUNK: tl.constexpr,
    INPUT: tl.constexpr,
    FLIPPED: tl.constexpr,
    STAGES: tl.constexpr,
):
    """One program a tile of rows: over its columns, acc_i += c_ij g_j, and the gradient is Σ c_ij g_i - acc_i.

    A row's pair with itself adds c (g_i - g_i) = 0. Padding is infinitely far and infinitely unlike: it adds 0.
    """
    i = tl.program_id(0)
    k = tl.program_id(1)
    s = tl.program_id(2).to(tl.int64)
    reach = tl.load(near_m + s)
    limit = reach * tl.abs(reach)
    width = tl.load(separation_width + s)
    scale = 0.72134752 / (width * width)  # exp(-d / 2 width²) = 2^(-scale d)
    far_pairs = tl.maximum(tl.load(far_count + s), 1).to(tl.float32)
    near_pairs = tl.maximum(tl.load(near_count + s), 1).to(tl.float32)
    far_coefficient = -tl.load(separation_weight + s) / (width * width * far_pairs)
    near_coefficient = 2 * tl.load(invariance_weight + s) / near_pairs
    largest = tl.maximum(tl.maximum(tl.abs(far_coefficient), tl.abs(near_coefficient)), 1e-30)
    if HARD:
        hard_square = tl.load(hard_width + s) * tl.load(hard_width + s)
        hard_coefficient = -tl.load(hard_weight + s) / (hard_square * far_pairs)
        largest = tl.maximum(largest, tl.abs(hard_coefficient))
        hard_coefficient /= largest
        narrower = width * width / hard_square
        hard_limit = tl.load(hard_m + s) * tl.load(hard_m + s)
        hard_sum = tl.zeros((ROWS,), tl.float32)
    far_coefficient /= largest  # coefficients within ±1 fit a short format
    near_coefficient /= largest

    row = i * ROWS + tl.arange(0, ROWS)
    unit = tl.arange(0, COLUMNS)
    base = centred + s * PADDED * COLUMNS
    mine = tl.load(base + row[:, None] * COLUMNS + unit[None, :])
    x = tl.load(place_m + row)
    y = tl.load(place_m + PADDED + row)
    square = scale * tl.load(squares + s * PADDED + row)
    acc = tl.zeros((ROWS, COLUMNS), tl.float32)
    weight = tl.zeros((ROWS,), tl.float32)
    alike_sum = tl.zeros((ROWS,), tl.float32)
    exponent_sum = tl.zeros((ROWS,), tl.float32)
    for first in tl.range(k * CHUNK, tl.minimum((k + 1) * CHUNK, PADDED), TILE, num_stages=STAGES):
        column = first + tl.arange(0, TILE)
        theirs = tl.load(base + column[:, None] * COLUMNS + unit[None, :])
        dx = x[:, None] - tl.load(place_m + column)[None, :]
        dy = y[:, None] - tl.load(place_m + PADDED + column)[None, :]
        squared_m2 = dx * dx + dy * dy
        near = squared_m2 < limit
        offset = scale * tl.load(squares + s * PADDED + column)
        dots = tl.dot(mine, tl.trans(theirs), input_precision=INPUT)
        exponent = (2 * scale * dots - offset[None, :]) - square[:, None]
        alike = tl.where(near, 0.0, tl.exp2(exponent))
        coefficient = tl.where(near, near_coefficient, far_coefficient * alike)
        if HARD:
            repeated = tl.where(squared_m2 > hard_limit, tl.exp2(narrower * exponent), 0.0)
            coefficient += hard_coefficient * repeated
            hard_sum += tl.sum(repeated, 1)
        alike_sum += tl.sum(alike, 1)
        exponent_sum += tl.sum(tl.where(near, exponent, 0.0), 1)
        weight += tl.sum(coefficient, 1)
        if FLIPPED:
            theirs = tl.trans(tl.load(flipped + (s * COLUMNS + unit[:, None]) * PADDED + column[None, :]))
        acc = tl.dot(coefficient.to(theirs.dtype), theirs, acc, input_precision=INPUT)
    kept = (row[:, None] < M) & (unit[None, :] < N)
    value = tl.load(states + (s * M + row[:, None]) * N + unit[None, :], mask=kept, other=0.0)
    value -= tl.load(mean + s * N + unit, mask=unit < N, other=0.0)[None, :]
    result = largest * (weight[:, None] * value - acc)
    tl.store(gradient + ((k * S + s) * M + row[:, None]) * N + unit[None, :], result, mask=kept)
    tiles = tl.num_programs(0)
    programs = tiles * tl.num_programs(1)
    tl.store(sums + s * programs + k * tiles + i, tl.sum(alike_sum, 0))
    tl.store(sums + (S + s) * programs + k * tiles + i, -tl.sum(exponent_sum, 0) / scale)
    if HARD:
        tl.store(sums + (2 * S + s) * programs + k * tiles + i, tl.sum(hard_sum, 0))


# ---------------------------------------------------------------------------------------------------------------------
# Adam on the parameters of all networks at once


def adam_step_(
    parameters: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    step: Tensor,
    *,
    lr: Tensor,
    weight_decay: Tensor,
    gradient_scale: Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    decoupled: bool = False,
) -> None:
    """One step of `torch.optim.Adam` (`AdamW` if decoupled) for S networks, in place and in one pass.

    parameters, gradient, mean, square: ``(S, P)``, contiguous; the last two are the moments. step: 0-d, the steps taken
        so far, which grows by one here. lr, weight_decay: ``(S,)``.
    gradient_scale: multiplies a network's gradient, ``(S,)``; the parameters of a network with 0 do not change,
        whatever its gradient.
    """
    if not _fused(parameters):
        adam_step_reference_(
            parameters,
            gradient,
            mean,
            square,
            step,
            lr=lr,
            weight_decay=weight_decay,
            gradient_scale=gradient_scale,
            betas=betas,
            eps=eps,
            decoupled=decoupled,
        )
        return
    step.add_(1)
    networks, count = parameters.shape
    block = 1024
    _adam_kernel[triton.cdiv(count, block), networks](
        parameters,
        gradient,
        mean,
        square,
        step,
        lr,
        weight_decay,
        gradient_scale,
        P=count,
        BETA1=betas[0],
        BETA2=betas[1],
        LOG1=math.log(betas[0]) if betas[0] else -1e4,
        LOG2=math.log(betas[1]) if betas[1] else -1e4,
        EPS=eps,
        DECOUPLED=decoupled,
        BLOCK=block,
        num_warps=4,
    )


def adam_step_reference_(
    parameters: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    step: Tensor,
    *,
    lr: Tensor,
    weight_decay: Tensor,
    gradient_scale: Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    decoupled: bool = False,
) -> None:
    """The twin of `adam_step_` in plain PyTorch."""
    step.add_(1)
    active, (beta1, beta2) = (gradient_scale != 0)[:, None], betas
    rate, decay = torch.where(active, lr[:, None], 0), weight_decay[:, None]
    scaled = torch.where(active, gradient * gradient_scale[:, None], 0)
    if decoupled:
        parameters.mul_(1 - rate * decay)
    else:
        scaled.addcmul_(parameters, decay)
    mean.lerp_(scaled, 1 - beta1)
    square.mul_(beta2).addcmul_(scaled, scaled, value=1 - beta2)
    correction1 = (1 - beta1 ** step.double()).to(rate)
    correction2 = (1 - beta2 ** step.double()).sqrt().to(rate)
    spread = torch.sqrt(square, out=scaled).div_(correction2).add_(eps)
    parameters.addcmul_(torch.div(mean, spread, out=spread), -rate / correction1)


@jit
@no_type_check
def _adam_kernel(
    parameters,
    gradient,
    mean,
    square,
    step,
    lr,
    weight_decay,
    gradient_scale,
    P: tl.constexpr,
    BETA1: tl.constexpr,
    BETA2: tl.constexpr,
    LOG1: tl.constexpr,
    LOG2: tl.constexpr,
    EPS: tl.constexpr,
    DECOUPLED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One block of one network's parameters; programs of a stopped network do nothing."""
    s = tl.program_id(1).to(tl.int64)
    scale = tl.load(gradient_scale + s)
    if scale != 0:
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = at < P
        at += s * P
        rate = tl.load(lr + s)
        decay = tl.load(weight_decay + s)
        taken = tl.load(step).to(tl.float32)
        value = tl.load(parameters + at, mask=inside, other=0.0)
        slope = tl.load(gradient + at, mask=inside, other=0.0) * scale
        if DECOUPLED:
            value -= rate * decay * value
        else:
            slope += decay * value
        first = tl.load(mean + at, mask=inside, other=0.0)
        first += (1 - BETA1) * (slope - first)
        second = BETA2 * tl.load(square + at, mask=inside, other=0.0) + (1 - BETA2) * slope * slope
        u1 = -LOG1 * taken  # 1 - beta^step = 1 - exp(-u), without cancellation while u is small
        u2 = -LOG2 * taken
        small1 = u1 * (1 - u1 / 2 * (1 - u1 / 3 * (1 - u1 / 4 * (1 - u1 / 5))))
        small2 = u2 * (1 - u2 / 2 * (1 - u2 / 3 * (1 - u2 / 4 * (1 - u2 / 5))))
        correction1 = tl.where(u1 < 0.05, small1, 1 - tl.exp(-u1))
        correction2 = tl.sqrt(tl.where(u2 < 0.05, small2, 1 - tl.exp(-u2)))
        value -= rate / correction1 * first / (tl.sqrt(second) / correction2 + EPS)
        tl.store(parameters + at, value, mask=inside)
        tl.store(mean + at, first, mask=inside)
        tl.store(square + at, second, mask=inside)


# ---------------------------------------------------------------------------------------------------------------------
# All of it: the gradients of a population


@dataclass(frozen=True)
class Unrolled:
    """What a loss is a function of: S networks along the B trajectories of a batch.

    states: g_t, ``(S, B, T, N)``; mean: of all of a network's, ``(S, N)``; distance: ‖g_t - g_{t-1}‖, ``(S, B, T)``.
    step_m, position_m: v_t and where it leads, ``(B, T, 2)``.
    """

    states: Tensor
    mean: Tensor
    distance: Tensor
    step_m: Tensor
    position_m: Tensor


@dataclass(frozen=True)
class Slopes:
    """Gradient of a loss by the states of `Unrolled`, in the parts that `rollout_backward` adds up, and its terms.

    gradient ``(K, S, B, T, N)``, shared ``(S, N)`` and pull ``(S, B, T)``, the last two 0 if None; terms ``(S,)`` each.
    """

    gradient: Tensor
    terms: dict[str, Tensor]
    shared: Tensor | None = None
    pull: Tensor | None = None


def population_gradients(
    params: dict[str, Tensor],
    batch: dict[str, Tensor],
    slopes: Callable[[Unrolled], Slopes],
    *,
    activation: Activation = "relu",
    precision: Precision = "float32",
    out: dict[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients by the parameters of S networks of a loss of their states, of which `slopes` knows the gradient.

    params: ``matrix.0.weight (S, H, 2)``, ``matrix.0.bias (S, H)``, ``matrix.2.weight (S, H, H)``, ``matrix.2.bias``,
        ``matrix.4.weight (S, N·N, H)``, ``matrix.4.bias (S, N·N)``, ``initial (S, N)``.
    batch: ``velocity_m (T, 2)``, metres a step, and ``order (B, T)``, each row a permutation of 0..T-1. Of several
        sequences, ``velocity_m (G, T, 2)``, each is used in all of the orders: there are G·B trajectories then.
    precision: of products on a GPU. "bf16" is 16 bits wide: in the perceptron it means tf32; for matrices of the
        recurrence, numbers of order one, the kernels use float16, which has three bits more there. Sums are float32.
        The twins know only their tensors' dtype.
    out: where to put the gradients, tensors by the same names and shapes (such as views of one buffer).

    Returns the gradients by the names of `params`, and the terms of `slopes`.
    """
    order, steps = batch["order"], batch["order"].shape[1]
    velocity_m = batch["velocity_m"].reshape(-1, steps, 2)
    initial, last = params["initial"], params["matrix.4.weight"]
    (networks, units), sequences = initial.shape, len(velocity_m)
    trajectories = sequences * len(order)
    grads = {name: torch.empty_like(value) for name, value in params.items()} if out is None else out

    with _products(initial, precision):
        velocities = velocity_m.flatten(0, 1).expand(networks, -1, -1)
        hidden1 = torch.baddbmm(params["matrix.0.bias"][:, None], velocities, params["matrix.0.weight"].mT)
        active1 = _activate(hidden1, activation)
        hidden2 = torch.baddbmm(params["matrix.2.bias"][:, None], active1, params["matrix.2.weight"].mT)
        active2 = _activate(hidden2, activation)
        flat = torch.baddbmm(params["matrix.4.bias"][:, None], active2, last.mT)
        matrices = flat.view(networks * sequences, steps, units, units)
        if precision == "bf16" and _fused(initial):
            matrices = matrices.half()

        positive = torch.relu(initial)
        norm = torch.linalg.vector_norm(positive, dim=-1, keepdim=True)
        start = positive / norm.clamp_min(SMALLEST_NORM)
        made = rollout(matrices, order, start.repeat_interleave(sequences, 0))

        step_m = velocity_m[:, order].flatten(0, 1)
        shape = networks, trajectories, steps
        found = slopes(
            Unrolled(
                made.states.view(*shape, units),
                made.total.view(networks, trajectories, units).sum(1) / (trajectories * steps),
                made.distance.view(shape),
                step_m,
                step_m.cumsum(1),
            )
        )
        shared = torch.zeros_like(start) if found.shared is None else found.shared
        pull = torch.zeros_like(made.norm) if found.pull is None else found.pull.view_as(made.norm)
        deltas, by_start = rollout_backward(
            matrices,
            order,
            made,
            found.gradient.view(-1, *made.states.shape),
            shared.repeat_interleave(sequences, 0),
            pull,
        )
        by_start = by_start.view(networks, trajectories, units).sum(1)
        along = torch.where(norm >= SMALLEST_NORM, (by_start * start).sum(-1, keepdim=True), 0)
        by_positive = (by_start - along * start) / norm.clamp_min(SMALLEST_NORM)
        grads["initial"].copy_(torch.where(initial > 0, by_positive, 0))

        by_matrices = torch.bmm(deltas.flatten(0, 1).mT, made.previous.flatten(0, 1)).view_as(flat)
        torch.bmm(by_matrices.mT, active2, out=grads["matrix.4.weight"])
        torch.sum(by_matrices, 1, out=grads["matrix.4.bias"])
        by_hidden2 = _deactivate(_by_hidden(by_matrices, last, units), hidden2, active2, activation)
        torch.bmm(by_hidden2.mT, active1, out=grads["matrix.2.weight"])
        torch.sum(by_hidden2, 1, out=grads["matrix.2.bias"])
        by_hidden1 = _deactivate(torch.bmm(by_hidden2, params["matrix.2.weight"]), hidden1, active1, activation)
        torch.bmm(by_hidden1.mT, velocities, out=grads["matrix.0.weight"])
        torch.sum(by_hidden1, 1, out=grads["matrix.0.bias"])
    return grads, found.terms


def sic_population_gradients(
    params: dict[str, Tensor],
    buffers: dict[str, Tensor],
    batch: dict[str, Tensor],
    *,
    activation: Activation = "relu",
    conformal_min_step_m: float,
    conformal_max_step_m: float,
    precision: Precision = "float32",
    out: dict[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of the total loss of S networks, and its terms (Schaeffer et al. 2023, NeurIPS).

    params, activation, out: as in `population_gradients`; precision, too, and of products of centred states.
    buffers: ``near_m, separation_width, separation_weight, invariance_weight, capacity_weight, conformal_weight``,
        ``(S,)`` each; with ``hard_weight, hard_width, hard_from_m``, `HardPairs` are counted, too.
    batch: as there; for hard pairs also ``hard_ramp``, 0-d, which multiplies their weight.
    conformal_min_step_m, conformal_max_step_m: only steps with a length between these count for conformal isometry.

    Returns the gradients by the names of `params`, and ``total, separation, invariance, capacity, conformal`` (and
    ``hard``), ``(S,)`` each, only the total weighted.
    """

    def slopes(found: Unrolled) -> Slopes:
        _, trajectories, steps, _ = found.states.shape
        position_m = found.position_m.flatten(0, 1)
        near, far = count_pairs(position_m, buffers["near_m"])
        hard = None
        if "hard_weight" in buffers:
            weight = buffers["hard_weight"] * batch["hard_ramp"]
            hard = HardPairs(buffers["hard_from_m"], buffers["hard_width"], weight)
        gradient, separation, invariance, hard_separation = pair_losses(
            found.states.flatten(1, 2),
            found.mean,
            position_m,
            buffers["near_m"],
            buffers["separation_width"],
            buffers["separation_weight"],
            buffers["invariance_weight"],
            near,
            far,
            hard=hard,
            precision=precision,
        )
        capacity = -found.mean.square().sum(-1)
        conformal, pull = _conformal(found.distance, found.step_m, conformal_min_step_m, conformal_max_step_m)
        terms = {
            "separation": separation,
            "invariance": invariance,
            "capacity": capacity,
            "conformal": conformal,
        }
        weights = {name: buffers[f"{name}_weight"] for name in terms}
        if hard is not None:
            terms["hard"], weights["hard"] = hard_separation, hard.weight
        total = sum((weights[name] * term for name, term in terms.items()), 0.0 * capacity)
        return Slopes(
            gradient.view(-1, *found.states.shape),
            {"total": total, **terms},
            shared=found.mean * (-2 / (trajectories * steps) * buffers["capacity_weight"])[:, None],
            pull=pull * buffers["conformal_weight"][:, None, None],
        )

    return population_gradients(params, batch, slopes, activation=activation, precision=precision, out=out)


@contextmanager
def _products(like: Tensor, precision: Precision) -> Iterator[None]:
    """Matrix products of PyTorch in tf32, or not, on a CUDA device."""
    if not like.is_cuda:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _activate(value: Tensor, activation: Activation) -> Tensor:
    return {"relu": torch.relu, "gelu": torch.nn.functional.gelu, "tanh": torch.tanh}[activation](value)


def _deactivate(gradient: Tensor, before: Tensor, after: Tensor, activation: Activation) -> Tensor:
    """The gradient before a nonlinearity, from that after it."""
    if activation == "relu":
        return torch.ops.aten.threshold_backward(gradient, before, 0)
    if activation == "tanh":
        return torch.ops.aten.tanh_backward(gradient, after)
    return torch.ops.aten.gelu_backward(gradient, before)


def _by_hidden(by_matrices: Tensor, weight: Tensor, pieces: int) -> Tensor:
    """``by_matrices (S, T, N·N) @ weight (S, N·N, H)``: few outputs and a long sum, so in pieces side by side."""
    networks, steps, _ = by_matrices.shape
    while pieces > 32 and pieces % 2 == 0:
        pieces //= 2
    split = by_matrices.view(networks, steps, pieces, -1).transpose(1, 2)
    return torch.stack([torch.bmm(s, w.unflatten(0, (pieces, -1))).sum(0) for s, w in zip(split, weight, strict=True)])


def _conformal(distance: Tensor, step_m: Tensor, min_step_m: float, max_step_m: float) -> tuple[Tensor, Tensor]:
    """Variance of ‖g_t - g_{t-1}‖ / ‖v_t‖, ``(S,)``, and what times g_t - g_{t-1} is its gradient, ``(S, B, T)``."""
    speed_m = torch.linalg.vector_norm(step_m, dim=-1)
    counted = (speed_m > min_step_m) & (speed_m < max_step_m)
    inverse = torch.where(counted, 1 / speed_m, 0)
    count = counted.sum().clamp_min(1)
    ratio = distance * inverse
    centred = torch.where(counted, ratio - ratio.sum((1, 2), keepdim=True) / count, 0)
    variance = centred.square().sum((1, 2)) / count
    pull = torch.where(distance > 0, 2 * centred * inverse / (count * distance), 0)
    return variance, pull
