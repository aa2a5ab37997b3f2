"""Harmonics of one lattice are found with their index; incommensurate modules are independent."""

import math

import pytest
import torch
from torch import Tensor

from entorhinal.analysis import Independence, independence, lattices, modules

SUPERLATTICE = {3: [[1, 1], [-1, 2]], 4: [[2, 0], [0, 2]], 7: [[2, 1], [-1, 3]]}
"""Rows: vectors of the coarse lattice as sums of the fine one's."""

SIDE_M, BINS, UNITS = 4.0, 48, 8


def basis(spacing_m: float, orientation_rad: float) -> Tensor:
    angle = orientation_rad + torch.tensor([0, math.pi / 3], dtype=torch.float64)
    return spacing_m * torch.stack([angle.cos(), angle.sin()], -1)


def maps_of(bases: list[Tensor], seed: int, noise: float = 0.0, side_m: float = SIDE_M) -> Tensor:
    """Cosine grids of random phases, 8 units a module."""
    random = torch.Generator().manual_seed(seed)
    axis = ((torch.arange(BINS, dtype=torch.float64) + 0.5) / BINS - 0.5) * side_m
    where = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    maps = []
    for lattice in bases:
        dual = torch.linalg.inv(lattice).T
        dual = torch.cat([dual, dual.sum(0, keepdim=True)])
        centre = torch.rand(UNITS, 2, generator=random, dtype=torch.float64) @ lattice
        maps.append((2 * math.pi * (where - centre[:, None, None]) @ dual.T).cos().sum(-1))
    found = torch.cat(maps)
    return found + noise * torch.randn(found.shape, generator=random, dtype=torch.float64)


def scored(bases: list[Tensor], seed: int, **options: float) -> Independence:
    maps, bin_m = maps_of(bases, seed, **options), options.get("side_m", SIDE_M) / BINS
    found = modules(lattices(maps, bin_m), draws=50)
    assert found.count == len(bases)
    return independence(maps, found, bin_m)


@pytest.mark.parametrize("index", [3, 4, 7])
@pytest.mark.parametrize("spacing_m", [1.0, 1.3])
def test_a_superlattice_predicts_its_harmonic(index: int, spacing_m: float) -> None:
    for seed, orientation in enumerate((0.1, 0.5, 0.9)):
        coarse = basis(spacing_m, orientation)
        fine = torch.linalg.inv(torch.tensor(SUPERLATTICE[index], dtype=torch.float64)) @ coarse
        found = scored([fine, coarse], seed)
        assert found.decided
        assert found.coherent.all()
        assert found.predicted.tolist() == [[False, False], [True, False]]
        assert found.index.tolist() == [[0, 0], [index, 0]]
        assert found.count == 1
        assert found.groups.tolist() == [0, 0]
        assert found.resultant[0, 1] < 0.5


@pytest.mark.parametrize("ratio", [1.3, 1.42, (1 + 5**0.5) / 2])
@pytest.mark.parametrize("turn_rad", [0.0, 0.2, 0.45])
def test_incommensurate_modules_are_independent(ratio: float, turn_rad: float) -> None:
    for seed, spacing_m in enumerate((0.4, 0.7)):
        found = scored([basis(spacing_m, 0.3), basis(spacing_m * ratio, 0.3 + turn_rad)], seed)
        assert found.decided
        assert found.coherent.all()
        assert not found.predicted.any()
        assert found.count == 2
        assert found.groups.tolist() == [0, 1]


def test_three_modules_of_which_two_are_one_torus() -> None:
    coarse = basis(1.2, 0.2)
    found = scored([coarse / 3, basis(0.7, 0.5), coarse], 0)
    assert found.count == 2
    assert found.groups.tolist() == [0, 1, 0]
    assert found.index[2, 0] == 9


@pytest.mark.parametrize("harmonic", [False, True])
def test_the_verdict_ignores_rotation_and_scale(harmonic: bool) -> None:
    fine = basis(0.6, 0.25)
    coarse = 2 * fine if harmonic else 1.42 * fine
    for angle, scale in ((0.7, 1.0), (2.1, 3.0), (-0.4, 0.2)):
        turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]).double()
        found = scored([scale * fine @ turn, scale * coarse @ turn], 0, side_m=SIDE_M * scale)
        assert found.count == (1 if harmonic else 2)
        assert found.decided


def test_noise_and_holes_leave_the_verdict() -> None:
    coarse = basis(1.2, 0.2)
    maps, bin_m = maps_of([coarse / 2, coarse], 1, noise=0.1), SIDE_M / BINS
    maps[:, 10:20, 5:25] = math.nan
    found = independence(maps, modules(lattices(maps, bin_m), draws=50), bin_m)
    assert found.index.tolist() == [[0, 0], [4, 0]]


def test_a_module_without_a_torus_is_not_counted() -> None:
    """Units of one spacing, but each of its own orientation, do not repeat together: no phase to be independent."""
    bases = [basis(0.4, 0.3)] * 8 + [basis(0.75, 0.13 * k) for k in range(8)]
    maps, bin_m = torch.cat([maps_of([b], k)[:1] for k, b in enumerate(bases)]), SIDE_M / BINS
    found = independence(maps, modules(lattices(maps, bin_m), draws=50), bin_m)
    assert found.coherent.tolist() == [True, False]
    assert found.groups.tolist() == [0, -1]
    assert found.count == 1


def test_too_few_periods_decide_nothing() -> None:
    maps, bin_m = maps_of([basis(0.4, 0.3), basis(1.0, 0.1)], 0), SIDE_M / BINS
    found = modules(lattices(maps, bin_m), draws=50)
    middle = independence(maps[:, 18:30, 18:30], found, bin_m)
    assert not middle.decided
    assert middle.resultant[1].isnan().all()
    assert independence(maps, found, bin_m).decided


def test_no_modules_and_bad_input() -> None:
    maps, bin_m = maps_of([basis(0.5, 0.3)], 0), SIDE_M / BINS
    found = modules(lattices(maps, bin_m), least_units=20)
    assert found.count == 0
    none = independence(maps, found, bin_m)
    assert none.count == 0
    assert none.resultant.shape == (0, 0)
    with pytest.raises(ValueError, match="maps has 3 units"):
        independence(maps[:3], found, bin_m)
