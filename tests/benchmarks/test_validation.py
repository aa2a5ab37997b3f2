"""The frame of the validation table, and that its rows hold."""

import math

import pytest
import torch

from entorhinal.benchmarks import validation
from entorhinal.benchmarks.validation import NullRow, Row, markdown, measure_table, null_table, turn_rad, write_section


def test_rows_of_the_lattice_hold(monkeypatch) -> None:
    monkeypatch.setattr(validation, "UNITS", 6)
    rows = validation.lattice_rows()
    assert not [row for row in rows if not row.holds]
    assert {row.measure for row in rows} >= {"spacing (Fourier)", "orientation (autocorrelogram)"}


def test_rows_of_the_score_hold(monkeypatch) -> None:
    monkeypatch.setattr(validation, "UNITS", 5)
    assert not [row for row in validation.score_rows() if not row.holds]


def test_rows_fail_where_the_measure_is_wrong(monkeypatch) -> None:
    """Lattices told a bin of the wrong size are 5 % off, and say so."""
    monkeypatch.setattr(validation, "UNITS", 2)
    monkeypatch.setattr(validation, "SPACINGS_M", (0.5,))
    monkeypatch.setattr(validation, "BIN_M", 0.042)
    for row in validation.lattice_rows():
        assert row.holds != row.measure.startswith("spacing"), row


def test_nan_holds_nowhere() -> None:
    assert not Row("m", "p", "k", "s", math.nan).holds
    assert Row("m", "p", "k", "s", 3, low=3, high=3).holds
    assert Row("m", "p", "k", "s", 3, low=3, high=3).allowed == "3"
    table = measure_table([Row("m", "p", "k", "s", 2, "%", high=1, median=0.5)])
    assert table.splitlines()[-1] == "| m | p | k | s | 2 % | 0.5 | ≤ 1 % | **fails** |"


def test_null_rows_say_when_a_rate_is_too_high() -> None:
    few, many, none = (NullRow("grid unit", "noise", 10, k, 1000, 0.01) for k in (11, 40, 0))
    assert few.interval[0] < few.rate < few.interval[1]
    assert none.interval[0] == 0
    said = [line.split("|")[-2].strip() for line in null_table([few, many, none]).splitlines()[2:]]
    assert said == ["not told apart", "**above**", "within"]


def test_false_positives_are_counted(monkeypatch) -> None:
    """Null units are called grid units rarely; grids in their place always."""
    bands, cells = (validation.NULLS[name] for name in ("bands", "place cells"))
    monkeypatch.setattr(validation, "NULLS", {"bands": bands, "place cells": cells, "grids": lambda n, g: _grids(n)})
    rows = list(validation.grid_unit_rows(3))
    assert [row.units for row in rows] == [8, 8, 8]
    assert [row.positives for row in rows] == [0, 0, 8]


def _grids(count: int) -> torch.Tensor:
    return validation.regular_grids().maps()[:count]


def test_turns_repeat_every_sixty_degrees() -> None:
    found = turn_rad(torch.tensor([0.01, 1.0]), torch.tensor([math.pi / 3 - 0.01, 1.2]))
    torch.testing.assert_close(found, torch.tensor([0.02, 0.2]))


def test_a_section_is_replaced_and_nothing_else(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- end a -->\nbetween\n<!-- b -->\n<!-- end b -->\nafter\n")
    write_section(page, "a", "new\n")
    write_section(page, "b", markdown(("x",), [("1",)]))
    assert page.read_text() == (
        "before\n<!-- a -->\nnew\n<!-- end a -->\nbetween\n<!-- b -->\n| x |\n| --- |\n| 1 |\n<!-- end b -->\nafter\n"
    )
    with pytest.raises(ValueError, match="no section 'c'"):
        write_section(page, "c", "x")
