"""Many steps in place: a copy is stepped, gradients pass, and on a GPU a captured graph gives what the loop gives."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

from entorhinal.families import make
from entorhinal.families.continuous_attractor import stepping
from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete, rate_step
from entorhinal.families.continuous_attractor.stepping import StepLoop


def decay(state: Tensor, target: Tensor, scale: Tensor, rate: float) -> None:
    state.lerp_(target * scale, rate)


def test_steps_are_applied_to_a_copy() -> None:
    state, target, scale = torch.ones(2, 3).T, torch.zeros(3, 2), torch.ones(2)
    kept = state.clone()
    found = StepLoop()(decay, state, (target,), (scale,), 0.5, 5)
    torch.testing.assert_close(found, torch.full((3, 2), 0.5**5))
    assert torch.equal(state, kept)
    assert torch.equal(StepLoop()(decay, state[:1].expand(3, 2), (target,), (scale,), 0.5, 0), torch.ones(3, 2))


@pytest.mark.parametrize("steps", [1, 64, 150])
def test_blocks_and_what_is_left_of_them_are_all_the_steps(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a block that counts in place of a graph."""
    counts: list[int] = []

    def captured(step, state, inputs, constants, rate, length):
        def block(state: Tensor, inputs: tuple[Tensor, ...], blocks: int) -> Tensor:
            counts.append(blocks)
            for _ in range(blocks * length):
                step(state, *inputs, *constants, rate)
            return state

        return block

    monkeypatch.setattr(StepLoop, "_may_capture", staticmethod(lambda *tensors: True))
    monkeypatch.setattr(stepping, "_captured", captured)
    loop, target, scale = StepLoop(), torch.full((2,), 3.0), torch.ones(2)
    for _ in range(2):
        found = loop(decay, torch.zeros(2), (target,), (scale,), 0.01, steps)
        torch.testing.assert_close(found, torch.full((2,), 3 * (1 - 0.99**steps)))
    assert counts == [steps // min(steps, stepping.BLOCK)] * 2
    assert len(loop._graphs) == 1
    monkeypatch.setattr(stepping, "_captured", lambda *parts: None)
    other = loop(decay, torch.zeros(3), (torch.ones(3),), (torch.ones(3),), 0.01, steps)
    torch.testing.assert_close(other, torch.full((3,), 1 - 0.99**steps))


def test_gradients_pass_through_the_sheet() -> None:
    model = BurakFiete.make(neurons_per_side=20, net_wavelength_neurons=6.0)
    generator = torch.Generator().manual_seed(0)
    sheet = torch.rand(1, 20, 20, generator=generator, dtype=torch.float64, requires_grad=True)
    velocity = torch.tensor([[0.2, -0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, v: model.advance(s, v, 1.5).square().sum(), (sheet, velocity))


def test_copies_have_no_graphs() -> None:
    model = BurakFiete.make(neurons_per_side=20, net_wavelength_neurons=6.0)
    model._loop._graphs["key"] = None
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin._loop._graphs == {}


@pytest.mark.gpu
@pytest.mark.parametrize(("trials", "ms"), [(1, 20.0), (64, 20.0), (3, 60.0), (2, 0.5)])
def test_the_graph_equals_the_loop(trials: int, ms: float) -> None:
    model = BurakFiete.make().cuda()
    generator = torch.Generator().manual_seed(0)
    sheet = torch.rand(trials, 128, 128, generator=generator).cuda()
    for velocity_m_s in (torch.zeros(trials, 2).cuda(), torch.rand(trials, 2, generator=generator).cuda()):
        kept = sheet.clone()
        found = model.advance(sheet, velocity_m_s, ms)
        assert torch.equal(sheet, kept)
        steps, rate = model.steps(ms)
        wanted, constants = sheet.clone(), model.weights(sheet)
        for _ in range(steps):
            rate_step(wanted, model.drive(velocity_m_s), *constants, rate)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
        with torch.inference_mode():
            torch.testing.assert_close(model.advance(sheet.clone(), velocity_m_s, ms), wanted, rtol=0, atol=1e-5)
    (block,) = model._loop._graphs.values()
    assert block is not None, "the step was not captured"


@pytest.mark.gpu
@pytest.mark.parametrize(
    "name",
    [
        "burak_fiete_aperiodic",
        "couey",
        "fuhs_touretzky",
        "guanella",
        "kang_balasubramanian",
        "peak_selection",
        "peak_selection_sheet",
    ],
)
def test_every_sheet_is_captured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(f"continuous_attractor/{name}").cuda()
    sheet = model.settled.cuda().expand(3, *model.settled.shape)
    velocity_m_s = 0.5 * model.fastest_m_s * torch.rand(3, model.card.dimensions).cuda()
    found = model.advance(sheet, velocity_m_s, 20.0)
    (block,) = model._loop._graphs.values()
    assert block is not None, "the step was not captured"
    monkeypatch.setattr(StepLoop, "_may_capture", staticmethod(lambda *tensors: False))
    wanted = model.advance(sheet, velocity_m_s, 20.0)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert not torch.equal(found, sheet)


@pytest.mark.gpu
def test_spikes_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("continuous_attractor/burak_fiete_spiking").cuda()
    velocity_m_s = torch.tensor([[0.0, 0.0], [0.4, -0.2]]).cuda()
    first = model.initial_state(torch.zeros(2, 2).cuda())

    def fired() -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator("cuda").manual_seed(0)
        return model.fire(first["sheet"], first["wait"], velocity_m_s, 20.0, generator)

    captured = fired()
    (block,) = model._loop._graphs.values()
    assert block is not None, "the step was not captured"
    monkeypatch.setattr(StepLoop, "_may_capture", staticmethod(lambda *tensors: False))
    for found, wanted in zip(captured, fired(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert not torch.equal(captured[0], first["sheet"])


@pytest.mark.gpu
def test_graphs_follow_the_device_the_shape_and_the_gradient() -> None:
    model = BurakFiete.make(neurons_per_side=64).cuda()
    velocity_m_s = torch.zeros(1, 2).cuda()
    sheet = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0)).cuda()
    first = model.advance(sheet, velocity_m_s, 20.0)
    model = model.cpu()
    torch.testing.assert_close(model.advance(sheet.cpu(), velocity_m_s.cpu(), 20.0), first.cpu(), rtol=0, atol=1e-4)
    model = model.cuda()
    junk = [torch.full((64 * 64,), 63, device="cuda") for _ in range(64)]  # where the first buffers were
    torch.testing.assert_close(model.advance(sheet, velocity_m_s, 20.0), first, rtol=0, atol=1e-5)
    assert len(junk) == 64
    asked = velocity_m_s.clone().requires_grad_()
    model.advance(sheet, asked, 1.0).sum().backward()
    assert asked.grad is not None
    for trials in range(1, 2 * stepping.GRAPHS):
        model.advance(sheet.expand(trials, -1, -1), velocity_m_s.expand(trials, -1), 1.0)
    assert len(model._loop._graphs) == stepping.GRAPHS
