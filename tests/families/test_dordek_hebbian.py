"""Sanger's rule against one place at a time written out, its fixed points, and bad input."""

import logging

import pytest
import torch

from entorhinal.families import make
from entorhinal.families.errors import InputError
from entorhinal.families.function_optimization import dordek, dordek_hebbian
from entorhinal.families.function_optimization.dordek_hebbian import DordekHebbianConfig, learned
from entorhinal.families.world import Arena, World

ID = "function_optimization/dordek_hebbian"
SMALL = {"bins": 16, "sigma_bins": 2.0, "components": 2, "networks": 2}


def test_a_step_is_the_rule_written_out() -> None:
    config = DordekHebbianConfig(**SMALL, presentations=3, steps=1, rate=0.3, seed=4)
    random = torch.Generator().manual_seed(4)
    before = (torch.randn(2, 2, 16, 16, generator=random, dtype=torch.float64) / 16).clamp_min(0)
    places = torch.randint(256, (2, 3), generator=random)
    gain = dordek.place_input(16, 2.0)
    field = 16 * torch.fft.irfft2((gain / gain.max()).to(torch.complex128), s=(16, 16))
    after = before.clone()
    for n in range(2):
        for place in places[n].tolist():
            r = field.roll((place // 16, place % 16), (0, 1))
            y = [float((before[n, i] * r).sum()) for i in range(2)]
            for i in range(2):
                after[n, i] += 0.3 / 3 * y[i] * (r - sum(y[j] * before[n, j] for j in range(i + 1)))
    torch.testing.assert_close(learned(config), after.clamp_min(0))


def test_weights_of_either_sign_become_principal_components() -> None:
    found = learned(DordekHebbianConfig(**SMALL, nonnegative=False, steps=1500, rate=0.05, presentations=200))
    for maps in found:
        flat = maps.flatten(1)
        torch.testing.assert_close(flat @ flat.T, torch.eye(2, dtype=torch.float64), atol=0.2, rtol=0)
        variance = (dordek.covariance(maps, 2.0) * maps).sum((1, 2)) / maps.square().sum((1, 2))
        assert (variance > 0.95).all()  # of 1, the largest eigenvalue


def test_non_negative_weights_explain_as_much_as_the_optimum_of_fista() -> None:
    config = DordekHebbianConfig(**SMALL, steps=1500, presentations=200, rate=0.05)
    maps = dordek_hebbian.solve(config).view(2, 2, 16, 16)
    best = dordek.nonnegative_components(dordek.DordekConfig(bins=16, sigma_bins=2.0, components=1, networks=4))
    optimum = float((dordek.covariance(best, 2.0) * best).sum((-2, -1)).max())
    ours = (dordek.covariance(maps, 2.0) * maps).sum((-2, -1))[:, 0]
    assert (maps >= 0).all()
    assert (ours > 0.85 * optimum).all()
    assert (ours <= optimum + 1e-6).all()


def test_places_and_weights_are_those_of_the_seed_and_fit_learns_once() -> None:
    first, again, other = (learned(DordekHebbianConfig(**SMALL, steps=5, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    model = make(ID, **SMALL, steps=5)
    model.fit(World(Arena.square(2.0)))
    before = model.maps.clone()
    model.fit(World(Arena.square(3.0)))
    assert torch.equal(model.maps, before)


@pytest.mark.parametrize("id", [ID, "function_optimization/dordek"])
def test_an_arena_smaller_than_two_periods_is_warned_of_once(id: str, caplog) -> None:
    dordek._warn.cache_clear()
    extra = {"steps": 5} if id == ID else {"iterations": 3}
    model = make(id, **SMALL, **extra)
    with caplog.at_level(logging.WARNING, "entorhinal"):
        model.fit(World(Arena.square(2.0)))
        assert not caplog.records
        for _ in range(2):
            model.represent(World(Arena.square(1.2)).walk(1, 2, seed=0))
    assert len(caplog.records) == 1
    assert "the arena, 1.2 m wide, is smaller than two periods of 0.75 m" in caplog.text


@pytest.mark.parametrize("id", [ID, "function_optimization/dordek"])
def test_fields_no_wider_than_a_bin_and_lines_are_refused(id: str) -> None:
    for sigma in (1.0, 0.5):
        with pytest.raises(InputError, match=rf"sigma_bins = {sigma}: Input should be greater than 1"):
            make(id, sigma_bins=sigma)
    with pytest.raises(InputError, match=r"sigma_bins = 9.0: .*exceeds the box; give <= 6.6" if id == ID else "13.2"):
        make(id, sigma_bins=9.0 if id == ID else 20.0)
    with pytest.raises(InputError, match=r"the arena has 1 dimension"):
        make(id).fit(World(Arena.line(1.0)))
