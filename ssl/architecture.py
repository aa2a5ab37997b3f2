"""The recurrent network of Schaeffer et al. 2023: a velocity chooses the matrix that moves the code.

    g_t = Norm(ReLU(W(v_t) g_{t−1})),   W(v) = MLP(v): R² → R^{N×N}

Rates lie on the unit sphere and are not negative. There is no read-out.
"""

import torch
from torch import Tensor, nn

from entorhinal.families.errors import unknown

__all__ = ["ACTIVATIONS", "rectified_unit", "unroll", "velocity_to_matrix"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
_SMALLEST_NORM = 1e-8


def velocity_to_matrix(
    units: int, hidden: int, activation: str, generator: torch.Generator, *, input_gain: float = 1.0
) -> nn.Sequential:
    """The MLP: velocity ``(..., 2)`` in metres a step -> flattened matrix ``(..., units²)``.

    Three linear layers, initialised as PyTorch does by default (uniform ±1/√inputs), from ``generator``; the first
    layer's weights are then multiplied by ``input_gain``, as velocities are far below 1.
    """
    if activation not in ACTIVATIONS:
        raise unknown("activation", activation, ACTIVATIONS)
    layers: list[nn.Module] = []
    for inputs, outputs, gain in ((2, hidden, input_gain), (hidden, hidden, 1.0), (hidden, units * units, 1.0)):
        linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
        bound = inputs**-0.5
        with torch.no_grad():
            for parameter in (linear.weight, linear.bias):
                parameter.copy_(bound * (2 * torch.rand(parameter.shape, generator=generator) - 1))
            linear.weight.mul_(gain)
        layers += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def rectified_unit(drive: Tensor) -> Tensor:
    """Norm(ReLU(drive)) along the last axis; all zeros where nothing is positive."""
    rates = torch.relu(drive)
    square = rates.square().sum(-1, keepdim=True)
    alive = square > _SMALLEST_NORM**2
    return rates / torch.where(alive, square, 1).sqrt()  # where, not clamp: the gradient of a dead state is 0, not NaN


def unroll(matrix: Tensor, order: Tensor, initial: Tensor) -> Tensor:
    """States of B trajectories that use the same T matrices in different orders.

    matrix: ``(T, N, N)``, one for each velocity: the MLP runs T times a batch, not B·T. order: ``(B, T)``, which matrix
    comes when. initial: ``(N,)``, the state before the first step. Returns ``(B, T, N)``.
    """
    state, states = initial.expand(len(order), -1), []
    for t in range(order.shape[1]):
        state = rectified_unit((matrix[order[:, t]] @ state[..., None])[..., 0])
        states.append(state)
    return torch.stack(states, 1)
