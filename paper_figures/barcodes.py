"""Whose states form a torus?  Barcodes of every model beside a torus, a plane and shuffled fields, from the shipped
records (Gardner et al. 2022)."""

from dataclasses import replace
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import phase_agreement, plots
from entorhinal.benchmarks.records import SHIPPED, Record, load_records
from entorhinal.families.controls.ideal_grid import IdealGrid
from entorhinal.paper_figures.conditions import (
    CONDITIONS,
    MODELS,
    metric_table,
    record_of,
    value_of,
)
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged

TASK, LONGEST, COLUMNS = "topology-v3", 10, 5
IDEAL, PLANE, SHUFFLED = "ideal grid", "place cells", "shuffled"
RESIDUE, SHEET, SIC = "residue", "Burak & Fiete", "SIC"
FIRST_ROW = (IDEAL, PLANE, SHUFFLED)
GARDNER = "Gardner et al. 2022"

FIGURE = Figure(
    id="barcodes",
    title="Barcodes of models and controls",
    caption=(
        "Persistent homology of the states of each model's largest module (all active units together where it has "
        f"none), 600 points: the {LONGEST} longest bars of components (H0), loops (H1) and cavities (H2), from birth "
        "to death. Grey, from each birth: the 99th percentile of the longest such bar when every unit is rolled in "
        "time by itself. Above each panel the Betti numbers; (1, 2, 1) is a torus. First row: an ideal module, and "
        "place cells (a plane) and shuffled fields, which must be none; then the ideal module's states at their "
        "toroidal coordinates, coloured by the rate of one of its units. Then every other model that has a shipped "
        "record, family by family; below, those without bars, and why."
    ),
    models=MODELS,
    records=tuple((model, TASK) for model in MODELS),
)


def _is_torus(data: Data, condition: str) -> float:
    return value_of(data, condition, TASK, "is_torus")


def _agreement(data: Data) -> float:
    """The worse agreement of the two coordinates of the ideal module with its true phases."""
    value_of(data, IDEAL, TASK, "is_torus")
    coordinates, phases = (torch.from_numpy(data.arrays[name]).double() for name in ("coordinates", "phases"))
    return float(phase_agreement(coordinates, phases)[0].min())


def _dealt(data: Data) -> Data:
    """The phases of the ideal module dealt to other moments."""
    phases = data.arrays.get("phases")
    if phases is None:
        return data
    return replace(data, arrays=data.arrays | {"phases": np.random.default_rng(0).permutation(phases)})


claims = (
    Claim(
        id="ideal_module_is_torus",
        statement="The states of an ideal grid module form a torus: Betti numbers (1, 2, 1), each bar that counts at "
        "least twice as long as chance and as the next",
        paper="grid modules: Betti (1, 2, 1)",
        citation=GARDNER,
        statistic=lambda data: _is_torus(data, IDEAL),
        control=exchanged("condition", IDEAL, PLANE),
        low=1.0,
    ),
    Claim(
        id="plane_and_shuffled_are_none",
        statement="Place cells, which map a plane, and fields shuffled in space form none (1 if either does)",
        paper="no torus in shuffled data",
        citation=GARDNER,
        statistic=lambda data: max(_is_torus(data, PLANE), _is_torus(data, SHUFFLED)),
        control=exchanged("condition", PLANE, IDEAL),
        high=0.0,
    ),
    Claim(
        id="toroidal_coordinates_are_phases",
        statement="The toroidal coordinates of an ideal module's states are the phases of its lattice: the worse of "
        "the two agrees to at least 0.9 (1 is exactly, 0 not at all)",
        paper="position on the torus follows the position in the arena, modulo the lattice",
        citation=GARDNER,
        statistic=_agreement,
        control=_dealt,
        low=0.9,
    ),
    Claim(
        id="burak_fiete_is_torus",
        statement="The states of the periodic attractor sheet form a torus: Betti numbers (1, 2, 1)",
        paper="a torus by construction",
        citation="Burak & Fiete 2009",
        statistic=lambda data: _is_torus(data, SHEET),
        control=exchanged("condition", SHEET, PLANE),
        low=1.0,
    ),
    Claim(
        id="sic_module_is_torus",
        statement="The states of the largest module that self-supervised learning forms are a torus: Betti numbers "
        "(1, 2, 1)",
        paper="each module's states form a torus",
        citation="Schaeffer et al. 2023",
        statistic=lambda data: _is_torus(data, SIC),
        control=exchanged("condition", SIC, PLANE),
        low=1.0,
    ),
    Claim(
        id="residue_module_is_torus",
        statement="The states of one module of the residue code, a phase in two dimensions, form a torus: Betti "
        "numbers (1, 2, 1)",
        paper="two periodic phases a module",
        citation="Fiete et al. 2008",
        statistic=lambda data: _is_torus(data, RESIDUE),
        control=exchanged("condition", RESIDUE, PLANE),
        low=1.0,
    ),
)


