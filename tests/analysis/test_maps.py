"""Rate maps and autocorrelograms against closed forms and naive loops."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.analysis import RateMapAccumulator, RateMaps, autocorrelograms, rate_maps, smooth_maps
from entorhinal.analysis.maps import MIN_SHARED_BINS

BOX = ((-1.0, 1.0), (-1.0, 1.0))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_correlogram(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    out = np.full((2 * height - 1, 2 * width - 1), np.nan)
    for dy in range(1 - height, height):
        for dx in range(1 - width, width):
            here = image[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
            there = image[max(0, dy) : height - max(0, -dy), max(0, dx) : width - max(0, -dx)]
            both = np.isfinite(here) & np.isfinite(there)
            if both.sum() >= MIN_SHARED_BINS and here[both].std() > 1e-4 and there[both].std() > 1e-4:
                out[dy + height - 1, dx + width - 1] = np.corrcoef(here[both], there[both])[0, 1]
    return out


def test_a_map_is_the_mean_of_its_bins_with_y_in_rows() -> None:
    position = torch.tensor([[-0.9, -0.9], [-0.8, -0.9], [0.9, -0.9], [-0.9, 0.9], [1.0, 1.0], [3.0, 0.0]])
    rates = torch.tensor([[1.0], [3.0], [5.0], [7.0], [9.0], [1e9]])
    maps = rate_maps(rates, position, BOX, bins=4)
    assert maps.bin_m == 0.5
    assert maps.values.dtype == torch.float64
    expected = torch.full((1, 4, 4), torch.nan, dtype=torch.float64)
    expected[0, 0, 0], expected[0, 0, 3], expected[0, 3, 0], expected[0, 3, 3] = 2, 5, 7, 9
    torch.testing.assert_close(maps.values, expected, equal_nan=True)
    assert maps.occupancy[0].tolist() == [2, 0, 0, 1]
    assert maps.occupancy.sum() == 5  # the sample outside is left out
    torch.testing.assert_close(maps.centers_m()[3, 0], torch.tensor([-0.75, 0.75], dtype=torch.float64))


def test_maps_equal_a_loop_and_do_not_depend_on_chunks() -> None:
    position, rates = torch.rand(6, 500, 2) * 2 - 1, noise(6, 500, 3)
    whole = rate_maps(rates, position, BOX, bins=5)
    parts = RateMapAccumulator(BOX, bins=5)
    for some_rates, some_positions in zip(rates.numpy(), position.numpy(), strict=True):
        parts.add(some_rates, some_positions)
    torch.testing.assert_close(parts.result().values, whole.values)
    cell = ((position + 1) / 0.4).long().clamp(0, 4)
    here = (cell[..., 0] == 3) & (cell[..., 1] == 1)
    torch.testing.assert_close(whole.values[:, 1, 3], rates[here].mean(0))


def test_nan_rates_are_left_out_for_their_unit_alone() -> None:
    position = torch.tensor([[-0.5, -0.5], [-0.5, -0.5], [0.5, 0.5]])
    rates = torch.tensor([[2.0, 2.0], [torch.nan, 4.0], [torch.nan, 6.0]])
    maps = rate_maps(rates, position, BOX, bins=2)
    assert maps.values[:, 0, 0].tolist() == [2, 3]
    assert maps.values[0, 1, 1].isnan()
    assert maps.values[1, 1, 1] == 6
    assert maps.occupancy[1, 1] == 1


def test_lines_and_oblongs() -> None:
    line = rate_maps(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.1], [2.9]]), ((0.0, 3.0),), bins=3)
    assert line.values.shape == (1, 1, 3)
    assert line.values[0, 0, ::2].tolist() == [1, 2]
    assert line.centers_m()[0, :, 0].tolist() == [0.5, 1.5, 2.5]
    oblong = rate_maps(torch.ones(1, 1), torch.zeros(1, 2), ((-2.0, 2.0), (-0.5, 0.5)), bins=8)
    assert oblong.values.shape == (1, 2, 8)
    assert RateMaps(torch.zeros(1, 2, 4), torch.zeros(2, 4), 0.5).centers_m()[0, 0].tolist() == [-0.75, -0.25]


def test_smoothing_ignores_nan() -> None:
    image = noise(2, 9, 7)
    image[0, 2, 3] = torch.nan
    smooth = smooth_maps(image, 1.3)
    assert torch.equal(smooth.isnan(), image.isnan())
    y, x = np.mgrid[:9, :7]
    weight = np.exp(-((y - 4) ** 2 + (x - 2) ** 2) / (2 * 1.3**2)) * np.isfinite(image[0].numpy())
    assert smooth[0, 4, 2].item() == pytest.approx((weight * np.nan_to_num(image[0].numpy())).sum() / weight.sum())
    torch.testing.assert_close(smooth_maps(torch.full((1, 6, 6), 3.0), 2), torch.full((1, 6, 6), 3.0).double())


def test_autocorrelogram_equals_a_loop_over_lags() -> None:
    image = noise(3, 8, 11, seed=1)
    image[0, 2:4, 5] = torch.nan
    image[1, :, :2] = torch.nan
    image[2, 5:] = 1.0
    found = autocorrelograms(image * 7 + 3)
    for one, expected in zip(found, image.numpy(), strict=True):
        np.testing.assert_allclose(one.numpy(), naive_correlogram(expected * 7 + 3), atol=1e-10)
    assert found[:, 7, 10].tolist() == pytest.approx([1, 1, 1])


@settings(max_examples=25)
@given(seed=st.integers(0, 999), holes=st.floats(0, 0.5), gain=st.floats(1e-9, 1e9), offset=st.floats(-1e3, 1e3))
def test_autocorrelogram_properties(seed: int, holes: float, gain: float, offset: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = noise(2, 9, 9, seed=seed)
    image[torch.rand(image.shape, generator=generator) < holes] = torch.nan
    found = autocorrelograms(image)
    assert torch.equal(found.isnan(), found.flip(1, 2).isnan())
    torch.testing.assert_close(found, found.flip(1, 2), equal_nan=True)
    torch.testing.assert_close(autocorrelograms((image + offset) * gain), found, equal_nan=True, atol=1e-9, rtol=0)
    torch.testing.assert_close(autocorrelograms(image.rot90(1, (1, 2))), found.rot90(1, (1, 2)), equal_nan=True)
    torch.testing.assert_close(autocorrelograms(image.flip(0)), found.flip(0), equal_nan=True)
    assert found[found.isfinite()].abs().max() <= 1


def test_degenerate_maps_are_nan_without_a_warning() -> None:
    one_bin = torch.full((9, 9), torch.nan, dtype=torch.float64)
    one_bin[4, 4] = 1
    maps = torch.stack([torch.full((9, 9), 0.1, dtype=torch.float64), torch.full((9, 9), torch.nan), one_bin])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert autocorrelograms(maps).isnan().all()
        assert autocorrelograms(maps[:0]).shape == (0, 17, 17)


def test_bad_input_is_named() -> None:
    for arguments, name in (
        ({"bins": 0}, "bins"),
        ({"smoothing_m": -1.0}, "smoothing_m"),
        ({"extent_m": ((1.0, 0.0), (0.0, 1.0))}, "extent_m"),
        ({"extent_m": ((0.0, 1.0),)}, "position_m"),
        ({"position_m": torch.zeros(4, 2)}, "position_m"),
    ):
        good: dict = {"rates": torch.zeros(3, 1), "position_m": torch.zeros(3, 2), "extent_m": BOX}
        with pytest.raises(ValueError, match=name):
            rate_maps(**(good | arguments))
    with pytest.raises(ValueError, match="maps has shape"):
        autocorrelograms(torch.zeros(5, 5))
    with pytest.raises(ValueError, match="sigma_bins"):
        smooth_maps(torch.zeros(1, 5, 5), -1)
    with pytest.raises(ValueError, match="no samples"):
        RateMapAccumulator(BOX).result()
