"""The frame of the validation table, and that its rows hold; parts on fewer units and seeds than the table has."""

import math
import sys
from functools import partial

import pytest
import torch

from entorhinal.analysis import orientation_difference
from entorhinal.benchmarks import validation
from entorhinal.benchmarks.synthetic import BETTI, CONTINUA, modules
from entorhinal.benchmarks.validation import NullRow, Row, __main__, codes, maps, markdown, paths, seeds, states
from entorhinal.benchmarks.validation import modules as groups
from entorhinal.benchmarks.validation.rows import measure_table, null_table, part_right, within, write_section


def failing(rows: list[Row]) -> list[Row]:
    assert rows
    return [row for row in rows if not row.holds]


def test_rows_of_the_lattice_hold(monkeypatch) -> None:
    monkeypatch.setattr(maps, "UNITS", 6)
    rows = maps.lattice_rows()
    assert not failing(rows)
    assert {row.measure for row in rows} >= {"spacing (Fourier)", "orientation (autocorrelogram)"}


def test_rows_of_the_score_hold(monkeypatch) -> None:
    monkeypatch.setattr(maps, "UNITS", 5)
    assert not failing(maps.score_rows())


def test_rows_fail_where_the_measure_is_wrong(monkeypatch) -> None:
    """Lattices told a bin of the wrong size are 5 % off, and say so."""
    monkeypatch.setattr(maps, "UNITS", 2)
    monkeypatch.setattr(maps, "SPACINGS_M", (0.5,))
    monkeypatch.setattr(maps, "BIN_M", 0.042)
    for row in maps.lattice_rows():
        assert row.holds != row.measure.startswith("spacing"), row


def test_rows_of_modules_hold(monkeypatch) -> None:
    for name, value in (("SEEDS", 1), ("WIDE_SEEDS", 1), ("WIDE_BINS", (64,))):
        monkeypatch.setattr(groups, name, value)
    rows = groups.module_rows()
    assert not failing(rows)
    assert [row.known for row in rows if row.measure == "module count"] == ["1", "2", "3", "5"]


def test_rows_of_independence_hold_and_tell_harmonics(monkeypatch) -> None:
    monkeypatch.setattr(groups, "PAIR_SEEDS", 1)
    monkeypatch.setattr(groups, "INDICES", (3,))
    monkeypatch.setattr(groups, "RATIOS", {"1.42": 1.42})
    assert not failing(groups.independence_rows())
    monkeypatch.setattr(groups, "INDICES", ())
    alike = groups.harmonic_modules(4, torch.Generator().manual_seed(0))
    monkeypatch.setattr(groups.synthetic, "modules", lambda *_, **__: alike)
    assert [row.known for row in failing(groups.independence_rows())] == ["independent"]


def test_rows_of_phases_hold(monkeypatch) -> None:
    monkeypatch.setattr(groups, "PHASE_SETS", 80)
    monkeypatch.setattr(groups, "phase_uniformity", partial(groups.phase_uniformity, draws=100))
    assert not failing(groups.phase_rows())


def test_rows_of_paths_hold(monkeypatch) -> None:
    monkeypatch.setattr(paths, "STEPS", 600)
    rows = paths.integration_rows() + paths.localisation_rows() + paths.attractor_rows()
    assert not failing(rows)
    assert len({(row.measure, row.population) for row in rows}) >= 20


def test_rows_of_paths_fail_where_a_second_is_too_short(monkeypatch) -> None:
    """Growth in time is a quarter too large, growth with distance and the rest are right."""
    measured = paths.integration_error
    monkeypatch.setattr(paths, "STEPS", 600)
    monkeypatch.setattr(paths, "integration_error", lambda *a, **k: measured(*a, **{**k, "dt_s": 0.8 * paths.DT_S}))
    assert {row.measure for row in failing(paths.integration_rows())} == {"growth of variance by time"}


def test_rows_of_codes_hold(monkeypatch) -> None:
    monkeypatch.setattr(codes, "METRIC_UNITS", 400)
    assert not failing(codes.capacity_rows() + codes.isometry_rows() + codes.robustness_rows())


def test_rows_of_statistics_hold(monkeypatch) -> None:
    monkeypatch.setattr(seeds, "EXPERIMENTS", 150)
    monkeypatch.setattr(seeds, "FAMILIES", 200)
    monkeypatch.setattr("entorhinal.analysis.statistics.RESAMPLES", 499)
    rows = seeds.statistics_rows()
    assert not failing([row for row in rows if row.low < 0])
    coverage = [row.found for row in rows if row.low > 0]
    assert len(coverage) == 4
    assert all(0.83 < part < 0.98 for part in coverage), "of 150 experiments; the table has 1,000"


def test_surfaces_are_judged_by_their_own_numbers(monkeypatch) -> None:
    """With homology that always says torus, tori hold and the others fail."""

    class Torus:
        betti, is_torus = torch.tensor(BETTI["torus"]), True

    monkeypatch.setattr(states, "torus", lambda *_, **__: Torus())
    monkeypatch.setattr(states, "_coordinate_row", lambda: Row("coordinates", "p", "k", "s", 1))
    rows = states.topology_rows()
    holding = {row.known for row in rows if row.holds and row.measure == "Betti numbers"}
    assert holding == {"torus (1, 2, 1)", "square torus (1, 2, 1)"}
    assert {row.known: row.holds for row in rows if row.measure == "torus or not"} == {
        "a torus": True,
        "no torus": False,
    }
    assert "part right of 2, else (1, 2, 1)" in {row.statistic for row in rows if not row.holds}


