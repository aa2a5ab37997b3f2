"""What are the modules of one SIC network begun as modules?  Maps, Fourier power, phases and topology of each."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from entorhinal.analysis import RateMapAccumulator, phase_uniformity, plots, torus
from entorhinal.benchmarks.records import checkpoint
from entorhinal.benchmarks.rollout import rollout
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.sic_seeds import SEEDS
from entorhinal.families import Arena, World, load
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, panel_rows

__all__ = ["FIGURE", "claims", "compute", "draw"]

SIDE_M, BINS, SMOOTHING_M, SHOWN = 4.0, 64, 0.03, 5
TRIALS, STEPS, TOPOLOGY_TRIALS = 150, 300, 20
POINTS, ROLLS, LONGEST = 300, 6, 10
FINEST_M = 0.3
UNIFORM = 0.05
SCHAEFFER, GARDNER = "Schaeffer et al. 2023", "Gardner et al. 2022"

FIGURE = Figure(
    id="sic_modular_maps",
    title="The modules of one SIC network begun as modules",
    caption=(
        "The shipped network of ssl/sic_modular, a row a module of modules-v1, with its spacing and number of units. "
        f"From the left: rate maps in a 4 m box from best to worst unit (grid score above each), on {TRIALS} walks of "
        f"{STEPS} independent steps from the origin; power spectrum, mean over the module's units, up to one wave in "
        f"{FINEST_M:g} m; phases of the units in the unit cell; the {LONGEST} longest bars of homology of the module's "
        f"states, {POINTS} points, with (grey) the longest of {ROLLS} rolls in time, and the Betti numbers: "
        "(1, 2, 1) is a torus."
    ),
    models=("ssl/sic_modular-v1",),
)


def _tori(data: Data) -> float:
    return float((panel_rows(data, "module")["betti"] == "(1, 2, 1)").mean())


def _uniform(data: Data) -> float:
    return float((panel_rows(data, "module")["phase_p"] > UNIFORM).mean())


def _changed(column: str, value: Any) -> Callable[[Data], Data]:
    return lambda data: replace(data, table=data.table.assign(**{column: value}))


def _rolled(data: Data) -> Data:
    """A control: the Betti numbers of the same states, every unit rolled in time by itself."""
    return replace(data, table=data.table.assign(betti=data.table["betti_rolled"]))


claims = (
    Claim(
        id="sic_modular_tori",
        statement="The states of each module form a torus: part of the modules with Betti numbers (1, 2, 1)",
        paper="each module's states form a torus",
        citation=SCHAEFFER,
        statistic=_tori,
        control=_rolled,
        low=1.0,
    ),
    Claim(
        id="sic_modular_phases",
        statement="The phases of each module's units tile the unit cell: part of the modules whose phases pass as "
        "uniform at 5 %",
        paper="phases tile",
        citation=SCHAEFFER,
        statistic=_uniform,
        control=_changed("phase_p", 0.001),
        low=1.0,
    ),
)


def compute(progress: Progress) -> Data:
    """Run the shipped network; a row a module, and the pictures of each."""
    model = load(checkpoint("sic_modular"))
    units = pd.read_csv(SEEDS / "units.csv")
    units = units[(units["condition"] == "sic_modular") & (units["seed"] == model.config.seed)]
    walks = World(Arena.square(2 * SIDE_M, walls=False)).iid_steps(
        TRIALS, STEPS, seed=derive(0, "sic_modular_maps"), max_step_m=model.config.max_step_m
    )
    accumulator = RateMapAccumulator(Arena.square(SIDE_M).extent_m, BINS, SMOOTHING_M)
    parts = []

    def report(done: int, total: int) -> None:
        progress(done, 2 * total)

    for chunk, found in rollout(model, walks, max_bytes=2**24, progress=report):
        accumulator.add(found.rates, chunk.position_m)
        parts.append(found.rates[:TOPOLOGY_TRIALS])
    maps, states = accumulator.result(), torch.cat(parts, 1)
    rows: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    modules = units[units["module"] >= 0].groupby("module")
    for k, (_, own) in enumerate(modules):
        index = torch.tensor(own["unit"].to_numpy())
        spacing_m = float(own["spacing_m"].median())
        generator = torch.Generator().manual_seed(derive(0, "sic_modular_maps", "rolls"))
        shape = torus(states[..., index], periods=SIDE_M / spacing_m, points=POINTS, rolls=ROLLS, generator=generator)
        rolled = torus(_rolled_in_time(states[..., index]), points=POINTS, rolls=1)
        phase = own[["phase_1", "phase_2"]].to_numpy()
        rows.append(
            {
                "panel": "module",
                "module": k,
                "units": len(own),
                "spacing_m": spacing_m,
                "median_score": float(own["score"].median()),
                "betti": _said(shape.betti),
                "betti_rolled": _said(rolled.betti),
                "phase_p": phase_uniformity(phase, seed=0).p_value,
            }
        )
        best = own.sort_values("score", ascending=False)
        shown = best.iloc[np.linspace(0, len(best) - 1, SHOWN).round().astype(int)]
        arrays |= {
            f"maps {k}": maps.values[torch.tensor(shown["unit"].to_numpy())].float().numpy(),
            f"scores {k}": shown["score"].to_numpy(),
            f"power {k}": _power(maps.values[index]).numpy(),
            f"phases {k}": phase,
            f"threshold {k}": shape.threshold.numpy(),
        } | {f"bars {d} {k}": bars[:LONGEST].numpy() for d, bars in enumerate(shape.barcodes)}
        progress(len(modules) + k + 1, 2 * len(modules))
    return Data(pd.DataFrame(rows), arrays)


def _rolled_in_time(states: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(derive(0, "sic_modular_maps", "control"))
    flat = states.flatten(0, 1)
    shift = torch.randint(len(flat), (flat.shape[1],), generator=generator)
    return torch.stack([unit.roll(int(s)) for unit, s in zip(flat.T, shift, strict=True)], -1)


def _said(betti: Tensor) -> str:
    return f"({', '.join(str(int(b)) for b in betti)})"


def _power(maps: Tensor) -> Tensor:
    """Mean power spectrum of maps (U, H, W), without their means, under a Hann window; zero frequency in the middle."""
    window = torch.hann_window(maps.shape[-1], periodic=False, dtype=maps.dtype)
    centred = (maps - maps.flatten(1).nanmean(1)[:, None, None]).nan_to_num(0) * window[:, None] * window
    power = torch.fft.fft2(centred, s=(256, 256)).abs().square()
    return torch.fft.fftshift((power / power.sum((1, 2), keepdim=True)).mean(0))


def draw(data: Data) -> Canvas:
    rows = panel_rows(data, "module")
    canvas, axes = plt.subplots(
        len(rows), SHOWN + 3, figsize=(180 / 25.4, 32 * len(rows) / 25.4), squeeze=False,
        width_ratios=[1] * (SHOWN + 2) + [1.5],
    )  # fmt: skip
    for line, (_, row) in zip(axes, rows.iterrows(), strict=True):
        k = row["module"]
        for ax, map_, score in zip(line, data.arrays[f"maps {k}"], data.arrays[f"scores {k}"], strict=False):
            plots.rate_map(ax, map_, bin_m=SIDE_M / BINS, scale_bar=False)
            ax.set_title(f"{score:.2f}", fontsize=7, pad=2)
        line[0].set_ylabel(f"{row['spacing_m']:.2f} m ({row['units']})")
        power, phases, bars = line[SHOWN:]
        spectrum = data.arrays[f"power {k}"]
        half = spectrum.shape[0] * SIDE_M / BINS / FINEST_M
        middle = spectrum.shape[0] // 2
        kept = slice(max(0, int(middle - half)), int(middle + half) + 1)
        power.imshow(np.sqrt(spectrum[kept, kept]), origin="lower", cmap="magma")
        power.set(xticks=[], yticks=[])
        plots.phase_tile(phases, data.arrays[f"phases {k}"])
        plots.barcode(
            bars, [data.arrays[f"bars {d} {k}"] for d in range(3)], threshold=data.arrays[f"threshold {k}"],
            longest=LONGEST,
        )  # fmt: skip
        bars.set_title(row["betti"], fontsize=7, pad=2)
    axes[0, SHOWN].set_title("power", fontsize=7, pad=2)
    axes[0, SHOWN + 1].set_title("phases", fontsize=7, pad=2)
    return canvas
