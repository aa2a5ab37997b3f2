"""A run can be interrupted at any moment, resumed, and equals itself; whatever is wrong is named and loses nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from entorhinal.benchmarks import training
from entorhinal.benchmarks.training import Stopped, read_history, train
from entorhinal.families.checkpoint import load
from entorhinal.families.errors import InputError

ROOT = Path(__file__).parents[2]


class Interrupt:
    """A progress report that sends this process Ctrl-C at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, done: int, total: int, text: str = "") -> None:
        if done == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def weights(paths) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def trained(path: Path) -> dict:
    """What a checkpoint says of its training."""
    return json.loads(path.with_suffix(".json").read_text())["provenance"]["training"]


@pytest.mark.parametrize("options", [
    {"optimizer": "adam", "schedule": "cosine", "warmup_steps": 4},
    {"optimizer": "rmsprop", "momentum": 0.9, "accumulation": 3},
    {"optimizer": "sgd", "momentum": 0.5, "schedule": "plateau", "plateau_patience_steps": 3, "lr": 0.5},
])  # fmt: skip
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(follower, tmp_path, monkeypatch, options) -> None:
    monkeypatch.setattr(training, "_REPORT_SECONDS", -1.0)
    whole = train(follower, seeds=2, config=options, out=tmp_path / "whole")
    broken = tmp_path / "broken"
    for at in (7, 8, 31):
        with pytest.raises(KeyboardInterrupt):
            train(follower, seeds=2, config=options, out=broken, progress=Interrupt(at))
        assert (broken / "state.safetensors").exists()
        assert not list(broken.glob("seed*"))
    resumed = train(follower, seeds=2, config=options, out=broken)
    assert weights(resumed) == weights(whole)
    columns = ["step", "network", "lr", "total", "miss", "size"]
    first, second = (read_history(folder / "history.csv")[columns] for folder in (tmp_path / "whole", broken))
    assert first.equals(second)
    assert len(first) == 80
    assert not (broken / "state.safetensors").exists()


def test_the_plateau_schedule_lowers_the_rate(follower, tmp_path) -> None:
    config = {"schedule": "plateau", "plateau_patience_steps": 5, "lr": 1.0, "optimizer": "sgd", "steps": 60}
    train(follower, config=config, out=tmp_path)
    assert read_history(tmp_path / "history.csv")["lr"].iloc[-1] < 0.2


def test_a_finished_run_is_returned_and_not_run_again(follower, tmp_path) -> None:
    first = train(follower, seeds=2, out=tmp_path)
    before = weights(first)
    calls = []
    again = train(follower, seeds=2, out=tmp_path, progress=lambda done, total, text="": calls.append(done))
    assert again == first
    assert weights(again) == before
    assert not calls


def test_a_checkpoint_says_how_it_came_to_be(follower, tmp_path, monkeypatch) -> None:
    import entorhinal.families.checkpoint as checkpoint

    monkeypatch.setattr(checkpoint, "get_class", lambda id: follower)
    (path,) = train(follower, seeds=[3], out=tmp_path, half=True, data_seed=5)
    assert trained(path)["steps"] == 40
    assert trained(path)["data_seed"] == 5
    assert set(trained(path)["losses"]) == {"total", "miss", "size"}
    model = load(path)
    assert model.config.seed == 3
    assert model.weight.dtype == torch.float32
    history = read_history(tmp_path / "history.csv")
    assert history["total"].iloc[-1] < history["total"].iloc[0]


@pytest.fixture
def known(follower, monkeypatch):
    """The follower, which `load` finds by its id."""
    monkeypatch.setattr("entorhinal.families.checkpoint.get_class", lambda id: follower)
    return follower


STILL = {"lr": 1e-30}


