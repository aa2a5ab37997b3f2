"""Each surface is called by its name, and only a torus a torus."""

import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.analysis import phase_agreement, toroidal_coordinates, torus, why_no_torus
from entorhinal.analysis import topology as parts

pytest.importorskip("gudhi")
pytest.importorskip("ripser")

SMALL = {"points": 200, "moments": 1500, "rolls": 8}
SPACING_M, TURN = 0.4, 0.2


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "NULL_MOMENTS", 1000)
    monkeypatch.setattr(parts, "NULL_POINTS", 150)
    monkeypatch.setattr(parts, "CAVITY_ROLLS", 3)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def walk_m(side_m: float, steps: int = 1500, seed: int = 0) -> Tensor:
    """A path that turns smoothly and is reflected by the walls of a box, (steps, 2)."""
    heading = (0.3 * normal(steps, seed=seed)).cumsum(0)
    path = 0.1 * torch.stack([heading.cos(), heading.sin()], -1).cumsum(0)
    return (path % (2 * side_m) - side_m).abs()


def hexagonal(rates_of, units: int = 40) -> tuple[Tensor, Tensor]:
    """Positions and rates of one module of ideal grid cells: states on a twisted torus."""
    place_m = walk_m(3.5 * SPACING_M)
    turn = torch.full((units,), TURN, dtype=torch.float64)
    phase_m = 2 * draw(units, 2, seed=1)
    return place_m, rates_of(place_m, torch.full_like(turn, SPACING_M), turn, phase_m, "cosines")


def square_torus(units: int = 40) -> Tensor:
    offset = walk_m(3.5 * SPACING_M)[:, None] - 2 * draw(units, 2, seed=1)
    return (1 + (2 * math.pi * offset / SPACING_M).cos()).prod(-1)


def sphere(units: int = 40) -> Tensor:
    place, preferred = normal(1500, 3), normal(units, 3, seed=1)
    unit = torch.nn.functional.normalize
    return (2 * (unit(place) @ unit(preferred).mT - 1)).exp()


def place_cells(units: int = 80) -> Tensor:
    offset = walk_m(1.5)[:, None] - 1.5 * draw(units, 2, seed=1)
    return (-offset.square().sum(-1) / (2 * 0.25**2)).exp()


def circle(units: int = 40) -> Tensor:
    return (2 * (2 * math.pi * (draw(1500, 1) - draw(units, seed=1))).cos() - 2).exp()


@pytest.fixture(scope="module")
def module(rates_of) -> tuple[Tensor, Tensor]:
    return hexagonal(rates_of)


def test_a_grid_module_is_a_torus(module) -> None:
    place_m, states = module
    found = torus(states, periods=3.5, **SMALL)
    assert found.betti.tolist() == [1, 2, 1]
    assert found.is_torus
    (_, loops, cavities), (_, loop, cavity) = found.lengths, found.threshold
    assert loops[1] > 2 * loop
    assert loops[1] > 2 * loops[2]
    assert cavities[0] > 2 * cavity
    assert found.null_lengths.shape == (8, 3)
    assert found.null_lengths[3:, 2].isnan().all()
    assert found.points.shape == (200, 6)
    assert len(found.moments.unique()) == 200

    angle = torch.tensor([TURN, TURN + math.pi / 3], dtype=torch.float64)
    basis_m = SPACING_M * torch.stack([angle.cos(), angle.sin()], -1)
    phases = 2 * math.pi * torch.linalg.solve(basis_m.mT, place_m.mT).mT
    coordinates = toroidal_coordinates(found, states)
    agreement, winding = phase_agreement(coordinates, phases)
    assert agreement.min() > 0.9
    assert abs(float(torch.linalg.det(winding.double()))) == pytest.approx(1)
    other, _ = phase_agreement(coordinates, phases.roll(500, 0))
    assert other.max() < 0.4


def test_a_square_torus_is_a_torus() -> None:
    assert torus(square_torus(), **SMALL).betti.tolist() == [1, 2, 1]


def test_trials_are_joined_and_noise_is_borne(module) -> None:
    _, states = module
    noisy = states + 0.1 * normal(*states.shape, seed=2)
    assert torus(noisy.reshape(5, 300, -1), **SMALL).is_torus


def test_a_sphere_has_a_cavity_and_no_loop() -> None:
    assert torus(sphere(), **SMALL).betti.tolist() == [1, 0, 1]


def test_a_plane_of_place_cells_has_nothing() -> None:
    assert torus(place_cells(), **SMALL).betti.tolist() == [1, 0, 0]


def test_a_circle_has_one_loop() -> None:
    assert torus(circle(), **SMALL).betti.tolist() == [1, 1, 0]


def test_noise_has_nothing() -> None:
    assert torus(draw(1500, 40), **SMALL).betti.tolist() == [1, 0, 0]


