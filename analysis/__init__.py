"""What is measured?  Pure functions on tensors, batched over units, on the CPU or an accelerator.

Maps and rates are torch tensors or numpy arrays; torch comes back, in float64 where the device has it.
"""

from entorhinal.analysis.attractors import manifold_distance, pair_stability, relaxation, rest_drift
from entorhinal.analysis.independence import Independence, independence
from entorhinal.analysis.integration import fold_maps, follow_phase, integration_error
from entorhinal.analysis.lattices import Lattices, fourier_lattices, lattices
from entorhinal.analysis.maps import RateMapAccumulator, RateMaps, autocorrelograms, rate_maps, smooth_maps
from entorhinal.analysis.modules import Modules, discreteness, mixture_modules, module_overlaps, modules
from entorhinal.analysis.nulls import above_null, moved_fields, null_grid_scores, spectrum_noise, time_shifted_maps
from entorhinal.analysis.path import PathError, decode_positions, path_error
from entorhinal.analysis.phases import PhaseUniformity, decode_phases, phase_uniformity, phases
from entorhinal.analysis.scores import best_rings, grid_scores, scores_and_lattices, square_scores
from entorhinal.analysis.statistics import (
    estimate,
    false_discoveries,
    interquartile_mean,
    paired_difference,
    probability_of_improvement,
)

__all__ = [
    "Independence",
    "Lattices",
    "Modules",
    "PathError",
    "PhaseUniformity",
    "RateMapAccumulator",
    "RateMaps",
    "above_null",
    "autocorrelograms",
    "best_rings",
    "decode_phases",
    "decode_positions",
    "discreteness",
    "estimate",
    "false_discoveries",
    "fold_maps",
    "follow_phase",
    "fourier_lattices",
    "grid_scores",
    "independence",
    "integration_error",
    "interquartile_mean",
    "lattices",
    "manifold_distance",
    "mixture_modules",
    "module_overlaps",
    "modules",
    "moved_fields",
    "null_grid_scores",
    "pair_stability",
    "paired_difference",
    "path_error",
    "phase_uniformity",
    "phases",
    "probability_of_improvement",
    "rate_maps",
    "relaxation",
    "rest_drift",
    "scores_and_lattices",
    "smooth_maps",
    "spectrum_noise",
    "square_scores",
    "time_shifted_maps",
]
