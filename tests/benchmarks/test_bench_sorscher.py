"""The table of the bench is made; how fast it all is, is for `make bench` to say."""

import pytest

from entorhinal.benchmarks import bench, bench_sorscher
from entorhinal.benchmarks.bench import Rates


def test_the_floor_counts_products_and_what_adam_moves() -> None:
    operations = 0
    for rows, columns, depth in [(7 * 20, 30, 30), (7 * 20, 512, 30), (7, 30, 512)]:  # W, W_out, W_0
        operations += 3 * 2 * rows * columns * depth  # forward, by input, by weight
    parameters = 30 * 30 + 30 * 512 + 512 * 30 + 30 * 2
    found = bench_sorscher.floor_ms(3, 30, 7, Rates(operations=1e9, bytes=1e8))
    assert found == pytest.approx(3e3 * (operations / 1e9 + 7 * 4 * parameters / 1e8))


def test_a_row_for_each_size(monkeypatch, capsys) -> None:
    monkeypatch.setattr(bench, "SECONDS", 0.01)
    monkeypatch.setattr(bench_sorscher, "BLOCK", 1)
    monkeypatch.setattr(bench_sorscher, "SIZES", {"cpu": ((1, 8, 2), (2, 8, 3))})
    bench_sorscher.report(("tf32", "bf16"), "cpu")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    sizes = [["tf32", "1", "8", "2"], ["tf32", "2", "8", "3"]]  # a CPU has one precision
    names = "supervised/sorscher", "supervised/nayebi"
    assert [row[:5] for row in rows] == [[name, *size] for name in names for size in sizes]
    assert all(float(row[5]) > float(row[7]) > 0 < float(row[-1]) for row in rows)


def test_weights_are_counted_as_the_models_have_them() -> None:
    for kind, (_, _, weights) in bench_sorscher.KINDS.items():
        numbers = sum(each.numel() for each in kind.make(units=200, place_cells=50).parameters())
        assert numbers == pytest.approx(200 * (weights * 200 + 2 * 50 + 2), rel=0.02)  # but for biases