def test_units_rolled_in_time_have_nothing(module) -> None:
    rolled = parts.time_rolled(module[1], torch.Generator().manual_seed(5))
    assert rolled.sort(0).values.equal(module[1].sort(0).values)
    assert torus(rolled, **SMALL).betti.tolist() == [1, 0, 0]


def test_the_order_gain_and_offset_of_units_do_not_matter(module) -> None:
    _, states = module
    changed = 3 * states[:, torch.randperm(40, generator=torch.Generator().manual_seed(3))] + 2
    clouds = [parts.point_cloud(each, 120) for each in (states, changed)]
    assert clouds[0][1].equal(clouds[1][1])
    torch.testing.assert_close(clouds[0][3], clouds[1][3])


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_rotating_and_scaling_the_points_changes_nothing(seed: int, gain: float) -> None:
    points = normal(80, 6)
    turn, _ = torch.linalg.qr(normal(6, 6, seed=seed))
    moved = gain * points @ turn
    torch.testing.assert_close(parts.fuzzy_distances(moved, 40), parts.fuzzy_distances(points, 40))
    plain = parts.averaged(points, 5)
    torch.testing.assert_close(parts.averaged(moved, 5), plain @ turn)
    assert parts.covering(parts.averaged(moved, 5), 20).equal(parts.covering(plain, 20))


def test_memberships_as_they_are_defined() -> None:
    """Neighbour by neighbour, with a root finder."""
    from scipy.optimize import brentq

    points = normal(30, 3).numpy()
    unit = points / (points**2).sum(1, keepdims=True) ** 0.5
    gap, k = 1 - unit @ unit.T, 12
    member = torch.zeros(30, 30, dtype=torch.float64)
    for i in range(30):
        others = sorted((gap[i, j], j) for j in range(30) if j != i)[:k]

        def excess(width: float, others: list[tuple[float, int]] = others) -> float:
            return sum(math.exp(-d / width) for d, _ in others) - math.log2(k + 1)

        width = brentq(excess, 1e-4, 1e4)
        for d, j in others:
            member[i, j] = math.exp(-d / width)
    joined = member + member.mT - member * member.mT
    found = parts.fuzzy_distances(torch.from_numpy(points), k)
    off = ~torch.eye(30, dtype=torch.bool)
    torch.testing.assert_close((-found[off]).exp(), joined[off], rtol=1e-5, atol=1e-9)
    assert (found.diagonal() == 0).all()


def cosine_gap(one: Tensor, other: Tensor) -> float:
    return 1 - float(one @ other) / (float(one.norm()) * float(other.norm()))


def test_directions_are_averaged_one_by_one() -> None:
    points = normal(25, 4)
    for mean, point in zip(parts.averaged(points, 6), points, strict=True):
        near = sorted(points, key=lambda other: cosine_gap(point, other))[:7]
        torch.testing.assert_close(mean, torch.stack([each / each.norm() for each in near]).mean(0))


def test_covering_takes_the_farthest_one_by_one() -> None:
    points = normal(60, 4)
    taken = [max(range(60), key=lambda i: float(points[i].norm()))]
    while len(taken) < 20:
        left = [i for i in range(60) if i not in taken]
        taken.append(max(left, key=lambda i: min(cosine_gap(points[i], points[j]) for j in taken)))
    assert parts.covering(points, 20).tolist() == taken


def test_points_equally_far_are_taken_in_time() -> None:
    axes = torch.cat([torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    assert parts.covering(axes, 6).tolist() == [0, 3, 1, 2, 4, 5]
    again = axes.repeat_interleave(2, 0)
    assert parts.covering(again, 12).tolist()[:6] == [0, 6, 2, 4, 8, 10]
    assert len(parts.covering(again, 12).unique()) == 12
    means = parts.averaged(again, 1)
    torch.testing.assert_close(means, again)


def test_sparse_places_are_covered() -> None:
    """Of 2,000 moments on a circle all but a hundred are in a tenth of it, which the points do not follow."""
    angle = 2 * math.pi * torch.cat([0.1 * draw(1900), draw(100, seed=1)])
    around = torch.stack([angle.cos(), angle.sin()], -1)
    kept = angle[parts.covering(parts.averaged(around, 5), 40)].sort().values
    gaps = torch.cat([kept, kept[:1] + 2 * math.pi]).diff()
    assert gaps.max() < 2 * math.pi / 12


def test_bars_of_a_square() -> None:
    """Four corners: three components join at 1, the loop lives from 1 to the diagonal."""
    corners = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 0]], dtype=torch.float64)
    points, loops, cavities = parts.barcodes(torch.cdist(corners, corners))
    torch.testing.assert_close(points, torch.tensor([[0, 2**0.5], [0, 1], [0, 1], [0, 1]], dtype=torch.float64))
    torch.testing.assert_close(loops, torch.tensor([[1, 2**0.5]], dtype=torch.float64))
    assert len(cavities) == 0


