"""Every plot draws what it is given on the axes that it returns."""

import matplotlib

matplotlib.use("Agg")

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from entorhinal.analysis import autocorrelograms, plots


@pytest.fixture
def ax() -> Iterator[Axes]:
    canvas, axes = plt.subplots()
    yield axes
    canvas.draw_without_rendering()
    plt.close(canvas)


def test_a_map_lies_as_the_arena_does(ax: Axes) -> None:
    map_ = torch.tensor([[0.0, 1.0], [torch.nan, 3.0]])
    assert plots.rate_map(ax, map_, bin_m=0.5, limits=(-3, 3)) is ax
    (image,) = ax.images
    assert image.origin == "lower"
    assert image.get_extent() == [0, 1, 0, 1]
    assert image.get_clim() == (-3, 3)
    assert np.ma.getmaskarray(image.get_array()).tolist() == [[False, False], [True, False]]


def test_a_lattice_has_six_circles_where_its_peaks_are(ax: Axes) -> None:
    basis_m = torch.tensor([[0.3, 0.0], [0.15, 0.26]])
    correlogram = autocorrelograms(torch.rand(1, 20, 20))[0]
    assert plots.autocorrelogram(ax, correlogram, bin_m=0.05, ring_m=(0.1, 0.4), basis_m=basis_m) is ax
    *rings, peaks = ax.lines
    assert [np.hypot(*ring.get_data()).max().round(6) for ring in rings] == [0.1, 0.4]
    assert len(peaks.get_xdata()) == 6
    assert np.sum(peaks.get_data()) == pytest.approx(0)


def test_modules_have_a_colour_each_and_other_units_none(ax: Axes) -> None:
    spacing_m, labels = torch.tensor([0.3, 0.31, 0.6, 0.9]), torch.tensor([0, 0, 1, -1])
    assert plots.module_scatter(ax, spacing_m, torch.tensor([0.1, 0.12, 0.5, 1.2]), labels) is ax
    none, first, second = ax.collections
    assert [len(part.get_offsets()) for part in (none, first, second)] == [1, 2, 1]
    assert first.get_facecolor().tolist() != second.get_facecolor().tolist()
    assert not len(none.get_facecolor())
    assert first.get_offsets()[0].tolist() == pytest.approx([0.3, np.rad2deg(0.1)])
    assert first.get_label() == "0.31 m (2)"


def test_modules_may_have_no_units(ax: Axes) -> None:
    plots.module_scatter(ax, torch.empty(0), torch.empty(0), torch.empty(0, dtype=torch.long))
    assert len(ax.collections) == 1


def test_phases_fall_into_the_unit_cell(ax: Axes) -> None:
    assert plots.phase_tile(ax, torch.tensor([[0.25, 0.0], [2.25, -3.0], [0.5, 0.5]])) is ax
    (points,) = ax.collections
    where = points.get_offsets()
    np.testing.assert_allclose(where[0], [0.25, 0])
    np.testing.assert_allclose(where[1], where[0])
    assert np.abs(where[2]).tolist() == pytest.approx([0.75, np.sqrt(0.75) / 2])


def test_an_error_curve_is_the_median_in_its_interquartile_band(ax: Axes) -> None:
    distance_m = torch.linspace(0, 10, 50).repeat(5, 1)
    error_m = distance_m * torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])[:, None]
    assert plots.error_curve(ax, distance_m, error_m, label="five") is ax
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(y, 0.3 * x, atol=1e-6)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(4, abs=1e-5)
    assert ax.get_legend_handles_labels()[1] == ["five"]


def test_one_trial_is_a_line_without_a_band(ax: Axes) -> None:
    plots.error_curve(ax, torch.arange(4.0), torch.tensor([0.0, 1.0, torch.nan, 2.0]))
    assert not ax.collections
    assert ax.lines[0].get_ydata().tolist() == [0, 1, 2]


def test_a_capacity_curve_has_the_typical_and_the_least_distance(ax: Axes) -> None:
    distance_m = np.linspace(0, 3, 10)
    assert plots.capacity_curve(ax, distance_m, np.ones(10), np.full(10, 0.2), label="code") is ax
    thick, thin = ax.lines
    assert thick.get_linewidth() > thin.get_linewidth()
    assert thick.get_ydata()[0] == 1 > thin.get_ydata()[0]
    assert ax.get_xlim() == (0, 3)
    plots.capacity_curve(ax, distance_m, np.full(10, 2.0), np.full(10, 0.1))
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylim()[1] > 2, "a second, higher curve is not cut"


def test_scores_and_tables(ax: Axes) -> None:
    scores = torch.tensor([0.1, torch.nan, 1.2])
    assert plots.score_histogram(ax, scores, scores, threshold=0.5) is ax
    assert sorted(ax.get_legend_handles_labels()[1]) == ["99 % of null", "null", "units"]
    assert plots.heat_map(ax, np.array([[0.5, np.nan]]), [["a", ""]], rows=["r"], columns=["c", "d"]) is ax
    assert [text.get_text() for text in ax.texts] == ["a", ""]


def test_labels_in_the_margin_keep_their_order_and_their_distance(ax: Axes) -> None:
    ax.set_xscale("log")
    height = [0.5, 0.5, 0.51, 0.0, 1.0, 0.99]
    points = [(10.0**i, y, str(i), "black") for i, y in enumerate(height)]
    plots.margin_labels(ax, points, gap=0.1)
    places = {text.get_text(): text.get_position()[1] for text in ax.texts}
    ordered = sorted(places.values())
    assert np.diff(ordered).min() > 0.0999
    assert ordered[-1] <= 1
    assert places["3"] < places["0"] < places["2"] < places["5"] < places["4"]
    assert len(ax.lines) == 6
    assert not plots.margin_labels(ax.figure.add_subplot(), []).texts
    many = plots.margin_labels(ax.figure.add_subplot(), [(0, i, "x", "black") for i in range(20)], gap=0.1)
    assert many.texts[0].get_fontsize() == 3
    assert np.diff(sorted(text.get_position()[1] for text in many.texts)).min() > 0.0499
