"""What does each module do for a nested readout?  Stemmler, Mathis & Herz 2015: lesions, and the safest ratio."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from entorhinal.families.coding_theory.nested_decoder import NestedDecoder, expected_best_ratio, module_spikes
from entorhinal.families.coding_theory.phase_modules import PhaseModules
from entorhinal.families.world import Arena, Trajectories
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within

__all__ = ["FIGURE", "claims", "compute", "draw"]

PLACES, TRIALS = 500, 40
READOUTS = {"likely": NestedDecoder.phases, "two waves": PhaseModules.phases}  # the first is the model's
LARGE_SHARE = 1 / 500  # of places misread by the intact code with a ratio near 3/2: sets the number of spikes
LESION_REACH = 1 / 6  # places lie within this share of the largest period around the origin
REFINEMENT = 10.0  # largest over smallest period, for every ratio
MODULES = tuple(range(3, 13))  # ratios 3.16 to 1.23
NEAR_PAPER = 7  # modules with a ratio of 1.47
SPIKE_SHARES = (1 / 2, 1.0)  # of the spikes so set, in all modules together; the last is judged
RATIO_REACH = 1 / 20
PAPER_RATIO = 1.5
CITATION = "Stemmler, Mathis & Herz 2015"
COLOURS = {"intact": "black", "largest": "#E69F00", "middle": "#D55E00", "smallest": "#0072B2"}

FIGURE = Figure(
    id="nested_decoder_lesions",
    title="Silencing the modules of a nested readout",
    caption=(
        "Population vectors of nested modules, read from coarse to fine; Poisson spikes at 500 places, 40 times each. "
        "(a) Share of places decoded with more than a given error, with all modules and with one silenced. Five "
        "modules, periods 1.52 to 0.30 m, ratio 3/2; so many spikes that the intact code misreads one place in 500; "
        "places within a sixth of the largest period around the origin. Dotted: half the smallest period; beyond it "
        "an error is called large. (b) Share of large errors and (c) median error, by the module silenced. Full: the "
        "most likely phases of modules, the model's. Open: phases read along two lattice axes only. Lines: all modules "
        "intact, likely (dashed) and two axes (dotted). (d) Share of large errors against the ratio of "
        "periods, for codes with a tenfold range of periods and a fixed number of spikes, shared equally by the "
        "modules. Full: so many that the code of ratio 1.47 misreads one place in 500; open: half of them. Dashed: "
        "3/2. Dotted: what Gaussian noise in one dimension predicts."
    ),
    models=("coding_theory/nested_decoder-v1",),
)


def read(
    model: NestedDecoder, spikes_per_module: float, reach: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Places (S, 2) in a disc of ``reach`` largest periods, and the spike counts (S, N) fired there."""
    radius_m = reach * max(model.period_m) * torch.rand(PLACES, dtype=torch.float64, generator=generator).sqrt()
    angle = 2 * math.pi * torch.rand(PLACES, dtype=torch.float64, generator=generator)
    place_m = radius_m[:, None] * torch.stack((angle.cos(), angle.sin()), -1)
    still = Trajectories.from_displacements(
        place_m, torch.zeros_like(place_m)[:, None], 1.0, Arena.square(10.0, walls=False)
    )
    rates = model.represent(still).rates[:, 0].repeat(TRIALS, 1)
    return place_m.repeat(TRIALS, 1), module_spikes(rates, spikes_per_module, generator, len(model.period_m))


def working_spikes(model: NestedDecoder, readout: str, reach: float) -> float:
    """Spikes a module at which the intact code makes large errors at `LARGE_SHARE` of places, by bisection."""
    low, high = math.log(4), math.log(1024)
    for _ in range(8):
        middle = (low + high) / 2
        error_m = errors_m(model, readout, *read(model, math.exp(middle), reach, torch.Generator().manual_seed(1)))
        if float((error_m > min(model.period_m) / 2).double().mean()) > LARGE_SHARE:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def errors_m(
    model: NestedDecoder, readout: str, place_m: Tensor, counts: Tensor, silenced: int | None = None
) -> Tensor:
    """Distance (S,) between decoded and true places; infinite where nothing is heard."""
    if silenced is not None:
        counts = counts.unflatten(-1, (len(model.period_m), -1)).clone()
        counts[:, silenced] = 0
        counts = counts.flatten(-2)
    return (model.position_m(READOUTS[readout](model, counts)) - place_m).norm(dim=-1).nan_to_num(nan=math.inf)


def _row(model: NestedDecoder, error_m: Tensor, **more: object) -> dict[str, object]:
    large = error_m > min(model.period_m) / 2
    return {
        **more,
        "modules": len(model.period_m),
        "ratio": model.config.ratio,
        "large_share": float(large.double().mean()),
        "median_m": float(error_m.median()),
        "local_median_m": float(error_m[~large].median()),
    }


def compute(progress: Progress) -> Data:
    """For each readout: errors with each module silenced in turn, and of every ratio at equal spikes."""
    rows: list[dict[str, object]] = []
    curves: dict[str, np.ndarray] = {}
    total = 2 * len(READOUTS)
    for done, readout in enumerate(READOUTS):
        more, arrays = _lesions(readout)
        rows += more
        curves |= arrays
        progress(2 * done + 1, total)
        rows += _ratios(readout)
        progress(2 * done + 2, total)
    return Data(pd.DataFrame(rows), curves)


