"""The figures of the trained networks: their claims can be judged, fail on their controls and follow the data."""

import math

import pytest

from entorhinal.families.errors import InputError
from entorhinal.paper_figures import sic_maps, sorscher_maps, training_curves
from entorhinal.paper_figures.figure import Data


def silent(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def computed() -> dict[str, Data]:
    """All three, from the shipped checkpoints, on fewer walks and with fewer noise maps than the figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sic_maps, "TRIALS", 96)
        patch.setattr(sic_maps, "NULL_MAPS", 10)
        patch.setattr(sorscher_maps, "WALKS", 5)
        patch.setattr(sorscher_maps, "NULL_MAPS", 10)
        patch.setattr(sorscher_maps, "MORE_NULL_MAPS", 20)
        return {module.FIGURE.id: module.compute(silent) for module in (sic_maps, sorscher_maps, training_curves)}


MODULES = pytest.mark.parametrize("module", [sic_maps, sorscher_maps, training_curves], ids=lambda m: m.FIGURE.id)


@MODULES
def test_claims_are_judged_and_fail_on_their_controls(module, computed) -> None:
    data = computed[module.FIGURE.id]
    for claim in module.claims:
        assert claim.judge("f", data).verdict in ("holds", "fails"), claim.id
        assert claim.judge("f", claim.control(data)).verdict == "fails", claim.id
        empty = Data(data.table.iloc[:0], data.arrays)
        assert claim.judge("f", empty).verdict == "not run", claim.id


@MODULES
def test_figures_draw(module, computed) -> None:
    canvas = module.draw(computed[module.FIGURE.id])
    canvas.draw_without_rendering()
    assert len(canvas.get_axes()) >= 3


def test_one_torus_comes_back_and_an_untrained_network_hardly_leaves(computed) -> None:
    """The code of one ideal torus comes back to its origin; an untrained network's is still near it after 0.5 m."""
    table = computed["sic_maps"].table
    distances = table[table["kind"] == "distance"]
    assert distances[distances["network"] == "one torus"]["nearest"].min() < 0.1
    around = distances[distances["distance_m"].between(0.3, 0.5)].groupby("network")["mean"].max()
    assert around["untrained"] < 0.3 < 0.7 < min(around["one torus"], around["trained"])


def test_the_ring_is_where_the_spectrum_peaks() -> None:
    """k* of exp(−k²σ²/2) − exp(−k²sσ²/2), found on a grid."""
    sigma_m, ratio = 0.12, 2.0
    k = max((0.001 * i for i in range(1, 40_000)), key=lambda k: math.exp(-((k * sigma_m) ** 2) / 2)
            - math.exp(-((k * sigma_m) ** 2) * ratio / 2))  # fmt: skip
    assert sorscher_maps.ring_spacing_m(sigma_m, ratio) == pytest.approx(4 * math.pi / (math.sqrt(3) * k), rel=1e-3)


def test_an_unknown_checkpoint_names_the_nearest() -> None:
    from entorhinal.benchmarks.records import checkpoint

    with pytest.raises(InputError, match="did you mean 'sorscher'"):
        checkpoint("sorcher")
