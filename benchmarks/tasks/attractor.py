"""attractor-v1: is the code's manifold an attractor, does it stay at rest, and do cells keep their phase differences?

Box: a square of the card's training extent (1 m where there is none). Models of more than 4,096 units run the smaller
of two numbers given as "256 (32)". At most 256 random units are read. Noise that moves a model's state is drawn
anew for each run below, but for a rest and what is compared with it, which begin with the same draws.

Off-manifold decay. 256 (32) trials of the common walk from random starts, 1 s long, then at rest (displacement 0) for
2 s (1 s). The rates of all trials are, at each moment, the cloud that samples the manifold under the same input. 32 (4)
of them are run a second time from the end of the walk with Gaussian noise added to every floating leaf of the state:
half of the leaf's spread, the root mean square over trials and elements of its deviation from the mean over trials. A
third and fourth time all trials rest after one step of 1 cm along x and y: that gives every member of the cloud its
tangent plane. The distance of the pushed rates to the planes of the nearest members (`manifold_distance`) is followed
over time, and a fall to a floor is fitted.

perturbed_distance     at the first step after the push, over the spread of the rates over trials;
decay_half_life_s      of the part that decays, median over those that decay (`relaxation`);
decaying_fraction      perturbations whose distance falls by 5 % or more in the fit;
remaining_fraction     distance at the end over distance at the first step, median;
cloud_fraction         the cloud's own resolution (distance of its members to the planes of the others) at the end over
                       the distance at the first step: a remaining fraction below it cannot be told from the manifold,
                       and where it is near 1 or above, pushes that also move along the manifold cannot be judged;
shift_fraction         distance to the unperturbed twin at the end over that at the first step: what was forgotten of
                       the push altogether. Between remaining and shift lies movement along the manifold.
spread_kept_fraction   the spread of all trials' rates at the end of the rest over that at its first step: 1 where the
                       manifold stays. Near 0 everything fades, places and pushes alike, and decay says nothing.

Where the state has no more numbers than position has (a perfect integrator's) every push is a shift along the manifold,
which is neither decay nor its absence: those cells are empty.

Drift at rest. The unperturbed trials, over their last 1 s (half), by phase (`follow_phase` with the maps below) of
every group of 8 units or more that share a lattice: net speed and growth of variance (`rest_drift`; the walk's end is
let settle for the first part). Without a lattice these are empty; ``rest_change_m_s`` is there for all: how fast the
rates change at rest, median over trials, in the metres a second at which the walk changes them as fast.

Pair stability. Maps of the common walk, 16 (4) trials of 20 s from random starts, 50 (25) bins a side, smoothed by
3 cm, in this box and in one of 0.7 of its side. Units in a shared lattice (in the first box) get their phases in the
unit cell from both; the value is the mean cosine of the change of all pairs' phase differences (`pair_stability`), mean
over groups, beside its shuffle.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from entorhinal.analysis import RateMapAccumulator, RateMaps, scores_and_lattices
from entorhinal.analysis.attractors import manifold_distance, pair_stability, relaxation, rest_drift
from entorhinal.analysis.integration import CellMaps, fold_maps, follow_phase, lattice_groups
from entorhinal.analysis.lattices import common_basis
from entorhinal.benchmarks.rollout import count_units, rollout
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, choose_units, in_the_plane, noise_seed
from entorhinal.families.model import Model, PathIntegrator, State
from entorhinal.families.world import Arena, Trajectories, World

__all__ = ["Attractor"]

SIDE_M, SMALLER, SMOOTHING_M, UNITS, LARGE, NOISE, EXPLAINED, NUDGE_M = 1.0, 0.7, 0.03, 256, 4096, 0.5, 0.5, 0.01
WALK_STEPS, MAP_STEPS = 50, 1000
CLOUD, PUSHED, REST_STEPS, MAP_TRIALS, BINS = (256, 32), (32, 4), (100, 50), (16, 4), (50, 25)
"""Of ordinary models, and of those with more than `LARGE` units."""


class Attractor:
    """Decay of pushes, drift at rest, and cell pairs across two boxes."""

    id: ClassVar[str] = "attractor-v1"
    title: ClassVar[str] = "Decay of pushes, drift at rest, pairs of cells across boxes"

    def why_not(self, model: Model) -> str | None:
        if not isinstance(model, PathIntegrator):
            return "reads position: it is not a path integrator"
        return in_the_plane(model)

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        side_m, result = model.card.training_extent_m or SIDE_M, Result()
        worlds = [World(Arena.square(share * side_m), device=str(device)) for share in (1.0, SMALLER)]
        total = count_units(model, worlds[0].walk(1, 1, seed=0))
        large = int(total > LARGE)
        units = choose_units(total, UNITS, seed).to(device)
        groups, maps = [], []
        for i, world in enumerate(worlds):
            walk = world.walk(MAP_TRIALS[large], MAP_STEPS, seed=derive(seed, "attractor", "maps", str(i)))
            noise = noise_seed(model, seed, "attractor", "maps", str(i))
            maps.append(_maps(model, walk, units, BINS[large], noise, lambda d, t, i=i: progress(i * t + d, 3 * t)))  # type: ignore[misc]
        scores, found = scores_and_lattices(maps[0].values, maps[0].bin_m)
        for chosen, basis_m in lattice_groups(found, scores):
            cell = fold_maps(replace(maps[0], values=maps[0].values[chosen]), basis_m)
            if cell.explained.nanmedian() > EXPLAINED:
                groups.append((chosen, cell))
        walk = worlds[0].walk(CLOUD[large], WALK_STEPS, seed=derive(seed, "attractor", "walk"))
        moving, state = _follow(model, walk, None, units, noise_seed(model, seed, "attractor", "walk"))
        still = _at_rest(walk, REST_STEPS[large])
        resting, _ = _follow(model, still, state, units, noise_seed(model, seed, "attractor", "rest"))
        _add_decay(result, model, walk, state, resting, units, PUSHED[large], seed)
        progress(5, 6)
        _add_rest(result, groups, moving, resting, walk)
        _add_pairs(result, groups, maps[1], seed)
        progress(6, 6)
        return result


def _maps(
    model: Model, walk: Trajectories, units: Tensor, bins: int, noise: int | None, progress: Progress
) -> RateMaps:
    accumulator = RateMapAccumulator(walk.arena.extent_m, bins, SMOOTHING_M)
    for chunk, representation in rollout(model, walk, seed=noise, progress=progress):
        accumulator.add(representation.rates[..., units], chunk.position_m)
    return accumulator.result()


def _follow(model: Model, walk: Trajectories, state: State, units: Tensor, noise: int | None) -> tuple[Tensor, State]:
    """Rates (B, T, units) in float64 and the state at the end; step by step, so that rates of all units are small.

    noise: seed of the generator, None for no noise.
    """
    rates = []
    generator = None if noise is None else torch.Generator(walk.start_m.device).manual_seed(noise)
    with torch.inference_mode():
        for t in range(walk.steps):
            found = model.represent(walk.chunk(t, t + 1), state, generator=generator)
            state = found.state
            rates.append(found.rates[..., units].double())
    return torch.cat(rates, 1), state


def _at_rest(walk: Trajectories, steps: int, axis: int | None = None) -> Trajectories:
    """Standing where the walk ends, after one step of `NUDGE_M` along an axis, if one is given."""
    last_m = walk.position_m[:, -1]
    displacement_m = last_m.new_zeros(len(last_m), steps, 2)
    if axis is not None:
        displacement_m[:, 0, axis] = NUDGE_M
    return Trajectories.from_displacements(last_m, displacement_m, walk.dt_s, walk.arena)


def _pushed(state: State, trials: int, seed: int) -> State:
    """The state of the first trials, every floating leaf with noise of `NOISE` times its spread."""
    generator = torch.Generator().manual_seed(seed)

    def push(leaf: Tensor) -> Tensor:
        some = leaf[:trials].clone()
        if not leaf.is_floating_point():
            return some
        spread = (leaf.double() - leaf.double().mean(0)).square().mean().sqrt()
        noise = torch.randn(some.shape, generator=generator, dtype=torch.float64).to(leaf.device)
        return some + (NOISE * spread * noise).to(leaf.dtype)

    return tree_map(push, state)


def _add_decay(
    result: Result,
    model: Model,
    walk: Trajectories,
    state: State,
    resting: Tensor,
    units: Tensor,
    trials: int,
    seed: int,
) -> None:
    leaves = [leaf for leaf in tree_flatten(state)[0] if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    numbers, reason = sum(leaf[0].numel() for leaf in leaves), ""
    if numbers <= model.card.dimensions:
        reason = "on the manifold by construction: the state is the position, so every push is a shift"
    spread_over_time = (resting - resting.mean(0)).square().sum(-1).mean(0).sqrt()
    spread = spread_over_time[0]
    distance = apart = cloud = resting.new_full((1, resting.shape[1]), torch.nan)
    if not reason:
        steps = resting.shape[1]
        first_trials = _at_rest(walk, steps).select(slice(trials))
        noise = noise_seed(model, seed, "attractor", "rest")
        begun = _pushed(state, trials, derive(seed, "attractor", "push"))
        try:
            pushed, _ = _follow(model, first_trials, begun, units, noise)
        except ValueError as error:
            reason = f"the pushed model does not run: {error}"
        else:
            nudged = [_follow(model, _at_rest(walk, steps, axis), state, units, noise)[0] for axis in (0, 1)]
            along = torch.stack(nudged, -1) - resting[..., None]  # (B, T, units, 2)
            distance = torch.stack(
                [manifold_distance(pushed[:, t], resting[:, t], along[:, t]) for t in range(steps)], 1
            )
            apart = (pushed - resting[:trials]).norm(dim=-1)
            cloud = manifold_distance(resting[:, -1], resting[:, -1], along[:, -1], skip_self=True)[None]
            if not distance.isfinite().all():
                reason = "the pushed rates grow without bound"
    fit = relaxation(distance, walk.dt_s)
    decays = fit.half_life_s.isfinite()
    first = distance[:, 0].median()
    none, no_decay = reason or "the push leaves the rates as they are", reason or "no perturbation decays"

    def add(name: str, value: Tensor, unit: str = "", why: str = none, better: str = "none", n: int = trials) -> None:
        result.add(name, value, unit, better, 0 if reason else n, why)  # type: ignore[arg-type]

    add("perturbed_distance", first / spread)
    add("decay_half_life_s", fit.half_life_s[decays].median(), "s", no_decay, "lower", int(decays.sum()))
    add("decaying_fraction", decays.double().mean() if not reason else first, "", none, "higher")
    add("remaining_fraction", distance[:, -1].median() / first, "", none, "lower")
    add("cloud_fraction", cloud.median() / first)
    add("shift_fraction", (apart[:, -1] / apart[:, 0]).median())
    kept, why = spread_over_time[-1] / spread, "the rates are the same everywhere"
    result.add("spread_kept_fraction", kept, "", "higher", len(resting), why)
    if not reason:
        result.arrays["distance"] = (distance / spread).float()


def _add_rest(
    result: Result, groups: list[tuple[Tensor, CellMaps]], moving: Tensor, resting: Tensor, walk: Trajectories
) -> None:
    """Half of the time at rest is left for settling."""
    late = resting[:, resting.shape[1] // 2 :]
    drifts = [rest_drift(follow_phase(late[..., chosen], cell).path_m, walk.dt_s) for chosen, cell in groups]
    none, n = "no 8 units share a lattice in this box", len(late) if groups else 0
    for name, unit, values in (
        ("rest_speed_m_s", "m/s", [drift.speed_m_s.median() for drift in drifts]),
        ("rest_variance_m2_s", "m²/s", [drift.variance_m2_s.nanmean() for drift in drifts]),
    ):
        result.add(name, torch.stack(values).mean() if values else torch.nan, unit, "lower", n, none)
    walked = moving.diff(dim=1).norm(dim=-1).median() / walk.displacement_m[:, 1:].norm(dim=-1).median()
    change = late.diff(dim=1).norm(dim=-1).mean(1).median() / walk.dt_s
    reason = "the rates do not change along the walk"
    result.add("rest_change_m_s", change / walked.where(walked > 0, torch.nan), "m/s", "lower", len(late), reason)


def _add_pairs(result: Result, groups: list[tuple[Tensor, CellMaps]], other: RateMaps, seed: int) -> None:
    """Phases of each group's units in the second box, in its own lattice there, named as in the first."""
    scores, found = scores_and_lattices(other.values, other.bin_m)
    values, nulls, cells = [], [], 0
    for chosen, cell in groups:
        usable = (scores[chosen] > 0) & found.spacing_m[chosen].isfinite()
        if int(usable.sum()) < 3:
            continue
        basis_m = common_basis(found.basis_m[chosen][usable], cell.basis_m, middle="lower")
        there = fold_maps(replace(other, values=other.values[chosen]), basis_m)
        generator = torch.Generator(other.values.device).manual_seed(derive(seed, "attractor", "pairs"))
        found_pairs = pair_stability(cell.phase, there.phase, generator=generator)
        values.append(found_pairs.value)
        nulls.append(found_pairs.shuffled)
        cells += len(chosen)
    reason = "no 3 units of one lattice have it in both boxes"
    for name, each in (("pair_stability", values), ("pair_stability_shuffled", nulls)):
        mean = sum(each) / len(each) if each else torch.nan
        result.add(name, mean, "", "higher" if name == "pair_stability" else "none", cells, reason)
