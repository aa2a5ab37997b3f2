"""How are results shown?  One tidy frame, rendered as Markdown, CSV, LaTeX, JSON or HTML.

Models are ranked only within what was put in (lattice given, scale given, emerged, none), never overall. Seeds are the
replicates; deterministic models have no interval; an empty cell carries its reason.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np
import pandas as pd

from entorhinal.analysis.statistics import estimate
from entorhinal.benchmarks.conditions import has_seed
from entorhinal.benchmarks.records import Record, by_condition, config_hash
from entorhinal.benchmarks.tasks import TASKS
from entorhinal.families.errors import InputError, unknown
from entorhinal.families.model import Card, PathIntegrator
from entorhinal.families.registry import entries, get_class

__all__ = [
    "COLUMNS",
    "FORMATS",
    "TABLES",
    "Column",
    "columns_of",
    "leaderboard",
    "render",
    "stale",
    "tidy",
    "tried",
]

FORMATS = ("md", "csv", "tex", "json", "html")
CLASSES = ("lattice given", "scale given", "emerged", "no lattice")


@dataclass(frozen=True)
class Column:
    """One column of the leaderboard: a metric of a task, its heading, and how many digits are worth showing."""

    task: str
    metric: str
    heading: str
    digits: int = 2
    better: Literal["higher", "lower", "none"] = "none"


COLUMNS = (
    Column("gridness-v2", "grid_score_median", "grid score", 2, "higher"),
    Column("gridness-v2", "null_score_highest_median", "highest of null", 2),
    Column("gridness-v2", "grid_fraction", "grid units", 2, "higher"),
    Column("gridness-v2", "spacing_median_m", "spacing (m)", 2),
    Column("path_integration-v1", "recorded_localisation_error_median_m", "error, rat (m)", 3, "lower"),
    Column("path_integration-v1", "walk_localisation_error_median_m", "error, walk (m)", 3, "lower"),
    Column("path_integration-v1", "walk_integration_error_median_m", "tracked, walk (m)", 3, "lower"),
    Column("path_integration-v1", "recorded_chance_error_median_m", "chance (m)", 3),
    Column("generalization-v2", "grid_fraction_4x", "grid units, 4×", 2, "higher"),
    Column("generalization-v2", "spacing_shift_4x", "spacing shift, 4×", 3, "lower"),
    Column("cost-v1", "step_ms", "ms a step", 3, "lower"),
)
"""Maps, path integration, larger boxes and cost: the leaderboard."""

SEARCH = ("settings_tried", "tuned_on", "gpu_hours")
"""Of the card: what was compared before the config was settled."""

TABLES = {
    "leaderboard": COLUMNS,
    "codes": (
        Column("modules-v1", "module_count", "modules", 1),
        Column("modules-v1", "independent_modules", "independent", 1, "higher"),
        Column("topology-v3", "is_torus", "torus", 0),
        Column("capacity-v1", "code_separation", "separation", 2, "higher"),
        Column("capacity-v1", "joint_range_m", "range (m)", 2, "higher"),
        Column("capacity-v1", "resolution_m", "resolution (m)", 4, "lower"),
        Column("capacity-v1", "capacity_bits", "bits an axis", 2, "higher"),
        Column("isometry-v1", "metric_cv", "metric CV", 2, "lower"),
        Column("isometry-v1", "null_cv", "its null", 2),
        Column("robustness-v1", "noise_tolerance", "noise stood", 2, "higher"),
        Column("robustness-v1", "noise_followed_tolerance", "noise stood, followed", 2, "higher"),
        Column("attractor-v1", "decay_half_life_s", "half-life (s)", 3, "lower"),
        Column("attractor-v1", "spread_kept_fraction", "spread kept", 2),
        Column("attractor-v1", "pair_stability", "cell pairs kept", 2, "higher"),
        Column("path_integration-v1", "walk_phase_error_median_spacings", "phase error, 1 m (spacings)", 3, "lower"),
        Column("path_integration-v1", "wide_phase_error_median_spacings", "phase error, 2× (spacings)", 3, "lower"),
    ),
}
"""The tables that can be shown, by name. ``codes``: modules, topology, capacity, isometry, robustness, attractor."""


def columns_of(metrics: Sequence[str], records: Sequence[Record]) -> tuple[Column, ...]:
    """Columns for metrics by name, ``metric`` or ``task:metric`` where several tasks have it, as the records have them.

    A metric that no record has raises `InputError` with the nearest that one has.
    """
    known = {f"{record.task}:{m.name}": (record.task, m) for record in records for m in record.metrics}
    columns = []
    for name in metrics:
        fits = [key for key in known if name in (key, key.partition(":")[2])]
        if not fits:
            raise unknown("metric of these records", name, {key.partition(":")[2] for key in known})
        if len(fits) > 1:
            raise InputError(f"metric {name!r} is of several tasks; give {' or '.join(sorted(fits))}")
        task, metric = known[fits[0]]
        heading = f"{name} ({metric.unit})" if metric.unit else name
        columns.append(Column(task, metric.name, heading, 3, metric.direction))
    return tuple(columns)


def stale(record: Record) -> str:
    """Why a record no longer speaks for the model it names: another version, task version or config; "" if it does."""
    if record.model not in entries():
        return "the model is not registered, or has a newer version"
    if record.task not in TASKS:
        return "the task has a newer version"
    try:
        config = get_class(record.model).Config.parse(record.model, record.config)
    except InputError as error:
        return str(error)
    if config_hash(record.model, config.model_dump(mode="json")) != record.config_hash:
        return "the config has other fields now"
    return ""


def tidy(records: Sequence[Record]) -> pd.DataFrame:
    """One row for each metric of each record, failed and inapplicable runs included (with an empty value)."""
    rows = []
    for record in records:
        common = {
            "model": record.model,
            "config_hash": record.config_hash,
            "task": record.task,
            "seed": record.seed,
            "recording": record.recording,
            "status": record.status,
            "weights": record.weights_sha256,
            "stale": stale(record),
            "commit": record.commit,
            "dirty": record.dirty,
        }
        if not record.metrics:
            rows.append(common | {"metric": "", "value": math.nan, "reason": record.error})
        for metric in record.metrics:
            value = math.nan if metric.value is None else metric.value
            shown = metric.model_dump(exclude={"name", "value"})
            rows.append(common | {"metric": metric.name, "value": value} | shown)
    return pd.DataFrame(rows)


def _class(card: Card) -> str:
    return {"given": "lattice given", "none": "no lattice"}.get(card.lattice, card.lattice)


def _needs(card: Card, integrates: bool) -> str:
    if not integrates:
        return "reads position"
    return {"none": "nothing", "pairs": "pairs", "input": "position as input", "target": "position as target"}[
        card.supervision
    ]


def leaderboard(records: Sequence[Record], columns: Sequence[Column] = COLUMNS) -> pd.DataFrame:
    """One row a model and config, one numeric column a metric (mean over seeds), and beside each what a reader needs.

    Columns: ``what was put in``, ``rank`` (within it, by the first heading, 1 the best; NaN without a value, or where
    neither way is better), ``family``, ``model``, ``config`` (what differs from the default), ``needs``, ``seeds``
    (fewest and most over the tasks shown, or "deterministic" for models that have none), ``failures`` (failed runs of
    these tasks), ``distribution`` (the packages, with versions), ``settings_tried``, ``tuned_on`` and ``gpu_hours`` as
    on the card, then each heading, and for each ``<heading> interval`` (95 %, bootstrap over seeds; None for
    deterministic models) and ``<heading> note`` (why the cell is empty). Stale records are refused with an
    `InputError`.
    """
    if not records:
        raise InputError("leaderboard: no records; 'entorhinal run MODEL --out DIR' makes some")
    for record in records:
        if why := stale(record):
            raise InputError(f"record {record.run_id} is stale: {why}; delete it and run the task again")
    if len(paths := sorted({record.recording for record in records})) > 1:
        raise InputError(f"leaderboard: records of several recordings ({', '.join(paths)}) cannot be ranked together")
    groups = by_condition(records)
    rows = []
    for model, condition in dict.fromkeys((model, condition) for model, condition, _ in groups):
        cls = get_class(model)
        mine = {task: group for (m, c, task), group in groups.items() if (m, c) == (model, condition)}
        any_record = next(iter(mine.values()))[0]
        shown = [mine[task] for task in dict.fromkeys(c.task for c in columns) if task in mine]
        row: dict[str, Any] = {
            "what was put in": _class(cls.card),
            "family": cls.card.family,
            "model": model,
            "config": _difference(cls.Config().model_dump(mode="json"), any_record.config),
            "needs": _needs(cls.card, issubclass(cls, PathIntegrator)),
            "seeds": _seeds(shown) if has_seed(model) else "deterministic",
            "failures": sum(record.status == "failed" for group in shown for record in group),
            "distribution": ", ".join(sorted({record.distribution for group in shown for record in group})),
            **{name: getattr(cls.card, name) for name in SEARCH},
        }
        for column in columns:
            value, interval, note = _cell(mine.get(column.task, []), column.metric)
            row |= {column.heading: value, f"{column.heading} interval": interval, f"{column.heading} note": note}
        rows.append(row)
    frame = pd.DataFrame(rows)
    rank = frame["what was put in"].map(CLASSES.index)
    first = frame[columns[0].heading]
    places = first.groupby(rank).rank(method="min", ascending=columns[0].better == "lower")
    frame.insert(1, "rank", math.nan if columns[0].better == "none" else places)
    lead = first.fillna(-math.inf)
    order = np.lexsort((frame["model"], -lead if columns[0].better == "higher" else lead, rank))
    return frame.iloc[order].reset_index(drop=True)


def _seeds(groups: Sequence[Sequence[Record]]) -> str:
    """How many replicates the tasks that were run have: "5", or "1–5" where they differ."""
    counts = {len({r.replicate for r in group}) for group in groups if any(r.status == "ok" for r in group)} or {0}
    return str(max(counts)) if len(counts) == 1 else f"{min(counts)}–{max(counts)}"


def _difference(default: dict[str, Any], config: dict[str, Any]) -> str:
    changed = [f"{key}={value}" for key, value in config.items() if key != "seed" and default.get(key) != value]
    return ", ".join(changed) or "default"


def _cell(group: Sequence[Record], metric: str) -> tuple[float, tuple[float, float] | None, str]:
    """Mean over seeds, its 95 % interval, and why it is empty."""
    if not group:
        return math.nan, None, "not run"
    failed = [record for record in group if record.status != "ok"]
    if failed:
        return math.nan, None, f"{failed[0].status}: {failed[0].error}"
    replicates = {record.replicate: record for record in group}
    if any(metric not in {m.name for m in record.metrics} for record in replicates.values()):
        return math.nan, None, "not measured for this model"
    values = [record.value(metric) for record in replicates.values()]
    if any(math.isnan(value) for value in values):
        reasons = [m.reason for record in group for m in record.metrics if m.name == metric and m.value is None]
        return math.nan, None, reasons[0]
    found = estimate(values)
    return found.value, None if found.reason else (found.low, found.high), ""


def render(
    frame: pd.DataFrame, format: str = "md", columns: Sequence[Column] = COLUMNS, left_out: Sequence[str] = ()
) -> str:
    """The leaderboard as text. Markdown, LaTeX and HTML are rounded, with reasons below; CSV and JSON are complete.

    left_out: records that are not in it, a line each, to be shown below the rounded ones.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if format == "csv":
        return frame.to_csv(index=False)
    if format == "json":
        return json.dumps(json.loads(frame.to_json(orient="records")), indent=1) + "\n"
    shown, notes = _shown(frame, columns)
    notes += [f"Left out: {line}" for line in left_out]
    if format == "md":
        return shown.to_markdown(index=False, disable_numparse=True) + "\n\n" + "".join(f"- {n}\n" for n in notes)
    if format == "tex":
        return shown.style.hide(axis="index").format(escape="latex").to_latex(hrules=True) + "".join(
            f"% {note}\n" for note in notes
        )
    return shown.to_html(index=False) + "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>\n"


