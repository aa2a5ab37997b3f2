"""What is measured?  Pure functions on tensors, batched over units, on the CPU or an accelerator.

Maps and rates are torch tensors or numpy arrays; torch comes back, in float64 where the device has it.
"""

from entorhinal.analysis.lattices import Lattices, fourier_lattices, lattices
from entorhinal.analysis.maps import RateMapAccumulator, RateMaps, autocorrelograms, rate_maps, smooth_maps
from entorhinal.analysis.nulls import moved_fields, null_grid_scores, spectrum_noise, time_shifted_maps
from entorhinal.analysis.path import PathError, decode_positions, path_error
from entorhinal.analysis.scores import grid_scores, square_scores

__all__ = [
    "Lattices",
    "PathError",
    "RateMapAccumulator",
    "RateMaps",
    "autocorrelograms",
    "decode_positions",
    "fourier_lattices",
    "grid_scores",
    "lattices",
    "moved_fields",
    "null_grid_scores",
    "path_error",
    "rate_maps",
    "smooth_maps",
    "spectrum_noise",
    "square_scores",
    "time_shifted_maps",
]
