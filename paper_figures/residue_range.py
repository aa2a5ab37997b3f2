"""How far does a residue code reach?  Fiete, Burak & Brookings 2008: range, carry-free update, error against noise."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.families.coding_theory.residue import (
    Residue,
    coprime_periods,
    crt,
    decode_crt,
    decode_maximum_likelihood,
    range_growth,
    residues,
)
from entorhinal.families.world import Arena, Trajectories
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress

__all__ = ["FIGURE", "claims", "compute", "draw"]

SMALLEST_PERIOD = 31  # cm; the coprime integers from here up: 31, 32, 33, 35, 37, 41, 43, 47
MODULES = 8
BRUTE_FORCE_LIMIT = 10**7  # positions; longer ranges are measured by decoding alone
NOISE_CYCLES = tuple(np.geomspace(3e-4, 0.1, 11))
SAMPLES = 120
REACHES = (1.0, 0.01)  # share of the range that maximum likelihood searches
CITATION = "Fiete, Burak & Brookings 2008"
COLOURS = {"residue": "#0072B2", "place": "#D55E00", "positional": "#D55E00", "local": "#666666", "narrow": "#009E73"}

FIGURE = Figure(
    id="residue_range",
    title="The range of a residue code",
    caption=(
        "(a) Unambiguous range of modules with periods 31, 32, 33, 35, 37, 41, 43 and 47 cm at 1 cm resolution. "
        "Circles: the first position that the remainder theorem does not decode. Crosses: distinct code words counted "
        "one by one, where feasible. Line: least common multiple. Squares: a place code with as many units, one for "
        "each resolvable phase. (b) Share of 20,000 updates in which a module, or a digit of a decimal code, cannot be "
        "updated without hearing from the others. (c) Error of 120 decoded positions against phase noise, periods 31, "
        "44 and 63 cm, range 859 m. Up to a threshold the error is that within a field (dashed); then it is as large "
        "as the range. Over the whole range maximum likelihood is hardly better than the remainder theorem; over 1 % "
        "of it, the spare capacity corrects errors up to larger noise. Dotted: the phase error that the theorem "
        "tolerates in every module, 1/(4 × 63) cycles."
    ),
    models=("coding_theory/residue-v1",),
)


def decoded_range(periods: list[int]) -> int:
    """The first position that `crt` does not give back: found by doubling, then bisection. Right below, wrong above."""
    low, high = 0, 1
    while crt(residues(high, periods), periods) == high:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if crt(residues(middle, periods), periods) == middle:
            low = middle
        else:
            high = middle
    return high


def counted_range(periods: list[int]) -> float:
    """How many positions have distinct code words, counting on until twice the product, or NaN if that is too many."""
    stop = 2 * math.prod(periods)
    if stop > 2 * BRUTE_FORCE_LIMIT:
        return math.nan
    word = np.zeros(stop, np.int64)
    for period in periods:
        word = word * period + np.arange(stop) % period
    return float(np.count_nonzero(np.bincount(word)))


def place_range(periods: list[int]) -> int:
    """Range of a place code, one unit a position, with as many units as the modules have resolvable phases."""
    return sum(periods)


def carry(count: int = 20_000) -> pd.DataFrame:
    """Update each module alone, and each digit of a decimal code alone, and compare with the code of the sum."""
    random = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    model = Residue.make()
    side = model.range_m
    start, step = (torch.from_numpy(random.uniform(-side / 4, side / 4, (count, 2))) for _ in range(2))
    sums = model.initial_state(start + step)
    for index, period in enumerate(model.config.periods):
        alone = Residue.make(periods=(period,))
        moved = Trajectories.from_displacements(start, step[:, None], 1.0, Arena.square(side, walls=False))
        error = alone.represent(moved).state[:, 0] - sums[:, index]
        rows.append(_update_row("residue", index, (error - error.round()).abs().amax(-1).numpy(), f"{period} cm"))
    first, second = random.integers(0, 10**6, (2, count))
    for index in range(3):
        digits = [(number // 10**index) % 10 for number in (first, second, first + second)]
        error_cycles = ((digits[0] + digits[1] - digits[2] + 5) % 10 - 5) / 10
        rows.append(_update_row("positional", index, np.abs(error_cycles), f"$10^{index}$"))
    return pd.DataFrame(rows)


def _update_row(code: str, index: int, error_cycles: np.ndarray, label: str) -> dict[str, object]:
    needs_others = float((error_cycles > 1e-6).mean())
    return {
        "panel": "b",
        "code": code,
        "module": index + 1,
        "label": label,
        "error_cycles": float(error_cycles.max()),
        "wrong_share": needs_others,
    }


def noise_rows(progress: Progress, done: int, total: int) -> pd.DataFrame:
    """Decoding errors of noisy phases in one lattice coordinate, over the whole range and over a part of it."""
    model = Residue.make()
    periods, resolution_m = model.config.periods, model.config.resolution_m
    period = torch.tensor(periods, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    rows: list[dict[str, object]] = []
    for noise in (0.0, *NOISE_CYCLES):
        for reach in REACHES:
            half = reach * math.prod(periods) / 2
            position = (2 * torch.rand(SAMPLES, dtype=torch.float64, generator=generator) - 1) * (half - 1)
            phase = position[:, None] / period
            phase = phase + noise * torch.randn(phase.shape, dtype=torch.float64, generator=generator)
            decoded = {"maximum likelihood": decode_maximum_likelihood(phase, periods, -half, half)}
            if reach == 1:
                decoded["remainder theorem"] = decode_crt(phase, periods)
            for code, found in decoded.items():
                error_m = (found - position).abs() * resolution_m
                rows.append(
                    {
                        "panel": "c",
                        "code": code,
                        "searched_share": reach,
                        "noise_cycles": noise,
                        "rms_m": float(error_m.square().mean().sqrt()),
                        "gross_share": float((error_m > max(periods) * resolution_m / 2).double().mean()),
                        "local_m": noise * resolution_m / math.sqrt(float((period**-2).sum())),
                    }
                )
        done += 1
        progress(done, total)
    return pd.DataFrame(rows)


def compute(progress: Progress) -> Data:
    """Measure ranges, updates and errors; the table has a row for each point of each panel."""
    periods = coprime_periods(MODULES, SMALLEST_PERIOD)
    total = MODULES + 2 + len(NOISE_CYCLES)
    rows: list[dict[str, object]] = []
    for count in range(1, MODULES + 1):
        used = periods[:count]
        shared = {
            "panel": "a",
            "modules": count,
            "largest_period": used[-1],
            "coprime_lcm": float(range_growth(used)[-1]),
        }
        rows.append({**shared, "code": "residue", "range": float(decoded_range(used)), "counted": counted_range(used)})
        rows.append({**shared, "code": "place", "range": float(place_range(used)), "counted": math.nan})
        equal = [periods[0]] * count
        rows.append({**shared, "code": "equal periods", "range": float(decoded_range(equal)), "counted": math.nan})
        progress(count, total)
    table = pd.concat([pd.DataFrame(rows), carry(), noise_rows(progress, MODULES + 1, total)], ignore_index=True)
    return Data(table)


def _rows(data: Data, panel: str, code: str) -> pd.DataFrame:
    table = data.table
    found = table[(table["panel"] == panel) & (table["code"] == code)]
    if found.empty:
        raise LookupError(f"no rows of {code!r} in panel {panel}")
    return found


def _range_over_lcm(data: Data) -> float:
    """Measured range over the lcm, of the module count where it is furthest from 1; both ways of measuring."""
    rows = _rows(data, "a", "residue")
    ratio = np.concatenate([rows["range"] / rows["coprime_lcm"], (rows["counted"] / rows["coprime_lcm"]).dropna()])
    return float(ratio[np.argmax(np.abs(ratio - 1))])


def _log_linearity(data: Data) -> float:
    """R² of log10(range) against the number of modules; 0 if the range does not grow."""
    rows = _rows(data, "a", "residue")
    logs = np.log10(rows["range"].to_numpy(float))
    return float(np.corrcoef(rows["modules"], logs)[0, 1] ** 2) if np.ptp(logs) > 0 else 0.0


def _range_over_period(data: Data) -> float:
    rows = _rows(data, "a", "residue")
    last = rows.sort_values("modules").iloc[-1]
    return float(last["range"] / last["largest_period"])


def _update_error(data: Data) -> float:
    return float(_rows(data, "b", "residue")["error_cycles"].max())


def _impostor(panel: str, code: str) -> Callable[[Data], Data]:
    """A control: the rows of another code, passed off as the residue code's."""

    def control(data: Data) -> Data:
        table = data.table
        here = table["panel"] == panel
        kept = table[~(here & (table["code"] == "residue"))]
        renamed = kept["code"].mask((kept["panel"] == panel) & (kept["code"] == code), "residue")
        return replace(data, table=kept.assign(code=renamed))

    return control


