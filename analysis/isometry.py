"""Isometry: does the code move at one speed wherever the animal goes, and whichever way?

A code f(x) of N units pulls the metric of the code's space back to the arena: G(x) = JᵀJ, J = ∂f/∂x, so that a small
step dx moves the code by √(dxᵀ G dx). The code is a conformal isometry where G(x) = s(x) I and an isometry up to scale
where s is the same everywhere (Xu et al. 2022; Schaeffer et al. 2023).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from entorhinal.analysis.lattices import checked_bin
from entorhinal.analysis.tensors import Array, as_tensor, chunk_size


@dataclass(frozen=True)
class Isometry:
    """How far metric tensors are from one multiple of the identity.

    Attributes:
        scale: (...) half the trace of G at each place, squared code distance per squared metre; NaN where G is.
        mean: mean scale over places.
        cv: standard deviation of the scale over its mean; 0 is the same speed everywhere.
        anisotropy: (...) large over small eigenvalue of G at each place; 1 is the same speed in all directions, inf a
            direction in which the code stands still.
        anisotropy_median: over places.
        anisotropy_of_mean: of the mean tensor: what directions have in common over all places, as in a sheared map.
        places: how many places have a tensor.
    """

    scale: Tensor
    mean: float
    cv: float
    anisotropy: Tensor
    anisotropy_median: float
    anisotropy_of_mean: float
    places: int


def metric_tensor(jacobian: Array) -> Tensor:
    """G = JᵀJ from derivatives ``(..., N, D)`` of the rates along each axis, per metre: ``(..., D, D)``."""
    slopes = as_tensor(jacobian, "jacobian", "..., N, D")
    return slopes.mT @ slopes


def metric_tensor_of_maps(maps: Array, bin_m: float) -> Tensor:
    """G over the bins of rate maps, or of codes at a square lattice of places, by central differences.

    Differences over two bins see less than the slope. For waves of wave number k, G is too small by (sin kb / kb)², b
    the bin: 7 % for three-cosine grids of 0.3 m on bins of 2 cm, 2 % at 0.6 m. Smoothing by a Gaussian of σ takes
    another factor exp(-k²σ²), 40 % for those 0.3 m at 3 cm. Both hold for all places and directions of a grid module
    alike, so they change its scale and not its variation; modules of different spacing lose different parts.

    Args:
        maps: (N, H, W), NaN where unvisited; a bin needs all four neighbours in all units.
        bin_m: side of a bin, or distance between places, in metres.

    Returns:
        (H, W, 2, 2), axes x then y; NaN at the border and where a neighbour is missing.

    Raises:
        ValueError: wrong number of dimensions, bin_m not above 0.
    """
    maps, bin_m = as_tensor(maps, "maps", "N, H, W"), checked_bin(bin_m)
    height, width = maps.shape[-2:]
    total = maps.new_full((height, width, 2, 2), torch.nan)
    if min(height, width) < 3:
        return total
    inner = maps.new_zeros(height - 2, width - 2, 2, 2)
    for part in maps.split(chunk_size(32 * height * width, maps.device)):
        slope_x = (part[:, 1:-1, 2:] - part[:, 1:-1, :-2]) / (2 * bin_m)
        slope_y = (part[:, 2:, 1:-1] - part[:, :-2, 1:-1]) / (2 * bin_m)
        slopes = torch.stack((slope_x, slope_y), -1)
        inner += torch.einsum("nhwi,nhwj->hwij", slopes, slopes)
    known = inner.isfinite().all(-1).all(-1)[..., None, None]
    total[1:-1, 1:-1] = inner.where(known, torch.nan)
    return total


def isometry(metric: Array) -> Isometry:
    """Scale, its variation over places, and the anisotropy of metric tensors.

    The coefficient of variation of a code with few units is not 0 even if its fields are perfect: the scale fluctuates
    as their phases do, by about 1/√N.

    Args:
        metric: (..., D, D); NaN places are left out.

    Returns:
        Isometry; NaN numbers if no place has a tensor, or the code stands still everywhere.

    Raises:
        ValueError: tensors that are not square.
    """
    tensors = as_tensor(metric, "metric", "..., D, D")
    if tensors.shape[-1] != tensors.shape[-2]:
        raise ValueError(f"metric has shape {tuple(tensors.shape)}; give square tensors (..., D, D)")
    known = tensors.isfinite().all(-1).all(-1)
    scale = (tensors.diagonal(dim1=-2, dim2=-1).sum(-1) / tensors.shape[-1]).where(known, torch.nan)
    ratio = _eigenvalue_ratio(tensors.where(known[..., None, None], 1)).where(known, torch.nan)
    some = tensors[known]
    if not len(some):
        nothing = float("nan")
        return Isometry(scale, nothing, nothing, ratio, nothing, nothing, 0)
    mean = scale[known].mean()
    return Isometry(
        scale=scale,
        mean=float(mean),
        cv=float(scale[known].std(correction=0) / mean),
        anisotropy=ratio,
        anisotropy_median=float(ratio[known].nanmedian()),
        anisotropy_of_mean=float(_eigenvalue_ratio(some.mean(0))),
        places=len(some),
    )


def _eigenvalue_ratio(tensors: Tensor) -> Tensor:
    """Largest over smallest eigenvalue; inf for one that is 0, NaN where all are."""
    eigenvalues = torch.linalg.eigvalsh(tensors)
    large, small = eigenvalues[..., -1], eigenvalues[..., 0]
    flat = small <= large * 1e3 * torch.finfo(tensors.dtype).eps
    return torch.where(flat, torch.inf, large / small.where(~flat, 1)).where(large > 0, torch.nan)
