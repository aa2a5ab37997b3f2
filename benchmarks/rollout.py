"""How is a model run over long paths?  In time chunks bounded in bytes, the state carried from one to the next."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from entorhinal.families.errors import InputError
from entorhinal.families.model import Decoder, Model, Representation
from entorhinal.families.world import Trajectories

__all__ = ["Followed", "anchored", "count_units", "follow", "rollout"]

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


def count_units(model: Model, trajectories: Trajectories) -> int:
    """How many units the model has, from one step of one trial."""
    _, first = next(rollout(model, trajectories.select([0]).chunk(0, 1)))
    return first.rates.shape[-1]


@dataclass(frozen=True)
class Followed:
    """rates ``(B, T, units)`` of the chosen units; decoded_m ``(B, T, D)`` by the model's own decoder, None without."""

    rates: Tensor
    decoded_m: Tensor | None


def follow(
    model: Model,
    trajectories: Trajectories,
    *,
    choose: Callable[[int], Tensor] | None,
    seed: int | None = None,
    max_bytes: int = 2**27,
    progress: Callable[[int, int], None] | None = None,
) -> Followed:
    """Run a model over whole paths, keeping a few units' rates and what its own decoder reads.

    choose: from N the indices of the units to keep; None keeps none. seed: of noise, as in `rollout`. Decoding goes
    chunk by chunk with one sample of overlap, at which the path so far and the next part are joined: a decoder that
    follows a phase goes on, and one that knows the place is not changed.
    """
    units: Tensor | None = None
    rates: list[Tensor] = []
    decoded: list[Tensor] = []
    last: Tensor | None = None  # rates of the step before the chunk, (B, 1, N)
    for _, representation in rollout(model, trajectories, seed=seed, max_bytes=max_bytes, progress=progress):
        all_rates = representation.rates
        if units is None:
            units = torch.arange(0) if choose is None else choose(all_rates.shape[-1])
            units = units.to(all_rates.device)
        rates.append(all_rates[..., units].clone())
        if isinstance(model, Decoder):
            joined = all_rates if last is None else torch.cat((last, all_rates), 1)
            with torch.inference_mode():
                found = model.decode(Representation(joined, representation.state))
            if last is not None:
                found = (found + (decoded[-1][:, -1:] - found[:, :1]))[:, 1:]
            decoded.append(found)
            last = all_rates[:, -1:].clone()
    return Followed(torch.cat(rates, 1), torch.cat(decoded, 1) if decoded else None)


def anchored(decoded_m: Tensor, trajectories: Trajectories) -> Tensor:
    """Decoded paths ``(B, T, D)`` moved to be right at their first step."""
    return decoded_m + (trajectories.position_m - decoded_m)[:, :1]