claims = (
    Claim(
        id="residue_range_is_lcm",
        statement="The unambiguous range is the least common multiple of the periods (measured / lcm)",
        paper="1, exactly (Chinese remainder theorem)",
        citation=CITATION,
        statistic=_range_over_lcm,
        control=_impostor("a", "place"),
        low=1.0,
        high=1.0,
    ),
    Claim(
        id="residue_range_exponential",
        statement="The logarithm of the range is linear in the number of modules, 1 to 8 (R² ≥ 0.99)",
        paper="linear (reported, unverified)",
        citation=CITATION,
        statistic=_log_linearity,
        control=_impostor("a", "place"),
        low=0.99,
        high=1.0,
    ),
    Claim(
        id="residue_update_carry_free",
        statement="Each module updates its phase alone: largest error against the code of the sum, cycles (≤ 1e-9)",
        paper="0 (carry-free arithmetic)",
        citation=CITATION,
        statistic=_update_error,
        control=_impostor("b", "positional"),
        low=0.0,
        high=1e-9,
    ),
    Claim(
        id="residue_range_over_period",
        statement="The range is far larger than the periods: range / largest period with 8 modules (≥ 1000)",
        paper="vastly greater",
        citation=CITATION,
        statistic=_range_over_period,
        control=_impostor("a", "place"),
        low=1e3,
    ),
)


