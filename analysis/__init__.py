"""What is measured?  Pure functions on tensors, batched over units, on the CPU or an accelerator.

Maps and rates are torch tensors or numpy arrays; torch comes back, in float64 where the device has it.
"""

from entorhinal.analysis.lattices import Lattices, fourier_lattices, lattices
from entorhinal.analysis.maps import RateMapAccumulator, RateMaps, autocorrelograms, rate_maps, smooth_maps
from entorhinal.analysis.nulls import above_null, moved_fields, null_grid_scores, spectrum_noise, time_shifted_maps
from entorhinal.analysis.path import PathError, decode_positions, path_error
from entorhinal.analysis.scores import best_rings, grid_scores, scores_and_lattices, square_scores

__all__ = [
    "Lattices",
    "PathError",
    "RateMapAccumulator",
    "RateMaps",
    "above_null",
    "autocorrelograms",
    "best_rings",
    "decode_positions",
    "fourier_lattices",
    "grid_scores",
    "lattices",
    "moved_fields",
    "null_grid_scores",
    "path_error",
    "rate_maps",
    "scores_and_lattices",
    "smooth_maps",
    "spectrum_noise",
    "square_scores",
    "time_shifted_maps",
]