def test_a_sphere_is_no_torus(monkeypatch) -> None:
    pytest.importorskip("gudhi")
    pytest.importorskip("ripser")
    for name, value in (("RUNS", {150: 1}), ("ROLLS", 1), ("MOMENTS", 1000)):
        monkeypatch.setattr(states, name, value)
    sphere = {name: each for name, each in states.SURFACES.items() if each[0] == "sphere"}
    monkeypatch.setattr(states, "SURFACES", sphere)
    assert not failing([row for row in states.topology_rows() if row.found == row.found])


def test_nan_holds_nowhere() -> None:
    assert not Row("m", "p", "k", "s", math.nan).holds
    assert Row("m", "p", "k", "s", 3, low=3, high=3).holds
    assert Row("m", "p", "k", "s", 3, low=3, high=3).allowed == "3"
    table = measure_table([Row("m", "p", "k", "s", 2, "%", high=1, median=0.5)])
    assert table.splitlines()[-1] == "| m | p | k | s | 2 % | 0.5 | ≤ 1 % | **fails** |"


def test_rows_of_errors_and_of_answers() -> None:
    row = within("m", "p", "k", torch.tensor([1.0, 3, 2]), 3, "%")
    assert (row.found, row.median, row.holds, row.statistic) == (3, 2, True, "largest error")
    assert not within("m", "p", "k", torch.tensor([1.0, math.nan]), 3).holds
    assert math.isnan(within("m", "p", "k", 1.0, 3).median)
    assert part_right("m", "p", "k", [True, True]).holds
    one = part_right("m", "p", "k", [True, False])
    assert (one.found, one.holds, one.statistic) == (0.5, False, "part right of 2")


def test_null_rows_say_when_a_rate_is_too_high() -> None:
    few, many, none = (NullRow("grid unit", "noise", 10, k, 1000, 0.01) for k in (11, 40, 0))
    assert few.interval[0] < few.rate < few.interval[1]
    assert none.interval[0] == 0
    said = [line.split("|")[-2].strip() for line in null_table([few, many, none]).splitlines()[2:]]
    assert said == ["not told apart", "**above**", "within"]


def test_false_positives_are_counted(monkeypatch) -> None:
    """Null units are called grid units rarely; grids in their place always."""
    bands, cells = (maps.NULLS[name] for name in ("bands", "place cells"))
    monkeypatch.setattr(maps, "NULLS", {"bands": bands, "place cells": cells, "grids": lambda n, g: _grids(n)})
    rows = list(maps.grid_unit_rows(3))
    assert [row.judged for row in rows] == [8, 8, 8]
    assert [row.positives for row in rows] == [0, 0, 8]


def test_continua_are_called_modules_rarely_and_modules_always(monkeypatch) -> None:
    kinds = {**CONTINUA, "modules": lambda count, generator: modules(3, generator, units=count // 3)}
    monkeypatch.setattr(groups, "CONTINUA", kinds)
    monkeypatch.setattr(groups, "SIZES", (30,))
    rows = list(groups.several_module_rows(5 * 6))
    assert [row.judged for row in rows] == [6] * 5
    assert sum(row.positives for row in rows[:-1]) <= 3
    assert rows[-1].positives == 6


def test_wrong_verdicts_are_counted(monkeypatch) -> None:
    """With homology that always says torus, what is none is wrong, and tori are right."""
    units = []

    def judge(given: torch.Tensor, **_: int) -> object:
        units.append(given.shape[1])
        return type("Torus", (), {"is_torus": True})

    monkeypatch.setattr(states, "torus", judge)
    monkeypatch.setattr(states, "MOMENTS", 50)
    rows = list(states.torus_verdict_rows(5 * 11))
    assert [(row.verdict, row.positives) for row in rows] == [("a torus", 5)] * 5 + [("no torus", 0)] * 6
    assert units == 11 * [20, 40, 80, 160, 20]


def test_the_command_writes_one_section(monkeypatch, tmp_path, capsys) -> None:
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- {x} -->\nold {x}\n<!-- end {x} -->\n" for x in ("grid unit nulls", "module nulls")))

    def called(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["validation", *arguments])
        with pytest.raises(SystemExit) as done:
            __main__.main()
        return done.value.code

    row = NullRow("several modules", "kind", 10, 1, 10, 0.05)
    monkeypatch.setattr(validation, "FALSE_POSITIVES", {x: (lambda n: [row], 1) for x in ("grid unit", "module")})
    assert called("--nulls", "10", "--only", "module", "--out", str(page)) == 0
    assert "old grid unit nulls" in page.read_text()
    assert "old module nulls" not in page.read_text()
    assert "| several modules | kind | 10 | 10 | 1 | 10.00 % |" in page.read_text()
    assert called("--only", "module") == 2
    monkeypatch.setattr(validation, "PARTS", (lambda: [Row("m", "p", "k", "s", 2, high=1)],))
    assert called() == 1
    assert "**fails**" in capsys.readouterr().out


def _grids(count: int) -> torch.Tensor:
    return maps.regular_grids().maps()[:count]


def test_turns_repeat_every_sixty_degrees() -> None:
    found = orientation_difference(torch.tensor([0.01, 1.0]), torch.tensor([math.pi / 3 - 0.01, 1.2]))
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
