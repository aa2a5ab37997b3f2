"""Does a model keep its word?  The named checks that every registered model passes, and a plugin's author runs.

    from entorhinal.families import check_model
    check_model("my_family/my_model")

or, in a test file, one test a check:

    @parametrize_with_checks("my_family/my_model")
    def test_it_keeps_its_word(check):
        check()

A check that cannot hold for a model may be listed on its card under ``expected_failures`` with a reason; it must then
fail. Shapes, finiteness, leaks, causality, chunks and random state admit no exception.
"""

import copy
import pickle
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from entorhinal.families.errors import InputError
from entorhinal.families.model import (
    Card,
    Config,
    Fittable,
    Model,
    PathIntegrator,
    Recipe,
    Representation,
    State,
    Trainable,
    misdeclared_powers,
)
from entorhinal.families.registry import check_interface, get_class, versioned
from entorhinal.families.world import Arena, Trajectories, World

if TYPE_CHECKING:
    import pytest

__all__ = ["CHECKS", "STRICT", "CheckResult", "ModelCheckError", "check_model", "parametrize_with_checks"]

Outcome = Literal["passed", "failed", "expected failure", "not applicable"]


@dataclass(frozen=True)
class CheckResult:
    """One line of the report. message says what went wrong, why it was expected, or why the check does not apply."""

    name: str
    outcome: Outcome
    message: str = ""


class ModelCheckError(AssertionError):
    """Raised by `check_model` with one line for each failed check."""


class _Failed(Exception):
    pass


class _NotApplicable(Exception):
    pass


def _require(condition: object, message: str) -> None:
    if not condition:
        raise _Failed(message)


class _Subject:
    """The model under test, with the trajectories and the reference run that the checks share."""

    batch, steps, cut = 3, 8, 5

    def __init__(self, cls: type[Model], values: dict[str, Any]) -> None:
        self.cls = cls
        self.card = cls.card
        self.config: Config = cls.Config.parse(cls.card.id, values)

    @cached_property
    def world(self) -> World:
        side_m = self.card.training_extent_m or 1.0
        return World(Arena.square(side_m) if self.card.dimensions == 2 else Arena.line(side_m))

    @cached_property
    def model(self) -> Model:
        model = self.cls(self.config).eval()
        if isinstance(model, Fittable):
            model.fit(self.world)
        return model

    @cached_property
    def trajectories(self) -> Trajectories:
        start_m = 0.5 * self.world.starts(self.batch, self.world.generator(7))
        return self.world.walk(self.batch, self.steps, seed=7, speed_m_s=0.2, start_m=start_m)

    @cached_property
    def reference(self) -> Representation:
        return self.run(self.trajectories)

    def run(self, trajectories: Trajectories, state: State = None, seed: int | None = None) -> Representation:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        with torch.no_grad():
            return self.model.represent(trajectories, state, generator=generator)

    @property
    def integrates(self) -> bool:
        return isinstance(self.model, PathIntegrator)


def _same(first: Tensor, second: Tensor) -> bool:
    """Equal up to float32 rounding on the scale of the rates."""
    scale = float(first.nan_to_num().abs().max()) or 1.0
    return torch.allclose(first, second, rtol=1e-4, atol=1e-4 * scale, equal_nan=True)


def _gap(first: Tensor, second: Tensor) -> str:
    return f"{float((first - second).nan_to_num().abs().max()):.3g}"


def check_config(subject: _Subject) -> None:
    """The config survives JSON, is frozen, refuses unknown keys."""
    config, kind = subject.config, type(subject.config)
    _require(kind.model_validate_json(config.model_dump_json()) == config, "the config changes when written to JSON")
    _require(kind.model_config.get("frozen"), "the config can be changed after construction; keep frozen=True")
    _require(kind.model_config.get("extra") == "forbid", "the config accepts unknown keys; keep extra='forbid'")


def check_card(subject: _Subject) -> None:
    """The card's BibTeX parses, every default has a provenance, expected failures are allowed ones."""
    import bibtexparser

    card = subject.card
    parser = bibtexparser.bparser.BibTexParser(common_strings=True)
    found = bibtexparser.loads(card.citation, parser).entries
    _require(found, "the card's citation holds no readable BibTeX entry")
    for entry in found:
        missing = {"title", "author", "year"} - set(entry)
        _require(not missing, f"BibTeX entry {entry.get('ID')!r} lacks {', '.join(sorted(missing))}")
    fields = set(type(subject.config).model_fields)
    _require(fields <= set(card.provenance), f"no provenance for {', '.join(sorted(fields - set(card.provenance)))}")
    extra = set(card.provenance) - fields
    _require(not extra, f"provenance names no field of the config: {', '.join(sorted(extra))}")
    known = Card.model_fields["tasks"].default
    strange = set(card.tasks) - set(known)
    _require(not strange, f"tasks names no task: {', '.join(sorted(strange))}; known: {', '.join(known)}")
    for name in card.expected_failures:
        _require(name in CHECKS, f"expected_failures names no check: {name!r}; known: {', '.join(CHECKS)}")
        _require(name not in STRICT, f"expected_failures may not hold {name!r}")


