"""Long paths run in bounded chunks and give what one call gives."""

import pytest
import torch

from entorhinal.benchmarks.rollout import anchored, count_units, follow, rollout
from entorhinal.families import Arena, World, make
from entorhinal.families.errors import InputError


def test_chunks_are_bounded_and_add_up() -> None:
    model = make("controls/random_rnn", units=32)
    walk = World(Arena.square(1.0)).walk(3, 500, seed=0)
    limit = 100 * 3 * 32 * 4
    reports: list[tuple[int, int]] = []
    parts = list(rollout(model, walk, max_bytes=limit, progress=lambda *step: reports.append(step)))
    assert len(parts) > 4
    assert all(part.rates.nbytes <= limit for _, part in parts)
    whole = model.represent(walk).rates
    torch.testing.assert_close(torch.cat([part.rates for _, part in parts], 1), whole)
    assert torch.equal(torch.cat([chunk.position_m for chunk, _ in parts], 1), walk.position_m)
    assert reports[-1] == (500, 500)
    assert count_units(model, walk) == 32


def test_one_step_is_run_whatever_its_size() -> None:
    model = make("controls/ideal_grid")
    walk = World(Arena.square(1.0)).walk(2, 12, seed=0)
    assert sum(part.rates.shape[1] for _, part in rollout(model, walk, max_bytes=1)) == 12


def test_followed_paths_do_not_depend_on_the_chunks() -> None:
    """A decoder that follows a phase is joined where chunks meet; one that knows the place is left alone."""
    walk = World(Arena.square(1.0)).walk(2, 40, seed=1, speed_m_s=0.3)
    sheet = make("continuous_attractor/burak_fiete", neurons_per_side=64, gamma_over_beta=1.02)
    for model in (sheet, make("coding_theory/residue")):
        runs = [follow(model, walk, choose=lambda n: torch.tensor([0, n - 1]), max_bytes=m) for m in (2**30, 2**18)]
        for run in runs[1:]:
            torch.testing.assert_close(run.decoded_m, runs[0].decoded_m, atol=1e-5, rtol=0)
            torch.testing.assert_close(run.rates, runs[0].rates, atol=1e-5, rtol=0)
        assert runs[0].rates.shape == (2, 40, 2)
        assert (anchored(runs[0].decoded_m, walk) - walk.position_m).norm(dim=-1).max() < 0.05


def test_models_without_a_decoder_are_followed_without() -> None:
    run = follow(make("controls/ideal_grid"), World(Arena.square(1.0)).walk(2, 20, seed=1), choose=None)
    assert run.decoded_m is None
    assert run.rates.shape == (2, 20, 0)


def test_trajectories_of_another_dimension_are_refused() -> None:
    with pytest.raises(InputError, match="lives in 2 dimensions and the trajectories in 1"):
        next(iter(rollout(make("controls/ideal_grid"), World(Arena.line(1.0)).walk(1, 5, seed=0))))
