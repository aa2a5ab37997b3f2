"""What does a model in a package of its own look like?  The files that ``entorhinal new`` writes."""

import re
from pathlib import Path
from string import Template

from entorhinal.families.errors import InputError
from entorhinal.families.registry import entries, versioned

__all__ = ["write_package"]

_ID = re.compile(r"([a-z][a-z0-9_]*)/([a-z][a-z0-9_]*)-v[1-9][0-9]*")


def write_package(id: str, folder: Path) -> list[Path]:
    """Write a working package for the model ``id`` into ``folder``, and return the files written.

    An id that is none or is taken, and a folder that has something in it, raise `InputError`; nothing is written then.
    """
    full = versioned(id)
    if not (parts := _ID.fullmatch(full)):
        raise InputError(
            f"model id {id!r} is not of the form family/name: small letters, digits and _, each beginning with a letter"
        )
    if full in (known := entries()):
        raise InputError(f"model {full!r} is there already, from {known[full].provider}; choose another name")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"folder {str(folder)!r} is there already and not empty; give a new one")
    package = f"{parts[1]}_{parts[2]}"
    words = {
        "id": full,
        "package": package,
        "project": f"entorhinal-{package.replace('_', '-')}",
        "model": "".join(word.capitalize() for word in package.split("_")),
    }
    written = []
    for name, text in _FILES.items():
        path = folder / Template(name).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(words))
        written.append(path)
    return written


_PYPROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$project"
version = "0.1.0"
description = "The model $id for entorhinal"
requires-python = ">=3.11"
dependencies = ["entorhinal"]

[project.optional-dependencies]
dev = ["pytest"]

[project.entry-points."entorhinal.models"]
"$id" = "$package.model:$model"

[tool.hatch.build]
dev-mode-dirs = ["."]

[tool.hatch.build.targets.wheel]
packages = ["$package"]
"""

_README = """# $project

The model `$id` for entorhinal, which must be installed first.

    pip install -e '.[dev]'
    entorhinal check $id
    pytest
    entorhinal run $id --out records
    entorhinal table records
"""

_INIT = '''"""The model $id for entorhinal."""
'''

_MODEL = '''"""$id: a square lattice, to be replaced by a model of yours.

Say here what the idea is, its equations with their source, and where the code departs from it. As it stands, unit n
fires with the product of two cosines along x and y, r_n = Π_d (1 + cos(2π x_d / spacing + φ_n)) / 2.
"""

import math

import torch
from torch import Tensor

from entorhinal.families import Card, Config, Model, Representation


class ${model}Config(Config):
    spacing_m: float = 0.4
    units: int = 16


class $model(Model):
    Config = ${model}Config
    card = Card(
        id="$id",
        title="Square lattice",
        citation="@misc{$package, title = {$id}, author = {Its authors}, year = {2026}}",
        lattice="given",
        supervision="none",
        provenance={"spacing_m": "chosen here", "units": "chosen here"},
        interface_version=1,
    )

    def initial_state(self, start_m: Tensor) -> Tensor:  # having this method says: I integrate paths
        return start_m.double()

    def represent(self, trajectories, state=None, *, generator=None) -> Representation:
        before_m = self.initial_state(trajectories.start_m) if state is None else state
        position_m = before_m[:, None] + trajectories.displacement_m.double().cumsum(1)  # (B, T, 2)
        phase = torch.linspace(0, 2 * math.pi, self.config.units + 1, device=position_m.device)[:-1]
        angle = 2 * math.pi * position_m[..., None] / self.config.spacing_m + phase  # (B, T, 2, N)
        rates = ((1 + angle.cos()) / 2).prod(-2)
        return Representation(rates.to(trajectories.start_m.dtype), position_m[:, -1])
'''

_TEST = '''"""The model keeps its word, and its lattice has the spacing that it was given."""

import torch

from entorhinal.families import Arena, World, make, parametrize_with_checks


@parametrize_with_checks("$id")
def test_it_passes_every_check(check) -> None:
    check()


def test_rates_repeat_after_one_spacing_and_not_before() -> None:
    model = make("$id", spacing_m=0.5)
    walk = World(Arena.square(1.0)).walk(batch=2, steps=50, seed=0)
    here = model.represent(walk).rates
    for shift_m, same in ((0.5, True), (0.2, False)):
        moved = model.represent(walk, walk.start_m.double() + shift_m).rates
        assert torch.allclose(here, moved, atol=1e-5) == same
'''

_FILES = {
    "pyproject.toml": _PYPROJECT,
    "README.md": _README,
    "$package/__init__.py": _INIT,
    "$package/model.py": _MODEL,
    "tests/test_model.py": _TEST,
}
