"""How is a model trained?  `train` runs its recipe for S networks at once and leaves one checkpoint a network.

The harness owns device, precision, seeds, optimiser, schedule, progress, checkpoints and resume. A folder belongs to
one run: ``run.json`` says what it trains, ``state.safetensors`` where it stands, ``history.csv`` how the losses went,
and at the end ``<network>.safetensors`` with its ``.json`` is each network. All are written whole and renamed, so that
Ctrl-C, or a kill, loses at most what came after the last state; on a CPU a resumed run equals an uninterrupted one bit
for bit.
"""

import csv
import fcntl
import io
import itertools
import json
import logging
import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from entorhinal.benchmarks.evaluation import choose_device
from entorhinal.benchmarks.optimizers import Optimizer
from entorhinal.benchmarks.population import Population, check_memory, recipe_of
from entorhinal.benchmarks.records import config_hash, hardware, provenance
from entorhinal.benchmarks.seeds import derive
from entorhinal.families.checkpoint import load, save, write_atomically
from entorhinal.families.errors import InputError
from entorhinal.families.model import Batch, Model, Trainable
from entorhinal.families.registry import get_class
from entorhinal.families.world import Arena, World

__all__ = ["PRECISIONS", "Stopped", "TrainingProgress", "matmul_precision", "network_names", "read_history", "train"]

logger = logging.getLogger("entorhinal")

PRECISIONS = {"float32": "highest", "tf32": "high", "bf16": "medium"}
"""What products of float32 matrices are rounded to on a GPU, as `torch.set_float32_matmul_precision` calls it."""

FORMAT = 1
_HISTORY_ROWS = 1000  # at most, a network
_GRAPH_WARM_UP = 3
_REPORT_SECONDS = 0.5
_STATE = "state.safetensors"


class TrainingProgress(Protocol):
    """``progress(done, total, text)``: called as the run goes on."""

    def __call__(self, done: int, total: int, text: str = "") -> None: ...


class Stopped(RuntimeError):
    """Every network of a run has stopped on a value that is not finite; the message says where."""


@dataclass(frozen=True)
class _Request:
    """What a run trains; equal in a run and in its resumption."""

    model: str
    configs: tuple[dict[str, Any], ...]
    world: dict[str, Any]
    data_seed: int
    precision: str
    dtype: str
    start: tuple[str, ...] = ()
    """SHA-256 of the weights that each network begins from; none if from its config."""

    def description(self) -> dict[str, Any]:
        return {"format": FORMAT, **vars(self), "configs": list(self.configs), "start": list(self.start)}

    def difference(self, other: dict[str, Any]) -> str:
        """The first field in which a run's description is another's, with both values; "" if it is the same."""
        ours = json.loads(json.dumps(self.description()))
        for name, value in ours.items():
            theirs = other.get(name)
            if value == theirs or (name == "start" and not value and not theirs):
                continue
            if name == "start":
                was, now = (", ".join(sha256[:12] for sha256 in v or []) or "none" for v in (theirs, value))
                return f"start was {was} and is now {now}"
            if name != "configs" or not isinstance(theirs, list) or len(theirs) != len(value):
                shown = (f"{len(v)} networks" if isinstance(v, list) else repr(v) for v in (theirs, value))
                return f"{name} was {next(shown)} and is now {next(shown)}"
            for k, (mine, old) in enumerate(zip(value, theirs, strict=True)):
                for field in mine.keys() | old.keys():
                    if mine.get(field) != old.get(field):
                        return f"{field} of network {k} was {old.get(field)!r} and is now {mine.get(field)!r}"
        return ""


