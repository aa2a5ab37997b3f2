"""Do public packages rank maps as ours does, and how long do they take?

    make scorers                  # or: python -m entorhinal.benchmarks.public_scorers [--out docs/validation.md]

spatial-maps and opexebo are installed from PyPI into a virtual environment in a temporary folder (opexebo needs numpy
below 2.4) and score the same maps there, in a process of their own. Definitions of the grid score differ (rings,
interpolation, overlap), so only sign and ranking are compared. They are never dependencies.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from entorhinal.analysis import grid_scores, smooth_maps
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.synthetic import NULLS, bin_centres_m, breaking_maps, grids
from entorhinal.benchmarks.validation import markdown, write_section

__all__ = ["UNAVAILABLE", "Scores", "comparison", "milliseconds", "our_scores", "public_scores", "ranked_maps"]

REQUIREMENTS = ("numpy<2.4", "spatial-maps", "opexebo")
PACKAGES = ("spatial-maps", "opexebo")

UNAVAILABLE = (RuntimeError, OSError, subprocess.SubprocessError)
"""What `public_scores` raises where there is no environment to be had."""

NOT_GRIDS = ("low-pass noise", "noise of a grid's spectrum", "waves of one length", "moved fields", "several fields")

INSIDE = """
import importlib.metadata, json, sys, time, warnings
import numpy as np
import opexebo, spatial_maps

warnings.simplefilter("ignore")
maps = np.load(sys.argv[1])["maps"]
scorers = {
    "spatial-maps": spatial_maps.gridness,
    "opexebo": lambda one: opexebo.analysis.grid_score(opexebo.analysis.autocorrelation(one))[0],
}
found = {}
for name, scorer in scorers.items():
    scores, seconds, errors = [], [], []
    for one in maps:
        begun = time.process_time()
        try:
            scores.append(float(scorer(one.copy())))
            errors.append("")
        except Exception as error:
            scores.append(float("nan"))
            errors.append(type(error).__name__)
        seconds.append(time.process_time() - begun)
    found[name] = dict(scores=scores, seconds=seconds, errors=errors, version=importlib.metadata.version(name))
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
"""
"""Run by the Python of the environment: maps (N, H, W) in, scores out."""


@dataclass(frozen=True)
class Scores:
    """Of one scorer, for each map: score, NaN where there is none; the error raised, if any; processor seconds."""

    name: str
    version: str
    scores: np.ndarray
    errors: tuple[str, ...]
    seconds: np.ndarray


def _checked(command: list[str], doing: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise RuntimeError(f"{doing} failed (exit status {done.returncode}):\n{last}")


def public_scores(maps: Tensor, folder: Path) -> list[Scores]:
    """Scores of maps (N, H, W) by each public package, in an environment that ``folder`` gets unless it has one.

    Raises:
        RuntimeError: the environment cannot be made, a package cannot be installed, or scoring ends early.
    """
    python = folder / "environment" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "environment", with_pip=True)
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *REQUIREMENTS]
    _checked(command, f"installing {', '.join(REQUIREMENTS)} from PyPI with Python {sys.version.split()[0]}")
    np.savez(folder / "maps.npz", maps=maps.numpy())
    _checked([str(python), "-c", INSIDE, str(folder / "maps.npz"), str(folder / "scores.json")], "scoring")
    found = json.loads((folder / "scores.json").read_text())
    return [
        Scores(name, one["version"], np.array(one["scores"]), tuple(one["errors"]), np.array(one["seconds"]))
        for name, one in ((name, found[name]) for name in PACKAGES)
    ]


def our_scores(maps: Tensor) -> Scores:
    """The same by ours: the maps five times over, all at once, the time shared; seconds of ten tries."""
    many, seconds = maps.repeat(5, 1, 1), []
    for _ in range(10):
        begun = time.process_time()
        scores = grid_scores(many)
        seconds.append((time.process_time() - begun) / len(many))
    return Scores("entorhinal", "", scores[: len(maps)].numpy(), ("",) * len(maps), np.array(seconds))


def milliseconds(one: Scores) -> float:
    """Of a core for each map: the median."""
    return 1e3 * statistics.median(one.seconds)


def ranked_maps() -> tuple[list[str], Tensor]:
    """Forty maps of a 2 m box from hexagonal to not at all, smoothed by a bin, with their kinds."""
    generator = torch.Generator().manual_seed(derive(0, "public scorers"))
    draw = torch.rand(2, 20, generator=generator, dtype=torch.float64)
    spacing_m, angle = 0.35 + 0.35 * draw[0], draw[1] * math.pi / 3
    hexagons = grids(spacing_m[:12], angle[:12], generator).maps()
    strength = torch.linspace(0, 3, 12, dtype=torch.float64)[:, None, None]
    noise = torch.randn(hexagons.shape, generator=generator, dtype=torch.float64)
    hexagons = smooth_maps(hexagons + strength * hexagons.std((1, 2), keepdim=True) * noise, 1.0)
    stretched = torch.cat(
        [
            grids(spacing_m[i : i + 1], angle[i : i + 1], generator, stretch=1.1 + 0.1 * (i - 12)).maps()
            for i in range(12, 16)
        ]
    )
    wave = 2 * math.pi / spacing_m[16:, None, None]
    x, y = bin_centres_m().unbind(-1)
    turn = angle[16:, None, None]
    squares = (wave * (x * turn.cos() + y * turn.sin())).cos() + (wave * (y * turn.cos() - x * turn.sin())).cos()
    kinds = ["hexagon in noise"] * 12 + ["stretched hexagon"] * 4 + ["square lattice"] * 4
    parts = [hexagons, stretched, squares]
    for kind in NOT_GRIDS:
        parts.append(NULLS[kind](4, generator))
        kinds += [kind] * 4
    maps = torch.cat(parts)
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return kinds, (maps - low) / (high - low)  # rates, as the packages expect


def comparison(ours: Scores, theirs: Scores) -> dict[str, float]:
    """Maps that both score; Spearman's rank correlation over them; how often signs agree where either is above 0.1."""
    from scipy.stats import spearmanr

    both = np.isfinite(ours.scores) & np.isfinite(theirs.scores)
    a, b = ours.scores[both], theirs.scores[both]
    clear = np.maximum(np.abs(a), np.abs(b)) > 0.1
    return {
        "maps": int(both.sum()),
        "spearman": float(spearmanr(a, b).statistic),
        "clear": int(clear.sum()),
        "same_sign": float((np.sign(a) == np.sign(b))[clear].mean()),
    }


