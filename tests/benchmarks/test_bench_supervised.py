"""The table of the bench is made; how fast it all is, is for `make bench` to say."""

import pytest

from entorhinal.benchmarks import bench, bench_supervised
from entorhinal.benchmarks.bench import Rates


def test_the_floor_counts_products_and_what_adam_moves() -> None:
    operations = 0
    for rows, columns, depth in [(7 * 20, 30, 30), (7 * 20, 512, 30), (7, 30, 512)]:  # W, W_out, W_0
        operations += 3 * 2 * rows * columns * depth  # forward, by input, by weight
    parameters = 30 * 30 + 30 * 512 + 512 * 30 + 30 * 2
    found = bench_supervised.floor_ms(3, 30, 7, Rates(operations=1e9, bytes=1e8))
    assert found == pytest.approx(3e3 * (operations / 1e9 + 7 * 4 * parameters / 1e8))


def test_a_row_for_each_size(monkeypatch, capsys) -> None:
    monkeypatch.setattr(bench, "SECONDS", 0.01)
    monkeypatch.setattr(bench_supervised, "BLOCK", 1)
    monkeypatch.setattr(bench_supervised, "SIZES", {"cpu": ((1, 8, 2), (2, 8, 3))})
    bench_supervised.report(("tf32", "bf16"), "cpu")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    sizes = [["tf32", "1", "8", "2"], ["tf32", "2", "8", "3"]]  # a CPU has one precision
    names = "supervised/sorscher", "supervised/nayebi"
    small = [["supervised/banino", "tf32", "2", "512", "4"], ["supervised/cueva_wei", "tf32", "2", "100", "4"]]
    assert [row[:5] for row in rows] == [*([name, *size] for name in names for size in sizes), *small]
    assert all(float(row[5]) > float(row[7]) > 0 < float(row[-1]) for row in rows)


def test_operations_of_the_small_networks_are_those_of_their_weights() -> None:
    for kind, operations in bench_supervised.SMALL.items():
        config = kind.Config()
        rows = config.batch * config.steps_per_trajectory
        weights = {
            name: each.numel()
            for name, each in kind.make().named_parameters()
            if each.ndim == 2 and not name.startswith("start")  # used once a walk
        }
        assert operations(config) == pytest.approx(3 * 2 * rows * sum(weights.values()), rel=0.01)


def test_weights_are_counted_as_the_models_have_them() -> None:
    for kind, (_, weights) in bench_supervised.KINDS.items():
        numbers = sum(each.numel() for each in kind.make(units=200, place_cells=50).parameters())
        assert numbers == pytest.approx(200 * (weights * 200 + 2 * 50 + 2), rel=0.02)  # but for biases
