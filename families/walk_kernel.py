"""The rat-like walk of `World.walk` in a box: all steps in one Triton kernel instead of thirty operations each."""

from typing import no_type_check

import torch
from torch import Tensor

from entorhinal.families.kernel import fused, jit, tl

__all__ = ["has_walk_kernel", "walk_in_a_box"]

_BLOCK = 64


def has_walk_kernel(position_m: Tensor) -> bool:
    """Is there a kernel for walks of this tensor's device and dtype?"""
    return fused(position_m, torch.float32)


def walk_in_a_box(
    start_m: Tensor,
    heading_rad: Tensor,
    stride_m: Tensor,
    turn_rad: Tensor,
    low_m: Tensor,
    high_m: Tensor,
    wall_zone_m: float,
) -> Tensor:
    """Displacements ``(B, T, 2)`` in metres between walls at low_m and high_m ``(2,)``.

    start_m ``(B, 2)``, heading_rad ``(B,)`` at first; stride_m, turn_rad ``(B, T)``: drawn before, by `World.walk`,
    whose rules at the walls these are. Float32, where `has_walk_kernel`.
    """
    batch, steps = stride_m.shape
    displacement_m = start_m.new_empty(steps, batch, 2)
    _walk_kernel[(-(-batch // _BLOCK),)](
        start_m.contiguous(),
        heading_rad.contiguous(),
        stride_m.T.contiguous(),  # so that neighbouring threads read neighbouring numbers
        turn_rad.T.contiguous(),
        low_m.contiguous(),
        high_m.contiguous(),
        displacement_m,
        wall_zone_m,
        B=batch,
        T=steps,
        BLOCK=_BLOCK,
        num_warps=2,
    )
    return displacement_m.transpose(0, 1).contiguous()


@jit
@no_type_check
def _walk_kernel(
    start_m, heading_rad, stride_m, turn_rad, low_m, high_m, out, zone_m, B, T: tl.constexpr, BLOCK: tl.constexpr
):
    """One thread a walk."""
    b = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = b < B
    low_x, low_y = tl.load(low_m), tl.load(low_m + 1)
    high_x, high_y = tl.load(high_m), tl.load(high_m + 1)
    x, y = tl.load(start_m + 2 * b, mask=there, other=0.0), tl.load(start_m + 2 * b + 1, mask=there, other=0.0)
    heading = tl.load(heading_rad + b, mask=there, other=0.0)
    for t in range(T):
        stride = tl.load(stride_m + t * B + b, mask=there, other=0.0)
        east, north = tl.cos(heading), tl.sin(heading)
        at_x = ((x > high_x - zone_m) & (east > 0)) | ((x < low_x + zone_m) & (east < 0))
        at_y = ((y > high_y - zone_m) & (north > 0)) | ((y < low_y + zone_m) & (north < 0))
        along = heading + 3.14159265358979  # back, in a corner and where the wall is met at a right angle
        along = tl.where(at_x & ~at_y & (north > 0), 1.57079632679490, along)
        along = tl.where(at_x & ~at_y & (north < 0), -1.57079632679490, along)
        along = tl.where(at_y & ~at_x & (east > 0), 0.0, along)
        along = tl.where(at_y & ~at_x & (east < 0), 3.14159265358979, along)
        stride = tl.where(at_x | at_y, 0.25 * stride, stride)
        heading = tl.where(at_x | at_y, along, heading)
        heading += tl.load(turn_rad + t * B + b, mask=there, other=0.0)
        dx = tl.minimum(tl.maximum(x + stride * east, low_x), high_x) - x
        dy = tl.minimum(tl.maximum(y + stride * north, low_y), high_y) - y
        tl.store(out + 2 * (t * B + b), dx, mask=there)
        tl.store(out + 2 * (t * B + b) + 1, dy, mask=there)
        x += dx
        y += dy