def tried(settings: float | None, measure: str, gpu_hours: float | None) -> str:
    """How many configs were compared, by what, and what it cost."""
    text = "not counted" if settings is None or math.isnan(settings) else f"{settings:.0f}"
    text += f", by {measure}" if measure else ""
    return text if gpu_hours is None or math.isnan(gpu_hours) else f"{text} ({gpu_hours:.2g} GPU h)"


def _shown(frame: pd.DataFrame, columns: Sequence[Column]) -> tuple[pd.DataFrame, list[str]]:
    """The table as strings, and its footnotes."""
    shown = frame[["what was put in", "model", "needs", "seeds"]].astype(str)
    other = frame["config"] != "default"
    shown["model"] = shown["model"].where(~other, shown["model"] + " (" + frame["config"] + ")")
    shown["settings tried"] = [tried(*row) for row in zip(*(frame[name] for name in SEARCH), strict=True)]
    reasons: dict[str, str] = {}
    for column in columns:
        cells = []
        for value, interval, note in zip(
            frame[column.heading],
            frame[f"{column.heading} interval"],
            frame[f"{column.heading} note"],
            strict=True,
        ):
            if math.isnan(value):
                mark = reasons.setdefault(note, chr(ord("a") + len(reasons)))
                cells.append(f"– ({mark})")
            else:
                text = f"{value:.{column.digits}f}"
                if interval is not None and column.better != "none":
                    text += f" [{interval[0]:.{column.digits}f}, {interval[1]:.{column.digits}f}]"
                cells.append(text)
        arrow = {"higher": " ↑", "lower": " ↓", "none": ""}[column.better]
        shown[column.heading + arrow] = cells
    notes = [
        "Ranked within what was put in, never overall. Brackets: bootstrap interval over seeds (models that have more "
        "than one), nominally 95 %; of normal values it covers 91 % with 10 seeds, 83 % with 5, 48 % with 2."
    ]
    return shown, notes + [f"({mark}) {note}" for note, mark in reasons.items()]
