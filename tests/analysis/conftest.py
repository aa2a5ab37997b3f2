"""Perfect grid populations, as rates anywhere and as maps."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

Rates = Callable[..., Tensor]


def grid_rates(position_m: Tensor, spacing_m: Tensor, orientation_rad: Tensor, phase_m: Tensor, kind: str) -> Tensor:
    """Rates (..., N) at positions (..., 2) of grids with fields at phase_m (N, 2): three cosines, or Gaussian bumps."""
    offset = position_m[..., None, :] - phase_m
    if kind == "cosines":
        angle = orientation_rad[:, None] + math.pi / 6 + torch.arange(3, dtype=torch.float64) * math.pi / 3
        wave = 4 * math.pi / (math.sqrt(3) * spacing_m[:, None, None]) * torch.stack([angle.cos(), angle.sin()], -1)
        return ((offset[..., None, :] * wave).sum(-1).cos().sum(-1) + 1.5) / 4.5
    angle = orientation_rad[:, None] + torch.tensor([0, math.pi / 3], dtype=torch.float64)
    basis = spacing_m[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)  # (N, 2, 2), rows are vectors
    cell = torch.linalg.solve(basis.mT, offset[..., None])[..., 0]
    cell = cell - cell.floor()
    total = torch.zeros(offset.shape[:-1], dtype=torch.float64)
    for i in range(-1, 3):
        for j in range(-1, 3):
            gap = ((cell - torch.tensor([i, j]))[..., None, :] @ basis)[..., 0, :]
            total += torch.exp(-gap.square().sum(-1) / (2 * (0.15 * spacing_m).square()))
    return total


@pytest.fixture(scope="session")
def rates_of() -> Rates:
    return grid_rates


@pytest.fixture(scope="session")
def grid_maps() -> Rates:
    def maps(
        spacing_m: float, orientation_rad: Tensor, phase_m: Tensor, kind: str = "cosines", bins: int = 50
    ) -> Tensor:
        """Maps (N, bins, bins) of a 2 m box centred on 0."""
        centre = (torch.arange(bins, dtype=torch.float64) + 0.5) * 2 / bins - 1
        where = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), -1)
        spacing = torch.full_like(orientation_rad, spacing_m)
        return grid_rates(where, spacing, orientation_rad, phase_m, kind).movedim(-1, 0)

    return maps


@pytest.fixture(scope="session")
def perfect(grid_maps: Rates) -> Tensor:
    """The named perfect hexagon: three cosines, 0.5 m, 10 degrees, a field at the centre, 2 m box, 50 x 50 bins."""
    return grid_maps(0.5, torch.tensor([math.radians(10)], dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64))
