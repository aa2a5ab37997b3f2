"""The Fourier operator, both kinds of components, and the model made of them."""

import math

import pytest
import torch
from torch import Tensor

from entorhinal.families.errors import InputError
from entorhinal.families.function_optimization import dordek
from entorhinal.families.function_optimization.dordek import Dordek, DordekConfig
from entorhinal.families.world import Arena, Trajectories, World

N, SIGMA = 20, 2.4
SMALL = {"bins": N, "sigma_bins": SIGMA, "components": 3, "networks": 2}


def dense_covariance(n: int, sigma: float) -> Tensor:
    """A from place fields summed over images of the box, scaled to largest eigenvalue 1: (n², n²)."""
    images = torch.arange(-4, 5) * n
    offset = (torch.arange(n)[:, None] + images).double()

    def gaussian(width: float) -> Tensor:
        along = torch.exp(-offset.square() / (2 * width**2)).sum(1) / (width * math.sqrt(2 * math.pi))
        return along[:, None] * along

    field = gaussian(sigma) - gaussian(2 * sigma)
    shift = (torch.arange(n)[:, None] - torch.arange(n)) % n
    r = field[shift[:, None, :, None], shift[None, :, None, :]].reshape(n * n, n * n)
    a = r @ r
    return a / torch.linalg.eigvalsh(a)[-1]


@pytest.fixture(scope="module")
def dense() -> Tensor:
    return dense_covariance(N, SIGMA)