def _lesions(readout: str) -> tuple[list[dict[str, object]], dict[str, np.ndarray]]:
    model = NestedDecoder.make(phases_per_axis=6)
    order = sorted(range(len(model.period_m)), key=lambda module: -model.period_m[module])
    names = ["largest", *(f"middle {i}" for i in range(1, len(order) - 1)), "smallest"]
    spikes = working_spikes(model, readout, LESION_REACH)
    place_m, counts = read(model, spikes, LESION_REACH, torch.Generator().manual_seed(0))
    rows, curves = [], {}
    for name, module in [("intact", None), *zip(names, order, strict=True)]:
        error_m = errors_m(model, readout, place_m, counts, module)
        period_m = math.nan if module is None else model.period_m[module]
        more = {"silenced": name, "silenced_period_m": period_m, "spikes": spikes * len(order), "spike_share": 1.0}
        rows.append(_row(model, error_m, panel="lesion", readout=readout, **more))
        curves[f"{readout}, {name}"] = error_m.sort().values.numpy()
    return rows, curves


def _ratios(readout: str) -> list[dict[str, object]]:
    generator = torch.Generator().manual_seed(0)
    codes = {n: NestedDecoder.make(phases_per_axis=6, ratio=REFINEMENT ** (1 / (n - 1)), modules=n) for n in MODULES}
    enough = NEAR_PAPER * working_spikes(codes[NEAR_PAPER], readout, RATIO_REACH)
    rows = []
    for modules, model in codes.items():
        for share in SPIKE_SHARES:
            error_m = errors_m(model, readout, *read(model, share * enough / modules, RATIO_REACH, generator))
            more = {"silenced": "intact", "silenced_period_m": math.nan, "spikes": share * enough, "spike_share": share}
            rows.append(_row(model, error_m, panel="ratio", readout=readout, **more))
    return rows


def _silenced(data: Data, name: str, readout: str = "likely") -> pd.DataFrame:
    table = data.table
    table = table[(table["panel"] == "lesion") & (table["readout"] == readout)]
    found = table[table["silenced"].str.startswith(name)]
    if found.empty:
        raise LookupError(f"no rows with {name!r} silenced")
    return found


def _ratio_rows(data: Data, readout: str, spike_share: float) -> pd.DataFrame:
    table = data.table
    found = table[(table["panel"] == "ratio") & (table["readout"] == readout) & (table["spike_share"] == spike_share)]
    if found.empty:
        raise LookupError("no rows of ratios")
    return found


def _safest_ratio(readout: str) -> Callable[[Data], float]:
    """The ratio with the least share of large errors, at the number of spikes that is judged."""
    return lambda data: float(_ratio_rows(data, readout, SPIKE_SHARES[-1]).sort_values("large_share")["ratio"].iloc[0])


def _middle_over_intact(readout: str) -> Callable[[Data], float]:
    """Large errors with a middle module silenced over those intact (one in all samples at least); the least of them."""

    def statistic(data: Data) -> float:
        intact = max(float(_silenced(data, "intact", readout)["large_share"].iloc[0]), 1 / (PLACES * TRIALS))
        return float(_silenced(data, "middle", readout)["large_share"].min()) / intact

    return statistic


def _smallest_minus_intact(data: Data) -> float:
    shares = [float(_silenced(data, name)["large_share"].iloc[0]) for name in ("smallest", "intact")]
    return shares[0] - shares[1]


def _precision_lost(data: Data) -> float:
    medians = [float(_silenced(data, name)["median_m"].iloc[0]) for name in ("smallest", "intact")]
    return medians[0] / medians[1]


def _exchanged(one: str, other: str) -> Callable[[Data], Data]:
    """A control: two lesions under each other's name."""

    def control(data: Data) -> Data:
        names = data.table["silenced"].replace({one: other, other: one})
        return replace(data, table=data.table.assign(silenced=names.where(data.table["panel"] == "lesion", "intact")))

    return control


def _precision_for_risk(data: Data) -> Data:
    """A control: errors within a field in place of the risk of leaving it. It alone asks for few modules far apart."""
    return replace(data, table=data.table.assign(large_share=data.table["local_median_m"]))