def test_networks_begin_from_those_of_their_seed_or_all_from_one(known, tmp_path) -> None:
    first = train(known, seeds=3, out=tmp_path / "first")
    then = train(known, seeds=[2, 0], config=STILL | {"target": 0.2}, out=tmp_path / "then", start=tmp_path / "first")
    for path, seed in zip(then, (2, 0), strict=True):
        assert torch.equal(load(path).weight, load(first[seed]).weight)
        assert float(load(path).target) == pytest.approx(0.2)
        assert trained(path)["start"] == json.loads(first[seed].with_suffix(".json").read_text())["weights_sha256"]
    one = train(known, seeds=[7, 8], config=STILL, out=tmp_path / "one", start=first[1])
    assert all(torch.equal(load(path).weight, load(first[1]).weight) for path in one)
    assert "start" not in trained(first[0])


def test_training_in_stages_is_training_from_there(known, tmp_path) -> None:
    (half,) = train(known, config={"optimizer": "sgd"}, out=tmp_path / "half")
    (on,) = train(known, config={"optimizer": "sgd", "steps": 60}, out=tmp_path / "on", start=half)
    assert not torch.equal(load(on).weight, load(half).weight)
    losses = [trained(path)["losses"]["total"] for path in (half, on)]
    assert losses[1] < losses[0]


