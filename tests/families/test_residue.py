"""The residue code: exact arithmetic, integration without drift, both decoders, and what it refuses."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.families.codes import hexagonal_tuning, hexagonal_waves
from entorhinal.families.coding_theory.residue import (
    Residue,
    coprime_periods,
    crt,
    decode_crt,
    decode_maximum_likelihood,
    range_growth,
    residues,
    unambiguous_range,
)
from entorhinal.families.errors import InputError
from entorhinal.families.model import Decoder, PathIntegrator
from entorhinal.families.world import Arena, Trajectories, World

PERIODS = (31, 44, 63)
RANGE = 85_932


def path(batch: int = 3, steps: int = 40, dtype: torch.dtype = torch.float64) -> Trajectories:
    return World(Arena.square(1.0), dtype=dtype).walk(batch, steps, seed=1)


def there(position_m: Tensor, dtype: torch.dtype = torch.float64) -> Trajectories:
    """Trials that stand still at ``position_m (B, 2)``."""
    start = position_m.to(dtype)
    return Trajectories.from_displacements(
        start, torch.zeros_like(start)[:, None], 0.02, Arena.square(1e4, walls=False)
    )


def circular(error: Tensor) -> float:
    return float((error - error.round()).abs().max())


@given(st.lists(st.integers(2, 24), min_size=1, max_size=4), st.integers(0, 10**6))
@settings(max_examples=60)
def test_crt_gives_back_every_position_below_the_lcm(periods: list[int], number: int) -> None:
    span = unambiguous_range(periods)
    assert span == math.lcm(*periods)
    assert crt(residues(number, periods), periods) == number % span


@given(st.lists(st.tuples(st.integers(2, 12), st.integers(0, 30)), min_size=1, max_size=3))
@settings(max_examples=60)
def test_crt_agrees_with_brute_force_also_where_there_is_no_answer(modules: list[tuple[int, int]]) -> None:
    periods, remainders = [p for p, _ in modules], [r for _, r in modules]
    answers = [
        x for x in range(math.lcm(*periods)) if all(x % p == r % p for p, r in zip(periods, remainders, strict=True))
    ]
    if answers:
        assert [crt(remainders, periods)] == answers
    else:
        with pytest.raises(InputError, match="no position has remainders"):
            crt(remainders, periods)


def test_crt_is_exact_far_beyond_floats() -> None:
    periods = coprime_periods(40, 1000)
    position = 3**200
    assert position < unambiguous_range(periods)
    assert crt(residues(position, periods), periods) == position


def test_code_words_are_distinct_up_to_the_range_and_then_repeat() -> None:
    periods = (9, 10, 11)
    words = [tuple(residues(x, periods)) for x in range(991)]
    assert len(set(words)) == unambiguous_range(periods) == 990
    assert words[990] == words[0]
    assert unambiguous_range((9, 9, 9)) == 9
    assert range_growth(periods) == [9, 90, 990]


def test_coprime_periods() -> None:
    assert coprime_periods(8, 31) == [31, 32, 33, 35, 37, 41, 43, 47]


def test_shapes_and_powers() -> None:
    model = Residue.make()
    for dtype in (torch.float32, torch.float64):
        given_path = path(dtype=dtype)
        out = model.represent(given_path)
        assert out.rates.shape == (3, 40, 3 * 64)
        assert out.rates.dtype == dtype
        assert out.state.shape == (3, 3, 2)
        assert out.state.dtype == torch.float64
        assert model.decode(out).shape == (3, 40, 2)
        assert model.decode(out).dtype == dtype
        assert 0 < out.rates.min() < out.rates.max() <= 1 + 1e-6
    assert isinstance(model, PathIntegrator)
    assert isinstance(model, Decoder)


def test_fields_are_hexagons_of_the_given_periods() -> None:
    model = Residue.make(orientation_rad=0.2)
    position = torch.rand(40, 2, dtype=torch.float64) * 4 - 2
    rates = model.represent(there(position)).rates[:, 0].unflatten(-1, (3, 64))
    for module, period in enumerate(PERIODS):
        angle = torch.full((1,), 0.2, dtype=torch.float64)
        waves = hexagonal_waves(torch.full_like(angle, period / 100), angle)
        wanted = hexagonal_tuning(position, waves, torch.zeros(1, 2, dtype=torch.float64), 3.0)
        torch.testing.assert_close(rates[:, module, :1], wanted)  # the first unit prefers phase 0
        for turn in range(6):
            angle_rad = 0.2 + turn * math.pi / 3
            neighbour = period / 100 * torch.tensor([math.cos(angle_rad), math.sin(angle_rad)], dtype=torch.float64)
            moved = model.represent(there(position + neighbour)).rates[:, 0].unflatten(-1, (3, 64))
            torch.testing.assert_close(moved[:, module], rates[:, module])


@pytest.mark.parametrize("orientation_rad", [0.0, 0.3])
def test_decode_gives_back_position_over_the_whole_plane(orientation_rad: float) -> None:
    model = Residue.make(orientation_rad=orientation_rad)
    assert model.range_m == pytest.approx(859.32)
    side = 0.43 * model.range_m  # |u|, |v| <= range / 2 holds for |x|, |y| <= 0.43 range / 2 whatever the orientation
    position = (torch.rand(4000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5) * side
    out = model.represent(there(position))
    error = (model.decode(out)[:, 0] - position).norm(dim=-1)
    assert error.max() < 5e-6  # metres; all of it is the population vector's bias
    error = (model.decode(model.represent(there(position, torch.float32)))[:, 0] - position).norm(dim=-1)
    assert error.max() < 1e-4


def test_decode_says_nothing_of_silent_units() -> None:
    model = Residue.make()
    out = model.represent(path())
    rates = out.rates.clone()
    rates[0, :5] = 0
    rates[1, 3, 7] = math.nan
    decoded = model.decode(replace(out, rates=rates))
    assert decoded[0, :5].isnan().all()
    assert decoded[1, 3].isnan().all()
    assert decoded.isnan().sum() == 12
    assert model.decode_maximum_likelihood(replace(out, rates=rates), 2.0).isnan().sum() == 12


def test_integration_does_not_drift_over_30_000_steps() -> None:
    random = torch.Generator().manual_seed(0)
    ticks = torch.randint(-400, 401, (2, 30_000, 2), generator=random)
    start = torch.tensor([[0.25, -0.125], [0.0, 0.5]])
    steps = ticks.float() / 2**14  # exact in float32, as is their exact sum in integers
    end = start.double() + ticks.sum(1).double() / 2**14
    model = Residue.make()
    out = model.represent(Trajectories.from_displacements(start, steps, 0.02, Arena.square(100.0, walls=False)))
    assert circular(out.state - model.initial_state(end)) < 1e-9
    assert (model.decode(out)[:, -1] - end).abs().max() < 1e-5


def test_update_is_carry_free() -> None:
    model = Residue.make()
    whole = model.represent(path()).state
    for module, period in enumerate(PERIODS):
        alone = Residue.make(periods=(period,)).represent(path()).state[:, 0]
        assert torch.equal(alone, whole[:, module])


def test_chunks_and_batches_change_nothing() -> None:
    model, walk = Residue.make(), path(4, 60)
    whole = model.represent(walk)
    first = model.represent(walk.chunk(0, 23))
    second = model.represent(replace(walk.chunk(23, 60), start_m=torch.full((4, 2), math.nan)), first.state)
    torch.testing.assert_close(torch.cat((first.rates, second.rates), 1), whole.rates, rtol=0, atol=1e-12)
    assert circular(second.state - whole.state) < 1e-12
    one = Trajectories(
        walk.start_m[2:3], walk.displacement_m[2:3], walk.position_m[2:3], walk.heading_rad[2:3], 0.02, walk.arena
    )
    torch.testing.assert_close(model.represent(one).rates, whole.rates[2:3], rtol=0, atol=1e-12)


def test_positions_and_headings_are_not_read() -> None:
    model, walk = Residue.make(), path()
    blind = replace(
        walk,
        position_m=torch.full_like(walk.position_m, math.nan),
        heading_rad=torch.full_like(walk.heading_rad, math.nan),
    )
    assert torch.equal(model.represent(blind).rates, model.represent(walk).rates)


def test_a_generator_changes_nothing_and_inputs_stay() -> None:
    model, walk = Residue.make(), path()
    copy = walk.displacement_m.clone()
    assert torch.equal(
        model.represent(walk, generator=torch.Generator().manual_seed(3)).rates, model.represent(walk).rates
    )
    assert torch.equal(walk.displacement_m, copy)


def test_gradients_are_finite() -> None:
    walk = path()
    walk.displacement_m.requires_grad_(True)
    Residue.make().represent(walk).rates.square().sum().backward()
    assert walk.displacement_m.grad is not None
    assert walk.displacement_m.grad.isfinite().all()


def noisy(reach: float, noise: float, samples: int = 300) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(5)
    position = (2 * torch.rand(samples, dtype=torch.float64, generator=random) - 1) * reach
    phase = position[:, None] / torch.tensor(PERIODS)
    return position, phase + noise * torch.randn(phase.shape, dtype=torch.float64, generator=random)


def test_maximum_likelihood_equals_the_theorem_without_noise() -> None:
    position, phase = noisy(RANGE / 2 - 1, 0.0)
    likely = decode_maximum_likelihood(phase[:25], PERIODS, -RANGE / 2, RANGE / 2)
    torch.testing.assert_close(likely, position[:25], rtol=0, atol=1e-8)
    torch.testing.assert_close(decode_crt(phase, PERIODS), position, rtol=0, atol=1e-8)


def test_maximum_likelihood_over_a_part_of_the_range_withstands_noise_that_the_theorem_does_not() -> None:
    position, phase = noisy(400, 0.008, 150)
    by_theorem = ((decode_crt(phase, PERIODS) - position).abs() > 5).double().mean()
    likely = decode_maximum_likelihood(phase, PERIODS, -400, 400)
    assert by_theorem > 0.3
    assert ((likely - position).abs() > 5).double().mean() < 0.02


def test_the_theorem_tolerates_a_quarter_unit_in_every_module() -> None:
    position, _ = noisy(RANGE / 2 - 1, 0.0, 5000)
    period = torch.tensor(PERIODS, dtype=torch.float64)
    sign = torch.randint(0, 2, (5000, 3), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    phase = position[:, None] / period
    assert (decode_crt(phase + 0.249 * sign / period, PERIODS) - position).abs().max() < 0.25
    assert (decode_crt(phase + 0.7 * sign / period, PERIODS) - position).abs().max() > 1000


def test_maximum_likelihood_in_two_dimensions() -> None:
    model, walk = Residue.make(orientation_rad=0.1), path(2, 30)
    out = model.represent(walk)
    torch.testing.assert_close(model.decode_maximum_likelihood(out, 1.0), walk.position_m, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"periods": (30, 45)}, "30 and 45 share the factor 15"),
        ({"periods": (31, 31)}, "coprime"),
        ({"periods": (1, 31)}, "2 or more"),
        ({"periods": ()}, "2 or more"),
        ({"periods": (31.5, 44)}, "periods"),
        ({"periods": tuple(coprime_periods(12, 31))}, "range exceeds"),
        ({"resolution_m": 0.0}, "resolution_m"),
        ({"resolution_m": -0.01}, "resolution_m"),
        ({"phases_per_axis": 2}, "phases_per_axis"),
        ({"sharpness": 20.0}, "phases_per_axis of 11"),
        ({"sharpness": -1.0}, "sharpness"),
        ({"period": (31, 44)}, "did you mean 'periods'"),
    ],
)
def test_bad_config_is_one_clear_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Residue.make(**values)
    assert "\n" not in str(caught.value)


def test_bad_arguments() -> None:
    phase = torch.zeros(1, 2, dtype=torch.float64)
    with pytest.raises(InputError, match="no position"):
        decode_crt(phase, (4, 6))
    with pytest.raises(InputError, match="beyond float64"):
        decode_crt(torch.zeros(1, 12), coprime_periods(12, 31))
    with pytest.raises(InputError, match="low <= high"):
        decode_maximum_likelihood(phase, (4, 5), 3, 1)
    with pytest.raises(InputError, match="unambiguous range of 20 units"):
        decode_maximum_likelihood(phase, (4, 5), -10.5, 10)
    model = Residue.make()
    out = model.represent(path(1, 2))
    with pytest.raises(InputError, match="unambiguous range of 85932 units"):
        model.decode_maximum_likelihood(out, model.range_m)
    with pytest.raises(InputError, match="one for each"):
        crt((1, 2, 3), (5, 7))
    with pytest.raises(InputError, match="2 or more"):
        unambiguous_range((0, 3))
