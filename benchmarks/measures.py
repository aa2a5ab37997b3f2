"""What did each network of a folder learn?  The command of all measures: one row a network, written as they come."""

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from entorhinal.benchmarks.evaluation import choose_device, prepare
from entorhinal.families.checkpoint import write_atomically
from entorhinal.families.errors import InputError

__all__ = ["IDENTITY", "command"]

IDENTITY = ("model", "seed", "setting")
"""What a row says of its network, beside the measures."""

Measure = Callable[..., tuple[dict[str, float], Tensor]]
"""``measure(model, device=, walks=, null_maps=)``: numbers by name, and maps to keep."""


def _networks(sources: Sequence[str]) -> list[str]:
    """Checkpoints of all folders, and what else is given: checkpoints and ids of models."""
    found: list[str] = []
    for source in sources:
        path = Path(source)
        names = [str(p) for p in sorted(path.rglob("*.safetensors")) if p.with_suffix(".json").exists()]
        if path.is_dir() and not names:
            raise InputError(f"measures: {source!r} holds no checkpoints")
        found += names if path.is_dir() else [source]
    return found


def _row(source: str, measure: Measure, device: torch.device, **sizes: int) -> tuple[dict[str, Any], Tensor]:
    """What a network is, and what it learned."""
    model = prepare(source, device=device)
    config = model.config.model_dump(mode="json")
    default = type(model.config)()
    same = {name for name in config if getattr(model.config, name) == getattr(default, name)}
    setting = {name: value for name, value in config.items() if name not in same | {"seed"}}
    row: dict[str, Any] = {"network": Path(source).stem if Path(source).is_file() else source, "model": model.card.id}
    row |= {"seed": config.get("seed", 0), "setting": json.dumps(setting, sort_keys=True)}
    losses: dict[str, float] = {}
    if Path(source).is_file():
        losses = json.loads(Path(source).with_suffix(".json").read_text())["provenance"]["training"]["losses"]
    values, maps = measure(model, device=device, **sizes)
    return row | values | {f"loss_{name}": value for name, value in losses.items()}, maps


def command(description: str | None, measure: Measure, measures: Sequence[str], *, walks: int, null_maps: int) -> None:
    """Measure checkpoints as the command line says. walks, null_maps: handed to ``measure`` if it says nothing else."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="folders of checkpoints, checkpoints, ids of models")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--maps", type=Path)
    parser.add_argument("--part", default="0/1", help="k/n: every n-th network from the k-th on")
    parser.add_argument("--walks", type=int, default=walks)
    parser.add_argument("--null-maps", type=int, default=null_maps)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    device, (part, parts) = choose_device(asked.device), map(int, asked.part.split("/"))
    rows, kept = [], {}
    for source in itertools.islice(_networks(asked.sources), part, None, parts):
        row, maps = _row(source, measure, device, walks=asked.walks, null_maps=asked.null_maps)
        rows.append({name: f"{value:.5g}" if isinstance(value, float) else value for name, value in row.items()})
        if row["seed"] % 10 == 0:
            kept[row["network"]] = maps.half().cpu().contiguous()
        write_atomically(asked.out, pd.DataFrame(rows).to_csv(index=False).encode())
        print(source, *(f"{name}={rows[-1][name]}" for name in measures), flush=True)
    if asked.maps and kept:
        write_atomically(asked.maps, save_tensors(kept))
