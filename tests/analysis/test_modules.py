"""Modules are counted exactly, and a continuum of spacings is not cut into modules."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.analysis import Lattices, discreteness, mixture_modules, module_overlaps, modules


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lattices_of(spacing_m: Tensor, orientation_rad: Tensor, seed: int) -> Lattices:
    angle = torch.stack([orientation_rad, orientation_rad + math.pi / 3], -1)
    basis_m = spacing_m[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)
    ellipticity = 1.03 + 0.1 * torch.rand(len(spacing_m), generator=generator(seed + 1), dtype=torch.float64)
    return Lattices(spacing_m, orientation_rad, ellipticity, basis_m)


def population(
    spacings_m: list[float], seed: int, *, units: int = 20, jitter: float = 0.05, one_orientation: bool = False
) -> Lattices:
    random = generator(seed)
    orientation = math.pi / 3 * torch.rand(len(spacings_m), generator=random, dtype=torch.float64)
    orientation = (orientation[:1].expand_as(orientation) if one_orientation else orientation).repeat_interleave(units)
    noise = torch.randn(2, len(orientation), generator=random, dtype=torch.float64)
    spacing = torch.tensor(spacings_m, dtype=torch.float64).repeat_interleave(units) * (1 + jitter * noise[0])
    return lattices_of(spacing, (orientation + math.radians(2) * noise[1]) % (math.pi / 3), seed)


def smooth(kind: str, units: int, seed: int) -> Lattices:
    """Log spacing uniform over a factor of 3.3, or one peak."""
    random = generator(seed)
    one, two = torch.rand(2, units, generator=random, dtype=torch.float64)
    log_spacing = {"uniform": 1.2 * one, "normal": 0.3 * torch.erfinv(2 * one - 1) * 2**0.5, "skewed": -0.4 * one.log()}
    return lattices_of(0.5 * log_spacing[kind].exp(), math.pi / 3 * two, seed)


def chain(count: int, first_m: float = 0.3, ratio: float = 1.42) -> list[float]:
    return [first_m * ratio**k for k in range(count)]


@pytest.mark.parametrize("one_orientation", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_modules_are_counted_exactly(count: int, one_orientation: bool) -> None:
    for seed in range(8):
        found = modules(population(chain(count), seed, one_orientation=one_orientation), draws=100, seed=seed)
        assert found.count == count, seed
        assert found.discrete == (count > 1)
        assert torch.equal(found.labels, torch.arange(count).repeat_interleave(20))
        assert found.sizes.tolist() == [20] * count
        torch.testing.assert_close(found.spacing_m, torch.tensor(chain(count), dtype=torch.float64), rtol=0.06, atol=0)
        assert ((found.ratios / 1.42 - 1).abs() < 0.1).all()


def test_five_modules_from_a_quarter_metre() -> None:
    for seed in range(4):
        found = modules(population(chain(5, 0.25), seed), draws=60, seed=seed)
        assert found.count == 5
        assert found.ratios.shape == (4,)
        assert found.ratio_intervals.shape == (4, 2)


@pytest.mark.parametrize("kind", ["uniform", "normal", "skewed"])
def test_a_continuum_is_not_several_modules(kind: str) -> None:
    """At 3 %, 3.6 of 120 are expected of the uniform one, and fewer of the others."""
    wrong = sum(modules(smooth(kind, 25, seed), draws=100, seed=seed).discrete for seed in range(120))
    assert wrong <= (8 if kind == "uniform" else 3)


def test_the_gap_test_has_its_level_on_uniform_spacings() -> None:
    p = torch.tensor([discreteness(smooth("uniform", 14, s).spacing_m, draws=100, seed=s + 999) for s in range(300)])
    for level in (0.05, 0.2, 0.5):
        assert float((p < level).double().mean()) == pytest.approx(level, abs=3 * (level / 300) ** 0.5)


def test_cuts_are_those_of_a_naive_search() -> None:
    from itertools import combinations, pairwise

    from entorhinal.analysis.modules import RESOLUTION, _gains

    values = torch.rand(3, 11, generator=generator(0), dtype=torch.float64).sort(1).values
    found = _gains(values, 3, 3)
    deviation = lambda run: float((run - run.median()).abs().sum())  # noqa: E731
    for row, gains in zip(values, found, strict=True):
        whole = deviation(row) + 11 * RESOLUTION
        for k in (2, 3):
            cuts = [(0, *c, 11) for c in combinations(range(1, 11), k - 1)]
            cuts = [c for c in cuts if min(b - a for a, b in pairwise(c)) >= 3]
            least = min(sum(deviation(row[a:b]) for a, b in pairwise(c)) for c in cuts)
            assert float(gains[k - 2]) == pytest.approx(math.log(whole / (least + 11 * RESOLUTION)))


def test_a_broad_continuum_is_no_module_and_a_narrow_one_is_one() -> None:
    broad = modules(smooth("uniform", 60, 0))
    assert (broad.count, broad.discrete) == (0, False)
    assert (broad.labels == -1).all()
    assert broad.basis_m.shape == (0, 2, 2)
    assert modules(population([0.5], 0, units=60)).count == 1


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), turn=st.floats(-3, 3), scale=st.floats(0.1, 10))
def test_modules_ignore_order_rotation_and_scale(seed: int, turn: float, scale: float) -> None:
    one = population(chain(3), seed, units=8)
    reference = modules(one, draws=50)
    order = torch.randperm(24, generator=generator(seed))
    other = lattices_of(one.spacing_m * scale, (one.orientation_rad + turn) % (math.pi / 3), seed)
    found = modules(other[order], draws=50)
    assert torch.equal(found.labels, reference.labels[order])
    torch.testing.assert_close(found.ratios, reference.ratios)
    torch.testing.assert_close(found.ratio_intervals, reference.ratio_intervals)
    torch.testing.assert_close(found.spacing_m, reference.spacing_m * scale)


def test_units_without_score_or_lattice_are_in_no_module() -> None:
    some = population(chain(2), 0)
    some.spacing_m[3] = math.nan
    scores = torch.ones(40)
    scores[[7, 30]] = 0.1
    scores[8] = math.nan
    labels = modules(some, scores).labels
    assert (labels[[3, 7, 8, 30]] == -1).all()
    assert (labels >= 0).sum() == 36
    assert (modules(some, scores, least_score=scores.nan_to_num(2)).labels == -1).all()
    assert torch.equal(modules(some, scores.numpy()).labels, labels)


def test_few_units_are_no_module_beside_large_ones() -> None:
    large, small = population([0.3, 0.426], 0), population([0.9], 1, units=4)
    both = Lattices(*(torch.cat([getattr(x, f) for x in (large, small)]) for f in Lattices.__dataclass_fields__))
    found = modules(both)
    assert found.count == 2
    assert (found.labels[40:] == -1).all()
    assert modules(small).count == 0
    assert math.isnan(modules(small).p_value)
    assert modules(both, least_units=4).count == 3


def test_ratios_below_the_least_are_one_module() -> None:
    assert modules(population([0.5, 0.55], 0, jitter=0.01)).count == 1
    assert modules(population([0.5, 0.65], 0, jitter=0.01)).count == 2
    assert modules(population([0.5, 0.65], 0, jitter=0.01), least_ratio=1.4).count <= 1


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(40):
        low, high = modules(population(chain(2), seed), draws=150, seed=seed).ratio_intervals[0]
        inside += bool(low <= 1.42 <= high)
    assert 33 <= inside <= 40


def test_the_module_basis_crosses_the_60_degree_seam() -> None:
    """Orientations on both sides of 0 are one module with one basis."""
    noise = torch.randn(20, generator=generator(0), dtype=torch.float64)
    found = modules(lattices_of(torch.full((20,), 0.5).double(), (0.02 * noise) % (math.pi / 3), 0))
    assert found.count == 1
    away = (float(found.orientation_rad[0]) + math.pi / 6) % (math.pi / 3) - math.pi / 6
    assert abs(away) < 0.02
    one, two = found.basis_m[0]
    assert float(one.norm()) == pytest.approx(0.5, rel=0.01)
    assert float(one @ two) == pytest.approx(0.125, rel=0.05)


def test_the_mixture_counts_modules() -> None:
    pytest.importorskip("sklearn")
    for count in (1, 3):
        assert mixture_modules(population(chain(count), 0).spacing_m) == count
    assert mixture_modules(torch.full((3,), 0.5)) == 0


def test_overlaps() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, -1])
    assert module_overlaps(labels, labels).tolist() == [1, 1]
    assert module_overlaps(labels, 1 - labels.clamp_min(0)).tolist() == [0.8, 1]
    assert module_overlaps(labels, torch.full((8,), -1)).tolist() == [0, 0]
    assert module_overlaps(labels, torch.tensor([0, 0, -1, -1, 1, 1, 0, 2])).tolist() == [0.4, pytest.approx(2 / 3)]
    with pytest.raises(ValueError, match="same units"):
        module_overlaps(labels, labels[:3])


def test_bad_module_input_is_named() -> None:
    some = population([0.5], 0)
    with pytest.raises(ValueError, match="scores 3"):
        modules(some, torch.ones(3))
    with pytest.raises(ValueError, match="least_ratio 1"):
        modules(some, least_ratio=1.0)
    with pytest.raises(ValueError, match="spacing_m"):
        discreteness(-torch.ones(20))
