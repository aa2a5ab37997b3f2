"""How is a model run over long paths?  In time chunks bounded in bytes, the state carried from one to the next."""

from collections.abc import Callable, Iterator

import torch

from entorhinal.families.errors import InputError
from entorhinal.families.model import Model, Representation
from entorhinal.families.world import Trajectories

__all__ = ["rollout"]

_FIRST_CHUNK_STEPS = 8
_MAX_CHUNK_STEPS = 2048


def rollout(
    model: Model,
    trajectories: Trajectories,
    *,
    seed: int | None = None,
    max_bytes: int = 2**27,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Trajectories, Representation]]:
    """Yield each chunk of ``trajectories`` with the model's `Representation` of it, rates ``(B, chunk, N)``.

    A chunk's rates stay within ``max_bytes`` (one step at least): a 128² sheet over 600 s would be 2 GB at once. seed
    makes the generator handed to `represent`; None means free of noise. The first chunk is short, to learn N.
    """
    if trajectories.dimensions != model.card.dimensions:
        raise InputError(
            f"{model.card.id} lives in {model.card.dimensions} dimensions and the trajectories in "
            f"{trajectories.dimensions}; use an arena of the model's"
        )
    generator = None if seed is None else torch.Generator(trajectories.start_m.device).manual_seed(seed)
    state, first, steps = None, 0, _FIRST_CHUNK_STEPS
    while first < trajectories.steps:
        last = min(first + steps, trajectories.steps)
        chunk = trajectories.chunk(first, last)
        with torch.inference_mode():
            representation = model.represent(chunk, state, generator=generator)
        yield chunk, representation
        state, first = representation.state, last
        step_bytes = representation.rates[:, 0].numel() * representation.rates.element_size()
        steps = max(1, min(_MAX_CHUNK_STEPS, max_bytes // step_bytes))
        if progress is not None:
            progress(last, trajectories.steps)
