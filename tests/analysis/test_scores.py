"""Grid scores: a frozen constant, a naive version, invariances, and maps that break scorers."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from entorhinal.analysis import autocorrelograms, best_rings, grid_scores, lattices, smooth_maps, square_scores
from entorhinal.benchmarks.synthetic import breaking_maps
from entorhinal.benchmarks.validation import UNDEFINED

GOLDEN = {"sargolini": 1.412955419277, "banino": 1.391848196413}


def noise(count: int, seed: int = 0, width: float = 2.5) -> Tensor:
    white = torch.randn(count, 50, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return smooth_maps(white, width)


def naive_score(image: Tensor, first: int, last: int) -> float:
    """The ring's score with scipy's rotation of the whole correlogram (cubic) and numpy's correlation."""
    correlogram = np.nan_to_num(autocorrelograms(image[None])[0].numpy())
    y, x = np.indices(correlogram.shape) - (np.array(correlogram.shape) // 2)[:, None, None]
    ring = (np.hypot(x, y) >= first - 0.5) & (np.hypot(x, y) <= last + 0.5)
    c = {
        turn: np.corrcoef(correlogram[ring], ndimage.rotate(correlogram, turn, reshape=False)[ring])[0, 1]
        for turn in (30, 60, 90, 120, 150)
    }
    return min(c[60], c[120]) - max(c[30], c[90], c[150])


@pytest.mark.parametrize("variant", GOLDEN)
def test_the_perfect_hexagon_has_the_frozen_score(perfect, variant: str) -> None:
    assert grid_scores(perfect, variant).item() == pytest.approx(GOLDEN[variant], abs=1e-9)


def test_scores_agree_with_a_naive_rotation(grid_maps) -> None:
    angle = torch.tensor([0.1, 0.6], dtype=torch.float64)
    phase = torch.tensor([[0.1, -0.2], [0.3, 0.05]], dtype=torch.float64)
    maps = torch.cat([noise(6), grid_maps(0.5, angle, phase), grid_maps(0.7, angle, phase) + 0.1 * noise(2, 1)])
    scores, first, last = best_rings(maps).unbind(1)
    naive = torch.tensor([naive_score(m, int(a), int(b)) for m, a, b in zip(maps, first, last, strict=True)])
    assert (scores - naive).abs().max() < 0.1
    assert torch.equal(scores[scores.abs() > 0.1] > 0, naive[scores.abs() > 0.1] > 0)


@pytest.mark.parametrize("kind", ["cosines", "bumps"])
@pytest.mark.parametrize("spacing_m", [0.3, 0.45, 0.6, 0.8])
def test_hexagons_of_any_phase_and_orientation_score_high(grid_maps, spacing_m: float, kind: str) -> None:
    g = torch.Generator().manual_seed(1)
    angle = torch.rand(16, generator=g, dtype=torch.float64) * math.pi / 3
    maps = grid_maps(spacing_m, angle, torch.rand(16, 2, generator=g, dtype=torch.float64), kind)
    assert grid_scores(maps).min() > 1.3


@settings(max_examples=15)
@given(seed=st.integers(0, 999), gain=st.floats(1e-9, 1e9), offset=st.floats(-1e3, 1e3))
def test_scores_do_not_change(seed: int, gain: float, offset: float) -> None:
    maps = noise(3, seed)
    maps[:, 3:9, 20:30] = torch.nan
    scores = grid_scores(maps)
    torch.testing.assert_close(grid_scores((maps + offset) * gain), scores, atol=1e-8, rtol=0)
    torch.testing.assert_close(grid_scores(maps.rot90(1, (1, 2))), scores)
    torch.testing.assert_close(grid_scores(maps.flip(2)), scores)
    torch.testing.assert_close(grid_scores(maps.flip(0)), scores.flip(0))
    torch.testing.assert_close(grid_scores(maps.numpy()[1:2]), scores[1:2])


def test_holes_matter_little(perfect) -> None:
    holed = perfect.repeat(4, 1, 1)
    holed[torch.rand(holed.shape, generator=torch.Generator().manual_seed(0)) < 0.2] = torch.nan
    assert (grid_scores(holed) - GOLDEN["sargolini"]).abs().max() < 0.05


def test_maps_that_break_scorers() -> None:
    """Some public scorers give a score where there is nothing to score (docs/validation.md)."""
    names, maps = list(breaking_maps()), torch.stack(list(breaking_maps().values()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores, square, banino, corrected = (
            dict(zip(names, values.tolist(), strict=True))
            for values in (
                grid_scores(maps),
                square_scores(maps),
                grid_scores(maps, "banino"),
                grid_scores(maps, ellipse_corrected=True),
            )
        )
        found = dict(zip(names, lattices(maps, 0.04).spacing_m.tolist(), strict=True))
    perfect = scores["hexagon without noise"]
    assert perfect == pytest.approx(GOLDEN["sargolini"], abs=1e-9)
    assert scores["hexagon + 1,000,000"] == pytest.approx(perfect, abs=1e-6)
    assert scores["hexagon × 0.000,000,001"] == pytest.approx(perfect, abs=1e-9)
    assert scores["square lattice"] < -0.5
    assert scores["one field"] < 0.1
    assert scores["fields at the edges"] < 0
    assert scores["stripes"] < 0.3
    for values in (scores, square, banino, corrected):
        assert math.isnan(values["constant"]), "no variance, no correlation"
        assert math.isnan(values["one visited bin"]), "no two bins to compare"
        assert all(-2 <= value <= 2 for value in values.values() if not math.isnan(value))
    # 250 of 2500 bins: 25 are shared at the lags of the centre and ever fewer outwards, too few for a whole ring
    assert math.isnan(scores["hexagon, 90 % unvisited"])
    assert {name for name, value in scores.items() if math.isnan(value)} == UNDEFINED
    assert square["square lattice"] > 1 > square["hexagon without noise"]
    has_lattice = {name for name, value in found.items() if not math.isnan(value)}
    hexagons = {name for name in names if "hexagon" in name and "unvisited" not in name}
    assert hexagons <= has_lattice
    assert not has_lattice & {"constant", "one visited bin", "stripes", "one field", "fields at the edges"}


def test_a_hexagon_seen_in_a_fifth_of_its_bins_is_one(perfect) -> None:
    drawn = torch.rand(50, 50, generator=torch.Generator().manual_seed(0))
    assert grid_scores(perfect.where(drawn < 0.2, torch.nan)) > 1


def test_ellipse_correction_undoes_a_stretch() -> None:
    y, x = torch.meshgrid(*[torch.arange(50, dtype=torch.float64)] * 2, indexing="ij")
    angle = torch.tensor([0.3, 0.3 + math.pi / 3, 0.3 + 2 * math.pi / 3])[:, None, None]
    stretched = (0.6 * ((x / 1.3) * angle.cos() + y * angle.sin())).cos().sum(0)[None]
    assert grid_scores(stretched) < 1
    assert grid_scores(stretched, ellipse_corrected=True) > 1.2


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="variant is 'other'"):
        grid_scores(torch.zeros(1, 9, 9), "other")
    with pytest.raises(ValueError, match="maps has shape"):
        grid_scores(torch.zeros(9, 9))
    assert grid_scores(torch.zeros(0, 9, 9)).shape == (0,)
    assert grid_scores(torch.rand(2, 1, 9)).isnan().all()  # a line has no hexagon
