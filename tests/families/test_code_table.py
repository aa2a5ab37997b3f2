"""Tables of codes: the product of hats is bilinear interpolation, and what is outside is refused or NaN."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entorhinal.families.errors import InputError
from entorhinal.families.function_optimization.code_table import (
    check_box,
    code_at,
    maps_of,
    places,
    rates_at,
)
from entorhinal.families.world import Arena, World

SIDE_M, BINS = 1.5, 7
RANDOM = torch.Generator().manual_seed(0)
TABLE = torch.randn(BINS**2, 3, generator=RANDOM, dtype=torch.float64)


def uniform(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=RANDOM, dtype=torch.float64)


def test_reading_is_bilinear_interpolation_of_the_maps_inside_the_box() -> None:
    at_m = SIDE_M * (uniform(5, 40, 2) - 0.5)
    torch.testing.assert_close(code_at(TABLE, at_m, SIDE_M), rates_at(TABLE, at_m, SIDE_M))


def test_a_bin_is_read_at_its_centre_with_rows_along_y() -> None:
    maps = maps_of(TABLE)
    assert maps.shape == (3, BINS, BINS)
    centre_m = (torch.arange(BINS, dtype=torch.float64) + 0.5) * SIDE_M / BINS - SIDE_M / 2
    for row, column in ((0, 0), (2, 5), (6, 1)):
        at_m = torch.stack((centre_m[column], centre_m[row]))
        torch.testing.assert_close(code_at(TABLE, at_m[None], SIDE_M)[0], maps[:, row, column])


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=2))
def test_a_code_is_an_average_of_at_most_four_bins_everywhere(at: list[float]) -> None:
    each = torch.eye(BINS**2, dtype=torch.float64)  # a unit for each bin: its code is what is read of it
    weights = code_at(each, torch.tensor([at], dtype=torch.float64), SIDE_M)[0]
    assert float(weights.sum()) == pytest.approx(1)
    assert (weights >= 0).all()
    assert int((weights > 1e-12).sum()) <= 4


def test_rates_are_nan_outside_the_box_only() -> None:
    at_m = torch.tensor([[[0.74, 0.0], [0.76, 0.0], [0.0, -0.76], [-0.75, 0.75]]], dtype=torch.float64)
    assert rates_at(TABLE, at_m, SIDE_M).isnan().all(-1).tolist() == [[False, True, True, False]]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-SIDE_M, SIDE_M), st.floats(-SIDE_M, SIDE_M))
def test_both_ends_of_a_step_are_inside(u: float, w: float, x: float, y: float) -> None:
    step_m = torch.tensor([x, y], dtype=torch.float64)
    start_m, end_m = places(torch.tensor([u, w], dtype=torch.float64), step_m, SIDE_M)
    assert (torch.stack((start_m, end_m)).abs() <= SIDE_M / 2 + 1e-12).all()
    torch.testing.assert_close(end_m - start_m, step_m)


def test_starts_fill_what_a_step_leaves() -> None:
    step_m = torch.tensor([0.5, -0.2], dtype=torch.float64)
    start_m, _ = places(uniform(4000, 2), step_m, SIDE_M)
    torch.testing.assert_close(start_m.amin(0), torch.tensor([-0.75, -0.55], dtype=torch.float64), atol=0.01, rtol=0)
    torch.testing.assert_close(start_m.amax(0), torch.tensor([0.25, 0.75], dtype=torch.float64), atol=0.01, rtol=0)


@pytest.mark.parametrize("arena", [Arena.square(2.0), Arena.line(1.5)])
def test_another_box_is_refused(arena: Arena) -> None:
    with pytest.raises(InputError, match=r"a/b-v1: the table covers a square of side_m=1.5.*make them the same"):
        check_box("a/b-v1", World(arena), SIDE_M)
    check_box("a/b-v1", World(Arena.square(SIDE_M)), SIDE_M)
