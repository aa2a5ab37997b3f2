"""Walks of leaky networks against autograd of the equation, and the kernels against their twins."""

import math

import pytest
import torch
from torch import Tensor

from entorhinal.benchmarks.training import matmul_precision
from entorhinal.families.supervised import leaky

FRACTION = 0.3
TOLERANCE = {"float32": (1e-4, 1e-5), "tf32": (1e-2, 1e-2)}


def walks(
    networks: int, steps: int, trajectories: int, units: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_0, d, W and gradients by u_1, ..., u_T."""
    generator = torch.Generator().manual_seed(units)

    def normal(*shape: int) -> Tensor:
        return torch.randn(networks, *shape, generator=generator, dtype=dtype)

    walk = steps, trajectories, units
    return normal(trajectories, units), normal(*walk), normal(units, units) / units**0.5, normal(*walk)


def test_a_walk_and_its_gradients_are_those_of_the_equation() -> None:
    start, drive, recurrent, by_rates = walks(2, 6, 3, 4, torch.float64)
    start.requires_grad_()
    drive.requires_grad_()
    x, rates = start, [start.tanh()]
    for t in range(6):
        x = (1 - FRACTION) * x + FRACTION * torch.einsum("snm,sbm->sbn", recurrent, rates[-1]) + drive[:, t]
        rates.append(x.tanh())
    wanted = torch.stack(rates, 1)
    by_start, by_drive = torch.autograd.grad(wanted[:, 1:], (start, drive), by_rates)
    with torch.no_grad():
        found = leaky.leaky_walk(start, drive, recurrent, FRACTION)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(leaky.leaky_walk_backward_(by_rates, found, recurrent, FRACTION), by_start)
    torch.testing.assert_close(by_rates, by_drive)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize(("steps", "trajectories", "units"), [(1, 3, 5), (7, 20, 100), (4, 33, 128), (3, 16, 129)])
def test_kernels_equal_twins(steps: int, trajectories: int, units: int, precision: str, device: str) -> None:
    start, drive, recurrent, by_rates = walks(3, steps, trajectories, units)
    drive[1, 0, 0], drive[2, 0, 1, 0] = 100.0, math.nan
    there = [value.clone().to(device) for value in (start, drive, recurrent, by_rates)]
    assert leaky._has_kernel(there[1]) == (units <= leaky.MOST_UNITS)
    rates = leaky.leaky_walk_reference(start, drive, recurrent, FRACTION)
    by_start = leaky.leaky_walk_backward_reference_(by_rates, rates, recurrent, FRACTION)
    with matmul_precision(precision):
        found = leaky.leaky_walk(*there[:3], FRACTION)
        found_by_start = leaky.leaky_walk_backward_(there[3], rates.to(device), there[2], FRACTION)
    assert rates[2, :, 1].isnan().any()
    assert not rates[2, :, [0, 2]].isnan().any()
    rtol, atol = TOLERANCE[precision]
    for ours, twin in ((found, rates), (there[3], by_rates), (found_by_start, by_start), (there[1], drive)):
        torch.testing.assert_close(ours.cpu(), twin, rtol=rtol, atol=atol, equal_nan=True)
