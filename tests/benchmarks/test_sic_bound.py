"""The bound on the losses of ssl/sic: its objective against codes made in full, and what it must find."""

import math

import pytest
import torch

from entorhinal.benchmarks.sic_bound import Displacements, lowest_loss, objective, sampled_displacements
from entorhinal.ssl.sic_losses import hard_separation, invariance, separation
from entorhinal.ssl.sic_modular import SICModularConfig

CONFIG = SICModularConfig(steps_per_trajectory=12, hard_weight=3.0, drift_m=0.1)


def test_the_objective_is_that_of_a_code_with_these_waves() -> None:
    generator = torch.Generator().manual_seed(0)
    position_m = 2 * torch.rand(70, 2, generator=generator).double()
    position_m[35:] = position_m[:35] + 0.03 * torch.rand(35, 2, generator=generator)  # near pairs
    waves = 6 * torch.randn(5, 2, generator=generator).double()
    power = torch.softmax(torch.randn(6, generator=generator).double(), 0)
    phase = position_m @ waves.T
    code = torch.cat(
        (power[:1].sqrt().expand(70, 1), power[1:].sqrt() * phase.cos(), power[1:].sqrt() * phase.sin()), 1
    )
    i, j = torch.triu_indices(70, 70, 1)
    between_m = position_m[i] - position_m[j]
    near = between_m.norm(dim=-1) < CONFIG.near_m
    found = objective(power, waves, Displacements(between_m[~near], between_m[near]), CONFIG)
    given = {"near_m": CONFIG.near_m}
    expected = {
        "separation": separation(code[None], position_m[None], width=0.4, **given),
        "invariance": invariance(code[None], position_m[None], **given),
        "hard": hard_separation(code[None], position_m[None], from_m=0.3, width=0.2, **given),
    }
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-6), name
    assert float(found["capacity"]) == -float(power[0])
    weights = {name: getattr(CONFIG, f"{name}_weight") for name in ("separation", "invariance", "capacity", "hard")}
    assert float(found["total"]) == pytest.approx(sum(float(found[name]) * w for name, w in weights.items()))


def test_displacements_are_sorted_by_distance_and_drift_makes_them_longer() -> None:
    drifting = sampled_displacements(CONFIG, batches=4)
    still = sampled_displacements(CONFIG.model_copy(update={"drift_m": 0.0}), batches=4)
    for pairs in (drifting, still):
        assert float(pairs.near_m.norm(dim=-1).max()) < CONFIG.near_m <= float(pairs.far_m.norm(dim=-1).min())
    assert float(drifting.far_m.norm(dim=-1).mean()) > 1.15 * float(still.far_m.norm(dim=-1).mean())


def test_the_loss_falls_with_steps_far_below_that_of_a_mean_alone() -> None:
    config = CONFIG.model_copy(update={"hard_weight": 0.0})
    pairs = sampled_displacements(config, batches=3)
    torus, modules, free = (
        lowest_loss(kind, pairs, config, starts=1, steps=100, waves=12)
        for kind in ("one torus", "three modules", "free")
    )
    alone = float(objective(torch.tensor([1.0, 0.0]), torch.ones(1, 2), pairs, config)["total"])
    assert alone == pytest.approx(0.5)
    assert max(torus.total, modules.total, free.total) < -0.15 < 0 < alone
    assert lowest_loss("one torus", pairs, config, starts=1, steps=5, waves=12).total > torus.total + 0.01
    assert torus.total == pytest.approx(sum(
        getattr(config, f"{name}_weight") * value for name, value in torus.terms.items()
    ), abs=1e-6)  # fmt: skip
    assert (len(torus.spacing_m), len(modules.spacing_m), len(free.spacing_m)) == (1, 3, 0)
    assert all(math.isfinite(value) and value > 0 for value in torus.spacing_m + modules.spacing_m)
    with pytest.raises(ValueError, match="three modules"):
        lowest_loss("a torus", pairs, config)
