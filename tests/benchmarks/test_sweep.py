"""A sweep runs what is missing and nothing else, side by side where it may, and names what is wrong in its file."""

import json
from contextlib import contextmanager

import pytest

from entorhinal.benchmarks import sweep as module
from entorhinal.benchmarks.sweep import Sweep, run_sweep
from entorhinal.families.errors import InputError

SMALL = """
model = "ssl/sic"
seeds = 2
[set]
units = 6
hidden = 4
steps_per_trajectory = 5
trajectories = 3
steps = 3
warmup_steps = 1
"""


@contextmanager
def silent(description):
    yield lambda done, total, text="": None


def plan(tmp_path, text: str, name: str = "a.toml") -> Sweep:
    (tmp_path / name).write_text(SMALL + text)
    return Sweep.read(tmp_path / name)


def test_grid_random_and_list(tmp_path) -> None:
    grid = plan(tmp_path, "[grid]\nlr = [1e-3, 1e-4]\nnear_m = [0.05, 0.1, 0.2]")
    assert len(grid.networks()) == 12
    assert {(n.config["lr"], n.config["near_m"], n.config["seed"]) for n in grid.networks()} == {
        (lr, near, seed) for lr in (1e-3, 1e-4) for near in (0.05, 0.1, 0.2) for seed in (0, 1)
    }
    drawn = plan(
        tmp_path,
        "[random]\nsamples = 50\nseed = 1\nlr = {low = 1e-5, high = 1e-3, log = true}\n"
        "near_m = [0.05, 0.1]\nseparation_width = {low = 0.2, high = 0.4}",
    )
    lrs = [n.config["lr"] for n in drawn.networks()[::2]]
    assert len(lrs) == 50
    assert all(1e-5 <= lr <= 1e-3 for lr in lrs)
    assert 10 < sum(lr < 1e-4 for lr in lrs) < 40  # as many below the geometric mean as above
    assert {n.config["near_m"] for n in drawn.networks()} == {0.05, 0.1}
    assert [n.name for n in drawn.networks()] == [n.name for n in plan(tmp_path, _text(drawn)).networks()]
    listed = plan(tmp_path, "[[list]]\nlr = 1e-3\n[[list]]\ncapacity_weight = 0.2\nhidden = 5")
    assert [n.varied for n in listed.networks()] == [
        {"lr": 1e-3, "seed": 0},
        {"lr": 1e-3, "seed": 1},
        {"capacity_weight": 0.2, "hidden": 5, "seed": 0},
        {"capacity_weight": 0.2, "hidden": 5, "seed": 1},
    ]


def _text(drawn: Sweep) -> str:
    return (
        "[random]\nsamples = 50\nseed = 1\nlr = {low = 1e-5, high = 1e-3, log = true}\n"
        "near_m = [0.05, 0.1]\nseparation_width = {low = 0.2, high = 0.4}"
    )


def test_networks_train_side_by_side_where_they_may(tmp_path) -> None:
    mixed = plan(tmp_path, "[grid]\nlr = [1e-3, 1e-4]\nunits = [6, 7]").populations(tmp_path)
    assert [{n.config["units"] for n in group} for group in mixed] == [{6}, {7}]
    assert [len(group) for group in mixed] == [4, 4]
    (tmp_path / "b.toml").write_text("population = 3\n" + SMALL + "[grid]\nlr = [1e-3, 1e-4]")
    assert [len(group) for group in Sweep.read(tmp_path / "b.toml").populations(tmp_path)] == [3, 1]