def train(
    model: str | type[Model],
    world: World | None = None,
    *,
    seeds: int | Sequence[int] = 1,
    config: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    out: str | Path,
    device: str = "auto",
    resume: bool = True,
    precision: Literal["float32", "tf32", "bf16"] = "float32",
    dtype: torch.dtype = torch.float32,
    data_seed: int = 0,
    start: str | Path | None = None,
    at_most_seconds: float | None = None,
    checkpoint_seconds: float = 60.0,
    checkpoint_steps: int | None = None,
    half: bool = False,
    progress: TrainingProgress | None = None,
) -> list[Path]:
    """Train one network for each config and seed, all side by side; returns their checkpoints.

    model: an id, or a subclass of `Model` with the power `Trainable`.
    world: where training data come from; by default a box of the card's training extent.
    seeds: of the networks' initialisation (``seed`` in their config), or how many (0, 1, ...).
    config: config keywords, or several sets of them, each trained with every seed.
    out: the run's folder.
    resume: go on where the folder's run stopped, or return what it finished. False refuses a folder that holds a run.
    precision: of matrix products on a GPU. dtype: of parameters and data (float64 for exact tests).
    data_seed: all networks of a run see the same batches, which derive from it: seeds are replicates of the
        initialisation, and settings compare on the same data.
    start: a checkpoint whose weights all networks begin from, or a folder of checkpoints, such as a finished run's,
        where each begins from that of its own seed: for training in stages. Only weights are taken over: config, data
        and schedule are this run's, and the optimiser begins anew.
    at_most_seconds: of training, parts before a resumption included, after which the run ends as if its recipe had
        (finished: no longer limit takes it up again). The schedule is cut, not shortened: a cosine is then still high.
        Checkpoints say so (``cut_short``).
    checkpoint_seconds, checkpoint_steps: how often the state is written, whichever comes first.
    half: write the checkpoints in float16.

    A network whose loss or gradient is not finite stops there, keeping its last good weights in
    ``<network>.stopped.safetensors``; the others go on. Raises `Stopped` when all have, `InputError` for bad input, and
    `KeyboardInterrupt` after Ctrl-C, with the state written.
    """
    cls = get_class(model) if isinstance(model, str) else model
    bases = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    settings = [dict(config or {})] if config is None or isinstance(config, Mapping) else [dict(c) for c in config]
    if not bases or not settings:
        raise InputError("train: give at least one seed and one config")
    if at_most_seconds is not None and not at_most_seconds > 0:
        raise InputError(f"train: at_most_seconds is {at_most_seconds:g}; give more than 0, or None for no limit")
    if precision not in PRECISIONS:
        raise InputError(f"train: precision is {precision!r}; give one of {', '.join(PRECISIONS)}")
    if not issubclass(cls, Trainable):
        raise InputError(f"{cls.card.id} cannot be trained: it has no recipe(), training_data() and loss()")
    where = choose_device(device)
    seeded = "seed" in cls.Config.model_fields
    if not seeded and len(bases) > 1:
        raise InputError(f"{cls.card.id} has no seed in its config: {len(bases)} seeds would be one network")
    members = [cls.make(**({"seed": seed} | c if seeded else c)) for c in settings for seed in bases]
    names = network_names(members)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"train: network {twice} is asked for twice; leave seed out of config, or give it once")
    recipe_of(members[0])
    begun = () if start is None else _begin_from(Path(start), members)
    world = World(Arena.square(cls.card.training_extent_m or 2.2), device=str(where)) if world is None else world
    world = World(world.arena, world.dt_s, str(where), dtype)
    request = _Request(
        cls.card.id,
        tuple(m.config.model_dump(mode="json") for m in members),
        {"extent_m": world.arena.extent_m, "periodic": world.arena.periodic, "walls": world.arena.walls}
        | {"dt_s": world.dt_s},
        data_seed,
        precision,
        str(dtype).removeprefix("torch."),
        begun,
    )
    folder = _Folder(Path(out), names)
    with folder.locked():
        if folder.claim(request, resume):
            return folder.finished()
        with matmul_precision(precision):
            run = _Run(members, world, data_seed, dtype, where, folder)
            folder.begin(request)
            run.go(
                math.inf if at_most_seconds is None else at_most_seconds,
                checkpoint_seconds,
                checkpoint_steps,
                progress or (lambda done, total, text="": None),
            )
            return run.finish(request, half)


