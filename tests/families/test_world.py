"""Arenas, trajectories and their sampling, against closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entorhinal.families.errors import InputError
from entorhinal.families.walk_kernel import walk_in_a_box
from entorhinal.families.world import (
    Arena,
    Trajectories,
    World,
    _walked,
    load_recording,
    recorded_trajectory,
)

BOX = ((0.0, 1.0), (0.0, 1.0))


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), side_m=st.floats(0.3, 4.0), dimensions=st.sampled_from([1, 2]))
def test_walk_stays_inside_and_adds_up(seed: int, side_m: float, dimensions: int) -> None:
    arena = Arena.square(side_m) if dimensions == 2 else Arena.line(side_m)
    walk = World(arena, dtype=torch.float64).walk(3, 200, seed=seed)
    assert arena.contains(walk.position_m).all()
    torch.testing.assert_close(walk.start_m[:, None] + walk.displacement_m.cumsum(1), walk.position_m)
    before = torch.cat((walk.start_m[:, None], walk.position_m[:, :-1]), 1)
    torch.testing.assert_close(walk.position_m - before, walk.displacement_m)


def test_walk_in_the_open_has_rayleigh_speeds_and_gaussian_turns() -> None:
    walk = World(Arena.square(1.0, walls=False), dtype=torch.float64).walk(20, 2000, seed=3, speed_m_s=0.5)
    speed_m_s = walk.displacement_m.norm(dim=-1) / walk.dt_s
    assert speed_m_s.mean().item() == pytest.approx(0.5 * math.sqrt(math.pi / 2), rel=0.02)
    assert speed_m_s.square().mean().item() == pytest.approx(2 * 0.5**2, rel=0.03)
    turn = torch.remainder(walk.heading_rad.diff(dim=1) + math.pi, 2 * math.pi) - math.pi
    assert turn.std().item() == pytest.approx(11.52 * walk.dt_s, rel=0.02)


def test_walk_covers_the_box_and_does_not_hug_one_wall() -> None:
    walk = World(Arena.square(1.0)).walk(8, 4000, seed=1)
    counts, *_ = np.histogram2d(*walk.position_m.reshape(-1, 2).T.numpy(), bins=5, range=[[-0.5, 0.5]] * 2)
    assert counts.min() > 0.2 * counts.mean()


def test_walk_is_a_function_of_its_seed() -> None:
    world = World(Arena.square(1.0))
    first, again, other = (world.walk(2, 50, seed=s).position_m for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_periodic_walk_wraps() -> None:
    arena = Arena.square(0.5, periodic=True)
    walk = World(arena).walk(4, 500, seed=2)
    assert arena.contains(walk.position_m).all()
    jump = walk.position_m.diff(dim=1) - walk.displacement_m[:, 1:]
    assert (jump.abs() > 0.4).any(), "nothing ever left the box"
    torch.testing.assert_close(torch.round(jump / 0.5) * 0.5, jump, atol=1e-5, rtol=0)


def test_iid_steps_are_uniform_from_the_origin() -> None:
    steps = World(Arena.square(4.0, walls=False)).iid_steps(50, 400, seed=0, max_step_m=0.15)
    assert (steps.start_m == 0).all()
    assert steps.displacement_m.abs().max() <= 0.15
    assert steps.displacement_m.var().item() == pytest.approx(0.3**2 / 12, rel=0.03)
    with pytest.raises(InputError, match="walls=False"):
        World(Arena.square(4.0)).iid_steps(1, 2, seed=0)


def test_sweeps_run_straight() -> None:
    sweeps = World(Arena.square(1.0, walls=False)).sweeps([0.0, math.pi / 2], [0.1, 0.2, 0.4], 10)
    assert sweeps.batch == 6
    torch.testing.assert_close(sweeps.position_m[2, -1], torch.tensor([0.4 * 10 * 0.02, 0.0]))
    torch.testing.assert_close(sweeps.position_m[3, -1], torch.tensor([0.0, 0.1 * 10 * 0.02]), atol=1e-7, rtol=0)
    torch.testing.assert_close(sweeps.heading_rad[3:], torch.full((3, 10), math.pi / 2))


def test_chunks_put_together_are_the_whole() -> None:
    walk = World(Arena.square(1.0)).walk(2, 10, seed=0)
    first, second = walk.chunk(0, 4), walk.chunk(4, 10)
    assert torch.equal(torch.cat((first.position_m, second.position_m), 1), walk.position_m)
    assert torch.equal(second.start_m, walk.position_m[:, 3])


def test_shapes_and_values_are_checked() -> None:
    walk = World(Arena.square(1.0)).walk(2, 10, seed=0)
    with pytest.raises(InputError, match="heading_rad has shape"):
        Trajectories(walk.start_m, walk.displacement_m, walk.position_m, walk.heading_rad[:, 1:], 0.02, walk.arena)
    with pytest.raises(InputError, match="dt_s"):
        Trajectories(walk.start_m, walk.displacement_m, walk.position_m, walk.heading_rad, 0.0, walk.arena)
    broken = walk.displacement_m.clone()
    broken[1, 3, 0] = math.nan
    with pytest.raises(InputError, match=r"displacement_m is not finite at index \(1, 3, 0\)"):
        Trajectories.from_displacements(walk.start_m, broken, 0.02, walk.arena)
    with pytest.raises(InputError, match="centred"):
        Arena(((0.0, 1.0), (0.0, 1.0)))
    with pytest.raises(InputError, match="side_m"):
        Arena.square(-1.0)
    with pytest.raises(InputError, match="steps"):
        World().walk(2, 0, seed=0)


def test_recorded_trajectory_is_centred_and_resampled() -> None:
    time_s = np.arange(0, 1.01, 0.1)
    position_m = np.stack((time_s, 0.25 + 0 * time_s), -1)
    path = recorded_trajectory(time_s, position_m, extent_m=BOX, dt_s=0.05, dtype=torch.float64)
    assert path.steps == 20
    torch.testing.assert_close(path.start_m, torch.tensor([[-0.5, -0.25]], dtype=torch.float64))
    torch.testing.assert_close(path.position_m[0, -1], torch.tensor([0.5, -0.25], dtype=torch.float64))
    torch.testing.assert_close(path.displacement_m[0, :, 0], torch.full((20,), 0.05, dtype=torch.float64))


def test_gaps_are_refused_or_bridged_and_named() -> None:
    time_s = np.arange(0, 1.01, 0.1)
    position_m = np.stack((time_s, time_s), -1)
    holed = position_m.copy()
    holed[4:6] = np.nan
    with pytest.raises(InputError, match=r"1 gaps \(2 NaN samples\), the first at 0.3 s.*--bridge-gaps"):
        recorded_trajectory(time_s, holed, extent_m=BOX)
    bridged = recorded_trajectory(time_s, holed, extent_m=BOX, gaps="bridge", dtype=torch.float64)
    whole = recorded_trajectory(time_s, position_m, extent_m=BOX, dtype=torch.float64)
    torch.testing.assert_close(bridged.position_m, whole.position_m)
    with pytest.raises(InputError, match="over max_gap_s"):
        recorded_trajectory(time_s, holed, extent_m=BOX, gaps="bridge", max_gap_s=0.2)
    with pytest.raises(InputError, match="does not increase"):
        recorded_trajectory(time_s[::-1], position_m, extent_m=BOX)
    with pytest.raises(InputError, match="does not hold"):
        recorded_trajectory(time_s, 2 * position_m, extent_m=BOX)
    with pytest.raises(InputError, match="nothing is left"):
        recorded_trajectory(time_s, position_m * np.nan, extent_m=BOX, gaps="bridge")


def test_the_recorded_rat() -> None:
    path = load_recording()
    assert path.batch == 1
    assert path.duration_s == pytest.approx(599.6, abs=0.1)
    assert path.distance_m[0, -1].item() == pytest.approx(73.2, abs=0.1)
    assert path.arena.contains(path.position_m).all()
    with pytest.raises(InputError, match="60 gaps"):
        load_recording(gaps="refuse")


def test_recordings_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_recording(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="'t' and 'pos'"):
        load_recording(tmp_path / "other.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:40])
    with pytest.raises(InputError, match="cannot read"):
        load_recording(tmp_path / "cut.npz")


@pytest.mark.gpu
def test_walk_on_the_gpu() -> None:
    walk = World(Arena.square(1.0), device="cuda").walk(4, 100, seed=0)
    assert walk.position_m.device.type == "cuda"
    assert walk.arena.contains(walk.position_m).all()


def test_walks_of_the_kernel_are_those_of_steps_one_by_one(device: str) -> None:
    arena, generator = Arena.square(1.0), torch.Generator().manual_seed(0)
    position_m = World(arena).starts(300, generator)
    heading_rad, stride_m = 6.28 * torch.rand(300, generator=generator), 0.03 * torch.rand(300, 60, generator=generator)
    turn_rad = 0.2 * torch.randn(300, 60, generator=generator)
    position_m[:3] = torch.tensor([[0.495, 0.495], [0.495, 0.0], [0.0, -0.495]])  # a corner, and walls met head on
    heading_rad[:3] = torch.tensor([0.7, 0.0, -math.pi / 2])
    wanted = _walked(arena, position_m, heading_rad, stride_m, turn_rad, 0.03)
    assert (wanted.norm(dim=-1) < 0.3 * stride_m).any(0).all()  # at any step some walk meets a wall
    given = [value.to(device) for value in (position_m, heading_rad, stride_m, turn_rad)]
    found = walk_in_a_box(*given, *arena.bounds_m(given[0]), 0.03).cpu()
    same = (found - wanted).abs().amax((1, 2)) < 1e-5
    assert same.double().mean() > 0.98  # rounding may decide whether a wall is near
    assert ((position_m + found.sum(1)).abs() < 0.5 + 1e-5).all()