def check_powers(subject: _Subject) -> None:
    """The methods that declare a power are all there and take its arguments; the interface is one that we have."""
    wrong = misdeclared_powers(subject.cls)
    _require(not wrong, "; ".join(wrong))
    try:
        check_interface(subject.card, "its package")
    except InputError as error:
        raise _Failed(str(error)) from None


def check_shapes(subject: _Subject) -> None:
    """Rates are (B, T, N) in the dtype and on the device of the trajectories; state leaves are (B, ...)."""
    paths, found = subject.trajectories, subject.reference
    _require(isinstance(found, Representation), f"represent returns {type(found).__name__}, not Representation")
    shape = tuple(found.rates.shape)
    wanted = f"({paths.batch}, {paths.steps}, N)"
    _require(len(shape) == 3 and shape[:2] == (paths.batch, paths.steps), f"rates are {shape}, expected {wanted}")
    _require(shape[2] > 0, "there are no units")
    _require(found.rates.dtype == paths.start_m.dtype, f"rates are {found.rates.dtype}, expected {paths.start_m.dtype}")
    _require(found.rates.device == paths.start_m.device, f"rates are on {found.rates.device}")
    for leaf in tree_leaves(found.state):
        if leaf is not None:
            _require(isinstance(leaf, Tensor), f"the state holds a {type(leaf).__name__}; tensors only")
            _require(leaf.ndim and leaf.shape[0] == paths.batch, f"a state leaf is {tuple(leaf.shape)}, not (B, ...)")
    if subject.integrates:
        _require(found.state is not None, "a path integrator must return the state to go on from")


def check_finite(subject: _Subject) -> None:
    """No NaN and no infinity inside the arena that the card names."""
    bad = ~torch.isfinite(subject.reference.rates)
    _require(not bad.any(), f"{int(bad.sum())} of {bad.numel()} rates are not finite")