def _begin_from(start: Path, members: Sequence[Model]) -> tuple[str, ...]:
    """Give networks the parameters of a checkpoint, or of that of their seed in a folder; the SHA-256 of each."""
    if not start.exists():
        raise InputError(f"train: nothing to begin from at {str(start)!r}; give a checkpoint, or a folder of them")
    sources: dict[int, tuple[Path, Model]] = {}
    for path in _checkpoints(start) if start.is_dir() else [start]:
        model = load(path)
        seed = getattr(model.config, "seed", 0)
        if seed in sources:
            raise InputError(
                f"train: {str(start)!r} holds two networks of seed {seed}, {sources[seed][0].name} and {path.name}; "
                "give one of them, or a folder with one a seed"
            )
        sources[seed] = path, model
    begun = []
    for member in members:
        seed = getattr(member.config, "seed", 0) if start.is_dir() else next(iter(sources))
        if seed not in sources:
            there = ", ".join(map(str, sorted(sources))) or "none"
            raise InputError(f"train: {str(start)!r} holds no network of seed {seed} to begin from; seeds: {there}")
        path, model = sources[seed]
        theirs = dict(model.named_parameters())
        own = dict(member.named_parameters())
        for name in sorted(own.keys() | theirs.keys()):
            shapes = [str(tuple(these[name].shape)) if name in these else "missing" for these in (theirs, own)]
            if shapes[0] != shapes[1]:
                raise InputError(
                    f"train: the networks cannot begin from {str(path)!r} ({model.card.id}): {name} is {shapes[0]} "
                    f"there and {shapes[1]} in {member.card.id}; give one of the same size"
                )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(theirs[name])
        begun.append(json.loads(path.with_suffix(".json").read_text())["weights_sha256"])
    return tuple(begun)


def _checkpoints(folder: Path) -> list[Path]:
    """A folder's networks, but for those that stopped."""
    found = sorted(folder.glob("*.safetensors"))
    return [path for path in found if path.name != _STATE and not path.stem.endswith(".stopped")]


def network_names(members: Sequence[Model]) -> list[str]:
    """File names of the networks of a run: their seed, and their condition where there are several."""
    conditions = [config_hash(m.card.id, m.config.model_dump(mode="json")) for m in members]
    several = len(set(conditions)) > 1
    return [
        (f"{condition}." if several else "") + f"seed{getattr(m.config, 'seed', 0)}"
        for m, condition in zip(members, conditions, strict=True)
    ]


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Products of float32 matrices on a GPU are rounded to ``precision`` inside; one of `PRECISIONS`."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(PRECISIONS[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Folder:
    """The files of one run."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root, self.names = root, list(names)
        self.run, self.state, self.history = root / "run.json", root / _STATE, root / "history.csv"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the lock goes with the process, however it ends."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("a")
        except OSError as error:
            raise InputError(
                f"train: cannot write to {str(self.root)!r}: {error.strerror}; give another folder"
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"train: {str(self.root)!r} is in use by another run; wait for it, or give another folder"
                ) from None
            yield

    def claim(self, request: _Request, resume: bool) -> bool:
        """Check that the folder is free or this run's; True if the run is finished."""
        if not self.run.exists():
            others = [path.name for path in self.root.iterdir() if path.name != ".lock" and path.suffix != ".tmp"]
            if others:
                raise InputError(
                    f"train: {str(self.root)!r} holds other files ({sorted(others)[0]}, ...); give a folder of its own"
                )
            return False
        if not resume:
            raise InputError(
                f"train: {str(self.root)!r} holds a run already; resume it (--resume) or give another folder"
            )
        try:
            theirs = json.loads(self.run.read_text())
            wrong = request.difference(theirs)
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
            raise InputError(
                f"train: {str(self.run)!r} is not a run's description ({error}); give another folder"
            ) from None
        if wrong:
            raise InputError(f"train: {str(self.root)!r} holds another run: {wrong}; give another folder")
        return bool(self.finished() or self.stopped()) and not self.state.exists()

    def begin(self, request: _Request) -> None:
        """Make the folder this run's; only once nothing is left that could be refused."""
        if not self.run.exists():
            write_atomically(self.run, json.dumps(request.description(), indent=1).encode())

    def finished(self) -> list[Path]:
        paths = [self.root / f"{name}.safetensors" for name in self.names]
        return [path for path in paths if path.exists()]

    def stopped(self) -> list[Path]:
        paths = [self.root / f"{name}.stopped.safetensors" for name in self.names]
        return [path for path in paths if path.exists()]

    def read_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts of the last state; None before the first."""
        if not self.state.exists():
            return None
        try:
            with safe_open(self.state, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["facts"])  # noqa: SIM118
        except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
            raise InputError(
                f"train: {str(self.state)!r} cannot be read ({error}); delete it to begin anew, or give another folder"
            ) from None

    def write_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_atomically(self.state, save_tensors(host, metadata={"facts": json.dumps(facts)}))

    def cut_history(self, step: int) -> None:
        """Drop the rows after ``step``, which a resumed run will write again, and any that a kill cut short."""
        if not self.history.exists():
            return
        lines = self.history.read_text().splitlines(keepends=True)
        kept = lines[:1] + [
            line for line in lines[1:] if line.endswith("\n") and line.split(",", 1)[0].isdigit()
            and int(line.split(",", 1)[0]) <= step
        ]  # fmt: skip
        write_atomically(self.history, "".join(kept).encode())

    def add_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        if not self.history.exists():
            writer.writeheader()
        writer.writerows(rows)
        with self.history.open("a") as file:
            file.write(text.getvalue())


def read_history(path: str | Path) -> Any:
    """A run's ``history.csv`` as a pandas frame: step, network, seconds, lr, mean of each term since the last row."""
    import pandas as pd

    return pd.read_csv(path)


