"""The rows of the sheets' bench are made; how fast they are is for `make bench` to say."""

import torch

from entorhinal.benchmarks import bench, bench_attractors
from entorhinal.benchmarks.bench import Rates


def test_rows_compare_steps_with_transforms_and_the_loop(monkeypatch) -> None:
    monkeypatch.setattr(bench, "SECONDS", 0.01)
    monkeypatch.setattr(bench_attractors, "TRIALS", (1, 2))
    rows = bench_attractors.sheet_rows(torch.device("cpu"), Rates(1e12, 1e12))
    assert [row.what for row in rows] == ["128² sheet, a step of 1 trial"] * 2 + ["128² sheet, a step of 2 trials"] * 2
    assert {row.against for row in rows} == {"its two real transforms", "steps one by one, no graph"}
    assert all(row.ours_ms > row.floor_ms > 0 < row.other_ms for row in rows)