def test_the_coordinate_of_a_circle_is_its_angle() -> None:
    angle = 2 * math.pi * draw(100).sort().values
    around = torch.stack([angle.cos(), angle.sin()], -1)
    (found,) = parts.circular_coordinates(torch.cdist(around, around), 1).mT
    follows = max(torch.polar(torch.ones_like(angle), found - side * angle).mean().abs() for side in (1, -1))
    assert follows > 0.95


def bars(*lengths: float) -> Tensor:
    return torch.tensor([[0.0, length] for length in lengths], dtype=torch.float64).reshape(-1, 2)


def test_bars_count_that_stand_out() -> None:
    limit = torch.ones(3, dtype=torch.float64)

    def count(*lengths: float) -> int:
        return int(parts.betti_numbers((bars(9), bars(*lengths), bars()), limit)[1])

    found = [count(), count(1.9), count(2.1), count(5, 4.9, 2), count(5, 3, 1.9), count(5, 2.4, 1)]
    assert found == [0, 0, 1, 2, 0, 2]
    assert parts.betti_numbers((bars(9, 3, 0.1), bars(), bars()), limit).tolist() == [2, 0, 0]


def test_loops_and_cavities_that_are_born_late_do_not_count() -> None:
    limit, (late, just) = torch.ones(3, dtype=torch.float64), (torch.tensor([[b, 15.0]]).double() for b in (5.1, 5.0))
    early = torch.tensor([[0.1, 6.0]], dtype=torch.float64)
    assert parts.betti_numbers((bars(9), late, late), limit).tolist() == [1, 0, 0]
    assert parts.betti_numbers((bars(9), just, just), limit).tolist() == [1, 1, 1]
    both = torch.cat([late, early])  # the longest first
    assert parts.betti_numbers((bars(9), both, both), limit).tolist() == [1, 1, 1]
    hidden = torch.cat([late, early / 2])  # does not stand out: it is less than half as long as the late one
    assert parts.betti_numbers((bars(9), hidden, hidden), limit).tolist() == [1, 0, 0]
    assert parts.betti_numbers((torch.cat([just, late]), bars(), bars()), limit).tolist() == [2, 0, 0]


def test_agreement_finds_the_basis() -> None:
    phases = 2 * math.pi * draw(500, 2)
    turned = phases @ torch.tensor([[1.0, 1], [0, 1]], dtype=torch.float64).mT + 0.3
    agreement, winding = phase_agreement(turned, phases)
    assert agreement.tolist() == pytest.approx([1, 1])
    assert winding.tolist() == [[1, 1], [0, 1]]


def test_what_cannot_be_judged_says_why(module) -> None:
    _, states = module
    assert why_no_torus(20, 3) == why_no_torus(20, None) == ""
    with pytest.raises(ValueError, match="19 units"):
        torus(states[:, :19])
    with pytest.raises(ValueError, match=r"2\.5 periods"):
        torus(states, periods=2.5)
    with pytest.raises(ValueError, match="points is 2000 of 1500"):
        torus(states, points=2000)
    with pytest.raises(ValueError, match=r"\(T, N\) or \(B, T, N\)"):
        torus(states[None, None])
    with pytest.raises(ValueError, match="do not vary"):
        torus(torch.ones(300, 20), points=100)
    with pytest.raises(ValueError, match="rolls is 0"):
        torus(states, rolls=0)
    with pytest.raises(ValueError, match="same shape"):
        phase_agreement(states[:, :2], states[:3, :2])


def test_moments_without_an_answer_are_left_out(module) -> None:
    states = module[1].clone()
    states[::7, 3] = torch.nan
    kept = parts.most_active(states, 10_000)
    assert len(kept) == 1500 - len(range(0, 1500, 7))
    assert kept.equal(kept.sort().values)
    few = parts.most_active(states, 5)
    assert set(few.tolist()) == set(states.sum(1).nan_to_num(-1).topk(5).indices.tolist())


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gudhi.sklearn", None)
    with pytest.raises(ImportError, match=r"entorhinal\[topology\]"):
        parts.barcodes(torch.zeros(5, 5, dtype=torch.float64))


def test_figures_are_drawn(module) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    from entorhinal.analysis import plots

    figure = Figure()
    ax = plots.barcode(figure.add_subplot(121), (bars(9, 1), bars(5, 4, 1), bars()), threshold=torch.ones(3))
    assert [len(lines.get_segments()) for lines in ax.collections] == [2, 2, 3, 3, 0, 0]
    assert ax.get_xlim() == (0, 5)
    coordinates = 2 * math.pi * draw(50, 2)
    ax = plots.torus_3d(figure.add_subplot(122, projection="3d"), coordinates, draw(50))
    x, y, z = (torch.as_tensor(values) for values in ax.collections[0]._offsets3d)
    torch.testing.assert_close((torch.hypot(x, y) - 1).square() + z.square(), torch.full_like(z, 0.16))
