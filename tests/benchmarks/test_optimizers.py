"""Optimisers on flat storage take the steps of torch.optim."""

import math

import pytest
import torch

from entorhinal.benchmarks.optimizers import Layout, Optimizer, rate_multipliers
from entorhinal.families.model import Recipe

CASES = {
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "rmsprop-momentum": (torch.optim.RMSprop, {"momentum": 0.9}),
    "sgd": (torch.optim.SGD, {}),
    "sgd-momentum": (torch.optim.SGD, {"momentum": 0.9}),
}


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.7}, {"clip_value": 0.3}, {"clip_value": 0.5, "clip_norm": 0.9}])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("case", CASES)
def test_the_steps_are_those_of_torch(case: str, weight_decay: float, clip: dict[str, float]) -> None:
    kind, extra = CASES[case]
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(3, 40, generator=generator, dtype=torch.float64)
    rates = (1e-2, 3e-2, 0.1)
    recipes = [
        Recipe(optimizer=case.split("-")[0], lr=lr, steps=20, batch=1, weight_decay=weight_decay, **extra, **clip)
        for lr in rates
    ]
    flat = start.clone()
    ours = Optimizer(recipes, flat)
    theirs = [torch.nn.Parameter(row.clone()) for row in start]
    others = [kind([p], lr=lr, weight_decay=weight_decay, **extra) for p, lr in zip(theirs, rates, strict=True)]
    for _ in range(20):
        gradient = torch.randn(3, 40, generator=generator, dtype=torch.float64)
        own = gradient.clone()
        scale, norm = ours.clip_(own)
        ours.step(own, scale)
        for k, (p, other) in enumerate(zip(theirs, others, strict=True)):
            p.grad = gradient[k].clone()
            if "clip_value" in clip:
                torch.nn.utils.clip_grad_value_([p], clip["clip_value"])
            if "clip_norm" in clip:
                assert float(torch.nn.utils.clip_grad_norm_([p], clip["clip_norm"])) == pytest.approx(float(norm[k]))
            other.step()
    torch.testing.assert_close(flat, torch.stack([p.detach() for p in theirs]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_a_network_that_has_stopped_keeps_every_bit(name: str) -> None:
    flat = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    before = flat.clone()
    optimizer = Optimizer([Recipe(optimizer=name, lr=0.1, steps=5, batch=1, weight_decay=0.1)] * 2, flat)
    optimizer.step(torch.ones(2, 8), torch.tensor([1.0, 1.0]))
    kept = flat[1].clone()
    assert not torch.equal(kept, before[1])
    for bad in (math.nan, math.inf):
        gradient = torch.ones(2, 8)
        gradient[1] = bad
        optimizer.step(gradient, torch.tensor([1.0, 0.0]))
    assert torch.equal(flat[1], kept)
    assert flat[0].isfinite().all()
    assert not torch.equal(flat[0], before[0])


def test_rates_warm_up_and_fall() -> None:
    warm = rate_multipliers(Recipe(lr=1, steps=100, batch=1, warmup_steps=10))
    assert warm[0] == pytest.approx(0.1)
    assert (warm[9:] == 1).all()
    cosine = rate_multipliers(Recipe(lr=1, steps=110, batch=1, warmup_steps=10, schedule="cosine"))
    assert cosine[10] == 1
    assert cosine[60] == pytest.approx(0.5)
    assert 0 < cosine[-1] < 1e-3


def test_views_share_the_storage_and_start_aligned() -> None:
    layout = Layout({"a": torch.Size([3, 5]), "b": torch.Size([]), "c": torch.Size([7])})
    flat = torch.zeros(2, layout.size)
    views = layout.views(flat)
    assert {name: tuple(view.shape) for name, view in views.items()} == {"a": (2, 3, 5), "b": (2,), "c": (2, 7)}
    views["b"][1] = 4.0
    assert flat.sum() == 4
    assert all(start % 32 == 0 for start in layout.starts.values())
