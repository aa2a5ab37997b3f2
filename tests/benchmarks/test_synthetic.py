"""The synthetic populations are what they say."""

import math

import pytest
import torch

from entorhinal.analysis import grid_scores
from entorhinal.benchmarks import synthetic
from entorhinal.benchmarks.synthetic import (
    HARMONICS,
    NULLS,
    bin_centres_m,
    breaking_maps,
    grids,
    harmonic_modules,
    modules,
)
from entorhinal.families.codes import hexagonal_tuning, hexagonal_waves


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sharpness", [None, 4.0])
def test_regular_grids_are_those_of_the_models(sharpness) -> None:
    spacing_m, angle = torch.tensor([0.3, 0.55], dtype=torch.float64), torch.tensor([0.2, 0.9], dtype=torch.float64)
    found = grids(spacing_m, angle, generator(), sharpness=sharpness)
    centre_m = torch.einsum("nk,nkd->nd", found.phase, found.basis_m)
    expected = hexagonal_tuning(bin_centres_m(), hexagonal_waves(spacing_m, angle), centre_m, sharpness)
    torch.testing.assert_close(found.maps(), expected.movedim(-1, 0))
    torch.testing.assert_close(found.spacing_m, spacing_m)
    torch.testing.assert_close(found.orientation_rad, angle)
    torch.testing.assert_close(found.ellipticity, torch.ones(2, dtype=torch.float64))


def test_sheared_grids_have_fields_where_their_lattice_is() -> None:
    found = grids(torch.tensor([0.5]), torch.tensor([0.3]), generator(), stretch=1.3, stretch_rad=0.7, shear=0.2)
    steps = torch.cartesian_prod(torch.arange(-2, 3), torch.arange(-2, 3)).double()
    fields_m = (steps + found.phase) @ found.basis_m[0]
    torch.testing.assert_close(found.rates_at(fields_m), torch.ones(25, 1, dtype=torch.float64))
    assert found.maps().max() <= 1
    only = grids(torch.tensor([0.5]), torch.tensor([0.3]), generator(), stretch=1.3, stretch_rad=0.7)
    assert float(only.ellipticity) == pytest.approx(1.3)
    area = torch.linalg.det(only.basis_m).item()
    assert area == pytest.approx(0.25 * math.sqrt(0.75))


def test_modules_have_their_spacings() -> None:
    found = modules(3, generator())
    assert found.label.bincount().tolist() == [20, 20, 20]
    for k in range(3):
        ratio = found.spacing_m[found.label == k] / (0.3 * 1.42**k)
        assert 0.02 < ratio.std() < 0.09
        assert abs(ratio.mean() - 1) < 0.04


@pytest.mark.parametrize("index", HARMONICS)
def test_the_coarser_lattice_of_a_harmonic_pair_lies_in_the_finer(index: int) -> None:
    found = harmonic_modules(index, generator())
    finer, coarser = found.basis_m[0], found.basis_m[-1]
    steps = coarser @ torch.linalg.inv(finer)
    torch.testing.assert_close(steps, steps.round(), atol=1e-9, rtol=0)
    assert abs(torch.linalg.det(steps).item()) == pytest.approx(index)


def test_an_unknown_index_is_named() -> None:
    with pytest.raises(ValueError, match="index is 5"):
        harmonic_modules(5, generator())


@pytest.mark.parametrize(("name", "waves"), [("circle", 2), ("sphere", 3), ("square_torus", 4), ("torus", 6)])
def test_states_lie_on_their_manifold(name: str, waves: int) -> None:
    """The longest waves on a manifold come in sets that its symmetry makes equal, and the first set is the largest."""
    broad = {"sharpness": 1.0} if "torus" in name else {"concentration": 1.0}
    states = getattr(synthetic, f"{name}_states")(4000, 300, generator(), **broad)
    assert states.shape == (4000, 300)
    assert 0 <= states.min() <= states.max() <= 1
    variance = torch.linalg.svdvals(states - states.mean(0)).square()
    assert variance[waves - 1] > 0.6 * variance[0]
    assert variance[waves] < 0.75 * variance[waves - 1]


def test_the_plane_has_edges() -> None:
    states = synthetic.plane_states(2000, 300, generator())
    assert states.shape == (2000, 300)
    assert states.sum(1).min() < 0.4 * states.sum(1).max(), "fewer cells fire at a corner"


@pytest.mark.parametrize("kind", NULLS)
def test_null_units_are_no_grids(kind: str) -> None:
    maps = NULLS[kind](24, generator())
    assert maps.shape == (24, 50, 50)
    assert maps.isfinite().all()
    assert torch.equal(maps, NULLS[kind](24, generator()))
    assert not torch.equal(maps, NULLS[kind](24, generator(1)))
    assert grid_scores(maps).nanmedian() < 0.4


def test_there_are_ten_maps_that_break_scorers() -> None:
    assert len(breaking_maps()) == 10
    assert {tuple(one.shape) for one in breaking_maps().values()} == {(50, 50)}
