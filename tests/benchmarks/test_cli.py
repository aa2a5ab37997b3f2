"""The real command line, end to end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from entorhinal import __version__
from entorhinal.benchmarks.cli import main

ROOT = Path(__file__).parents[2]


def entorhinal(*words: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would; a traceback is never right."""
    done = subprocess.run(
        [sys.executable, "-m", "entorhinal.benchmarks.cli", *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | environment,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def refused(monkeypatch, capsys) -> Callable[..., str]:
    """The line that refuses bad input, by the entry point in this process, as a command takes seconds to begin."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["entorhinal", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 2
        *_, line = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line

    return run


def test_list_names_everything() -> None:
    shown = entorhinal("list").stdout
    for name in ("coding_theory/residue-v1", "gridness-v2", "leaderboard"):
        assert name in shown
    as_json = json.loads(entorhinal("list", "--json").stdout)
    assert as_json["models"][0]["id"] == "coding_theory/residue-v1"


def test_a_network_that_memory_cannot_hold_is_refused(refused, tmp_path) -> None:
    words = ("--set", "units=10000000", "--set", "place_cells=3", "--out", tmp_path / "run")
    assert "memory ran out; give fewer units" in refused("train", "supervised/sorscher", *words)


def test_the_version() -> None:
    assert entorhinal("--version").stdout.strip() == __version__


def test_list_long_shows_a_broken_plugin_and_the_rest() -> None:
    done = entorhinal("list", "--long", ENTORHINAL_MODELS="mine/broken=no_such_module:Model")
    assert "No module named 'no_such_module'" in done.stdout
    assert "Ideal grid modules" in done.stdout
    assert "mine/broken-v1" in entorhinal("doctor", code=1, ENTORHINAL_MODELS="mine/broken=no_such_module:M").stdout


def test_a_package_with_a_taken_id_is_listed_with_what_to_do_and_harms_nothing(tmp_path) -> None:
    info = tmp_path / "thief-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thief\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[entorhinal.models]\ncontrols/ideal_grid = thief:Model\nmine/broken = no_such_module:Model\n"
    )
    path = os.pathsep.join((str(ROOT), str(tmp_path)))
    shown = entorhinal("list", PYTHONPATH=path).stdout
    assert "left out: model 'controls/ideal_grid-v1' is registered twice" in shown
    assert "thief:Model by thief; rename one, or uninstall its package" in shown
    (refused,) = json.loads(entorhinal("list", "--json", PYTHONPATH=path).stdout)["refused"]
    assert refused["provider"] == "thief"
    doctor = entorhinal("doctor", PYTHONPATH=path, code=1).stdout
    assert "No module named 'no_such_module': mend, upgrade or uninstall thief; nothing else is affected" in doctor
    assert "registered twice" in doctor
    assert "Stensola" in entorhinal("info", "controls/ideal_grid", PYTHONPATH=path).stdout


def test_new_writes_a_package_that_the_next_command_checks(tmp_path, refused) -> None:
    done = entorhinal("new", "mine/stripes", tmp_path / "stripes")
    assert "pyproject.toml" in done.stdout
    assert f"pip install -e {tmp_path / 'stripes'}" in done.stdout
    found = {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path / "stripes"))),
        "ENTORHINAL_MODELS": "mine/stripes=mine_stripes.model:MineStripes",
    }
    assert "position_leak" in entorhinal("check", "mine/stripes", **found).stdout
    assert "not empty" in refused("new", "mine/other", tmp_path / "stripes")


def test_info_check_and_cite() -> None:
    shown = entorhinal("info", "controls/ideal_grid").stdout
    assert "Stensola" in shown
    assert "spacing_m" in shown
    assert json.loads(entorhinal("info", "controls/ideal_grid", "--json").stdout)["card"]["lattice"] == "given"
    checks = json.loads(entorhinal("check", "controls/ideal_grid", "--json").stdout)
    assert {check["outcome"] for check in checks} <= {"passed", "not applicable"}
    cited = entorhinal("cite", "controls/random_rnn").stdout
    assert "@software{entorhinal" in cited
    assert "sorscher2019" in cited
    assert "stensola2012" not in cited
    assert "entorhinal_topology_v3" in entorhinal("cite", "topology").stdout


def test_doctor() -> None:
    facts = json.loads(entorhinal("doctor", "--json").stdout)["facts"]
    assert facts["torch"]
    assert facts["python"].startswith("3.")


def test_run_then_table(tmp_path) -> None:
    small = ("--set", "units_per_module=4", "--device", "cpu")
    done = entorhinal("run", "controls/ideal_grid", "--tasks", "gridness,cost", "--out", tmp_path / "r", *small)
    assert "grid_score_median" in done.stdout
    again = entorhinal("run", "controls/ideal_grid", "--tasks", "gridness", "--out", tmp_path / "r", *small, "--json")
    assert json.loads(again.stdout)[0]["status"] == "ok"
    assert len(list((tmp_path / "r").glob("*.json"))) == 2
    assert "| lattice given" in entorhinal("table", tmp_path / "r").stdout
    entorhinal("table", tmp_path / "r", "--format", "tex", "--out", tmp_path / "board.tex")
    assert r"\toprule" in (tmp_path / "board.tex").read_text()
    assert "stensola2012" in (tmp_path / "board.bib").read_text()


BROKEN = """
from entorhinal.families import Card, Config, Model

class Broken(Model):
    Config = Config
    card = Card(id="mine/broken-v1", title="Broken", citation="@misc{b}", lattice="none", supervision="none")

    def represent(self, trajectories, state=None, *, generator=None):
        """


def mine(folder: Path, what: str) -> dict[str, str]:
    (folder / "broken.py").write_text(BROKEN + what)
    return {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(folder))),
        "ENTORHINAL_MODELS": "mine/broken=broken:Broken,gone/model=no_such_module:Model",
    }


def test_many_models_are_run_as_they_ship_and_what_fails_is_a_row(tmp_path) -> None:
    models = "coding_theory/residue,controls/random_rnn,mine,gone,ssl/vicreg"
    words = ("run", "--models", models, "--tasks", "cost", "--seeds", 2, "--device", "cpu", "--out", tmp_path / "r")
    found = mine(tmp_path, 'raise RuntimeError("the sheet tore")')
    done = entorhinal(*words, code=1, **found)
    assert "4 records in" in done.stdout
    assert "0 there already, 1 failed" in done.stdout
    assert "mine/broken-v1 cost-v1 seed 0: failed" in done.stdout
    assert "RuntimeError: the sheet tore" in done.stdout
    assert "left out: model: model 'gone/model-v1'" in done.stderr
    assert "not run: ssl/vicreg-v1 must be trained" in done.stderr
    assert "entorhinal train ssl/vicreg-v1 --set steps=12000 --out FOLDER" in done.stderr
    assert "1/4 coding_theory/residue-v1 · cost-v1 · seed 0" in done.stderr
    again = entorhinal(*words, code=1, **found)
    assert "4 records in" in again.stdout
    assert "3 there already, 1 failed" in again.stdout
    table = entorhinal("table", tmp_path / "r", "--metrics", "step_ms", **found).stdout
    rows = {line.split("|")[2].strip(): line.split("|")[4].strip() for line in table.splitlines() if "-v1 " in line}
    assert rows == {
        "coding_theory/residue-v1": "deterministic",
        "controls/random_rnn-v1": "2",
        "mine/broken-v1": "deterministic",
    }
    assert "failed: RuntimeError: the sheet tore" in table


def test_an_interrupt_loses_the_running_task_alone(tmp_path) -> None:
    """The second model sleeps in its task until it is interrupted; the first one's record stays, and is not redone."""
    out = tmp_path / "r"
    words = ("run", "--models", "coding_theory/residue,mine", "--tasks", "cost", "--device", "cpu", "--out", out)
    found = mine(tmp_path, 'import pathlib, time; pathlib.Path(__file__).with_name("asleep").touch(); time.sleep(600)')
    process = subprocess.Popen(
        [sys.executable, "-m", "entorhinal.benchmarks.cli", *map(str, words)],
        env=os.environ | found,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore it
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "asleep").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "stopped: 1 records were written" in said
    assert len(list(out.iterdir())) == 1
    found = mine(
        tmp_path,
        "import torch; from entorhinal.families import Representation; "
        "return Representation(torch.ones(trajectories.batch, trajectories.steps, 3))",
    )
    assert "2 records in" in (done := entorhinal(*words, **found).stdout)
    assert "1 there already, 0 failed" in done


def test_one_figure(tmp_path) -> None:
    done = entorhinal("figures", "economy_ratio", "--out", tmp_path, "--json")
    verdicts = json.loads(done.stdout)
    assert verdicts
    for suffix in ("pdf", "png", "csv"):
        assert (tmp_path / f"economy_ratio.{suffix}").stat().st_size > 0
    assert {v["figure"] for v in json.loads((tmp_path / "claims.json").read_text())} == {"economy_ratio"}
    assert verdicts[0]["statement"] in (tmp_path / "claims.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("info", "controls/ideal_gird"), "did you mean 'controls/ideal_grid-v1'"),
        (("check", "controls/ideal_grid", "--set", "spacing=0.3"), "did you mean 'spacing_m'"),
        (("check", "controls/ideal_grid", "--set", "units_per_module=-3"), "units_per_module = -3"),
        (("check", "controls/ideal_grid", "--set", "nonsense"), "not of the form key=value"),
        (("run", "controls/ideal_grid", "--tasks", "gridnes", "--out", "x"), "did you mean 'gridness-v2'"),
        (("run", "controls/ideal_grid", "--suite", "cor", "--out", "x"), "did you mean 'core'"),
        (("run", "controls/ideal_grid", "--device", "cuda9", "--out", "x"), "device 'cuda9'"),
        (("run", "--out", "x"), "give one model"),
        (("run", "controls/ideal_grid", "--models", "all", "--out", "x"), "give one model"),
        (("run", "--models", "control", "--out", "x"), "did you mean 'controls'"),
        (("run", "none.safetensors", "--out", "x"), "no such file"),
        (("table", "no_such_folder"), "no folder 'no_such_folder'"),
        (("table", "--format", "markdown"), "unknown format 'markdown'"),
        (("table", "--release", "0.0"), "no release '0.0'; there are:"),
        (("table", "--verify"), "--verify needs --release"),
        (("figures", "gridnes"), "did you mean 'gridness'"),
        (("cite", "controls/ideal"), "did you mean 'controls/ideal_grid-v1'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(words: tuple[str, ...], message: str, tmp_path, refused) -> None:
    assert message in refused(*(tmp_path / word if word == "x" else word for word in words))


def test_recordings_with_nan_are_refused_or_bridged(tmp_path, refused) -> None:
    time_s = np.arange(0, 130, 0.02)
    position_m = 0.5 + 0.4 * np.stack((np.cos(time_s), np.sin(1.3 * time_s)), -1)
    position_m[40:43] = np.nan
    np.savez(tmp_path / "path.npz", t=time_s, pos=position_m)
    words = (
        "run",
        "controls/ideal_grid",
        "--tasks",
        "gridness",
        "--out",
        tmp_path / "r",
        "--set",
        "units_per_module=2",
    )
    line = refused(*words, "--recording", tmp_path / "path.npz")
    assert "3 NaN samples" in line
    assert "--bridge-gaps" in line
    entorhinal(*words, "--recording", tmp_path / "path.npz", "--bridge-gaps", "--device", "cpu")
    assert "no such file" in refused(*words, "--recording", tmp_path / "none.npz")


def test_truncated_files_are_named(tmp_path, refused) -> None:
    entorhinal("run", "controls/ideal_grid", "--tasks", "cost", "--out", tmp_path, "--device", "cpu")
    (record,) = tmp_path.glob("*.json")
    text = record.read_text()
    (tmp_path / "half.json").write_text(text[:100])
    done = entorhinal("table", tmp_path)
    assert "half.json" in done.stderr
    assert "Left out: record" in done.stdout
    assert "lattice given" in done.stdout
    assert "did you mean 'step_ms'" in refused("table", tmp_path, "--metrics", "step_m")
    record.write_text(text[:100])
    assert record.name in refused("table", tmp_path)


SMALL_SIC = [
    word for key, value in {"units": 6, "hidden": 4, "steps_per_trajectory": 5, "trajectories": 3}.items()
    for word in ("--set", f"{key}={value}")
]  # fmt: skip


def test_train_then_run_then_table(tmp_path) -> None:
    out = tmp_path / "run"
    done = entorhinal("train", "ssl/sic", *SMALL_SIC, "--steps", 20, "--seeds", 2, "--out", out, "--half")
    assert "seed0.safetensors" in done.stdout
    assert "total" in done.stderr
    assert len((out / "history.csv").read_text().splitlines()) == 41
    refused = entorhinal("train", "ssl/sic", *SMALL_SIC, "--steps", 20, "--seeds", 2, "--out", out, "--half", code=2)
    assert "--resume" in refused.stderr
    again = entorhinal(
        "train", "ssl/sic", *SMALL_SIC, "--steps", 20, "--seeds", 2, "--out", out, "--half", "--resume", "--json"
    )
    checkpoint = json.loads(again.stdout)[1]
    entorhinal("run", checkpoint, "--tasks", "cost", "--out", tmp_path / "records")
    board = entorhinal("table", tmp_path / "records", "--format", "csv").stdout
    assert "ssl/sic-v1" in board
    assert "pairs" in board


def test_train_for_a_time(tmp_path, refused) -> None:
    words = ("train", "ssl/sic", "--preset", "paper", *SMALL_SIC, "--out", tmp_path, "--device", "cpu")
    assert "at_most_seconds is 0" in refused(*words, "--minutes", 0)
    assert "seed7.safetensors" in entorhinal(*words, "--set", "seed=7", "--minutes", 0.005).stdout
    trained = json.loads((tmp_path / "seed7.json").read_text())["provenance"]["training"]
    assert 0 < trained["steps"] < 2_000_000
    assert f"at step {trained['steps']} of 2000000" in trained["cut_short"]


def test_train_refuses_bad_input(tmp_path, refused) -> None:
    for words, message in (
        (("--set", "trajectories=1"), "trajectories = 1"),
        (("--steps", 0), "steps = 0"),
        (("--preset", "tinny"), "did you mean 'tiny'"),
        (("--precision", "float8"), "precision is 'float8'"),
    ):
        out = tmp_path / "out"
        assert message in refused("train", "ssl/sic", *SMALL_SIC, *words, "--out", out)
        assert not list(out.glob("*.safetensors"))
    assert "cannot be trained" in refused("train", "controls/ideal_grid", "--out", tmp_path / "b")


def test_sweep_says_what_it_would_run_and_runs_it(tmp_path) -> None:
    (tmp_path / "lr.toml").write_text(
        'model = "ssl/sic"\n[set]\nunits = 6\nhidden = 4\nsteps_per_trajectory = 5\ntrajectories = 3\nsteps = 3\n'
        "[grid]\nlr = [1e-3, 1e-4]\n"
    )
    out = tmp_path / "out"
    dry = entorhinal("sweep", tmp_path / "lr.toml", "--out", out, "--dry-run").stdout
    assert "2 networks, 0 there already" in dry
    assert "lr=0.001 seed=0" in dry
    assert not out.exists()
    assert "sweep.csv" in entorhinal("sweep", tmp_path / "lr.toml", "--out", out).stdout
    assert "2 networks, 2 there already" in entorhinal("sweep", tmp_path / "lr.toml", "--out", out, "--dry-run").stdout
