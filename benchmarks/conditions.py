"""What is run when all models are?  Each as it ships: as it is made, in a variant, or as it was trained."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from entorhinal.benchmarks.records import CHECKPOINTS, checkpoint, checkpoint_config, config_hash
from entorhinal.families.errors import InputError, unknown
from entorhinal.families.model import Trainable
from entorhinal.families.registry import entries, get_class, versioned

__all__ = ["Condition", "choose", "has_seed", "shipped", "training_command"]

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "function_optimization/dordek-v1": {"dordek_signed": {"nonnegative": False}},
}
"""Configs that are run beside the default one: model -> name -> what differs."""

TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "supervised/nayebi-v1": ("small", {}),
    "supervised/schaeffer-v1": ("small", {}),
    "ssl/sic_unpermuted-v1": ("", {"steps": 12_000, "trajectories": 32}),
    "ssl/vicreg-v1": ("", {"steps": 12_000}),
    "ssl/simclr-v1": ("", {"steps": 12_000, "temperature": 0.1}),
}
"""Preset, and what differs, of networks that were trained and scored and are not shipped, where not by the default."""


@dataclass(frozen=True)
class Condition:
    """A model in its default config but for ``config``, or as the shipped checkpoint of that name."""

    name: str
    model: str
    checkpoint: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        return self.model.partition("/")[0]

    @property
    def source(self) -> str | Path:
        """What `evaluate` takes: the id, or the checkpoint's path."""
        return checkpoint(self.checkpoint) if self.checkpoint else self.model

    @cached_property
    def config_hash(self) -> str:
        config = checkpoint_config(self.checkpoint) if self.checkpoint else self.config
        return config_hash(self.model, get_class(self.model).Config.parse(self.model, config).model_dump(mode="json"))

    @property
    def untrained(self) -> bool:
        """It learns by gradients, and no network of it ships. False where it cannot be imported: a run says why."""
        try:
            return not self.checkpoint and issubclass(get_class(self.model), Trainable)
        except InputError:
            return False

    def replicates(self, seeds: int) -> int:
        """How many of ``seeds`` runs differ: one of a trained network, and of a model without a seed."""
        return seeds if not self.checkpoint and has_seed(self.model) else 1


def has_seed(model: str) -> bool:
    """Whether seeds make other models of it; else it is deterministic."""
    return "seed" in get_class(model).Config.model_fields


def training_command(model: str) -> str:
    """What trains a network as those that are scored were trained."""
    preset, values = TRAINED.get(model, ("", {}))
    options = [f"--preset {preset}"] * bool(preset) + [f"--set {name}={value}" for name, value in values.items()]
    return " ".join(["entorhinal train", model, *options])


def shipped(models: Iterable[str]) -> list[Condition]:
    """Of each model, in order: its shipped checkpoints, or else the config it is scored in; then its variants."""
    trained: dict[str, list[str]] = {}
    for path in sorted(CHECKPOINTS.glob("*.json")):
        trained.setdefault(json.loads(path.read_text())["model"], []).append(path.stem)
    found = []
    for model in models:
        short = model.partition("/")[2].removesuffix("-v1")
        found += [Condition(name or short, model, name) for name in trained.get(model, [])]
        if model not in trained:
            preset, values = TRAINED.get(model, ("", {}))
            found.append(Condition(short, model, config=(get_class(model).preset(preset) if preset else {}) | values))
        found += [Condition(name, model, config=config) for name, config in VARIANTS.get(model, {}).items()]
    return found


def choose(names: Sequence[str]) -> list[Condition]:
    """Conditions of models by id or family, or of ``all``, each once; an unknown name raises `InputError`."""
    known = entries()
    families = {entry.family for entry in known.values()}
    models: dict[str, None] = {}
    for name in names:
        if name not in ("all", *families) and versioned(name) not in known:
            raise unknown("model or family", name, [*known, *families, "all"])
        models |= dict.fromkeys(
            id for id, entry in known.items() if name in ("all", entry.family) or versioned(name) == id
        )
    return shipped(models)
