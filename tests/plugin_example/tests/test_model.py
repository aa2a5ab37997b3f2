"""The model keeps its word, and its lattice has the spacing that it was given."""

import torch

from entorhinal.families import Arena, World, make, parametrize_with_checks


@parametrize_with_checks("example/grid_cosine-v1")
def test_it_passes_every_check(check) -> None:
    check()


def test_rates_repeat_after_one_spacing_and_not_before() -> None:
    model = make("example/grid_cosine-v1", spacing_m=0.5)
    walk = World(Arena.square(1.0)).walk(batch=2, steps=50, seed=0)
    here = model.represent(walk).rates
    for shift_m, same in ((0.5, True), (0.2, False)):
        moved = model.represent(walk, walk.start_m.double() + shift_m).rates
        assert torch.allclose(here, moved, atol=1e-5) == same