def compute(progress: Progress, folder: Path = SHIPPED) -> Data:
    """The bars of every condition and the torus of the ideal module, from the records in ``folder``."""
    records = load_records(folder)
    tables, arrays = [metric_table(records, (TASK,))], {}
    for i, condition in enumerate(CONDITIONS):
        record = record_of(records, condition, TASK)
        found = record.arrays(folder) if record is not None and record.artifact_sha256 else {}
        if record is not None and "bars_0" in found:
            chance = found["null_lengths"].nanquantile(0.99, 0).numpy()
            for dimension in range(3):
                bars = found[f"bars_{dimension}"][:LONGEST].numpy()
                table = pd.DataFrame({"birth": bars[:, 0], "death": bars[:, 1]})
                table = table.assign(metric="bar", dimension=dimension, chance=chance[dimension], seed=record.seed)
                tables.append(table.assign(condition=condition.name, model=condition.model, task=TASK))
            if condition.name == IDEAL:
                arrays = _torus(record, found)
        progress(i + 1, len(CONDITIONS))
    return Data(pd.concat(tables, ignore_index=True), arrays)


def _torus(record: Record, found: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Toroidal coordinates, phases on the lattice as it was made, and the rate of the module's first unit, by point."""
    model = IdealGrid.make(**record.config)
    known = found["coordinates"].isfinite().all(1)
    place_m, unit = found["position_m"][known].double(), int(found["units"][0])
    waves = model.wave_rad_m[unit]
    return {
        "coordinates": found["coordinates"][known].numpy(),
        "phases": (place_m @ waves[:2].T).numpy(),
        "rate": model.rates_at(place_m)[:, unit].numpy(),
    }


def draw(data: Data) -> Canvas:
    shown = set(data.table.loc[data.table["metric"] == "bar", "condition"])
    others = [condition.name for condition in CONDITIONS if condition.name not in FIRST_ROW]
    drawn = [name for name in others if name in shown]
    rows = 1 + -(-len(drawn) // COLUMNS)
    canvas = plt.figure(figsize=(180 / 25.4, (34 * rows + 14) / 25.4), layout="constrained")
    grid = canvas.add_gridspec(rows + 1, COLUMNS, height_ratios=(*[1] * rows, 0.35))
    cells = [(0, column) for column in range(len(FIRST_ROW))] + [
        divmod(COLUMNS + i, COLUMNS) for i in range(len(drawn))
    ]
    for cell, name in zip(cells, (*FIRST_ROW, *drawn), strict=True):
        _draw_bars(canvas.add_subplot(grid[cell]), data, name, last=cell[0] == rows - 1)
    ax = canvas.add_subplot(grid[0, len(FIRST_ROW) :], projection="3d")
    ax.set_title(f"{IDEAL}: a unit's rate\non the torus", fontsize=7)
    if "rate" in data.arrays:
        plots.torus_3d(ax, data.arrays["coordinates"], data.arrays["rate"])
        ax.view_init(elev=50)
        ax.set_box_aspect((1, 1, 1), zoom=1.6)
    else:
        _say(ax, "not run")
    _draw_reasons(canvas.add_subplot(grid[rows, :]), data, [name for name in others if name not in shown])
    return canvas


def _draw_reasons(ax: Axes, data: Data, names: list[str]) -> None:
    """Conditions without bars, by reason."""
    reasons: dict[str, list[str]] = {}
    for name in names:
        reasons.setdefault(_reason(data, name), []).append(name)
    ax.set_axis_off()
    text = "\n".join(fill(f"{why}: {', '.join(who)}", 150) for why, who in reasons.items())
    ax.annotate(text, (0, 1), xycoords="axes fraction", va="top", fontsize=6, color=plots.GREY)


def _reason(data: Data, name: str) -> str:
    rows = data.table[(data.table["condition"] == name) & (data.table["task"] == TASK)]
    reasons = rows["reason"].dropna()[lambda text: text != ""]
    return str(reasons.iloc[-1]) if len(reasons) else "not run"


def _draw_bars(ax: Axes, data: Data, name: str, *, last: bool) -> None:
    rows = data.table[(data.table["condition"] == name) & (data.table["task"] == TASK)]
    bars = rows[rows["metric"] == "bar"]
    if bars.empty:
        ax.set_title(name, fontsize=7)
        _say(ax, fill(_reason(data, name), 22))
        return
    each = [bars[bars["dimension"] == dimension] for dimension in range(3)]
    threshold = np.array([part["chance"].max() if len(part) else 0.0 for part in each])
    plots.barcode(ax, [part[["birth", "death"]].to_numpy(float) for part in each], threshold=threshold)
    betti = ", ".join(f"{value_of(data, name, TASK, f'betti_{dimension}'):.0f}" for dimension in range(3))
    verdict = "torus" if _is_torus(data, name) == 1 else "no torus"
    ax.set_title(f"{name}\n({betti}): {verdict}", fontsize=6.5, fontweight="bold" if verdict == "torus" else "normal")
    ax.tick_params(labelsize=6)
    if not last:
        ax.set_xlabel("")


def _say(ax: Axes, text: str) -> None:
    ax.set_axis_off()
    ax.annotate(text, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", fontsize=7, color=plots.GREY)
