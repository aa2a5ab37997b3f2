"""The step of an LSTM against autograd of torch's own cell, and the kernels against their twins."""

import math

import pytest
import torch
from torch import Tensor

from entorhinal.families.supervised import lstm


def steps(networks: int, trajectories: int, cells: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Gates and memories of two steps each, and the gradients by the hidden state and memory after the last."""
    generator = torch.Generator().manual_seed(cells)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    own = (networks, trajectories)
    gates = 2 * normal(networks, 2, trajectories, 4 * cells)
    return gates, normal(networks, 3, trajectories, cells), normal(*own, cells), normal(*own, cells)


def test_a_step_and_its_gradient_are_those_of_torch() -> None:
    gates, memory, by_hidden, by_cell = steps(1, 4, 3, torch.float64)
    cell = torch.nn.LSTMCell(12, 3, dtype=torch.float64)  # its gates come in the order i, f, c̃, o
    drive, before = gates[0, 0].clone().requires_grad_(), memory[0, 0].clone().requires_grad_()
    with torch.no_grad():
        cell.weight_ih.copy_(torch.eye(12, dtype=torch.float64)[[0, 1, 2, 3, 4, 5, 9, 10, 11, 6, 7, 8]])
        for weights in (cell.weight_hh, cell.bias_ih, cell.bias_hh):
            weights.zero_()
    hidden, after = cell(drive, (torch.zeros(4, 3, dtype=torch.float64), before))
    wanted = torch.autograd.grad((hidden * by_hidden[0]).sum() + (after * by_cell[0]).sum(), (drive, before))
    found = torch.empty_like(memory)
    lstm.lstm_step_(gates[:, 0], memory[:, 0], found[:, 0], found[:, 1])
    torch.testing.assert_close(found[0, 0], after.detach())
    torch.testing.assert_close(found[0, 1], hidden.detach())
    lstm.lstm_step_backward_(gates[:, 0], memory[:, 0], found[:, 0], by_hidden, by_cell)
    torch.testing.assert_close(gates[0, 0], wanted[0])
    torch.testing.assert_close(by_cell[0], wanted[1])


@pytest.mark.parametrize(("trajectories", "cells"), [(3, 5), (10, 128), (70, 33)])
def test_kernels_equal_twins(trajectories: int, cells: int, device: str) -> None:
    gates, memory, by_hidden, by_cell = steps(3, trajectories, cells)
    gates[2, 1, 0, 0], gates[1, 1, 0, :2] = math.nan, torch.tensor([-100.0, 100.0])
    hidden = torch.zeros_like(memory)
    ours = [value.clone().to(device) for value in (gates, memory, hidden, by_hidden, by_cell)]

    def compare() -> None:  # all of each: what is not written stays as it was
        for found, twin in zip(ours, (gates, memory, hidden, by_hidden, by_cell), strict=True):
            torch.testing.assert_close(found.cpu(), twin, rtol=1e-4, atol=1e-5, equal_nan=True)

    lstm.lstm_step_reference_(gates[:, 1], memory[:, 1], memory[:, 2], hidden[:, 2])
    lstm.lstm_step_(ours[0][:, 1], ours[1][:, 1], ours[1][:, 2], ours[2][:, 2])
    assert hidden[2, 2, 0, 0].isnan()
    compare()
    lstm.lstm_step_backward_reference_(gates[:, 1], memory[:, 1], memory[:, 2], by_hidden, by_cell)
    lstm.lstm_step_backward_(ours[0][:, 1], ours[1][:, 1], ours[1][:, 2], ours[3], ours[4])
    compare()
