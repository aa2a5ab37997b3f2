"""The command line. Every command imports what it needs when it runs, so that ``entorhinal list`` starts at once."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from entorhinal import INTERFACE_VERSION, __version__
from entorhinal.families.errors import InputError

if TYPE_CHECKING:
    from entorhinal.families.registry import Refused

__all__ = ["app", "main"]

app = typer.Typer(
    name="entorhinal",
    help="Every theory of grid cells behind one interface, trained and scored by one harness.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # many small operations: threads that wait for each other crawl

_console = Console()
_errors = Console(stderr=True)


def _show_version(asked: bool) -> None:
    if asked:
        from entorhinal import __version__

        _console.print(__version__, highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Config value, key=value; may be repeated.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Precision = Annotated[str, typer.Option(help="Of matrix products on a GPU: float32, tf32 or bf16.")]


def main() -> None:
    """Entry point: bad input is one line on standard error and exit code 2."""
    try:
        app()
    except InputError as error:
        _errors.print(f"[red]error:[/red] {_plain(error)}", soft_wrap=True, highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        _errors.print("stopped")
        sys.exit(130)
    except (MemoryError, RuntimeError) as error:
        from entorhinal.families.memory import ran_out

        if not ran_out(error):
            raise
        way_out = "give fewer units, a smaller batch or fewer networks side by side"
        _errors.print(f"[red]error:[/red] memory ran out; {way_out} ({_plain(error)})", soft_wrap=True, highlight=False)
        sys.exit(2)


def _plain(text: object) -> str:
    """Text that rich prints as it stands."""
    return str(text).replace("[", r"\[")


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))


def _config(settings: list[str] | None) -> dict[str, Any]:
    """``--set key=value`` pairs; values are JSON where they can be, else text."""
    config: dict[str, Any] = {}
    for item in settings or []:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise InputError(f"--set {item!r} is not of the form key=value")
        try:
            config[key] = json.loads(value)
        except json.JSONDecodeError:
            config[key] = value
    return config


def _words(text: str) -> tuple[str, ...]:
    """What stands between the commas."""
    return tuple(filter(None, (word.strip() for word in text.split(","))))


@contextmanager
def _bar(description: str) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error; nothing but the finished line where that is no terminal.

    It gives ``report(done, total, text="")``; the text stands at the end of the line.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=_errors) as bar:
        task = bar.add_task(description, total=1, text="")

        def report(done: int, total: int, text: str = "") -> None:
            bar.update(task, completed=done, total=total, text=text)

        yield report
        bar.update(task, completed=bar.tasks[0].total)


@app.command("list")
def list_(
    long: Annotated[bool, typer.Option("--long", help="Import every model: title, or why not.")] = False,
    as_json: AsJson = False,
) -> None:
    """Models, tasks and figures."""
    from entorhinal.benchmarks.tasks import TASKS
    from entorhinal.families.registry import entries, refused

    models = [{"id": e.id, "target": e.target, "provider": e.provider} for e in entries().values()]
    left_out = refused()
    failures: dict[str, str] = {}
    if long:
        import traceback

        for row, entry in zip(models, entries().values(), strict=True):
            try:
                row["title"] = entry.load().card.title
            except Exception:
                row["error"] = failures[entry.id] = traceback.format_exc()
    figures = _figure_ids()
    if as_json:
        strange = [vars(found.entry) | {"reason": found.reason} for found in left_out]
        _print_json({"models": models, "refused": strange, "tasks": list(TASKS), "figures": list(figures)})
        return
    table = Table("model", *(["title"] if long else []), "from", box=None)
    for row in models:
        broken = "[red]cannot be used: see below[/red]" if row["id"] in failures else row.get("title", "")
        table.add_row(row["id"], *([broken] if long else []), row["provider"])
    _console.print(table)
    _console.print("\n[bold]tasks[/bold]    " + "  ".join(TASKS))
    _console.print("[bold]figures[/bold]  " + "  ".join(figures))
    for id, trace in failures.items():
        _console.print(f"\n[red]{id}[/red]: {_way_out(entries()[id].provider)}\n{_plain(trace)}")
    _print_refused(left_out)


def _way_out(provider: str) -> str:
    if provider == "entorhinal":
        return "part of entorhinal; install it again"
    return f"mend, upgrade or uninstall {provider}; nothing else is affected"


def _print_refused(left_out: "list[Refused]") -> None:
    for found in left_out:
        _console.print(f"[red]left out[/red]: {_plain(found.reason)}", highlight=False, soft_wrap=True)


def _figure_ids() -> tuple[str, ...]:
    """Figure ids without importing the figures, nor matplotlib."""
    from importlib import import_module

    ids: tuple[str, ...] = import_module("entorhinal.paper_figures").FIGURES
    return ids


@app.command()
def info(model: str, as_json: AsJson = False) -> None:
    """A model's card and config."""
    from entorhinal.benchmarks.tables import tried
    from entorhinal.families.registry import get_class

    cls = get_class(model)
    card, config = cls.card, dict(cls.Config()) | cls.Config().model_dump(mode="json")  # the latter leaves fields out
    if as_json:
        shown = {"card": card.model_dump(mode="json"), "config": config}
        _print_json(shown | {"presets": cls.presets})
        return
    _console.print(f"[bold]{card.id}[/bold]  {card.title}")
    _console.print(
        f"put in: lattice {card.lattice}; known positions: {card.supervision}; dimensions: {card.dimensions}"
    )
    _console.print(f"tasks: {', '.join(card.tasks)}")
    _console.print(f"settings tried: {tried(card.settings_tried, card.tuned_on, card.gpu_hours)}", highlight=False)
    for line in card.deviations:
        _console.print(f"departs from the paper: {_plain(line)}", highlight=False)
    table = Table("config", "default", "where it comes from", box=None)
    for key, value in config.items():
        table.add_row(key, str(value), card.provenance.get(key, ""))
    _console.print(table)
    for name, values in cls.presets.items():
        _console.print(
            f"preset {name}: {', '.join(f'{key}={value}' for key, value in values.items())}", highlight=False
        )
    print(card.citation)


