"""What the README shows is true: its examples run and its tables are those of the shipped records."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from entorhinal.benchmarks import leaderboard, load_records
from entorhinal.benchmarks.tables import TABLES, render

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def example(name: str) -> str:
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1]


def test_the_example_that_scores_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", example("score")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert float(re.findall(r"tensor\(([\d.]+)", done.stdout)[0]) > 1.2


def test_the_example_model_passes_its_checks_and_is_short(tmp_path, monkeypatch) -> None:
    from entorhinal.families import check_model

    code = example("model")
    assert len([line for line in code.splitlines() if line.strip()]) <= 24
    (tmp_path / "stripes.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ENTORHINAL_MODELS", "mine/stripes=stripes:Stripes")
    check_model("mine/stripes")


def test_the_example_of_a_loss_in_another_network_learns() -> None:
    done = subprocess.run(
        [sys.executable, "-c", example("loss")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = (ast.literal_eval(line.partition(" ")[2]) for line in done.stdout.splitlines())
    assert set(first) == {"total", "separation", "invariance", "capacity", "conformal"}
    assert last["total"] < first["total"] - 0.05
    assert last["separation"] < 0.7 * first["separation"]


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_the_shipped_records(name: str) -> None:
    shown = README.split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0]
    columns = TABLES[name]
    assert shown.strip() == render(leaderboard(load_records(), columns), "md", columns).strip(), (
        f"replace the block between the marks {name} by the output of 'entorhinal table --columns {name}'"
    )
