"""Long paths run in bounded chunks and give what one call gives."""

import torch

from entorhinal.benchmarks.rollout import rollout
from entorhinal.families import Arena, World, make


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


def test_one_step_is_run_whatever_its_size() -> None:
    model = make("controls/ideal_grid")
    walk = World(Arena.square(1.0)).walk(2, 12, seed=0)
    assert sum(part.rates.shape[1] for _, part in rollout(model, walk, max_bytes=1)) == 12
