"""The rows of the speed bench are made; how fast they are is for `make bench` to say."""

import numpy as np
import pytest
import torch

from entorhinal.benchmarks import bench, bench_analysis
from entorhinal.benchmarks.bench import Rates
from entorhinal.benchmarks.public_scorers import Scores


def test_rows_are_of_all_maps(monkeypatch) -> None:
    monkeypatch.setattr(bench, "SECONDS", 0.01)
    monkeypatch.setattr(bench_analysis, "MAPS", 64)
    rows = bench_analysis.map_rows(torch.device("cpu"), Rates(1e10, 1e10))
    assert {row.what for row in rows} == {"64 maps, score and lattice"}
    assert all(row.ours_ms > row.floor_ms > 0 < row.other_ms for row in rows)
    bench.show(rows)


@pytest.mark.parametrize("reachable", [True, False])
def test_public_scorers_are_timed_or_a_line_says_why_not(monkeypatch, capsys, reachable: bool) -> None:
    def public_scores(maps: torch.Tensor, folder: object) -> list[Scores]:
        if not reachable:
            raise RuntimeError("installing them from PyPI failed [no network]")
        return [Scores("opexebo", "0.7.2", np.zeros(3), ("",) * 3, np.array([1.0, 2.0, 30.0]))]

    monkeypatch.setattr(bench_analysis, "topology_rows", list)
    monkeypatch.setattr(bench_analysis, "public_scores", public_scores)
    bench_analysis.report()
    said = capsys.readouterr().out
    assert ("opexebo 0.7.2" in said and " 2e+03 " in said) == reachable
    assert ("public scorers are not timed: installing them from PyPI failed [no network]" in said) != reachable
