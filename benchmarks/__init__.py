"""How are models trained, scored, recorded and ranked?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entorhinal.benchmarks.evaluation import evaluate
    from entorhinal.benchmarks.records import Record, load_records
    from entorhinal.benchmarks.tables import leaderboard
    from entorhinal.benchmarks.training import train
    from entorhinal.families.world import World

_LAZY = {
    "World": "entorhinal.families.world",
    "evaluate": "entorhinal.benchmarks.evaluation",
    "Record": "entorhinal.benchmarks.records",
    "load_records": "entorhinal.benchmarks.records",
    "leaderboard": "entorhinal.benchmarks.tables",
    "train": "entorhinal.benchmarks.training",
}

__all__ = ["Record", "World", "evaluate", "leaderboard", "load_records", "train"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