def _report(kinds: list[str], ranked: list[Scores], broken: list[Scores]) -> str:
    """The section of the documentation, in Markdown."""
    ours, lines = ranked[0], []
    for one in ranked:
        row = (f"{one.name} {one.version}".strip(), f"{milliseconds(one):.3g}")
        if one is ours:
            lines.append((*row, "", "", ""))
        else:
            found = comparison(ours, one)
            agreement = f"{100 * found['same_sign']:.0f} % of {found['clear']}"
            lines.append((*row, str(found["maps"]), f"{found['spearman']:.2f}", agreement))
    head = ("scorer", "ms of a core a map", "maps both score", "rank correlation", "same sign")
    agreement = markdown(head, lines)

    names = list(dict.fromkeys(kinds))
    of = {name: np.array([kind == name for kind in kinds]) for name in names}
    medians = markdown(
        ("kind", "maps", *(one.name for one in ranked)),
        [(n, str(of[n].sum()), *(f"{np.nanmedian(one.scores[of[n]]):.2f}" for one in ranked)) for n in names],
    )

    def cell(one: Scores, i: int) -> str:
        return one.errors[i] or (f"{one.scores[i]:.2f}" if np.isfinite(one.scores[i]) else str(one.scores[i]))

    hard = markdown(
        ("map", *(one.name for one in broken)),
        [(name, *(cell(one, i) for one in broken)) for i, name in enumerate(breaking_maps())],
    )
    return f"{agreement}\n\nMedian score by kind of map:\n\n{medians}\n\nMaps that break scorers:\n\n{hard}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a Markdown file with the section, such as docs/validation.md")
    parser.add_argument("--environment", type=Path, help="keep the environment in this folder, and use it again")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    kinds, maps = ranked_maps()
    hard = torch.stack(list(breaking_maps().values()))
    with tempfile.TemporaryDirectory() as temporary, console.status("installing and scoring (a minute)"):
        folder = arguments.environment or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            ranked = [our_scores(maps), *public_scores(maps, folder)]
            broken = [our_scores(hard), *public_scores(hard, folder)]
        except UNAVAILABLE as error:
            console.print(f"[red]public scorers:[/] {error}", highlight=False)
            sys.exit(1)
    text = _report(kinds, ranked, broken)
    print(text)
    if arguments.out:
        write_section(arguments.out, "public scorers", text)


if __name__ == "__main__":
    main()
