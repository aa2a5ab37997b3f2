"""The shape of the project: imports go one way, ssl stays importable, listing stays light, the tree stays small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("families", "ssl", "analysis", "benchmarks", "paper_figures")
MAY_IMPORT = {
    "families": set(),
    "ssl": {"families"},
    "analysis": set(),
    "benchmarks": {"families", "ssl", "analysis"},
    "paper_figures": {"families", "ssl", "analysis", "benchmarks"},
}
SSL_MAY_IMPORT_OF_FAMILIES = {"model", "world", "codes", "checkpoint", "errors", "kernel"}
LIMIT_BYTES = 40 * 2**20


def imports_of(path: Path) -> set[str]:
    """Dotted names that a file imports, relative imports resolved, ``from a import b`` as ``a.b``."""
    package = ["entorhinal", *path.relative_to(ROOT).parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for name in imports_of(path):
            parts = name.split(".")
            assert parts[0] not in {"families", "analysis", "benchmarks", "paper_figures"}, f"{path}: {name}"
            if parts[0] != "entorhinal" or len(parts) < 2 or parts[1] not in ROOMS or parts[1] == room:
                continue
            if room == "families" and parts[1] == "analysis":
                assert path.parent.name == "controls", f"{path} imports {name}"
                assert parts[2] == "nulls", f"{path}: controls import only the nulls of analysis, not {name}"
                continue
            assert parts[1] in MAY_IMPORT[room], f"{path} imports {name}"
            if room == "ssl":
                assert parts[2] in SSL_MAY_IMPORT_OF_FAMILIES, f"{path} imports {name}"


def test_only_plots_and_figures_import_matplotlib() -> None:
    for room in ROOMS[:4]:
        for path in (ROOT / room).rglob("*.py"):
            if any(name.startswith(("matplotlib", "seaborn")) for name in imports_of(path)):
                assert path == ROOT / "analysis" / "plots.py", path


def run(code: str, **options) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_standard_library_keeps_its_ssl() -> None:
    assert not (ROOT / "ssl" / "__init__.py").exists()
    code = (
        "import sys; sys.path.insert(0, '.'); import ssl, asyncio, urllib.request, torch; print(ssl.__file__)\n"
        "import entorhinal.ssl"
    )
    assert Path(run(code, cwd=ROOT)).parent != ROOT / "ssl"


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['entorhinal', 'list', '--json']\n"
        "from entorhinal.benchmarks.cli import app\n"
        "app(standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'pandas', 'scipy', 'matplotlib', 'networkx'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert "controls/ideal_grid-v1" in run(code, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, cwd="/")


def test_tracked_files_stay_small() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(file.lstat().st_size for file in files if file.exists()) < LIMIT_BYTES


def test_the_wheel_holds_every_module(tmp_path) -> None:
    """Built from the source distribution, unpacked alone, it lists and imports as the checkout does."""
    import zipfile

    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if "dist-info" not in name}
        archive.extractall(tmp_path / "site")
    wanted = {
        "entorhinal/" + str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted | {"entorhinal/__init__.py", "entorhinal/py.typed"} == names
    code = (
        "import entorhinal.families as f, entorhinal.analysis, entorhinal.benchmarks.cli\n"
        "f.make('controls/ideal_grid')\n"
        "print(f.__file__)"
    )
    found = run(code, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"})
    assert Path(found).is_relative_to(tmp_path / "site")