def check_deterministic(subject: _Subject) -> None:
    """One seed, one result; another seed, other rates where the card says stochastic, another state if noisy_state."""
    paths = subject.trajectories
    runs = [subject.run(paths, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (run.rates for run in runs)
    _require(torch.equal(first.nan_to_num(), again.nan_to_num()), "two runs with one seed differ")
    differs = not torch.equal(first.nan_to_num(), other.nan_to_num())
    _require(differs or not subject.card.stochastic, "the card says stochastic, but the generator changes nothing")
    _require(not differs or subject.card.stochastic, "the generator changes the rates; set stochastic=True on the card")
    states = [[leaf.nan_to_num() for leaf in tree_leaves(run.state) if leaf is not None] for run in runs[::2]]
    moved = not all(map(torch.equal, *states))
    _require(moved or not subject.card.noisy_state, "the card says noisy_state, but the generator leaves the state")
    _require(not moved or subject.card.noisy_state, "the generator moves the state; set noisy_state=True on the card")


def check_inputs_untouched(subject: _Subject) -> None:
    """The trajectories and the state passed in are not written to."""
    paths, state = subject.trajectories, subject.reference.state
    before = copy.deepcopy((vars(paths), state))
    subject.run(paths)
    subject.run(paths, state)
    for name in ("start_m", "displacement_m", "position_m", "heading_rad"):
        _require(torch.equal(getattr(paths, name), before[0][name]), f"represent changes {name} in place")
    for leaf, old in zip(tree_leaves(state), tree_leaves(before[1]), strict=True):
        _require(leaf is None or torch.equal(leaf, old), "represent changes the state it was given in place")


def check_random_state(subject: _Subject) -> None:
    """Global random generators are neither used nor moved; all randomness comes from ``generator``."""
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    results = []
    try:
        for seed in (11, 12):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            before = _global_generators()
            fresh = subject.cls(subject.config).eval()
            fresh.load_state_dict(subject.model.state_dict())
            with torch.no_grad():
                results.append(fresh.represent(subject.trajectories).rates)
            moved = [name for name, state in _global_generators().items() if state != before[name]]
            _require(not moved, f"the global generator of {' and '.join(moved)} was moved; draw from a generator")
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        random.setstate(kept[2])
    _require(_same(*results), f"rates depend on a global seed (by {_gap(*results)})")


def _global_generators() -> dict[str, bytes]:
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "Python": pickle.dumps(random.getstate()),
    }


def check_state_dict(subject: _Subject) -> None:
    """A second model of the same config, given the first one's state_dict, has the same rates."""
    twin = subject.cls(subject.config).eval()
    twin.load_state_dict(subject.model.state_dict())
    with torch.no_grad():
        rates = twin.represent(subject.trajectories).rates
    _require(_same(subject.reference.rates, rates), f"rates differ by {_gap(subject.reference.rates, rates)}")


def check_batch_size(subject: _Subject) -> None:
    """A trial's rates do not depend on the other trials in the batch."""
    for trial in range(subject.batch):
        alone = subject.run(subject.trajectories.select([trial])).rates[0]
        together = subject.reference.rates[trial]
        _require(_same(together, alone), f"trial {trial} alone differs by {_gap(together, alone)}")


def check_chunks(subject: _Subject) -> None:
    """Two chunks, the state carried from one to the next, equal one run."""
    paths, cut = subject.trajectories, subject.cut
    first = subject.run(paths.chunk(0, cut))
    second = subject.run(paths.chunk(cut, paths.steps), first.state)
    rates = torch.cat((first.rates, second.rates), 1)
    _require(_same(subject.reference.rates, rates), f"chunked rates differ by {_gap(subject.reference.rates, rates)}")


def check_carried_state(subject: _Subject) -> None:
    """Given a state, a path integrator does not read ``start_m``."""
    if not subject.integrates:
        raise _NotApplicable("not a path integrator")
    paths, cut = subject.trajectories, subject.cut
    state = subject.run(paths.chunk(0, cut)).state
    rest = paths.chunk(cut, paths.steps)
    moved = replace(rest, start_m=-rest.start_m + 0.01)
    first, second = subject.run(rest, state).rates, subject.run(moved, state).rates
    _require(_same(first, second), f"given a state, another start_m changes the rates by {_gap(first, second)}")


def check_causality(subject: _Subject) -> None:
    """What happens from a step on does not change the rates before it."""
    paths, cut = subject.trajectories, subject.cut
    displacement_m = paths.displacement_m.clone()
    displacement_m[:, cut:] = -displacement_m[:, cut:].flip(1)
    other = Trajectories.from_displacements(paths.start_m, displacement_m, paths.dt_s, paths.arena)
    first, second = subject.reference.rates[:, :cut], subject.run(other).rates[:, :cut]
    _require(_same(first, second), f"rates before step {cut} change by {_gap(first, second)} with the path after it")


def check_position_leak(subject: _Subject) -> None:
    """A path integrator's rates do not change when positions after the start do."""
    if not subject.integrates:
        raise _NotApplicable("not a path integrator: tables mark it 'reads position'")
    paths = subject.trajectories
    scrambled = replace(paths, position_m=-paths.position_m.flip(1) + 0.01)
    first, second = subject.reference.rates, subject.run(scrambled).rates
    _require(_same(first, second), f"other positions change the rates by {_gap(first, second)}")


def check_heading_leak(subject: _Subject) -> None:
    """Rates do not change with headings, unless the card says that the model reads them."""
    paths = subject.trajectories
    scrambled = replace(paths, heading_rad=paths.heading_rad.flip(1) + 1.0)
    first, second = subject.reference.rates, subject.run(scrambled).rates
    if subject.card.reads_heading:
        _require(not _same(first, second), "the card says reads_heading, but headings change nothing")
    else:
        _require(_same(first, second), f"other headings change the rates by {_gap(first, second)}")


def check_gradients(subject: _Subject) -> None:
    """Gradients of the rates with respect to every parameter are finite."""
    parameters = {name: p for name, p in subject.model.named_parameters() if p.requires_grad}
    if not parameters:
        raise _NotApplicable("no trainable parameters")
    rates = subject.model.represent(subject.trajectories).rates
    gradients = torch.autograd.grad(rates.square().mean(), list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        _require(gradient is None or torch.isfinite(gradient).all(), f"the gradient of {name} is not finite")


def check_training(subject: _Subject) -> None:
    """Batch k depends on seed and k alone; the loss is pure, has a total, and its gradients are finite."""
    model = subject.model
    if not isinstance(model, Trainable):
        raise _NotApplicable("cannot be trained: no recipe(), training_data() and loss()")
    _require(isinstance(model.recipe(), Recipe), "recipe() does not return a Recipe")
    data = list(islice(model.training_data(subject.world, 5), 3))
    for first, later in ((0, data), (2, data[2:])):
        again = islice(model.training_data(subject.world, 5, first), len(later))
        _require(all(map(_equal_leaves, later, again)), f"training_data(first={first}) gives other batches than before")
    _require(not _equal_leaves(data[0], data[1]), "two batches are the same")
    other = next(iter(model.training_data(subject.world, 6)))
    _require(not _equal_leaves(data[0], other), "another seed gives the same batches")
    before = copy.deepcopy((data[0], model.state_dict())), _global_generators()
    terms = model.loss(data[0])
    _require(isinstance(terms, Mapping) and "total" in terms, "loss() must return terms by name, 'total' among them")
    for name, term in terms.items():
        _require(isinstance(term, Tensor) and term.ndim == 0, f"the term {name!r} is not a 0-d tensor")
        _require(torch.isfinite(term), f"the term {name!r} is not finite")
    twice = model.loss(data[0])
    _require(
        all(torch.equal(terms[name], twice[name]) for name in terms), "the loss of one batch differs between calls"
    )
    _require(
        before[1] == _global_generators(), "the loss moves a global generator; its random numbers are in the batch"
    )
    _require(_equal_leaves(before[0], (data[0], model.state_dict())), "the loss changes its batch or the model")
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(terms["total"], list(named.values()), allow_unused=True)
    for name, gradient in zip(named, gradients, strict=True):
        _require(gradient is not None, f"the total does not depend on {name}")
        _require(gradient is None or torch.isfinite(gradient).all(), f"the gradient of {name} is not finite")


def _equal_leaves(first: Any, second: Any) -> bool:
    """Pytrees of tensors that are the same, bit for bit."""
    ours, theirs = tree_leaves(first), tree_leaves(second)
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


CHECKS: dict[str, Callable[[_Subject], None]] = {
    "config": check_config,
    "card": check_card,
    "powers": check_powers,
    "shapes": check_shapes,
    "finite": check_finite,
    "deterministic": check_deterministic,
    "inputs_untouched": check_inputs_untouched,
    "random_state": check_random_state,
    "state_dict": check_state_dict,
    "batch_size": check_batch_size,
    "chunks": check_chunks,
    "carried_state": check_carried_state,
    "causality": check_causality,
    "position_leak": check_position_leak,
    "heading_leak": check_heading_leak,
    "gradients": check_gradients,
    "training": check_training,
}
"""All checks by name, in the order in which they run."""

STRICT = frozenset({"shapes", "finite", "position_leak", "heading_leak", "causality", "chunks", "random_state"})
"""Checks that a card may never list as expected failures."""


def check_model(model: str | type[Model], *, raise_on_failure: bool = True, **config: Any) -> list[CheckResult]:
    """Run every check on a model, by id or class, made with ``config``; one `CheckResult` each.

    Raises `ModelCheckError` naming the failed checks unless ``raise_on_failure`` is False. A check that raises
    something unforeseen has failed with that error as its message.
    """
    subject = _subject(model, config)
    results = [_run(name, check, subject) for name, check in CHECKS.items()]
    failed = [f"{result.name}: {result.message}" for result in results if result.outcome == "failed"]
    if failed and raise_on_failure:
        raise ModelCheckError(f"{subject.card.id} fails {len(failed)} of {len(results)} checks\n" + "\n".join(failed))
    return results


def _subject(model: str | type[Model], config: dict[str, Any]) -> _Subject:
    cls = get_class(model) if isinstance(model, str) else model
    if not (isinstance(cls, type) and issubclass(cls, Model)):
        raise InputError(f"check_model takes a model id or a subclass of Model, not {cls!r}")
    return _Subject(cls, config)


def parametrize_with_checks(*models: str | type[Model], **config: Any) -> "pytest.MarkDecorator":
    """Mark a test of one argument, ``check``, to run once for each check of each model; the test calls ``check()``.

    A failed check raises `ModelCheckError`; one that does not apply is skipped, and an expected failure is an xfail,
    each with its reason. Models are imported and made (with ``config``) when the first of their checks runs.
    """
    import pytest

    def bound(model: str | type[Model]) -> list[Any]:
        id = versioned(model) if isinstance(model, str) else model.card.id
        subject = cache(lambda: _subject(model, config))

        def run_check(name: str) -> None:
            result = _run(name, CHECKS[name], subject())
            if result.outcome == "failed":
                raise ModelCheckError(f"{id} fails {name}: {result.message}")
            if result.outcome == "not applicable":
                pytest.skip(result.message)
            if result.outcome == "expected failure":
                pytest.xfail(result.message)

        return [pytest.param(partial(run_check, name), id=f"{id}-{name}") for name in CHECKS]

    return pytest.mark.parametrize("check", [param for model in models for param in bound(model)])


def _run(name: str, check: Callable[[_Subject], None], subject: _Subject) -> CheckResult:
    expected = subject.card.expected_failures.get(name) if name not in STRICT else None
    try:
        check(subject)
    except _NotApplicable as reason:
        return CheckResult(name, "not applicable", str(reason))
    except _Failed as failure:
        message = str(failure)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
    else:
        if expected is None:
            return CheckResult(name, "passed")
        return CheckResult(name, "failed", f"passes, though the card expects it to fail ({expected})")
    return CheckResult(name, "failed", message) if expected is None else CheckResult(name, "expected failure", expected)
