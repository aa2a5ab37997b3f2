"""Model families behind one interface. Listing models imports nothing heavy; torch comes with the first model used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from entorhinal.families.registry import get_card, list_models, make

if TYPE_CHECKING:
    from entorhinal.families.checkpoint import load, save
    from entorhinal.families.checks import check_model, parametrize_with_checks
    from entorhinal.families.model import Card, Config, Model, Recipe, Representation, Trainable
    from entorhinal.families.world import Arena, Trajectories, World

_LAZY = {
    **dict.fromkeys(("Card", "Config", "Model", "Recipe", "Representation", "Trainable"), "model"),
    **dict.fromkeys(("Arena", "Trajectories", "World"), "world"),
    **dict.fromkeys(("load", "save"), "checkpoint"),
    **dict.fromkeys(("check_model", "parametrize_with_checks"), "checks"),
}

__all__ = [
    "Arena",
    "Card",
    "Config",
    "Model",
    "Recipe",
    "Representation",
    "Trainable",
    "Trajectories",
    "World",
    "check_model",
    "get_card",
    "list_models",
    "load",
    "make",
    "parametrize_with_checks",
    "save",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"entorhinal.families.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
