"""What is measured?  Pure functions on tensors, batched over units, on the CPU or an accelerator.

Maps and rates are torch tensors or numpy arrays; torch comes back, in float64 where the device has it.
"""

from entorhinal.analysis.attractors import manifold_distance, pair_stability, relaxation, rest_drift
from entorhinal.analysis.capacity import (
    CodeSeparation,
    DecodablePlaces,
    RadialCurves,
    capacity_bits,
    code_distances,
    code_separation,
    decodable_places,
    gaussian_information,
    half_rise_m,
    joint_range_m,
    noise_floor,
    participation_ratio,
    path_coherence,
    poisson_information,
    radial_curves,
    resolution_m,
)
from entorhinal.analysis.diffusion import diffusion_coefficient
from entorhinal.analysis.fields import band_repeats, band_scores, field_widths, spatial_information
from entorhinal.analysis.independence import Independence, independence
from entorhinal.analysis.integration import fold_maps, follow_phase, integration_error
from entorhinal.analysis.isometry import Isometry, isometry, metric_tensor, metric_tensor_of_maps
from entorhinal.analysis.lattices import Lattices, fourier_lattices, lattices, orientation_difference
from entorhinal.analysis.maps import RateMapAccumulator, RateMaps, autocorrelograms, rate_maps, smooth_maps
from entorhinal.analysis.modules import Modules, discreteness, mixture_modules, module_overlaps, modules
from entorhinal.analysis.nulls import above_null, moved_fields, null_grid_scores, spectrum_noise, time_shifted_maps
from entorhinal.analysis.path import PathError, decode_positions, path_error
from entorhinal.analysis.phases import PhaseUniformity, decode_phases, phase_uniformity, phases
from entorhinal.analysis.robustness import kept_units, modulation, tolerance, with_noise
from entorhinal.analysis.scales import Plateau, local_displacements, local_periods, plateaus
from entorhinal.analysis.scores import best_rings, grid_scores, scores_and_lattices, square_scores
from entorhinal.analysis.statistics import (
    estimate,
    false_discoveries,
    interquartile_mean,
    paired_difference,
    probability_of_improvement,
)
from entorhinal.analysis.topology import (
    Topology,
    circular_coordinates,
    phase_agreement,
    toroidal_coordinates,
    torus,
    why_no_torus,
)

__all__ = [
    "CodeSeparation",
    "DecodablePlaces",
    "Independence",
    "Isometry",
    "Lattices",
    "Modules",
    "PathError",
    "PhaseUniformity",
    "Plateau",
    "RadialCurves",
    "RateMapAccumulator",
    "RateMaps",
    "Topology",
    "above_null",
    "autocorrelograms",
    "band_repeats",
    "band_scores",
    "best_rings",
    "capacity_bits",
    "circular_coordinates",
    "code_distances",
    "code_separation",
    "decodable_places",
    "decode_phases",
    "decode_positions",
    "diffusion_coefficient",
    "discreteness",
    "estimate",
    "false_discoveries",
    "field_widths",
    "fold_maps",
    "follow_phase",
    "fourier_lattices",
    "gaussian_information",
    "grid_scores",
    "half_rise_m",
    "independence",
    "integration_error",
    "interquartile_mean",
    "isometry",
    "joint_range_m",
    "kept_units",
    "lattices",
    "local_displacements",
    "local_periods",
    "manifold_distance",
    "metric_tensor",
    "metric_tensor_of_maps",
    "mixture_modules",
    "modulation",
    "module_overlaps",
    "modules",
    "moved_fields",
    "noise_floor",
    "null_grid_scores",
    "orientation_difference",
    "pair_stability",
    "paired_difference",
    "participation_ratio",
    "path_coherence",
    "path_error",
    "phase_agreement",
    "phase_uniformity",
    "phases",
    "plateaus",
    "poisson_information",
    "probability_of_improvement",
    "radial_curves",
    "rate_maps",
    "relaxation",
    "resolution_m",
    "rest_drift",
    "scores_and_lattices",
    "smooth_maps",
    "spatial_information",
    "spectrum_noise",
    "square_scores",
    "time_shifted_maps",
    "tolerance",
    "toroidal_coordinates",
    "torus",
    "why_no_torus",
    "with_noise",
]
