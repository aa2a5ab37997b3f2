"""How fast does something wander?  The diffusion coefficient of paths, apart from what their read-out errs anew."""

import torch
from torch import Tensor

from entorhinal.analysis.tensors import Array, as_tensor

__all__ = ["diffusion_coefficient"]


def diffusion_coefficient(path: Array, dt_s: float, lag_s: float) -> Tensor:
    """Diffusion coefficient of each path: half the growth of variance along an axis.

    From mean squared displacements over ``lag_s`` and twice that: (MSD(2 lag) − MSD(lag)) / (2 D lag), D dimensions. An
    error that the read-out makes anew at each sample, and what fades within a lag, drop out. Single paths scatter, also
    below 0; the mean over paths is unbiased.

    Args:
        path: (B, T, D) positions in any unit u.
        dt_s: seconds a sample.
        lag_s: a whole number of samples, to rounding.

    Returns:
        (B,) in u²/s; NaN for paths with NaN.

    Raises:
        ValueError: dt_s not above 0, a lag below one sample, or fewer samples than two lags.
    """
    values = as_tensor(path, "path", "B, T, D")
    lag = round(lag_s / dt_s) if dt_s > 0 else 0
    if lag < 1 or 2 * lag >= values.shape[1]:
        raise ValueError(
            f"path has {values.shape[1]} samples of {dt_s} s and lag_s is {lag_s}; give a lag of one sample "
            "at least and more samples than two lags"
        )

    def squared(by: int) -> Tensor:
        return (values[:, by:] - values[:, :-by]).square().sum(-1).mean(1)

    found = (squared(2 * lag) - squared(lag)) / (2 * values.shape[-1] * lag * dt_s)
    return found.where(values.isfinite().all(-1).all(-1), torch.nan)