def draw(data: Data) -> Canvas:
    """Three panels, 180 mm wide: range, updates, error."""
    canvas = Canvas(figsize=(180 / 25.4, 68 / 25.4), layout="constrained")
    range_axes, carry_axes, noise_axes = canvas.subplots(1, 3, width_ratios=(1, 0.8, 1.15))
    _draw_range(range_axes, data)
    _draw_carry(carry_axes, data)
    _draw_noise(noise_axes, data)
    for letter, axes in zip("abc", (range_axes, carry_axes, noise_axes), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    canvas.draw_without_rendering()  # fixes text sizes while the style holds
    return canvas


def _draw_range(axes: Axes, data: Data) -> None:
    residue, place = _rows(data, "a", "residue"), _rows(data, "a", "place")
    axes.plot(
        residue["modules"], residue["coprime_lcm"] / 100, color=COLOURS["residue"], lw=1, label="lcm of the periods"
    )
    axes.plot(
        residue["modules"], residue["range"] / 100, "o", ms=5, mfc="white", color=COLOURS["residue"], label="decoded"
    )
    axes.plot(residue["modules"], residue["counted"] / 100, "x", ms=4, color="black", label="counted")
    axes.plot(place["modules"], place["range"] / 100, "s-", ms=3.5, lw=1, color=COLOURS["place"], label="place code")
    axes.set(yscale="log", xlabel="Number of modules", ylabel="Unambiguous range (m)", xticks=residue["modules"])
    axes.legend(loc="upper left", borderaxespad=0.2)


def _draw_carry(axes: Axes, data: Data) -> None:
    labels: list[str] = []
    for code, name in (("residue", "residue code"), ("positional", "decimal code")):
        rows = _rows(data, "b", code)
        where = np.arange(len(labels), len(labels) + len(rows))
        share = 100 * rows["wrong_share"].to_numpy(float)
        axes.vlines(where, 0, share, color=COLOURS[code], lw=1.5)
        axes.plot(where, share, "o" if code == "residue" else "s", ms=5, color=COLOURS[code], clip_on=False, label=name)
        labels += list(rows["label"])
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set(
        xlim=(-0.5, len(labels) - 0.5), ylim=(0, 60), xlabel="Module or digit", ylabel="Updates needing a carry (%)"
    )
    axes.legend(loc="upper left", borderaxespad=0.2)


def _draw_noise(axes: Axes, data: Data) -> None:
    likely = _rows(data, "c", "maximum likelihood")
    lines = (
        ("remainder theorem", _rows(data, "c", "remainder theorem"), COLOURS["place"], "s"),
        ("max. likelihood, whole range", likely[likely["searched_share"] == 1], COLOURS["residue"], "o"),
        ("max. likelihood, 1 % of range", likely[likely["searched_share"] < 1], COLOURS["narrow"], "^"),
    )
    for name, rows, colour, marker in lines:
        shown = rows[rows["noise_cycles"] > 0]
        size, face = (5, "none") if marker == "s" else (3, colour)
        axes.plot(
            shown["noise_cycles"], shown["rms_m"], f"{marker}-", ms=size, mfc=face, lw=1, color=colour, label=name
        )
    shown = likely[(likely["searched_share"] == 1) & (likely["noise_cycles"] > 0)]
    axes.plot(
        shown["noise_cycles"], shown["local_m"], "--", lw=0.9, color=COLOURS["local"], label="within a field only"
    )
    axes.axvline(1 / (4 * 63), ymax=0.62, color=COLOURS["local"], lw=0.8, ls=":")
    axes.set(
        xscale="log",
        yscale="log",
        ylim=(1e-5, 3e6),
        xlabel="Phase noise, s.d. (cycles)",
        ylabel="Position error, r.m.s. (m)",
    )
    axes.set_yticks([1e-4, 1e-2, 1, 100])
    axes.legend(loc="upper left", borderaxespad=0.2)