@app.command()
def check(model: str, settings: Settings = None, as_json: AsJson = False) -> None:
    """Run every conformance check on a model; exit code 1 if one fails."""
    from entorhinal.families.checks import check_model

    results = check_model(model, raise_on_failure=False, **_config(settings))
    if as_json:
        _print_json([vars(result) for result in results])
    else:
        colours = {"passed": "green", "failed": "red", "expected failure": "yellow", "not applicable": "dim"}
        table = Table("check", "outcome", "", box=None)
        for result in results:
            colour = colours[result.outcome]
            table.add_row(result.name, f"[{colour}]{result.outcome}[/{colour}]", _plain(result.message))
        _console.print(table)
    if any(result.outcome == "failed" for result in results):
        raise typer.Exit(1)


@app.command()
def new(
    model: Annotated[str, typer.Argument(help="The id of the model to be: family/name.")],
    folder: Annotated[Path, typer.Argument(help="Where its package is written; not there yet, or empty.")],
) -> None:
    """Write a package with a model of your own: it works as it is, passes every check, and has a test."""
    from entorhinal.families.template import write_package

    for path in write_package(model, folder):
        _console.print(f"wrote {path}", soft_wrap=True, highlight=False)
    _console.print(f"next: pip install -e {folder}, then entorhinal check {model}", soft_wrap=True, highlight=False)


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="The id of a model that can be trained.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: state, history, checkpoints.")],
    preset: Annotated[str, typer.Option(help="Named config values; --set goes on top.")] = "",
    settings: Settings = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many networks, side by side: seeds 0, 1, ...")] = 1,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, in place of the recipe's.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Begin from a checkpoint's weights, or from those of a folder, seed by seed.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Training ends after these, --resume included; the schedule is cut there.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "float32",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the folder's run stopped.")] = False,
    checkpoint_seconds: Annotated[float, typer.Option(help="How often the state is written.")] = 60.0,
    half: Annotated[bool, typer.Option("--half", help="Write the checkpoints in float16.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train networks side by side; Ctrl-C stops, --resume goes on. One checkpoint a network."""
    from entorhinal.benchmarks.training import Stopped
    from entorhinal.benchmarks.training import train as train_networks
    from entorhinal.families.registry import get_class

    config = (get_class(model).preset(preset) if preset else {}) | _config(settings)
    if steps is not None:
        config["steps"] = steps
    options: dict[str, Any] = {"device": device, "precision": precision, "resume": resume, "half": half}
    try:
        with _bar(f"{model} · {seeds} network{'s' * (seeds > 1)}") as report:
            paths = train_networks(
                model,
                seeds=seeds,
                config=config,
                out=out,
                start=start,
                at_most_seconds=None if minutes is None else 60 * minutes,
                checkpoint_seconds=checkpoint_seconds,
                progress=report,
                **options,
            )
    except Stopped as error:
        _errors.print(f"[red]stopped:[/red] {_plain(error)}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _errors.print(f"stopped; the same command with --resume goes on from the state in {out}")
        raise typer.Exit(130) from None
    if as_json:
        _print_json([str(path) for path in paths])
    for path in () if as_json else paths:
        _console.print(f"wrote {path}", soft_wrap=True, highlight=False)
    if len(paths) < seeds:
        _errors.print(f"{seeds - len(paths)} of {seeds} networks stopped early: see {out}/*.stopped.json")
        raise typer.Exit(1)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="What to vary, in TOML.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the sweep; by default the file's name under runs/.")
    ] = None,
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and run nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a grid, a random sample or a list of settings; what is there already is not run again."""
    from entorhinal.benchmarks.sweep import Sweep, run_sweep

    plan = Sweep.read(file)
    folder = out or Path("runs") / file.stem
    if dry_run:
        groups = plan.populations(folder)
        if as_json:
            _print_json([[network.config for network in group] for group in groups])
            return
        done = len(plan.networks()) - sum(map(len, groups))
        _console.print(f"{len(plan.networks())} networks, {done} there already in {folder}")
        for i, group in enumerate(groups):
            _console.print(f"population {i}: {len(group)} networks side by side")
            for network in group:
                _console.print(f"  {network.name}  {network.shown}", highlight=False, soft_wrap=True)
        return
    table = run_sweep(plan, folder, device=device, progress=_bar)
    if as_json:
        _print_json(json.loads(table.to_json(orient="records")))
    else:
        _console.print(table.to_string(index=False), highlight=False, soft_wrap=True)
        _console.print(f"wrote {folder / 'sweep.csv'}")
    if (table["status"] != "ok").any():
        raise typer.Exit(1)


@app.command()
def run(
    out: Annotated[Path, typer.Option(help="Folder for the records.")],
    model: Annotated[str | None, typer.Argument(help="A model id or the path of a checkpoint.")] = None,
    models: Annotated[
        str, typer.Option(help="Several as they ship: ids and families with commas between, or all.")
    ] = "",
    tasks: Annotated[str, typer.Option(help="Task ids, separated by commas.")] = "",
    suite: Annotated[str, typer.Option(help="A named list of tasks.")] = "core",
    seeds: Annotated[int, typer.Option(min=1, help="How many base seeds: 0, 1, ...")] = 1,
    settings: Settings = None,
    device: Device = "auto",
    recording: Annotated[str, typer.Option(help="sargolini, or an .npz with t (s) and pos (m).")] = "sargolini",
    bridge_gaps: Annotated[bool, typer.Option("--bridge-gaps", help="Interpolate a file's gaps and NaN.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score a model, or many, and write one record a task and seed. What is there already is not computed again.

    With --models, deterministic models and trained networks are run once whatever --seeds is, and what fails is a
    record with its error.
    """
    from entorhinal.benchmarks.conditions import choose, training_command
    from entorhinal.benchmarks.evaluation import evaluate, evaluate_all
    from entorhinal.benchmarks.tasks import suite as tasks_of
    from entorhinal.benchmarks.tasks.task import Recording

    if (model is None) == (not models) or (models and settings):
        raise InputError("run: give one model, which may have --set, or --models, which are run as they ship")
    names = _words(tasks) or tasks_of(suite)
    path = Recording(recording, "bridge" if bridge_gaps or recording == "sargolini" else "refuse")
    path.load()  # a file that cannot be used is refused before any work
    before = {found.stem for found in out.glob("*.json")}
    left_out: dict[str, str] = {}
    try:
        if model is not None:
            records = evaluate(
                model,
                names,
                seeds=seeds,
                device=device,
                out=out,
                config=_config(settings),
                recording=path,
                progress=_bar,
            )
        else:
            chosen = choose(_words(models))
            for condition in (untrained := [each for each in chosen if each.untrained]):
                _errors.print(
                    f"not run: {condition.model} must be trained, and no network of it ships; "
                    f"'{training_command(condition.model)} --out FOLDER', then 'entorhinal run CHECKPOINT'",
                    soft_wrap=True, highlight=False,
                )  # fmt: skip
            ready = [each for each in chosen if each not in untrained]
            records, left_out = evaluate_all(
                ready, names, seeds=seeds, device=device, out=out, recording=path, progress=_bar
            )
    except KeyboardInterrupt:
        written = len({found.stem for found in out.glob("*.json")} - before)
        _errors.print(f"stopped: {written} records were written to {out}; the same command goes on from there")
        raise typer.Exit(130) from None
    failed = [record for record in records if record.status == "failed"]
    if as_json:
        _print_json([record.model_dump(mode="json") for record in records])
    else:
        for record in records if model is not None else failed:
            _console.print(f"[bold]{record.model}[/bold] {record.task} seed {record.seed}: {record.status}")
            if record.error:
                _console.print(f"  {_plain(record.error)}", highlight=False)
            table = Table(box=None, show_header=False, padding=(0, 2))
            for m in record.metrics:
                shown = f"{m.value:.5g} {m.unit}" if m.value is not None else f"– ({m.reason})"
                table.add_row("", m.name, shown, f"n = {m.n}" if m.n else "")
            if record.metrics:
                _console.print(table)
        there = sum(record.run_id in before for record in records)
        _console.print(f"{len(records)} records in {out}: {there} there already, {len(failed)} failed", soft_wrap=True)
    for name, why in left_out.items():
        _errors.print(f"[red]left out:[/red] {name}: {_plain(why)}", soft_wrap=True, highlight=False)
    if failed or left_out:
        raise typer.Exit(1)


@app.command()
def table(
    folder: Annotated[Path | None, typer.Argument(help="Folder of records; the shipped ones if left out.")] = None,
    format: Annotated[str, typer.Option(help="md, csv, tex, json or html.")] = "md",
    out: Annotated[Path | None, typer.Option(help="Write here, and the BibTeX beside it as .bib.")] = None,
    release: Annotated[str, typer.Option(help="A release's version, or its folder: its records alone.")] = "",
    verify: Annotated[bool, typer.Option("--verify", help="Make the release's tables anew and compare all.")] = False,
    columns: Annotated[str, typer.Option(help="Which table: leaderboard, or codes.")] = "leaderboard",
    metrics: Annotated[str, typer.Option(help="Metrics in place of its columns, separated by commas.")] = "",
) -> None:
    """The leaderboard of a folder of records, or another of its tables. Files that are no records are left out."""
    from entorhinal.benchmarks.citations import bibliography
    from entorhinal.benchmarks.records import SHIPPED, read_records
    from entorhinal.benchmarks.release import differences, find_release, released_records
    from entorhinal.benchmarks.tables import TABLES, columns_of, leaderboard, render
    from entorhinal.families.checkpoint import write_atomically
    from entorhinal.families.errors import unknown

    if verify:
        if not release:
            raise InputError("table: --verify needs --release, the version to verify")
        differ = differences(find_release(release), folder or SHIPPED)
        for line in differ:
            _console.print(line, soft_wrap=True, highlight=False, markup=False)
        _console.print(f"release {release}: {len(differ) or 'no'} differences from what was frozen", soft_wrap=True)
        raise typer.Exit(1 if differ else 0)
    if release:
        records = released_records(find_release(release), folder or SHIPPED)
        left_out: list[str] = []
    else:
        records, left_out = read_records(folder or SHIPPED)
    if left_out and not records:
        raise InputError(left_out[0])
    for line in left_out:
        _errors.print(f"[red]left out:[/red] {_plain(line)}", soft_wrap=True, highlight=False)
    if columns not in TABLES:
        raise unknown("table", columns, TABLES)
    chosen = columns_of(_words(metrics), records) if metrics else TABLES[columns]
    frame = leaderboard(records, chosen)
    text = render(frame, format, chosen, left_out)
    if out is None:
        print(text, end="")
        return
    write_atomically(out, text.encode())
    write_atomically(out.with_suffix(".bib"), bibliography(list(dict.fromkeys(frame["model"]))).encode())
    _console.print(f"wrote {out} and {out.with_suffix('.bib')}")


@app.command()
def figures(
    ids: Annotated[list[str] | None, typer.Argument(help="Figure ids; all if left out.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("figures"),
    as_json: AsJson = False,
) -> None:
    """Draw figures and judge their claims: PDF, PNG and CSV each, claims.md and claims.json for all."""
    from importlib import import_module

    render = import_module("entorhinal.paper_figures.render").render
    verdicts = render(ids or _figure_ids(), out, progress=_bar)
    if as_json:
        _print_json([{**vars(v), "ours": None if v.ours != v.ours else v.ours} for v in verdicts])
        return
    colours = {"holds": "green", "fails": "red", "not run": "yellow"}
    shown = Table("claim", "paper", "ours", "verdict", box=None)
    for v in verdicts:
        ours = "–" if v.ours != v.ours else f"{v.ours:.4g}"
        shown.add_row(_plain(v.statement), _plain(v.paper), ours, f"[{colours[v.verdict]}]{v.verdict}")
    _console.print(shown)
    _console.print(f"wrote {out}")


@app.command()
def cite(
    ids: Annotated[list[str] | None, typer.Argument(help="Of models, tasks, releases; all if left out.")] = None,
) -> None:
    """BibTeX of this software, of tasks and releases, and of the sources of models and tasks."""
    from entorhinal.benchmarks.citations import cite

    print(cite(ids or ()), end="")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What is installed, what is missing, and which models cannot be used; exit code 1 if one cannot."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from entorhinal.families.registry import entries, refused

    def found(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    import torch

    packages = ("torch", "numpy", "scipy", "pandas", "matplotlib", "ratinabox", "gudhi", "ripser", "ray", "pynapple")
    facts = {"entorhinal": __version__, "interface": str(INTERFACE_VERSION), "python": platform.python_version()}
    facts |= {package: found(package) for package in packages}
    facts["cuda"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "no device"
    broken = {}
    for entry in entries().values():
        try:
            entry.load()
        except Exception as error:
            broken[entry.id] = f"{type(error).__name__}: {error}"
    left_out = refused()
    if as_json:
        _print_json({"facts": facts, "broken_models": broken, "refused": [found.reason for found in left_out]})
    else:
        table = Table(box=None, show_header=False)
        for name, value in facts.items():
            table.add_row(name, value)
        _console.print(table)
        _console.print(f"{len(entries()) - len(broken)} of {len(entries())} models can be used")
        for id, why in broken.items():
            _console.print(
                f"[red]{id}[/red]: {_plain(why)}: {_way_out(entries()[id].provider)}", highlight=False, soft_wrap=True
            )
        _print_refused(left_out)
    if broken or left_out:
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
