"""The rows of the speed bench are made; how fast they are is for `make bench` to say."""

import torch

from entorhinal.benchmarks import bench, bench_analysis
from entorhinal.benchmarks.bench import Rates


def test_rows_are_of_all_maps(monkeypatch) -> None:
    monkeypatch.setattr(bench, "SECONDS", 0.01)
    monkeypatch.setattr(bench_analysis, "MAPS", 64)
    rows = bench_analysis.map_rows(torch.device("cpu"), Rates(1e10, 1e10))
    assert {row.what for row in rows} == {"64 maps, score and lattice"}
    assert all(row.ours_ms > row.floor_ms > 0 < row.other_ms for row in rows)
    bench.show(rows)
