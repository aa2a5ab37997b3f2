"""How well do spare modules correct errors?  Sreenivasan & Fiete 2011: error against size, range and noise."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.families.coding_theory.decoding import decode_waves
from entorhinal.families.coding_theory.error_correcting import decode_noisy_phases, local_error, noisy_phases
from entorhinal.families.coding_theory.residue import unambiguous_range
from entorhinal.families.coding_theory.ring import ring_information, ring_waves
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exponential_over_power, panel_rows, within

__all__ = ["FIGURE", "claims", "compute", "draw"]

PERIODS = (31, 61, 43, 53, 37, 47, 41, 59)  # cm, the primes from 31 to 61; the first M are used
SIZES = (3, 4, 5, 6, 7, 8)  # modules; two would name the range of panel a
RANGE = 1000  # cm
UNITS, SHARPNESS = 20, 3.0  # of a module
PEAK_COUNTS = (0.7, 1.5)  # spikes; the second was added after the first run, for the grid code to be past its threshold
PLACE_WIDTH = 6.0  # of a place field, in distances between centres; at the smallest size where it is fixed
SAMPLES = 20_000
FEW = PERIODS[:4]
LONGEST = unambiguous_range(FEW)
RANGES = tuple(np.geomspace(1e2, LONGEST, 12))
NOISES = (0.005, 0.01, 0.02)
NOISE_CYCLES = tuple(np.geomspace(1e-3, 0.1, 9))
SHARES = (1.0, 1e-3)  # of the longest range
FEW_SAMPLES = 200
CITATION = "Sreenivasan & Fiete 2011"
GRID, FIXED, NARROW = "grid code", "place code, fixed width", "place code, narrowing"
COLOURS = {GRID: "#0072B2", FIXED: "#E69F00", NARROW: "#D55E00", 1.0: "#CC79A7", 1e-3: "#009E73"}
SHADES = {0.005: "#9ecae1", 0.01: "#4292c6", 0.02: "#08306b"}

FIGURE = Figure(
    id="error_correcting_range",
    title="Spare modules correct errors",
    caption=(
        "(a) Root-mean-square error over the range, 10 m, against the number of units: modules of 20 Poisson units "
        "with prime periods of 31 to 61 cm, read by maximum likelihood over the range, and place codes (one ring of "
        "period 10 m) of as many such units, with fields of fixed width or of six distances between centres. Open: 0.7 "
        "spikes of a unit at its peak, filled: 1.5. (b) Share "
        "of errors larger than half of the longest period, against the range, for four modules (periods 31, 61, 43 and "
        "53 cm) and three levels of phase noise. Dotted: the longest range, where the code repeats. (c) "
        "Root-mean-square error of the same four modules against phase noise, over the longest range and over a "
        "thousandth of it. Dashed: the error near the true position only."
    ),
    models=("coding_theory/error_correcting-v1",),
)


def _size_rows(modules: int, count: float, generator: torch.Generator) -> list[dict[str, object]]:
    """Three codes of the same units, spikes of a unit and range."""
    periods, units = PERIODS[:modules], UNITS * modules
    position = RANGE * torch.rand(SAMPLES, generator=generator, dtype=torch.float64)
    phase = position[:, None] / torch.tensor(periods, dtype=torch.float64)
    found = decode_waves(ring_waves(phase, UNITS, SHARPNESS, count, generator), periods, 0.0, RANGE)
    errors = {GRID: found - position}
    for code, reference in ((FIXED, UNITS * SIZES[0]), (NARROW, units)):
        sharpness = (reference / (2 * math.pi * PLACE_WIDTH)) ** 2
        wave = ring_waves(position / RANGE, units, sharpness, count, generator)
        turn = wave.angle() / (2 * math.pi) - position / RANGE
        errors[code] = RANGE * (turn - turn.round()).where(wave != 0, 0.5)
    noise = ring_information(UNITS, SHARPNESS, count) ** -0.5
    local = {GRID: local_error(periods, noise)}
    return [
        {
            "panel": "a",
            "code": code,
            "modules": modules,
            "units": units,
            "peak_count": count,
            "range": RANGE,
            "noise_cycles": noise,
            "rms": float(error.square().mean().sqrt()),
            "gross_share": float((error.abs() > max(PERIODS) / 2).double().mean()),
            "local": local.get(code, math.nan),
        }
        for code, error in errors.items()
    ]


def _noise_rows(
    panel: str, span: float, noises: tuple[float, ...], generator: torch.Generator
) -> list[dict[str, object]]:
    position = span * torch.rand(len(noises), FEW_SAMPLES, generator=generator, dtype=torch.float64)
    phase = torch.stack(
        [noisy_phases(part, FEW, noise, generator) for part, noise in zip(position, noises, strict=True)]
    )
    error = decode_noisy_phases(phase, FEW, span) - position
    return [
        {
            "panel": panel,
            "code": GRID,
            "modules": len(FEW),
            "range": span,
            "share_of_longest": round(span / LONGEST, 9),
            "noise_cycles": noise,
            "rms": float(part.square().mean().sqrt()),
            "gross_share": float((part.abs() > max(FEW) / 2).double().mean()),
            "local": local_error(FEW, noise),
        }
        for noise, part in zip(noises, error, strict=True)
    ]


def compute(progress: Progress) -> Data:
    """A row a code, size and spikes, or a range and noise."""
    rows: list[dict[str, object]] = []
    settings = [(modules, count) for count in PEAK_COUNTS for modules in SIZES]
    pairs = [("b", span, NOISES) for span in RANGES] + [("c", share * LONGEST, NOISE_CYCLES) for share in SHARES]
    total = len(settings) + len(pairs)
    generator = torch.Generator().manual_seed(0)
    for done, (modules, count) in enumerate(settings, 1):
        rows += _size_rows(modules, count, generator)
        progress(done, total)
    for done, (panel, span, noises) in enumerate(pairs, len(settings) + 1):
        rows += _noise_rows(panel, span, noises, generator)
        progress(done, total)
    return Data(pd.DataFrame(rows))


def _exponential_over_power(data: Data) -> float:
    """Residual of a power law over that of an exponential, both fitted to the error of the grid code by its size."""
    rows = panel_rows(data, "a", code=GRID, peak_count=PEAK_COUNTS[0])
    size, error = rows["modules"].to_numpy(float), np.log(rows["rms"].to_numpy(float))
    return exponential_over_power(size, error)


def _exponent(code: str) -> Callable[[Data], float]:
    """Of the squared error in the number of units."""

    def statistic(data: Data) -> float:
        rows = panel_rows(data, "a", code=code, peak_count=PEAK_COUNTS[0])
        return float(np.polyfit(np.log(rows["units"]), 2 * np.log(rows["rms"]), 1)[0])

    return statistic


def _grid_over_place(count: float) -> Callable[[Data], float]:
    """Error of the grid code over that of the better place code, at the largest size."""

    def statistic(data: Data) -> float:
        rows = panel_rows(data, "a", peak_count=count)
        rms = rows[rows["units"] == rows["units"].max()].set_index("code")["rms"]
        return float(rms[GRID] / rms[[FIXED, NARROW]].min())

    return statistic


def _gross(data: Data, share: float) -> float:
    """Gross errors at the middle noise, over the whole of the longest range, or over what is nearest to ``share``."""
    rows = panel_rows(data, "b", noise_cycles=NOISES[1])
    nearest = int(np.abs(rows["share_of_longest"].to_numpy(float) - share).argmin())
    return float(rows["gross_share"].iloc[nearest])


def _gross_ratio(data: Data) -> float:
    return _gross(data, 1.0) / max(_gross(data, 1e-3), 1 / FEW_SAMPLES)


def _threshold(data: Data, share: float) -> float:
    """Phase noise at which 5 % of errors are gross, by interpolation between levels."""
    rows = panel_rows(data, "c", share_of_longest=share).sort_values("noise_cycles")
    above = np.flatnonzero(rows["gross_share"].to_numpy(float) >= 0.05)
    if not len(above):
        return math.inf
    last = max(1, int(above[0]))
    noise, gross = (rows[name].to_numpy(float)[last - 1 : last + 1] for name in ("noise_cycles", "gross_share"))
    return float(np.exp(np.interp(0.05, gross, np.log(noise))))


def _threshold_ratio(data: Data) -> float:
    return _threshold(data, SHARES[1]) / _threshold(data, SHARES[0])


def _renamed(panel: str, column: str, names: dict[object, object]) -> Callable[[Data], Data]:
    """A control: rows of a panel under other names."""

    def control(data: Data) -> Data:
        chosen = data.table["panel"] == panel
        changed = data.table[column].mask(chosen, data.table[column].replace(names))
        return replace(data, table=data.table.assign(**{column: changed}))

    return control


def _noise_free_of_range(data: Data) -> Data:
    """A control: the errors of the shortest range, whatever the range."""
    table = data.table.copy()
    for noise in NOISES:
        rows = panel_rows(data, "b", noise_cycles=noise)
        table.loc[rows.index, "gross_share"] = rows.sort_values("range")["gross_share"].iloc[0]
    return replace(data, table=table)


def _best_place(data: Data) -> Data:
    """A control: the grid code has the errors of the narrowing place code."""
    table = data.table.copy()
    grid, place = (table["code"] == code for code in (GRID, NARROW))
    table.loc[grid & (table["panel"] == "a"), "rms"] = table.loc[place, "rms"].to_numpy()
    return replace(data, table=table)


_SWAP_GRID = _renamed("a", "code", {GRID: NARROW, NARROW: GRID})
_SWAP_PLACE = _renamed("a", "code", {FIXED: NARROW, NARROW: FIXED})

claims = (
    Claim(
        id="error_correcting_exponential",
        statement="At a fixed range the error falls exponentially with the number of modules, not as a power law "
        "(residual of the power law / of the exponential ≥ 2)",
        paper="exponentially",
        citation=CITATION,
        statistic=_exponential_over_power,
        control=_SWAP_GRID,
        low=2.0,
    ),
    Claim(
        id="error_correcting_place_fixed",
        statement="The squared error of a place code of fixed width falls as 1 / N (exponent)",
        paper="−1",
        citation=CITATION,
        statistic=_exponent(FIXED),
        control=_SWAP_PLACE,
        **within(-1.0),
    ),
    Claim(
        id="error_correcting_place_narrowing",
        statement="The squared error of a place code whose fields narrow with its size falls as 1 / N² (exponent)",
        paper="−2",
        citation=CITATION,
        statistic=_exponent(NARROW),
        control=_SWAP_PLACE,
        **within(-2.0),
    ),
    *(
        Claim(
            id=f"error_correcting_below_place{suffix}",
            statement="The grid code's error is below that of a place code of equal size (160 units, range 10 m, "
            f"{count:g} spikes at the peak; ratio < 1)",
            paper="below",
            citation=CITATION,
            statistic=_grid_over_place(count),
            control=_best_place,
            low=0.0,
            high=0.999,
        )
        for suffix, count in zip(("", "_more_spikes"), PEAK_COUNTS, strict=True)
    ),
    Claim(
        id="error_correcting_range_threshold",
        statement="Gross errors appear as the range nears its maximum (share at the maximum / at about a thousandth of "
        "it, phase noise 0.01 cycles, ≥ 50)",
        paper="a threshold",
        citation=CITATION,
        statistic=_gross_ratio,
        control=_noise_free_of_range,
        low=50.0,
    ),
    Claim(
        id="error_correcting_noise_threshold",
        statement="Spare capacity moves the noise threshold up (noise with 5 % gross errors, a thousandth of the "
        "longest range / all of it, ≥ 2)",
        paper="larger",
        citation=CITATION,
        statistic=_threshold_ratio,
        control=_renamed("c", "share_of_longest", {SHARES[0]: SHARES[1], SHARES[1]: SHARES[0]}),
        low=2.0,
    ),
)


def draw(data: Data) -> Canvas:
    """Three panels, 180 mm wide: error against size, gross errors against range, error against noise."""
    canvas = Canvas(figsize=(180 / 25.4, 68 / 25.4), layout="constrained")
    size_axes, range_axes, noise_axes = canvas.subplots(1, 3)
    _draw_sizes(size_axes, data)
    _draw_ranges(range_axes, data)
    _draw_noise(noise_axes, data)
    for letter, axes in zip("abc", (size_axes, range_axes, noise_axes), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    canvas.draw_without_rendering()  # fixes text sizes while the style holds
    return canvas


def _draw_sizes(axes: Axes, data: Data) -> None:
    for count, face in zip(PEAK_COUNTS, ("white", None), strict=True):
        for code, marker in ((FIXED, "s"), (NARROW, "D"), (GRID, "o")):
            rows, colour = panel_rows(data, "a", code=code, peak_count=count), COLOURS[code]
            label = None if face else code
            error = rows["rms"] / rows["range"]
            axes.plot(rows["units"], error, f"{marker}-", ms=4, lw=1, color=colour, mfc=face or colour, label=label)
    axes.set(yscale="log", ylim=(3e-4, 3), xlabel="Number of units", ylabel="Error / range, r.m.s.")
    axes.set_xticks(rows["units"])
    axes.legend(loc="upper right", borderaxespad=0.2)


def _draw_ranges(axes: Axes, data: Data) -> None:
    for noise in NOISES:
        rows = panel_rows(data, "b", noise_cycles=noise)
        label = f"{noise:g} cycles"
        axes.plot(rows["range"] / 100, 100 * rows["gross_share"], "o-", ms=3.5, lw=1, color=SHADES[noise], label=label)
    axes.axvline(LONGEST / 100, color="#666666", lw=0.8, ls=":")
    axes.set(xscale="log", ylim=(-3, 103), xlabel="Range (m)", ylabel="Gross errors (%)")
    axes.legend(loc="upper left", borderaxespad=0.2, title="phase noise, s.d.", title_fontsize=7, alignment="left")


def _draw_noise(axes: Axes, data: Data) -> None:
    for share, marker, label in ((1.0, "s", "longest range"), (1e-3, "o", "0.1 % of it")):
        rows = panel_rows(data, "c", share_of_longest=share)
        axes.plot(
            rows["noise_cycles"], rows["rms"] / 100, f"{marker}-", ms=3.5, lw=1, color=COLOURS[share], label=label
        )
    axes.plot(rows["noise_cycles"], rows["local"] / 100, "--", lw=0.9, color="#666666", label="within a field only")
    axes.set(
        xscale="log", yscale="log", ylim=(1e-4, 3e7), xlabel="Phase noise, s.d. (cycles)", ylabel="Error, r.m.s. (m)"
    )
    axes.set_yticks([1e-4, 1e-2, 1, 100, 1e4])
    axes.legend(loc="upper left", borderaxespad=0.2)
