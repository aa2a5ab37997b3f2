"""What sets the spacing of grids in trained networks?  The width of the place cells that they were trained on."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within
from entorhinal.paper_figures.schaeffer_networks import PLAIN, changed, networks, rows_of

SURROUND = {"target": "dos", **PLAIN}

FIGURE = Figure(
    id="spacing_width",
    title="The spacing is that of the targets",
    caption=(
        "Rectified networks trained on differences of softmaxes of seven widths and two weight decays, three seeds "
        "each. (a) Spacing of "
        "hexagons on the ring where the mean spectrum of the active units is largest, and (circles) median spacing of "
        "the grid units, against the width of place fields; line, the ring of the targets by formula; crosses, as "
        "measured in the targets on the same box. (b) The first against the last. Networks whose spectrum "
        "has no peak beyond the box's first mode are left out."
    ),
    models=("supervised/schaeffer-v1",),
)


def _rows(data: Data, measure: str) -> pd.DataFrame:
    rows = rows_of(data, **SURROUND).dropna(subset=[measure])
    if rows["place_width_m"].nunique() < 4:
        raise LookupError(f"{measure} at fewer than four widths")
    return rows


def _slope(data: Data) -> float:
    rows = _rows(data, "ring_m")
    return float(np.polyfit(np.log(rows["place_width_m"]), np.log(rows["ring_m"]), 1)[0])


def _to_targets(data: Data) -> float:
    rows = _rows(data, "ring_m")
    return float((rows["ring_m"] / rows["target_ring_m"]).median())


def _to_formula(data: Data) -> float:
    rows = _rows(data, "ring_m")
    return float((rows["ring_m"] / rows["predicted_ring_m"]).median())


_wider = changed("ring_m", lambda values: values * 1.42)

claims = (
    Claim(
        id="nfl_spacing_follows_width",
        statement="The spacing follows the width of place fields: the slope of its logarithm on that of σ is between "
        "0.75 and 1.25",
        paper="set by the width",
        citation="Schaeffer et al. 2022",
        statistic=_slope,
        control=changed("ring_m", lambda values: values * 0 + 0.9),
        low=0.75,
        high=1.25,
    ),
    Claim(
        id="nfl_spacing_of_target_ring",
        statement="It is that of the ring in the targets' spectrum, measured in the same box: the median ratio is 1",
        paper="1",
        citation="Schaeffer et al. 2022",
        statistic=_to_targets,
        control=_wider,
        **within(1.0),
    ),
    Claim(
        id="nfl_spacing_by_formula",
        statement="and that of the formula for targets without edges, 4π/(√3 k*): the median ratio is 1",
        paper="1",
        citation="Sorscher et al. 2019",
        statistic=_to_formula,
        control=_wider,
        **within(1.0),
    ),
)


def compute(progress: Progress) -> Data:
    """Read what the sweep measured."""
    found = networks()
    progress(1, 1)
    return found


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 75 / 25.4), layout="constrained")
    left, right = canvas.subplots(1, 2)
    table = data.table
    rows = table[(table["target"] == "dos") & (table["activation"] == "relu") & (table["cell"] == "rnn")]
    for ax, letter in ((left, "a"), (right, "b")):
        ax.set_title(letter, loc="left", fontweight="bold")
        if rows.empty:
            ax.text(0.5, 0.5, "not run: benchmarks/sweeps says how", ha="center", transform=ax.transAxes)
    width_m = rows["place_width_m"]
    left.scatter(width_m, rows["ring_m"], s=8, color=plots.BLUE, linewidths=0, label="ring of the units")
    left.scatter(width_m, rows["spacing_m"], s=14, facecolors="none", edgecolors=plots.BLUE, label="grid units")
    left.scatter(width_m, rows["target_ring_m"], s=12, color="black", marker="x", linewidths=0.6, label="targets")
    formula = rows.groupby("place_width_m")["predicted_ring_m"].median()
    left.plot(formula.index, formula, color="black", linewidth=0.8, label="formula")
    left.set(xlabel="width σ of place fields (m)", ylabel="spacing (m)", ylim=(0, None))
    right.scatter(rows["target_ring_m"], rows["ring_m"], s=8, color=plots.BLUE, linewidths=0)
    right.axline((0.5, 0.5), slope=1, color="black", linewidth=0.6, linestyle="--")
    right.set(xlabel="ring of the targets (m)", ylabel="ring of the units (m)", xlim=(0.3, 2), ylim=(0.3, 2))
    if not rows.empty:
        left.legend(fontsize=5)
    return canvas
