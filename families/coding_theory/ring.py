"""One module in one dimension: units around a ring, their spikes, and what the spikes say of the phase.

Unit i of n prefers the phase c_i = i/n, in cycles, and fires

    f_i(φ) = exp(κ (cos 2π(φ − c_i) − 1)),     times a peak count of p spikes in the time of a read-out.            (1)

Where the units tile the ring, Σ_i f_i does not depend on φ, and the log-likelihood of independent Poisson counts k_i is
Re z exp(−2πi φ) with the wave

    z = κ Σ_i k_i exp(2πi c_i),                                                                                    (2)

so that `decoding.decode_waves` is exact maximum likelihood. The Fisher information of φ is, per cycle²,

    J = Σ_i p f_i'² / f_i = 4π² p κ n exp(−κ) I_1(κ).                                                              (3)

A Fano factor F scales variances: F times a Poisson count of mean k/F has mean k and variance F k, and J falls to J/F.
"""

import math

import torch
from scipy.special import ive
from torch import Tensor

from entorhinal.families.coding_theory.phase_modules import least_phases_per_axis
from entorhinal.families.errors import InputError

__all__ = ["ring_information", "ring_tuning", "ring_waves", "spike_counts"]


def ring_tuning(phase: Tensor, units: int, sharpness: float) -> Tensor:
    """Equation (1), peak 1: phase ``(...)`` in cycles -> ``(..., units)``. Fields too narrow to tile are refused."""
    if not sharpness > 0:
        raise InputError(f"sharpness is {sharpness}; give a number above 0")
    if units < (least := least_phases_per_axis(sharpness)):
        raise InputError(
            f"{units} units with fields of sharpness {sharpness:g} leave gaps; give {least} or more, or wider fields"
        )
    preferred = torch.arange(units, dtype=phase.dtype, device=phase.device) / units
    return torch.exp(sharpness * ((2 * math.pi * (phase[..., None] - preferred)).cos() - 1))


def spike_counts(mean: Tensor, fano_factor: float, generator: torch.Generator) -> Tensor:
    """Counts of ``mean`` with variance ``fano_factor`` times it, independent: multiples of the Fano factor."""
    if not fano_factor > 0:
        raise InputError(f"fano_factor is {fano_factor}; give a number above 0")
    return fano_factor * torch.poisson(mean / fano_factor, generator=generator)


def ring_waves(
    phase: Tensor, units: int, sharpness: float, peak_count: float, generator: torch.Generator, fano_factor: float = 1.0
) -> Tensor:
    """Equation (2) of spikes drawn at the phases ``(...)``: waves ``(...)`` complex128, log-likelihoods in nats."""
    if not peak_count > 0:
        raise InputError(f"peak_count is {peak_count}; give a number of spikes above 0")
    counts = spike_counts(peak_count * ring_tuning(phase.double(), units, sharpness), fano_factor, generator)
    turn = 2 * math.pi * torch.arange(units, dtype=torch.float64, device=phase.device) / units
    return sharpness / fano_factor * torch.complex(counts @ turn.cos(), counts @ turn.sin())


def ring_information(units: float, sharpness: float, peak_count: float, fano_factor: float = 1.0) -> float:
    """Equation (3), per cycle². ``units`` may be a fraction where they are being shared out."""
    if not (peak_count > 0 and fano_factor > 0):
        raise InputError(f"peak_count is {peak_count} and fano_factor {fano_factor}; give numbers above 0")
    return 4 * math.pi**2 * peak_count * sharpness * units * float(ive(1, sharpness)) / fano_factor