def test_a_resumed_run_must_have_begun_from_the_same_weights(known, tmp_path, monkeypatch) -> None:
    first = train(known, seeds=2, out=tmp_path / "first")
    whole = train(known, config={"steps": 50}, out=tmp_path / "whole", start=first[1])
    monkeypatch.setattr(training, "_REPORT_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        train(known, config={"steps": 50}, out=tmp_path / "run", start=first[1], progress=Interrupt(7))
    for start, shown in ((None, "none"), (first[0], "[0-9a-f]{12}")):
        with pytest.raises(InputError, match=f"start was [0-9a-f]{{12}} and is now {shown}; give another folder"):
            train(known, config={"steps": 50}, out=tmp_path / "run", start=start)
    resumed = train(known, config={"steps": 50}, out=tmp_path / "run", start=first[1])
    assert weights(resumed) == weights(whole)


def test_what_cannot_be_begun_from_is_named_and_nothing_is_written(known, tmp_path) -> None:
    train(known, seeds=2, out=tmp_path / "first")
    train(known, seeds=[0], config=[{"lr": 0.1}, {"lr": 0.2}], out=tmp_path / "two")
    for start, options, message in (
        (tmp_path / "first", {"seeds": [5]}, "no network of seed 5 to begin from; seeds: 0, 1"),
        (tmp_path / "two", {}, "holds two networks of seed 0, "),
        (tmp_path / "none", {}, "nothing to begin from at "),
        (
            tmp_path / "first" / "seed0.safetensors",
            {"config": {"units": 4}},
            r"weight is \(2, 6\) there and \(2, 4\) in",
        ),
    ):
        with pytest.raises(InputError, match=message):
            train(known, out=tmp_path / "out", start=start, **options)
    assert not (tmp_path / "out").exists()


class Clock:
    """Time in which each look takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


LONG = {"steps": 4000}  # a row of history every 4 steps


@pytest.mark.parametrize("seconds", [11.0, 12.0])  # within, and at the end of, an interval of the history
def test_time_ends_a_run_as_its_recipe_would(follower, tmp_path, monkeypatch, seconds) -> None:
    monkeypatch.setattr(training, "time", Clock())
    paths = train(follower, seeds=2, config=LONG, out=tmp_path / "cut", at_most_seconds=seconds)
    steps = trained(paths[0])["steps"]
    assert steps == seconds
    assert trained(paths[0])["cut_short"] == f"after {seconds + 1:.0f} s, at step {steps} of 4000"
    history = read_history(tmp_path / "cut" / "history.csv")
    assert history["step"].unique().tolist() == [4, 8, steps] if steps % 4 == 0 else [4, 8, 8 + steps % 4]
    assert trained(paths[0])["losses"]["total"] == pytest.approx(history["total"].iloc[-2])
    whole = train(follower, seeds=2, config={"steps": steps}, out=tmp_path / "whole")
    assert "cut_short" not in trained(whole[0])
    assert weights(paths) == weights(whole)
    assert not (tmp_path / "cut" / "state.safetensors").exists()
    assert train(follower, seeds=2, config=LONG, out=tmp_path / "cut", at_most_seconds=99.0) == paths  # it is finished
    assert trained(paths[0])["steps"] == steps


def test_the_time_of_a_resumed_run_is_that_of_all_its_parts(follower, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "_REPORT_SECONDS", -1.0)
    for at_most_seconds, steps in ((20.0, 20), (5.0, 14)):  # the second is over when it is taken up again
        monkeypatch.setattr(training, "time", Clock())
        out = tmp_path / str(steps)
        with pytest.raises(KeyboardInterrupt):
            train(follower, config=LONG, out=out, progress=Interrupt(14))
        (path,) = train(follower, config=LONG, out=out, at_most_seconds=at_most_seconds)
        assert trained(path)["steps"] == steps
        history = read_history(out / "history.csv")
        assert history["step"].tolist() == [4, 8, 12, *range(16, steps, 4), steps]
        whole = train(follower, config={"steps": steps}, out=tmp_path / f"whole {steps}")
        assert weights([path]) == weights(whole)
        each = read_history(whole[0].parent / "history.csv")["total"]
        assert history["total"].iloc[-1] == pytest.approx(each.iloc[history["step"].iloc[-2] :].mean(), rel=1e-5)


@pytest.mark.parametrize("seconds", [0.0, -3.0, float("nan")])
def test_no_time_at_all_is_refused(follower, tmp_path, seconds) -> None:
    with pytest.raises(InputError, match=r"at_most_seconds is .*; give more than 0"):
        train(follower, out=tmp_path / "run", at_most_seconds=seconds)
    assert not (tmp_path / "run").exists()


def test_a_network_that_breaks_is_named_and_the_others_finish(follower, tmp_path, caplog, monkeypatch) -> None:
    import entorhinal.families.checkpoint as checkpoint

    monkeypatch.setattr(checkpoint, "get_class", lambda id: follower)
    configs = [{"target": 0.5}, {"target": 2.0}, {"target": 0.1}]
    configs = [config | {"bad_step": 13} for config in configs]
    paths = train(follower, seeds=[0], config=configs, out=tmp_path / "all")
    assert len(paths) == 2
    (stopped,) = (tmp_path / "all").glob("*.stopped.safetensors")
    why = trained(stopped)["stopped"]
    assert "stopped at step 13: total is not finite" in why
    assert why in caplog.text
    (short,) = train(follower, seeds=[0], config=configs[1] | {"steps": 13, "bad_step": -1}, out=tmp_path / "short")
    assert torch.equal(load(stopped).weight, load(short).weight)  # its last good weights
    alone = train(follower, seeds=[0], config=configs[0], out=tmp_path / "alone")
    torch.testing.assert_close(load(paths[0]).weight, load(alone[0]).weight)
    assert train(follower, seeds=[0], config=configs, out=tmp_path / "all") == paths


def test_a_run_whose_every_network_breaks_ends_early(follower, tmp_path) -> None:
    with pytest.raises(Stopped, match="network seed0 stopped at step 14: total is not finite"):
        train(follower, config={"target": 2.0, "bad_step": 14, "steps": 5000}, out=tmp_path)
    assert read_history(tmp_path / "history.csv")["step"].tolist() == [5, 10]


def test_a_gradient_that_breaks_is_named(follower, tmp_path) -> None:
    class Root(follower):
        def loss(self, batch):
            terms = super().loss(batch)
            zero = (self.weight - self.weight.detach()).square().sum().sqrt()  # value 0, gradient NaN
            return terms | {"total": terms["total"] + zero}

    with pytest.raises(Stopped, match="stopped at step 0: gradient is not finite"):
        train(Root, out=tmp_path)


def test_another_config_is_refused_by_the_field_that_differs(follower, tmp_path) -> None:
    train(follower, seeds=2, out=tmp_path)
    with pytest.raises(InputError, match=r"lr of network 0 was 0.01 and is now 0.02"):
        train(follower, seeds=2, config={"lr": 0.02}, out=tmp_path)
    with pytest.raises(InputError, match="configs was 2 networks and is now 3 networks"):
        train(follower, seeds=3, out=tmp_path)
    with pytest.raises(InputError, match="data_seed was 0 and is now 1"):
        train(follower, seeds=2, data_seed=1, out=tmp_path)
    with pytest.raises(InputError, match="holds a run already"):
        train(follower, seeds=2, out=tmp_path, resume=False)


def test_folders_that_cannot_be_used_are_named(follower, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        train(follower, out=tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("")
    with pytest.raises(InputError, match=r"holds other files \(thesis.txt"):
        train(follower, out=tmp_path / "other")
    train(follower, out=tmp_path / "run")
    (tmp_path / "run" / "state.safetensors").write_bytes(b"cut short")
    with pytest.raises(InputError, match=r"state.safetensors.* cannot be read"):
        train(follower, out=tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("[")
    with pytest.raises(InputError, match="is not a run's description"):
        train(follower, out=tmp_path / "run")


def test_a_read_only_folder_is_refused(follower, tmp_path, monkeypatch) -> None:
    def refuse(self, *words, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # file modes do not stop every user
    with pytest.raises(InputError, match=r"cannot write to .*Permission denied; give another folder"):
        train(follower, out=tmp_path)


def test_a_folder_in_use_is_refused(follower, tmp_path) -> None:
    code = (
        "import fcntl, sys, time\n"
        "lock = open(sys.argv[1], 'a'); fcntl.flock(lock, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(InputError, match="in use by another run"):
            train(follower, out=tmp_path)
    finally:
        other.kill()
        other.wait()
    train(follower, out=tmp_path)  # the lock went with its process


def test_what_cannot_be_trained_says_so(tmp_path) -> None:
    with pytest.raises(InputError, match="controls/ideal_grid-v1 cannot be trained: it has no recipe"):
        train("controls/ideal_grid", out=tmp_path)


SIC = ("ssl/sic", "--set", "units=8", "--set", "hidden=8", "--set", "steps_per_trajectory=6", "--set", "trajectories=4")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "entorhinal.benchmarks.cli", "train", *map(str, (*SIC, *words))]


def test_killed_at_five_moments_loses_at_most_one_interval(tmp_path) -> None:
    """kill -9 through the real command line; every resumption starts at most one checkpoint interval earlier."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    steps, every = 600, 0.2
    whole = command("--steps", steps, "--seeds", 2, "--out", tmp_path / "whole")
    subprocess.run(whole, env=environment, check=True, capture_output=True)
    broken = tmp_path / "broken"
    words = command("--steps", steps, "--seeds", 2, "--out", broken, "--checkpoint-seconds", every, "--resume")
    rng = random.Random(0)
    reached = 0.0
    for _ in range(5):
        with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            while running.poll() is None and _seconds(broken) <= reached + 0.3:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.5))
            running.kill()
        state = _seconds(broken)
        history = broken / "history.csv"
        if history.exists() and (broken / "state.safetensors").exists():
            lines = [line for line in history.read_text().splitlines()[1:] if line.count(",") >= 3]
            last = max(float(line.split(",")[2]) for line in lines)
            assert last - state < every + 1.0, "more than one interval was lost"
        assert state >= reached
        reached = state
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        name = f"seed{seed}.safetensors"
        assert (broken / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def _seconds(folder: Path) -> float:
    """How long the run had gone on when its last state was written; the whole run's if it has ended."""
    from safetensors import safe_open

    try:
        with safe_open(folder / "state.safetensors", "pt") as file:
            return float(json.loads(file.metadata()["facts"])["seconds"])
    except OSError:
        return 1e9 if list(folder.glob("seed*.json")) else 0.0
