"""What did each network learn that was trained to predict place cells or positions?  One row a network.

    python -m entorhinal.benchmarks.supervised_measures FOLDER ... --out FILE.csv [--maps FILE.safetensors] [--part 0/4]

Unseen walks like those of training: 20,000 of as many steps, from anywhere in the box; maps of 44² bins (5 cm in a box
of 2.2 m), smoothed by 3 cm. Grid unit: active (its map varies) and above all of 100 maps of noise of its own radially
averaged spectrum, a strict 99th percentile.

active_units                              of the layer that is read
score_mean, score_best                    grid scores of active units
grid_fraction                             grid units, of active units
null_mean, null_best, null_fraction       the same of one noise map of each unit, among its other noise maps
spacing_m, fourier_spacing_m              median over grid units, from the autocorrelogram and the Fourier transform
ring_m, target_ring_m                     spacing of hexagons on the ring where the mean spectrum of active units' maps,
                                          and that of the targets, peaks beyond the box's first mode; may be empty
predicted_ring_m                          that of the targets by their formula (`ring_spacing_m`); empty without one
path_error_m                              distance of the place decoded from where it is, at the end of walks, median
linear_error_m                            the same by least squares on half of the walks, of the others
long_error_m                              by the model's decoder after walks of five times the steps
loss_*                                    the last of the training history

``--maps`` keeps, of the networks whose seed is a multiple of ten, the maps of the best and of the median unit by score.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from entorhinal.analysis import RateMapAccumulator, fourier_lattices, null_grid_scores, scores_and_lattices
from entorhinal.benchmarks.measures import command
from entorhinal.benchmarks.rollout import rollout
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.map_run import active_units
from entorhinal.families.errors import InputError
from entorhinal.families.model import Decoder, Model, Representation
from entorhinal.families.supervised.schaeffer import ring_spacing_m
from entorhinal.families.supervised.sorscher import PlaceNetwork
from entorhinal.families.world import Arena, Trajectories, World

__all__ = ["MEASURES", "measure", "ring_m"]

MEASURES = (
    "active_units",
    "score_mean",
    "score_best",
    "grid_fraction",
    "null_mean",
    "null_best",
    "null_fraction",
    "spacing_m",
    "fourier_spacing_m",
    "ring_m",
    "target_ring_m",
    "predicted_ring_m",
    "path_error_m",
    "linear_error_m",
    "long_error_m",
)


WALKS, NULL_MAPS, BINS, SMOOTHING_M = 20_000, 100, 44, 0.03
LONGER, LONG_WALKS, RIDGE, PADDING, LEAST_PEAK = 5, 2_000, 1e-6, 4, 0.1


@runtime_checkable
class PlaceTrained(Decoder, Protocol):
    """A model that decodes the position and whose targets are a code of it."""

    def place_code(self, position_m: Tensor) -> Tensor:
        """The targets at ``position_m (..., 2)``, ``(..., targets)``."""


def measure(
    model: Model, *, device: torch.device, walks: int = WALKS, null_maps: int = NULL_MAPS
) -> tuple[dict[str, float], Tensor]:
    """`MEASURES` of a model on its device, NaN where there is none; maps ``(2, 44, 44)``: best, median unit."""
    if not isinstance(model, PlaceTrained) or not hasattr(model.config, "side_m"):
        raise InputError(f"{model.card.id}: not a network that was trained to predict place cells or positions")
    arena, steps = Arena.square(model.config.side_m), model.config.steps_per_trajectory
    world = World(arena, device=str(device))
    accumulator = RateMapAccumulator(arena.extent_m, BINS, SMOOTHING_M)
    for chunk, found in rollout(model, world.walk(walks, steps, seed=derive(0, "supervised measures", "walks"))):
        accumulator.add(found.rates, chunk.position_m)
    rates, position_m = found.rates[:, -1].double(), chunk.position_m[:, -1].double()
    maps = accumulator.result()
    active = maps.values[active_units(maps.values)]
    score, lattice = scores_and_lattices(active, maps.bin_m)
    generator = torch.Generator(active.device).manual_seed(derive(0, "supervised measures", "null"))
    null = null_grid_scores(active, null_maps, generator=generator).nan_to_num(-math.inf)
    is_grid = score > null.amax(1)
    first, others = null[:, 0], null[:, 1:]
    long = world.walk(min(walks, LONG_WALKS), LONGER * steps, seed=derive(0, "supervised measures", "long walks"))
    row: dict[str, float | Tensor] = {
        "active_units": len(active),
        "score_mean": score.nanmean(),
        "score_best": _highest(score),
        "grid_fraction": is_grid.double().mean(),
        "null_mean": first[first.isfinite()].mean(),
        "null_best": _highest(first),
        "null_fraction": (first > others.amax(1)).double().mean() if null_maps > 1 else math.nan,
        "spacing_m": lattice.spacing_m[is_grid].nanmedian(),
        "fourier_spacing_m": fourier_lattices(active, maps.bin_m).spacing_m[is_grid].nanmedian(),
        "ring_m": ring_m(active, maps.bin_m),
        "target_ring_m": ring_m(_target_maps(model, arena, device), maps.bin_m),
        "predicted_ring_m": ring_spacing_m(model.config) if isinstance(model, PlaceNetwork) else math.nan,
        "path_error_m": _decoding_error_m(model, found, chunk),
        "linear_error_m": _least_squares_error_m(rates, position_m),
        "long_error_m": _long_error_m(model, long),
    }
    order = score.nan_to_num(-math.inf).argsort(descending=True, stable=True)
    shown = order[[0, len(order) // 2]] if len(order) else order
    values = {name: float(value) for name, value in row.items()}
    return {name: value if math.isfinite(value) else math.nan for name, value in values.items()}, active[shown]


def _highest(scores: Tensor) -> float:
    finite = scores[scores.isfinite()]
    return float(finite.max()) if len(finite) else math.nan


def ring_m(maps: Tensor, bin_m: float) -> float:
    """Spacing of hexagons, 4π/(√3 k) in m, on the ring of largest power in the mean spectrum of maps ``(N, H, H)``.

    Maps have their mean removed and their norm made 1, are tapered (Hann) and padded to four times the box; power is
    averaged around rings and over maps; the highest local maximum beyond the box's first mode is refined by a
    parabola. NaN without maps, or if none has a tenth of the largest power.
    """
    if not len(maps):
        return math.nan
    size = maps.shape[-1]
    values = (maps - maps.nanmean((-2, -1), keepdim=True)).nan_to_num(0)
    values = values / values.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
    taper = torch.hann_window(size + 2, periodic=False, dtype=maps.dtype, device=maps.device)[1:-1]
    padded = PADDING * size
    power = torch.fft.fft2(values * taper * taper[:, None], s=(padded, padded)).abs().square().mean(0)
    mode = torch.fft.fftfreq(padded, 1 / padded, dtype=maps.dtype, device=maps.device)
    ring = torch.hypot(mode[:, None], mode).round().long().flatten()
    total = power.new_zeros(int(ring.max()) + 1).index_add_(0, ring, power.flatten())
    mean = (total / torch.bincount(ring))[: padded // 2]
    inner = mean[1:-1]
    is_peak = (inner > mean[:-2]) & (inner >= mean[2:]) & (torch.arange(len(inner), device=mean.device) >= PADDING)
    is_peak &= inner > LEAST_PEAK * mean.max()
    if not is_peak.any():
        return math.nan
    peak = 1 + int(inner.where(is_peak, 0).argmax())
    below, at, above = (float(mean[peak + step]) for step in (-1, 0, 1))
    exact = peak + 0.5 * (below - above) / (below - 2 * at + above)
    return 2 / math.sqrt(3) * padded * bin_m / exact


def _target_maps(model: PlaceTrained, arena: Arena, device: torch.device) -> Tensor:
    """The targets at the middles of the bins, ``(P, 44, 44)``."""
    low, high = arena.bounds_m(torch.empty(0, dtype=torch.float64, device=device))
    at = (torch.arange(BINS, dtype=torch.float64, device=device) + 0.5) / BINS
    y, x = torch.meshgrid(at, at, indexing="ij")
    place_m = low + (high - low) * torch.stack((x, y), -1)
    return model.place_code(place_m).movedim(-1, 0)


def _decoding_error_m(model: Model, found: Representation, walk: Trajectories) -> Tensor:
    assert isinstance(model, Decoder)
    with torch.inference_mode():
        decoded_m = model.decode(Representation(found.rates[:, -1:], found.state))
    return (decoded_m - walk.position_m[:, -1:]).norm(dim=-1).nanmedian()


def _long_error_m(model: Model, walk: Trajectories) -> Tensor:
    *_, (chunk, found) = rollout(model, walk)
    return _decoding_error_m(model, found, chunk)


def _least_squares_error_m(rates: Tensor, position_m: Tensor) -> float:
    """Median distance on odd trials of a linear read-out, with a constant, that was fitted to even ones."""
    if not bool(rates.isfinite().all()):
        return math.nan
    design = torch.cat((rates, torch.ones_like(rates[:, :1])), 1)
    even, odd = design[0::2], design[1::2]
    gram = even.T @ even
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    weights = torch.linalg.solve(gram, even.T @ position_m[0::2])
    return float((odd @ weights - position_m[1::2]).norm(dim=1).median())


if __name__ == "__main__":
    command(__doc__, measure, MEASURES, walks=WALKS, null_maps=NULL_MAPS)