def test_a_rerun_does_only_what_is_missing(tmp_path, monkeypatch) -> None:
    trained = []
    real = module.train

    def counting(*words, **options):
        trained.append([config["lr"] for config in options["config"]])
        return real(*words, **options)

    monkeypatch.setattr(module, "train", counting)
    folder = tmp_path / "out"
    first = run_sweep(plan(tmp_path, "[grid]\nlr = [1e-3, 1e-4]"), folder, device="cpu", progress=silent)
    assert trained == [[1e-3, 1e-3, 1e-4, 1e-4]]
    assert list(first["status"]) == ["ok"] * 4
    assert first["total"].notna().all()
    assert not list((folder / "running").iterdir())
    longer = run_sweep(plan(tmp_path, "[grid]\nlr = [1e-3, 1e-4, 1e-5]"), folder, device="cpu", progress=silent)
    assert trained[1:] == [[1e-5, 1e-5]]
    assert len(longer) == 6
    (folder / "networks" / f"{longer['network'][0]}.json").unlink()
    run_sweep(plan(tmp_path, "[grid]\nlr = [1e-3, 1e-4, 1e-5]"), folder, device="cpu", progress=silent)
    assert trained[2:] == [[1e-3]]
    run_sweep(plan(tmp_path, "[grid]\nlr = [1e-3, 1e-4, 1e-5]"), folder, device="cpu", progress=silent)
    assert len(trained) == 3


def test_an_interrupted_sweep_goes_on(tmp_path, monkeypatch) -> None:
    real, states = module.train, []

    def broken(*words, **options):
        def stop(done, total, text=""):
            raise KeyboardInterrupt

        states.append(options["out"])
        return real(*words, **options | ({"progress": stop} if len(states) == 1 else {}))

    monkeypatch.setattr(module, "train", broken)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(plan(tmp_path, ""), tmp_path / "out", device="cpu", progress=silent)
    assert len(run_sweep(plan(tmp_path, ""), tmp_path / "out", device="cpu", progress=silent)) == 2
    assert states[0] == states[1]  # the same run, resumed


def test_a_sweep_may_be_given_a_time(tmp_path) -> None:
    (tmp_path / "t.toml").write_text("minutes = 0.005\n" + SMALL.replace("steps = 3\n", "steps = 1_000_000\n", 1))
    table = run_sweep(Sweep.read(tmp_path / "t.toml"), tmp_path / "out", device="cpu", progress=silent)
    assert list(table["status"]) == ["ok", "ok"]
    assert table["steps"].between(1, 999_999).all()
    (tmp_path / "t.toml").write_text("minutes = 0\n" + SMALL)
    with pytest.raises(InputError, match=r"t\.toml': minutes: Input should be greater than 0"):
        Sweep.read(tmp_path / "t.toml")


def test_networks_are_scored_and_failures_are_rows(tmp_path) -> None:
    (tmp_path / "s.toml").write_text(
        'tasks = ["cost"]\n' + SMALL + "[grid]\nseparation_weight = [1.0, 1e39]"
    )  # not a float32
    table = run_sweep(Sweep.read(tmp_path / "s.toml"), tmp_path / "out", device="cpu", progress=silent)
    assert set(table["status"]) == {"ok", "stopped"}
    good, bad = table[table["status"] == "ok"], table[table["status"] == "stopped"]
    assert (good["units"] == 6).all()
    assert (bad["separation_weight"] == 1e39).all()
    assert bad["error"].str.contains("is not finite").all()
    assert (tmp_path / "out" / "sweep.csv").read_text().count("\n") == 5
    record = next((tmp_path / "out" / "records").glob("*.json"))
    assert json.loads(record.read_text())["model"] == "ssl/sic-v1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grid]\nlrr = [1]", r"unknown config key of ssl/sic-v1 'lrr'; did you mean 'lr'"),
        ("[grid]\nlr = [-1.0]", r"lr = -1.0"),
        ("[grid]\nlr = []", "nothing to run"),
        ("[grid]\nlr = [1e-3]\n[random]\nsamples = 2", r"give one of \[grid\], \[random\] and \[\[list\]\]"),
        ("[random]\nlr = [1e-3]", "needs samples"),
        ("[random]\nsamples = 2\nlr = {low = 1}", r"\[random\] lr"),
        ("[gird]\nlr = [1e-3]", r"unknown key of sweep .*a.toml.* 'gird'; did you mean 'grid'"),
        ("lr = [", "is not TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path, text, message) -> None:
    with pytest.raises(InputError, match=message) as found:
        plan(tmp_path, text)
    assert "a.toml" in str(found.value)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"none.toml': no such file"):
        Sweep.read(tmp_path / "none.toml")