class _Run:
    """Networks, optimiser and counters of one run, and the loop over its steps."""

    def __init__(
        self,
        members: Sequence[Model],
        world: World,
        data_seed: int,
        dtype: torch.dtype,
        device: torch.device,
        folder: _Folder,
    ) -> None:
        self.folder, self.device = folder, device
        self.recipes = [recipe_of(member) for member in members]
        self.recipe = self.recipes[0]
        first: Any = members[0]
        seed = derive(data_seed, "training data")
        self.data = lambda begin: first.training_data(world, seed, begin)
        probe = next(self.data(0))
        for other in {config_hash(m.card.id, m.config.model_dump(mode="json")): m for m in members[1:]}.values():
            next(iter(other.training_data(world, seed)))  # type: ignore[operator]  # refuses what it cannot learn from
        check_memory(members, probe, device=device, dtype=dtype)
        self.population = Population(members, device=device, dtype=dtype)
        self.optimizer = Optimizer(self.recipes, self.population.flat)
        size = self.population.size
        self.terms = sorted(self.population.accumulate([probe]), key=lambda name: (name != "total", name))
        zeros = torch.zeros(size, dtype=torch.long, device=device)
        self.alive = torch.ones(size, dtype=torch.bool, device=device)
        self.bad_step, self.bad_term = zeros - 1, zeros - 1
        self.sums = torch.zeros(len(self.terms), size, device=device, dtype=torch.float64)
        self.best, self.waited = (
            torch.full((size,), math.inf),
            torch.zeros(size),
        )  # of the plateau schedule, on the host
        self.log_every = max(1, -(-self.recipe.steps // _HISTORY_ROWS))
        self.done, self.seconds = 0, 0.0
        self.logged_at, self.logged = 0, math.nan  # step and total of the last row of history
        self._graph: Callable[[Sequence[Batch]], None] | None = None

    def tensors(self) -> dict[str, Tensor]:
        """All that changes on the device, by name; a state is a copy of these."""
        own = {"parameters": self.population.flat, "alive": self.alive, "bad_step": self.bad_step}
        own |= {"bad_term": self.bad_term, "sums": self.sums}
        return own | {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}

    @torch.no_grad()
    def step(self, batches: Sequence[Batch]) -> None:
        """One optimiser step of every network that is alive; touches tensors on the device only."""
        terms = self.population.accumulate(batches)
        values = torch.stack([terms[name] for name in self.terms])  # (K, S)
        scale, norm = self.optimizer.clip_(self.population.gradient)
        finite = torch.cat((values.isfinite(), norm.isfinite()[None]))
        fails = self.alive & ~finite.all(0)
        self.bad_step.copy_(torch.where(fails, self.optimizer.step_count, self.bad_step))
        self.bad_term.copy_(torch.where(fails, (~finite).long().argmax(0), self.bad_term))
        self.alive.logical_and_(finite.all(0))
        self.sums.add_(torch.where(self.alive, values, 0))
        self.optimizer.step(self.population.gradient, torch.where(self.alive, scale, 0))
        self.population.constrain(batches[-1])

    def _captured(self, batches: Sequence[Batch]) -> Callable[[Sequence[Batch]], None]:
        """`step` as a CUDA graph with inputs of its own; `step` itself where capture is not possible."""
        if self.device.type != "cuda":
            return self.step
        leaves, spec = tree_flatten(list(batches))
        inputs = [leaf.clone() for leaf in leaves]
        own = tree_unflatten(inputs, spec)
        kept = {name: tensor.clone() for name, tensor in self.tensors().items()}
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(stream):
                for _ in range(_GRAPH_WARM_UP):
                    self.step(own)
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph):
                self.step(own)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            torch.cuda.synchronize()
            logger.warning(
                "the step cannot be captured in a CUDA graph (%s); it runs without", str(error).splitlines()[0]
            )
            replay: Callable[[Sequence[Batch]], None] = self.step
        else:
            replay = partial(self._replay, graph, inputs)  # holds this run, whose tensors the graph writes to
        for name, tensor in self.tensors().items():
            tensor.copy_(kept[name])
        return replay

    def _replay(self, graph: torch.cuda.CUDAGraph, inputs: list[Tensor], batches: Sequence[Batch]) -> None:
        torch._foreach_copy_(inputs, tree_flatten(list(batches))[0])
        graph.replay()

    def go(
        self, at_most_seconds: float, every_seconds: float, every_steps: int | None, progress: TrainingProgress
    ) -> None:
        """From the last state to the end of the recipe, or of the time."""
        self.restore()
        self.folder.cut_history(self.done)
        r = self.recipe
        data = self.data(self.done * r.accumulation)
        step: Callable[[Sequence[Batch]], None] | None = None
        begun = saved = reported = time.monotonic()
        before = self.seconds
        with _asked_to_stop() as asked:
            while self.done < r.steps and self.seconds < at_most_seconds:
                batches = list(itertools.islice(data, r.accumulation))
                if step is None:
                    step = self._captured(batches)
                step(batches)
                self.done += 1
                now = time.monotonic()
                self.seconds = before + now - begun
                if self.done % self.log_every == 0:
                    self._log()
                if now - reported > _REPORT_SECONDS:
                    progress(self.done, r.steps, self._text())
                    reported = now
                if asked():
                    self.write_state()
                    raise KeyboardInterrupt
                if now - saved > every_seconds or (every_steps and self.done % every_steps == 0):
                    self.write_state()
                    saved = time.monotonic()
                if self.done % self.log_every == 0 and not self.alive.any():
                    break
            if self.done > self.logged_at:
                self._log()
            self.seconds = before + time.monotonic() - begun  # a GPU has done by now what the host only asked for
            progress(self.done, r.steps, self._text())
        self.write_state()

    def _text(self) -> str:
        return "" if math.isnan(self.logged) else f"total {self.logged:.4f}"

    def _log(self) -> None:
        """A row of history for each network: means since the last row. The only place where the host waits."""
        count = self.done - self.logged_at
        means = (self.sums / count).cpu()
        alive = self.alive.tolist()
        self.sums.zero_()
        self.logged_at = self.done
        rate = (self.optimizer.lr * self.optimizer.plateau_scale).tolist()
        scheduled = float(self.optimizer.multiplier[self.done - 1])
        rows = [
            {"step": self.done, "network": name, "seconds": round(self.seconds, 3), "lr": rate[k] * scheduled}
            | {term: float(means[i, k]) for i, term in enumerate(self.terms)}
            for k, name in enumerate(self.folder.names)
            if alive[k]
        ]
        if rows:
            self.folder.add_history(rows)
            self.logged = statistics.median(row["total"] for row in rows)
        if self.recipe.schedule == "plateau":
            self._plateau(means[self.terms.index("total")], count)

    def _plateau(self, total: Tensor, steps: int) -> None:
        """Lower the rate of the networks whose total has not fallen by 0.01 % for the recipe's patience."""
        better = total < self.best - 1e-4 * self.best.abs().nan_to_num(posinf=0)
        self.best = torch.where(better, total.to(self.best), self.best)
        self.waited = torch.where(better, 0, self.waited + steps)
        late = self.waited >= self.recipe.plateau_patience_steps
        self.waited = torch.where(late, 0, self.waited)
        scale = torch.where(late, self.recipe.plateau_factor, 1.0).to(self.optimizer.plateau_scale)
        self.optimizer.plateau_scale.mul_(scale)

    def write_state(self) -> None:
        host = {"best": self.best, "waited": self.waited}
        facts = {"done": self.done, "seconds": self.seconds, "logged_at": self.logged_at, "logged": self.logged}
        self.folder.write_state(self.tensors() | host, facts)

    def restore(self) -> None:
        found = self.folder.read_state()
        if found is None:
            return
        tensors, facts = found
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        self.best, self.waited = tensors["best"], tensors["waited"]
        self.done, self.seconds = facts["done"], facts["seconds"]
        self.logged_at, self.logged = facts.get("logged_at", self.done - self.done % self.log_every), facts["logged"]

    def finish(self, request: _Request, half: bool) -> list[Path]:
        """Write every network's checkpoint, then drop the state."""
        final = self._last_rows()
        alive, steps, terms = self.alive.tolist(), self.bad_step.tolist(), self.bad_term.tolist()
        reasons = []
        for k, name in enumerate(self.folder.names):
            trained: dict[str, Any] = {
                "steps": self.done,
                "seconds": round(self.seconds, 1),
                "population_size": self.population.size,
                "hardware": hardware(self.device),
                "data_seed": request.data_seed,
                "precision": request.precision,
                "world": request.world,
                "losses": final.get(name, {}),
            }
            if request.start:
                trained["start"] = request.start[k]
            path = self.folder.root / f"{name}.safetensors"
            if alive[k] and self.done < self.recipe.steps:
                trained["cut_short"] = f"after {self.seconds:.0f} s, at step {self.done} of {self.recipe.steps}"
            if not alive[k]:
                term = [*self.terms, "gradient"][terms[k]]
                reasons.append(f"network {name} stopped at step {steps[k]}: {term} is not finite")
                logger.warning("%s; its last good weights are in %s.stopped.safetensors", reasons[-1], name)
                trained |= {"stopped": reasons[-1], "steps": steps[k]}
                path = self.folder.root / f"{name}.stopped.safetensors"
            save(
                self.population.member(k),
                path,
                provenance={"training": trained, **provenance()},
                dtype=torch.float16 if half else None,
            )
        self.folder.state.unlink(missing_ok=True)
        if len(reasons) == len(self.folder.names):
            raise Stopped("; ".join(reasons))
        return self.folder.finished()

    def _last_rows(self) -> dict[str, dict[str, float]]:
        """Losses of each network's last row of history."""
        if not self.folder.history.exists():
            return {}
        with self.folder.history.open() as file:
            rows = {row["network"]: row for row in csv.DictReader(file)}
        return {name: {term: float(row[term]) for term in self.terms} for name, row in rows.items()}


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM are heeded after the step at hand, so that the state is whole; a second Ctrl-C is at once."""
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