def starts(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, N, N, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_peak_and_spacing_are_those_of_the_paper() -> None:
    assert pytest.approx(0.961, abs=5e-4) == dordek.PEAK_WAVENUMBER
    assert pytest.approx(7.55, abs=5e-3) == dordek.SPACING


def test_transform_equals_dense_matrix(dense: Tensor) -> None:
    x = starts(3)
    ours = dordek.covariance(x, SIGMA)
    assert torch.allclose(ours.flatten(1), x.flatten(1) @ dense, atol=1e-10, rtol=0)


def test_unconstrained_components_span_the_leading_eigenspace(dense: Tensor) -> None:
    # one wave on each axis leads (4 maps), then the next shell (4 or 8): compare whole shells
    values, vectors = torch.linalg.eigh(dense)
    values, vectors = values.flip(0), vectors.flip(1)
    whole = [k for k in range(1, 20) if values[k - 1] - values[k] > 1e-6]
    for k in whole:
        config = DordekConfig(bins=N, sigma_bins=SIGMA, components=k, networks=2, nonnegative=False)
        for found in dordek.principal_components(config).flatten(2):
            assert torch.allclose(found @ found.T, torch.eye(k, dtype=found.dtype), atol=1e-10)
            assert torch.allclose(found.T @ found, vectors[:, :k] @ vectors[:, :k].T, atol=1e-8)
            assert torch.allclose(((found @ dense) * found).sum(1), values[:k], atol=1e-10)
    assert len(whole) >= 2


def test_networks_differ_within_degenerate_eigenspaces() -> None:
    maps = dordek.principal_components(DordekConfig(**SMALL, nonnegative=False))
    assert (maps[0, 0] * maps[1, 0]).sum().abs() < 0.99


def test_fista_climbs_to_a_feasible_fixed_point(dense: Tensor) -> None:
    x, variance = dordek.fista(dordek.deflated(SIGMA, []), starts(4), 3000, 1e-11)
    assert (x >= 0).all()
    assert torch.allclose(x.flatten(1).norm(dim=1), torch.ones(4, dtype=x.dtype))
    assert (variance[-1] > variance[0]).all()
    assert (variance[-1] >= variance.amax(0) - 1e-9).all()
    # stationarity: A x = E x where x > 0, and A x <= 0 where x = 0
    gradient = x.flatten(1) @ dense
    residual = gradient - (gradient * x.flatten(1)).sum(1, keepdim=True) * x.flatten(1)
    assert residual[x.flatten(1) > 0].abs().max() < 1e-7
    assert residual[x.flatten(1) == 0].max() < 1e-7


def test_unconstrained_bound_holds() -> None:
    """No non-negative map exceeds the largest eigenvalue, 1, and a single wave with its mean, 1/3, is exceeded."""
    _, variance = dordek.fista(dordek.deflated(SIGMA, []), starts(4), 500, 1e-6)
    assert (variance[-1] < 1).all()
    assert (variance[-1] > 1 / 3).all()


def test_deflation_removes_what_was_read_and_gives_other_maps() -> None:
    maps = dordek.nonnegative_components(DordekConfig(**SMALL))
    first = list(maps[:, :2].unbind(1))
    operator = dordek.deflated(SIGMA, first)
    for x in first:
        assert operator(x).abs().max() < 1e-12
    overlap = torch.einsum("schw,sdhw->scd", maps, maps) - torch.eye(3, dtype=maps.dtype)
    assert overlap.max() < 0.95
    assert overlap.min() > -1e-9


@pytest.mark.parametrize("nonnegative", [True, False])
def test_components_follow_from_the_seed(nonnegative: bool) -> None:
    def maps(seed: int) -> Tensor:
        dordek.solve.cache_clear()
        return dordek.solve(DordekConfig(**SMALL, nonnegative=nonnegative, seed=seed))

    assert torch.equal(maps(0), maps(0))
    assert not torch.allclose(maps(0), maps(1))


def walk(side_m: float = 1.0) -> Trajectories:
    return World(Arena.square(side_m), dtype=torch.float64).walk(2, 6, seed=0)


def test_represent_fits_once_and_state_dict_round_trips(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Dordek.make(**SMALL)
    assert not model.fitted
    rates = model.represent(walk()).rates
    assert rates.shape == (2, 6, 6)
    assert rates.dtype == torch.float64
    assert model.fitted
    other = Dordek.make(**SMALL)
    other.load_state_dict(model.state_dict())
    monkeypatch.setattr(dordek, "solve", lambda config: pytest.fail("fitted again"))
    assert torch.equal(other.represent(walk()).rates, rates)
    other.fit(World(Arena.square(1.0)))
    assert torch.equal(other.maps, model.maps)


def test_rates_are_the_maps_at_bin_centres_and_wrap() -> None:
    model = Dordek.make(**SMALL, extent_m=0.5)
    world = World(Arena.square(4.0), dtype=torch.float64)
    model.fit(world)
    bin_m, row, column = 0.5 / N, 3, 11
    there = torch.tensor([[-0.25 + (column + 0.5) * bin_m, -0.25 + (row + 0.5) * bin_m]], dtype=torch.float64)
    for whole in ((0, 0), (1, 0), (-2, 3)):
        place = (there + 0.5 * torch.tensor(whole)).expand(1, 2, 2)
        rates = model.represent(Trajectories.from_positions(place, 0.02, world.arena)).rates[0, 0]
        assert torch.allclose(rates, N * model.maps[:, row, column].double(), atol=1e-6)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"sigma_bins": 14.0}, "sigma_bins"),
        ({"sigma_bins": 0.5}, "sigma_bins"),
        ({"bins": 7}, "bins"),
        ({"components": 0}, "components"),
        ({"components": 2501}, "components"),
        ({"sigma": 7.5}, "sigma_bins"),
    ],
)
def test_bad_configs_are_refused_in_one_line(values: dict[str, float], word: str) -> None:
    with pytest.raises(InputError, match=word) as error:
        Dordek.make(**values)
    assert "\n" not in str(error.value)


def test_a_line_is_refused() -> None:
    world = World(Arena.line(1.0))
    model = Dordek.make(**SMALL)
    with pytest.raises(InputError, match="plane"):
        model.fit(world)
    with pytest.raises(InputError, match="plane"):
        model.represent(world.walk(1, 3, seed=0))


def test_without_the_constraint_no_unit_has_three_waves_and_with_it_all_first_ones_have() -> None:
    common = {"bins": 50, "sigma_bins": 3.75, "components": 1, "networks": 4}
    for nonnegative, expected in ((True, 3), (False, 2)):
        maps = dordek.solve(DordekConfig(**common, nonnegative=nonnegative))
        power = torch.fft.fft2(maps - maps.mean((-2, -1), keepdim=True)).abs().square().flatten(1)
        waves = (power >= 0.5 * power.amax(1, keepdim=True)).sum(1) / 2
        assert (waves == 3).all() if nonnegative else (waves <= expected).all()
