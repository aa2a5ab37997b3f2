"""What if the network began with modules?  Weights of ideal hexagonal modules, as a start or as a test of a loss.

Module k is a sheet of n phases φ_i of a hexagonal lattice of spacing λ_k, with three wave vectors k_a at 60° of length
4π/√3λ_k. Its matrix moves the three waves of whatever activity it is given by the velocity,

    W_ij(v) = (2/n) Σ_a cos(k_a·v − φ_ia + φ_ja) − θ/Kn   within a module,   −θ/Kn between modules,    (1)

and rectification makes bumps of them again, so that ReLU and norm have a fixed point at every phase. Modules share
only their mean activity, which is the same at every phase, and that is what keeps K of them alive: a module that has
become weaker than the mean is lifted further over its threshold, rectified less, and grows back (θ < 0). Without it
each would keep whatever share of the norm it has, and lose it by a walk at random.

The last C units can hold the mean code, so that no module has to. Each is driven by the mean activity of all modules,

    W_cj = κ/Kn   from modules to them,   0 from them,                                             (2)

with κ such that they take a given share of the squared norm. The MLP's last layer is fitted to (1) and (2) by ridge
regression on its own hidden layer. Ours; the paper starts at random.
"""

import math

import torch
from torch import Tensor, nn

__all__ = ["modular_start_"]

_SAMPLES, _RIDGE = 1200, 1e-3
_GAINS = (8.0, 1.0)  # of the hidden layers' normal weights: tanh bends within the range of velocities


def modular_start_(
    matrix: nn.Sequential,
    initial: Tensor,
    spacing_m: Tensor,
    *,
    threshold: float,
    max_step_m: float,
    generator: torch.Generator,
    constants: int = 0,
    constant_share: float = 0.3,
) -> float:
    """Set the MLP ``matrix`` (of `velocity_to_matrix`) and g_0 ``initial (N,)`` to hold K modules, in place.

    spacing_m: ``(K,)``, one a module; orientations are random. Each has a whole sheet of at most (N - C) // K phases,
        as one with gaps would let another module take over; what is left of the units stays silent.
    threshold: θ; below 0 fields are wide. max_step_m: the largest velocity along an axis.
    constants: C. constant_share: of the squared norm, that they have.

    Returns the error of the fit of (1) and (2), relative to their size.
    """
    units, share = len(initial), (len(initial) - constants) // len(spacing_m)
    if share < 4:
        raise ValueError(
            f"{units} units, {constants} of them constant, for {len(spacing_m)} modules are fewer than 4 each; "
            "take more units"
        )
    phase = _sheet(share).to(initial)
    n = len(phase)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=initial.dtype)

    with torch.no_grad():
        hidden: tuple[nn.Linear, nn.Linear] = (matrix[0], matrix[2])  # type: ignore[assignment]
        for layer, gain in zip(hidden, _GAINS, strict=True):
            scale = gain if layer.in_features == 2 else gain / layer.in_features**0.5
            layer.weight.copy_(scale * normal(*layer.weight.shape))
            layer.bias.copy_(normal(*layer.bias.shape) if layer.in_features == 2 else 0.3 * normal(*layer.bias.shape))
        velocity_m = max_step_m * (2 * torch.rand(_SAMPLES, 2, generator=generator, dtype=initial.dtype) - 1)
        wanted = velocity_m.new_zeros(_SAMPLES, units, units)
        used = len(spacing_m) * n
        wanted[:, :used, :used] = -threshold / used  # (1), between modules
        bumps, growth = _fixed_point(phase, threshold)
        initial.zero_()
        if constants:
            level = (constant_share / (1 - constant_share) * len(spacing_m) * bumps.square().sum() / constants).sqrt()
            initial[-constants:] = level
            wanted[:, -constants:, :used] = growth * level / (used * bumps.mean())  # (2)
        for k, spacing in enumerate(spacing_m.tolist()):
            own = slice(k * n, (k + 1) * n)
            turn = math.pi / 3 * float(torch.rand((), generator=generator, dtype=initial.dtype))
            angle = turn + math.pi / 3 * torch.arange(3, dtype=initial.dtype)
            wave = 4 * math.pi / (math.sqrt(3) * spacing) * torch.stack((angle.cos(), angle.sin()), 1)
            moved = (velocity_m @ wave.T)[:, None, None] - (phase[:, None] - phase)
            wanted[:, own, own] += (2 / n) * moved.cos().sum(-1)
            initial[own] = bumps
        features = matrix[:4](velocity_m).double()
        features = torch.cat((features, torch.ones_like(features[:, :1])), 1)
        target = wanted.flatten(1).double()
        ridge = _RIDGE * torch.eye(features.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(features.T @ features + ridge, features.T @ target)
        matrix[4].weight.copy_(solution[:-1].T)  # type: ignore[operator]
        matrix[4].bias.copy_(solution[-1])  # type: ignore[operator]
        return float((features @ solution - target).norm() / target.norm())


def _fixed_point(phase: Tensor, threshold: float) -> tuple[Tensor, float]:
    """Bumps ``(n,)`` that (1) at v = 0 only multiplies, and by how much."""
    matrix = (2 * (phase[:, None] - phase).cos().sum(-1) - threshold) / len(phase)
    bumps = phase.cos().sum(-1).relu()
    for _ in range(100):
        grown = (matrix @ bumps).relu()
        growth = float(grown.norm() / bumps.norm())
        bumps = grown / growth
    return bumps, growth


def _sheet(most: int) -> Tensor:
    """Phases ``(n, 3)`` of three waves at 60° (the third is the second less the first), n <= most in a full grid."""
    rows = math.isqrt(most)
    columns = most // rows
    i, j = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    first, second = 2 * math.pi * i.flatten().double() / rows, 2 * math.pi * j.flatten().double() / columns
    return torch.stack((first, second, second - first), 1)
