"""One file per figure, its claims in it. Listing figures imports none of them."""

from importlib import import_module
from typing import TYPE_CHECKING

from entorhinal.families.errors import unknown

if TYPE_CHECKING:
    from entorhinal.paper_figures.figure import FigureModule

__all__ = ["FIGURES", "load_figure"]

FIGURES = (
    "residue_range",
    "economy_ratio",
    "error_correcting_range",
    "nested_fisher",
    "dynamic_allocation",
    "nested_decoder_lesions",
    "burak_fiete_pattern",
    "burak_fiete_path",
    "burak_fiete_gain",
    "burak_fiete_noise",
    "attractor_sheets",
    "kang_balasubramanian_modules",
    "peak_selection_modules",
    "dordek_nonnegativity",
    "dordek_hebbian",
    "successor_rooms",
    "pattern_formation_ring",
    "lie_group_paths",
    "conformal_isometry",
    "actionable_positivity",
    "sorscher_maps",
    "no_free_lunch",
    "spacing_width",
    "supervised_maps",
    "supervised_paths",
    "sic_maps",
    "sic_modular_maps",
    "sic_modular_seeds",
    "sic_search",
    "ssl_ablations",
    "distance_preserving_sigma",
    "ssl_models",
    "training_curves",
    "gridness",
    "barcodes",
    "capacity_robustness",
    "validation",
    "leaderboard",
    "all_families",
)


def load_figure(id: str) -> "FigureModule":
    """The module of one figure, by id."""
    if id not in FIGURES:
        raise unknown("figure", id, FIGURES)
    return import_module(f"{__name__}.{id}")