claims = (
    Claim(
        id="nested_safest_ratio",
        statement="Large errors are rarest at a ratio of periods of about 3/2, for periods over a tenfold range and a "
        "fixed number of spikes shared by all modules",
        paper="around 3/2",
        citation=CITATION,
        statistic=_safest_ratio("likely"),
        control=_precision_for_risk,
        **within(PAPER_RATIO),
    ),
    Claim(
        id="nested_safest_ratio_two_waves",
        statement="The same with phases read along two lattice axes only",
        paper="around 3/2",
        citation=CITATION,
        statistic=_safest_ratio("two waves"),
        control=_precision_for_risk,
        **within(PAPER_RATIO),
    ),
    Claim(
        id="nested_middle_module",
        statement="Silencing any middle module makes large errors frequent: their share over the intact share, least "
        "over middle modules (≥ 5)",
        paper="large-scale errors",
        citation=CITATION,
        statistic=_middle_over_intact("likely"),
        control=_exchanged("middle 2", "smallest"),
        low=5.0,
    ),
    Claim(
        id="nested_middle_module_two_waves",
        statement="The same with phases read along two lattice axes only (≥ 5)",
        paper="large-scale errors",
        citation=CITATION,
        statistic=_middle_over_intact("two waves"),
        control=_exchanged("middle 2", "smallest"),
        low=5.0,
    ),
    Claim(
        id="nested_smallest_module_safe",
        statement="Silencing the smallest module adds no large errors: their share minus the intact share (≤ 0.002)",
        paper="only spatial precision is affected",
        citation=CITATION,
        statistic=_smallest_minus_intact,
        control=_exchanged("middle 1", "smallest"),
        high=0.002,
    ),
    Claim(
        id="nested_smallest_module_precision",
        statement="Silencing the smallest module loses precision: the median error grows by the ratio of periods, 1.5",
        paper="spatial precision is affected (the factor is ours: the next period over the smallest)",
        citation=CITATION,
        statistic=_precision_lost,
        control=_exchanged("largest", "smallest"),
        **within(PAPER_RATIO),
    ),
)


def draw(data: Data) -> Canvas:
    """Four panels, 180 mm wide: error distributions, large errors, median error, ratio."""
    canvas = Canvas(figsize=(180 / 25.4, 120 / 25.4), layout="constrained")
    (tails, large), (median, ratios) = canvas.subplots(2, 2)
    _draw_tails(tails, data)
    _draw_lesions(large, data, "large_share", 100, "Large errors (%)")
    _draw_lesions(median, data, "median_m", 100, "Median error (cm)")
    _draw_ratios(ratios, data)
    for letter, axes in zip("abcd", (tails, large, median, ratios), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    canvas.draw_without_rendering()  # fixes text sizes while the style holds
    return canvas


def _draw_tails(axes: Axes, data: Data) -> None:
    labels = {"intact": "all intact", "largest": "largest silenced", "middle": "a middle one", "smallest": "smallest"}
    for key, error_m in data.arrays.items():
        readout, name = key.split(", ")
        if readout != "likely":
            continue
        kind = name.split()[0]
        share = 100 * (1 - np.arange(len(error_m)) / len(error_m))
        axes.plot(error_m, share, color=COLOURS[kind], lw=1.2, label=labels.pop(kind, None))
    axes.axvline(float(_silenced(data, "smallest")["silenced_period_m"].iloc[0]) / 2, color="#666666", lw=0.8, ls=":")
    axes.set(xscale="log", yscale="log", xlim=(3e-3, 2), ylim=(0.01, 130))
    axes.set(xlabel="Error (m)", ylabel="Places with more error (%)")
    axes.legend(loc="lower left", borderaxespad=0.2)


def _draw_lesions(axes: Axes, data: Data, column: str, scale: float, label: str) -> None:
    for readout, face in (("likely", None), ("two waves", "white")):
        intact = _silenced(data, "intact", readout)
        rows = _silenced(data, "", readout).drop(intact.index)
        where = np.arange(len(rows))
        colours = [COLOURS[name.split()[0]] for name in rows["silenced"]]
        axes.scatter(where, scale * rows[column], s=22, c=face or colours, edgecolors=colours, zorder=3, clip_on=False)
        line = "--" if readout == "likely" else ":"
        axes.axhline(scale * float(intact[column].iloc[0]), color="black", lw=0.9, ls=line)
        axes.set_xticks(where, [f"{period:.2f}" for period in rows["silenced_period_m"]])
        axes.set(xlim=(-0.6, len(rows) - 0.4), xlabel="Period silenced (m)", ylabel=label)
    axes.set_ylim(0, None)


def _draw_ratios(axes: Axes, data: Data) -> None:
    for readout, colour in (("likely", "#006D2C"), ("two waves", "#8C6BB1")):
        for share in SPIKE_SHARES:
            rows = _ratio_rows(data, readout, share)
            shown = rows[rows["large_share"] > 0]
            face = colour if share == SPIKE_SHARES[-1] else "white"
            label = f"{'likely' if readout == 'likely' else 'two axes'}, {shown['spikes'].iloc[0]:.0f} spikes"
            axes.plot(
                shown["ratio"], 100 * shown["large_share"], "o-", ms=3.5, lw=1, color=colour, mfc=face, label=label
            )
    axes.axvline(PAPER_RATIO, ymax=0.8, color="black", lw=0.8, ls="--")
    axes.axvline(expected_best_ratio(REFINEMENT), ymax=0.8, color="#666666", lw=0.8, ls=":")
    axes.set(xscale="log", yscale="log", xlabel="Ratio of periods", ylabel="Large errors (%)", ylim=(0.01, 60))
    axes.set_xticks([1.25, 1.5, 2, 3], ["1.25", "1.5", "2", "3"])
    axes.minorticks_off()
    axes.legend(loc="upper right", ncols=2, borderaxespad=0.2)
