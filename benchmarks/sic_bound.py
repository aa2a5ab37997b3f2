"""What could the losses of ssl/sic reach?  A bound without a network: does a loss prefer one torus or several modules?

    python -m entorhinal.benchmarks.sic_bound [--drift-m 0.15] [--hard-weight 10]

A code that depends on place alone and is alike everywhere has the similarity

    g(x)·g(x + d) = c(d) = p_0 + Σ_k p_k cos(k·d),   p ≥ 0,   Σ p = 1,                              (1)

and N units hold a mean and (N − 1)/2 pairs of wave vectors k. The losses of `ssl/sic` are means of functions of c over
displacements of pairs (separation, invariance), and −p_0 (capacity). They are minimised here over p and the geometry of
k by Adam, on displacements drawn from training walks. Codes may be negative here, so networks cannot reach it. Without
the conformal term. The landscape has more than one valley: the best of ``starts`` is given. Two minutes of a core.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from entorhinal.families.world import Arena, World
from entorhinal.ssl.augmentations import permuted_positions
from entorhinal.ssl.sic_modular import SICModular, SICModularConfig

__all__ = ["Bound", "Displacements", "lowest_loss", "objective", "sampled_displacements"]

WAVES = 63  # pairs of wave vectors that 128 units hold beside a mean
KINDS = ("one torus", "three modules", "21 modules", "free")
_PAIRS, _FAR, _NEAR, _SEEN = 60_000, 6000, 600, 3000  # pairs drawn of a batch; kept; far ones in a step of Adam
_LR, _LR_GEOMETRY, _DECAY = 0.06, {"free": 0.1}, 0.999


@dataclass(frozen=True)
class Displacements:
    """Displacements in metres of pairs beyond ``near_m``, ``(F, 2)``, and within, ``(M, 2)``."""

    far_m: Tensor
    near_m: Tensor


@dataclass(frozen=True)
class Bound:
    """The lowest total found, its terms, and the spacings of the lattices (none if wave vectors are free)."""

    total: float
    terms: dict[str, float]
    spacing_m: tuple[float, ...]


def sampled_displacements(config: SICModularConfig, *, batches: int = 24, seed: int = 0) -> Displacements:
    """Of random pairs of different states of a batch, after the drift of ``config`` has risen."""
    small = config.model_copy(update={"ideal_start": False, "trajectories": 24, "units": 8, "hidden": 1})
    generator, far, near = torch.Generator().manual_seed(seed), [], []
    data = SICModular(small).training_data(
        World(Arena.square(2.0, walls=False)), seed, config.ramp_start + config.ramp_steps
    )
    for _, batch in zip(range(batches), data, strict=False):
        position_m = permuted_positions(batch["velocity_m"], batch["order"]).flatten(0, 1)
        i, j = torch.randint(len(position_m), (2, _PAIRS), generator=generator)
        between_m = (position_m[i] - position_m[j])[i != j]
        is_near = between_m.norm(dim=-1) < config.near_m
        far.append(between_m[~is_near][:_FAR])
        near.append(between_m[is_near][:_NEAR])
    return Displacements(torch.cat(far), torch.cat(near))


def objective(power: Tensor, waves: Tensor, pairs: Displacements, config: SICModularConfig) -> dict[str, Tensor]:
    """Loss terms of the code (1) with ``power (K + 1,)``, p_0 first, and ``waves (K, 2)`` in rad/m; 0-d each."""
    far, near = (power[0] + (at @ waves.T).cos() @ power[1:] for at in (pairs.far_m, pairs.near_m))
    hard = ((far - 1) / config.hard_width**2).exp() * (pairs.far_m.norm(dim=-1) > config.hard_from_m)
    terms = {
        "separation": ((far - 1) / config.separation_width**2).exp().mean(),
        "invariance": (2 - 2 * near).mean(),  # ‖g − g′‖² on the unit sphere
        "capacity": -power[0],
        "hard": hard.mean(),
    }
    return {"total": sum(getattr(config, f"{name}_weight") * term for name, term in terms.items()), **terms}


def lowest_loss(
    kind: str, pairs: Displacements, config: SICModularConfig, *, starts: int = 5, steps: int = 500, waves: int = WAVES
) -> Bound:
    """The lowest total of codes of a kind.

    kind: "one torus": the ``waves`` shortest wave vectors of one hexagonal lattice, its period free. "three modules":
        a third as many each. "21 modules": three each (with 63 waves). Periods and orientations free. "free": any.

    Raises:
        ValueError: another kind, or fewer than 9 waves.
    """
    if kind not in KINDS or waves < 9:
        raise ValueError(f"kind={kind!r} of {waves} waves: give one of {', '.join(KINDS)}, and at least 9 waves")
    best: Bound | None = None
    for start in range(starts):
        generator = torch.Generator().manual_seed(start)
        geometry, wave_vectors = _code(kind, waves, start, generator)
        logits = torch.zeros(len(wave_vectors()) + 1)
        logits[0] = 4.5
        logits.requires_grad_()
        adam = torch.optim.Adam(
            [{"params": [logits], "lr": _LR}, {"params": geometry, "lr": _LR_GEOMETRY.get(kind, 0.01)}]
        )
        falling = torch.optim.lr_scheduler.ExponentialLR(adam, _DECAY)
        for _ in range(steps):
            seen = pairs.far_m[torch.randint(len(pairs.far_m), (_SEEN,), generator=generator)]
            total = objective(torch.softmax(logits, 0), wave_vectors(), Displacements(seen, pairs.near_m), config)[
                "total"
            ]
            adam.zero_grad()
            total.backward()
            adam.step()
            falling.step()
        with torch.no_grad():
            terms = {k: float(v) for k, v in objective(torch.softmax(logits, 0), wave_vectors(), pairs, config).items()}
        spacing_m = () if kind == "free" else tuple(geometry[0].detach().exp().sort().values.tolist())
        found = Bound(terms.pop("total"), terms, spacing_m)
        best = found if best is None or found.total < best.total else best
    assert best is not None
    return best


def _code(kind: str, waves: int, start: int, generator: torch.Generator) -> tuple[list[Tensor], Callable[[], Tensor]]:
    """Parameters of a start, log spacings first, and the wave vectors ``(K, 2)`` that follow from them."""
    if kind == "free":
        free = (10 * torch.randn(waves, 2, generator=generator)).requires_grad_()
        return [free], lambda: free
    modules = {"one torus": 1, "three modules": 3, "21 modules": waves // 3}[kind]
    if kind == "one torus":
        log_spacing = torch.tensor([math.log(1.1) + 0.3 * start])  # a torus stays in the valley in which it starts
    else:
        log_spacing = torch.linspace(-0.9, 0.4, modules) + 0.1 * torch.randn(modules, generator=generator)
    turn = math.pi / 3 * torch.rand(modules, generator=generator)
    unit = _lattice(waves // modules)  # of spacing 1 m

    def wave_vectors() -> Tensor:
        cos, sin = turn.cos(), turn.sin()
        rotation = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)  # (K, 2, 2)
        return ((-log_spacing).exp()[:, None, None] * (unit @ rotation.mT)).flatten(0, 1)

    geometry = [log_spacing.requires_grad_(), turn.requires_grad_()]
    return geometry, wave_vectors


def _lattice(count: int) -> Tensor:
    """The ``count`` shortest wave vectors of a hexagonal lattice of 1 m spacing, one of each pair, ``(count, 2)``."""
    n = torch.cartesian_prod(torch.arange(-9, 10), torch.arange(-9, 10)).float()
    n = n[(n[:, 0] > 0) | ((n[:, 0] == 0) & (n[:, 1] > 0))]
    vectors = 4 * math.pi / math.sqrt(3) * n @ torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]])
    return vectors[vectors.norm(dim=-1).argsort(stable=True)[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drift-m", type=float, default=0.0)
    parser.add_argument("--hard-weight", type=float, default=0.0)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    asked = parser.parse_args()
    config = SICModularConfig(drift_m=asked.drift_m, hard_weight=asked.hard_weight)
    pairs = sampled_displacements(config)
    print("| code | total | separation | invariance | capacity | hard | spacings (m) |\n|---|---|---|---|---|---|---|")
    for kind in KINDS:
        found = lowest_loss(kind, pairs, config, starts=asked.starts, steps=asked.steps)
        terms = " | ".join(f"{value:.4f}" for value in found.terms.values())
        spacings = ", ".join(f"{value:.2f}" for value in found.spacing_m)
        print(f"| {kind} | {found.total:.4f} | {terms} | {spacings} |", flush=True)


if __name__ == "__main__":
    main()
