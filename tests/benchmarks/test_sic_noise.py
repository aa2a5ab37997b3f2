"""Noise in the states of SIC: none is the faithful loss, some moves it, and several levels train side by side."""

from itertools import islice

import pytest
import torch

from entorhinal.benchmarks.sic_noise import SICNoise
from entorhinal.benchmarks.training import read_history, train
from entorhinal.families import check_model
from entorhinal.families.world import Arena, World
from entorhinal.ssl.sic import SIC

TINY = {"units": 12, "hidden": 8, "trajectories": 6, "steps_per_trajectory": 7, "near_m": 0.1, "steps": 3}


def test_without_noise_it_is_the_faithful_loss_and_with_noise_it_is_not() -> None:
    world = World(Arena.square(2.0), dtype=torch.float64)
    batch = next(SICNoise.make(**TINY).training_data(world, 4))
    assert torch.equal(batch["velocity_m"], next(SIC.make(**TINY).training_data(world, 4))["velocity_m"])
    faithful = SIC.make(**TINY).double().loss(batch)
    silent, noisy = (SICNoise.make(**TINY, state_noise=level).double().loss(batch) for level in (0.0, 0.1))
    for name, value in faithful.items():
        torch.testing.assert_close(silent[name], value)
    assert noisy["invariance"] > 1.2 * faithful["invariance"]


def test_noise_is_that_of_its_batch_wherever_data_begin() -> None:
    world, model = World(Arena.square(2.0)), SICNoise.make(**TINY)
    batches = list(islice(model.training_data(world, 4), 70))
    later = next(model.training_data(world, 4, 66))
    assert all(torch.equal(value, batches[66][name]) for name, value in later.items())
    noise = torch.stack([batch["noise"] for batch in batches])
    assert float(noise.mean()) == pytest.approx(0, abs=4 / noise.numel() ** 0.5)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)


def test_it_keeps_its_word_and_levels_train_side_by_side(tmp_path) -> None:
    check_model(SICNoise, **TINY)
    levels = [TINY | {"state_noise": level} for level in (0.0, 0.3)]
    assert len(train(SICNoise, config=levels, out=tmp_path, device="cpu")) == 2
    losses = read_history(tmp_path / "history.csv").groupby("network")["total"].first()
    assert losses.nunique() == 2
