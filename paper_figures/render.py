"""How do figures come to be files?  ``<id>.pdf``, ``.png`` and ``.csv`` for each, and one table of all claims."""

import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from entorhinal.families.checkpoint import write_atomically
from entorhinal.families.errors import InputError
from entorhinal.paper_figures import FIGURES, load_figure
from entorhinal.paper_figures.figure import Progress, Verdict

__all__ = ["STYLE", "claims_markdown", "read_claims", "render"]

STYLE = Path(__file__).with_name("style.mplstyle")


def render(
    ids: Sequence[str],
    out: str | Path,
    *,
    progress: Callable[[str], AbstractContextManager[Progress]],
) -> list[Verdict]:
    """Compute, draw and judge figures into ``out``; returns the verdicts of their claims.

    ``claims.md`` and ``claims.json`` keep the rows of the figures that were not drawn this time.
    """
    matplotlib.use("Agg")
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"figures: cannot write to {str(folder)!r}: {error.strerror}; give another --out") from None
    modules = [load_figure(id) for id in ids]
    verdicts: list[Verdict] = []
    for module in modules:
        id = module.FIGURE.id
        with progress(id) as report:
            data = module.compute(report)
        with plt.style.context(STYLE):
            canvas = module.draw(data)
            title, caption = module.FIGURE.title, module.FIGURE.caption
            canvas.savefig(folder / f"{id}.pdf", metadata={"Title": title, "Subject": caption, "CreationDate": None})
            canvas.savefig(folder / f"{id}.png", metadata={"Title": title, "Description": caption})
            plt.close(canvas)
        write_atomically(folder / f"{id}.csv", data.table.to_csv(index=False).encode())
        verdicts += [claim.judge(id, data) for claim in module.claims]
        _write_claims(folder, [v for v in read_claims(folder) if v.figure != id] + verdicts_of(verdicts, id))
    return verdicts


def verdicts_of(verdicts: Sequence[Verdict], figure: str) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.figure == figure]


def read_claims(folder: Path) -> list[Verdict]:
    """The verdicts that ``claims.json`` in ``folder`` holds; none where there is no such file."""
    path = folder / "claims.json"
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text())
        return [Verdict(**{**row, "ours": math.nan if row["ours"] is None else row["ours"]}) for row in rows]
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise InputError(f"claims {str(path)!r} cannot be read ({error}); delete it and draw again") from None


def _write_claims(folder: Path, verdicts: Sequence[Verdict]) -> None:
    ordered = sorted(verdicts, key=lambda v: FIGURES.index(v.figure) if v.figure in FIGURES else len(FIGURES))
    rows = [{**asdict(v), "ours": None if math.isnan(v.ours) else v.ours} for v in ordered]
    write_atomically(folder / "claims.json", (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomically(folder / "claims.md", claims_markdown(ordered).encode())


def claims_markdown(verdicts: Sequence[Verdict]) -> str:
    """The claims as a Markdown table: what the paper says, what we find, whether it holds."""
    counts = {word: sum(v.verdict == word for v in verdicts) for word in ("holds", "fails", "not run")}
    lines = [
        "# Claims",
        "",
        f"{counts['holds']} hold, {counts['fails']} fail, {counts['not run']} were not run.",
        "",
        "| claim | paper | ours | verdict | source | figure |",
        "|---|---|---|---|---|---|",
    ]
    for v in verdicts:
        ours = "–" if math.isnan(v.ours) else f"{v.ours:.4g}"
        lines.append(f"| {v.statement} | {v.paper} | {ours} | **{v.verdict}** | {v.citation} | `{v.figure}` |")
    return "\n".join(lines) + "\n"
