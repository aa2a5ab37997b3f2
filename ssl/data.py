"""What does self-supervised learning of space see?  Velocities, and nothing else (Schaeffer et al. 2023)."""

import torch
from torch import Tensor

__all__ = ["uniform_velocities"]


def uniform_velocities(
    batches: int, steps: int, max_step_m: float, *, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Independent displacements, uniform in [−max_step_m, max_step_m]², in metres a step: ``(batches, steps, 2)``.

    Made on the generator's device. Schaeffer et al. 2023: T = ``steps`` = 60, ``max_step_m`` = 0.15.
    """
    unit = torch.rand(batches, steps, 2, generator=generator, device=generator.device, dtype=dtype)
    return max_step_m * (2 * unit - 1)
