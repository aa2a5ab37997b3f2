"""A new package works as it is written, next to the wheel, in an environment of its own; and so does the tutorial."""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from entorhinal.families.errors import InputError
from entorhinal.families.template import write_package

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "add_a_model.md").read_text()


def files(folder: Path) -> dict[str, str]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".pyc", ".pth"}]
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def test_the_example_is_what_is_written(tmp_path) -> None:
    written = write_package("example/grid_cosine", tmp_path / "new")
    assert files(tmp_path / "new") == files(ROOT / "tests" / "plugin_example")
    assert {str(path.relative_to(tmp_path / "new")) for path in written} == set(files(tmp_path / "new"))


def test_bad_ids_and_full_folders_are_refused_and_nothing_is_written(tmp_path) -> None:
    for id, why in (
        ("Mine/model", "small letters"),
        ("mine", "not of the form family/name"),
        ("mine/2d", "beginning with a letter"),
        ("controls/ideal_grid", "is there already, from entorhinal"),
    ):
        with pytest.raises(InputError, match=why):
            write_package(id, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    for folder in (tmp_path / "full", tmp_path / "full" / "mine.txt"):
        with pytest.raises(InputError, match="not empty"):
            write_package("mine/model", folder)
    assert files(tmp_path / "full") == {"mine.txt": "kept"}


def test_any_allowed_name_makes_a_model_that_can_be_imported(tmp_path, monkeypatch) -> None:
    from entorhinal.families import check_model

    write_package("mine/model-v2", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ENTORHINAL_MODELS", "mine/model-v2=mine_model.model:MineModel")
    check_model("mine/model-v2")


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> dict[str, str]:
    """Variables of a virtual environment with the wheel; what the wheel depends on comes from this one's packages."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = folder / "venv" / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {folder}/venv/bin/python -m pip "$@"\n')
    pip.chmod(0o755)
    environment = {
        "PATH": f"{folder}/venv/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the wrong way round: there is none
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_QUIET": "1",
        "PIP_IGNORE_INSTALLED": "1",
    }
    wheel = [sys.executable, "-m", "hatchling", "build", "-d", str(folder / "wheel")]
    subprocess.run(wheel, cwd=ROOT, check=True, capture_output=True)
    (built,) = (folder / "wheel").glob("*.whl")
    shell(f"pip install {built}", folder, environment)
    return environment


def shell(script: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(["bash", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_example_is_installed_next_to_the_wheel_and_passes_its_own_test(tmp_path, clean) -> None:
    write_package("example/grid_cosine", tmp_path / "example")
    shown = shell("pip install ./example; entorhinal list --json", tmp_path, clean)
    assert '"provider": "entorhinal-example-grid-cosine"' in shown
    found = shell('cd example; python -c "import entorhinal; print(entorhinal.__file__)"', tmp_path, clean)
    assert "/venv/" in found, "the wheel, not the checkout"
    assert "failed" not in shell("python -m pytest -p no:cacheprovider example", tmp_path, clean)
    shell("pip uninstall -y entorhinal-example-grid-cosine", tmp_path, clean)


def test_every_block_of_the_tutorial_runs_and_ends_in_the_leaderboard(tmp_path, clean) -> None:
    blocks = re.findall(r"<!-- (run|write: \S+) -->\n```\w+\n(.*?)```", TUTORIAL, re.DOTALL)
    assert len(blocks) == TUTORIAL.count("```") / 2, "every block is run"
    shown = ""
    for kind, text in blocks:
        if kind == "run":
            shown += shell(text, tmp_path, clean)
        else:
            (tmp_path / kind.removeprefix("write: ")).write_text(text)
    (row,) = [line for line in shown.splitlines() if line.startswith("| scale given")]
    assert re.match(r"\| scale given +\| waves/isometric-v1 +\| nothing +\| 2 +\|", row)
    assert "| no lattice" in shown
    assert "@misc{waves," in shown
    assert (tmp_path / "runs" / "waves" / "seed1.safetensors").is_file()
