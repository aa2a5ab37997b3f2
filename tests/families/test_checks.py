"""Every check catches the cheat it is named for, and every registered model passes them all."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from entorhinal.families import check_model, list_models, parametrize_with_checks
from entorhinal.families.checks import CHECKS, STRICT, ModelCheckError
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Config, Model, Recipe, Representation

CITATION = "@article{cheat2026, title = {A cheat}, author = {Nobody, N.}, year = {2026}}"


class HonestConfig(Config):
    units: int = 7


class Honest(Model):
    """A path integrator that keeps every promise; the cheats below each break one."""

    Config = HonestConfig
    card = Card(
        id="tests/honest-v1", title="Honest", citation=CITATION, lattice="none", supervision="none",
        provenance={"units": "chosen here"},
    )  # fmt: skip

    def __init__(self, config: HonestConfig) -> None:
        super().__init__(config)
        weights = torch.randn(2, config.units, generator=torch.Generator().manual_seed(0))
        self.weights = torch.nn.Parameter(weights)

    def initial_state(self, start_m: Tensor) -> Tensor:
        return start_m.clone()

    def represent(self, trajectories, state=None, *, generator=None) -> Representation:
        before = self.initial_state(trajectories.start_m) if state is None else state
        position = before[:, None] + trajectories.displacement_m.cumsum(1)
        return Representation(torch.tanh(position @ self.weights), position[:, -1])


def cheat(change: Callable, **card: object) -> type[Model]:
    """`Honest` with its representation changed by ``change(self, trajectories, state, generator, honest)``."""

    class Cheat(Honest):
        def represent(self, trajectories, state=None, *, generator=None) -> Representation:
            honest = super().represent(trajectories, state)
            return change(self, trajectories, state, generator, honest)

    Cheat.card = Honest.card.model_copy(update=card)
    return Cheat


def position_leak(self, paths, state, generator, honest):
    return Representation(honest.rates + 0.1 * paths.position_m[..., :1], honest.state)


def heading_leak(self, paths, state, generator, honest):
    return Representation(honest.rates + 0.1 * paths.heading_rad[..., None], honest.state)


def non_causal(self, paths, state, generator, honest):
    return Representation(honest.rates + 0.1 * paths.displacement_m.sum((1, 2))[:, None, None], honest.state)


def hidden_randomness(self, paths, state, generator, honest):
    return Representation(honest.rates + 0.1 * torch.rand(()), honest.state)


def hidden_numpy_randomness(self, paths, state, generator, honest):
    return Representation(honest.rates + 0.1 * float(np.random.rand()), honest.state)  # noqa: NPY002


def ignores_state(self, paths, state, generator, honest):
    return Honest.represent(self, paths, paths.start_m * 0)


def rereads_start(self, paths, state, generator, honest):
    return Honest.represent(self, paths, paths.start_m)


def wrong_shape(self, paths, state, generator, honest):
    return Representation(honest.rates[:, 1:], honest.state)


def state_without_batch(self, paths, state, generator, honest):
    return Representation(honest.rates, {"position": honest.state, "clock": torch.zeros(1)})


def non_finite(self, paths, state, generator, honest):
    return Representation(torch.where(honest.rates > 0.01, torch.inf, honest.rates), honest.state)


def batch_dependent(self, paths, state, generator, honest):
    return Representation(honest.rates - honest.rates.mean(0), honest.state)


def writes_to_input(self, paths, state, generator, honest):
    paths.displacement_m.mul_(1.001)
    return honest


def writes_to_state(self, paths, state, generator, honest):
    if state is not None:
        state.add_(0.1)
    return honest


def generator_unannounced(self, paths, state, generator, honest):
    noise = 0 if generator is None else torch.rand((), generator=generator)
    return Representation(honest.rates + noise, honest.state)


def noise_on_the_way(self, paths, state, generator, honest):
    noise = 0 if generator is None else torch.rand((), generator=generator)
    return Representation(honest.rates + noise, honest.state + noise)


def two_runs_differ(self, paths, state, generator, honest):
    self.calls = getattr(self, "calls", 0) + 1
    return Representation(honest.rates + 0.1 * self.calls, honest.state)


def infinite_gradient(self, paths, state, generator, honest):
    return Representation(honest.rates + (self.weights * 0).abs().sqrt().sum(), honest.state)


def forgets_weights(self, paths, state, generator, honest):
    if not hasattr(self, "secret"):
        self.secret = torch.randn((), generator=torch.Generator().manual_seed(id(self) % 2**31))
    return Representation(honest.rates + self.secret, honest.state)


class HonestTrainee(Honest):
    """`Honest`, and learns to keep its promise."""

    def recipe(self):
        return Recipe(lr=1e-3, steps=3, batch=4)

    def training_data(self, world, seed, first=0):
        while True:
            generator = torch.Generator().manual_seed(seed + first)
            yield {"x": torch.randn(4, 2, generator=generator)}
            first += 1

    def loss(self, batch):
        total = torch.tanh(batch["x"] @ self.weights).square().mean()
        return {"total": total, "half": total / 2}


class ForgetsWhereItWas(HonestTrainee):
    def training_data(self, world, seed, first=0):
        return super().training_data(world, seed)


class SameBatches(HonestTrainee):
    def training_data(self, world, seed, first=0):
        while True:
            yield {"x": torch.ones(4, 2) * seed}


class DrawsInItsLoss(HonestTrainee):
    def loss(self, batch):
        return super().loss(batch | {"x": batch["x"] + torch.randn(4, 2)})


class ChangesItsBatch(HonestTrainee):
    def loss(self, batch):
        terms = super().loss(batch)
        batch["x"].mul_(1.0).add_(0.5)
        return terms


class WithoutTotal(HonestTrainee):
    def loss(self, batch):
        return {"loss": super().loss(batch)["total"]}


class OneTermForEachTrial(HonestTrainee):
    def loss(self, batch):
        return super().loss(batch) | {"each": batch["x"].sum(1)}


class InfiniteSlope(HonestTrainee):
    def loss(self, batch):
        terms = super().loss(batch)
        return terms | {"total": terms["total"] + (self.weights - self.weights.detach()).norm()
                        + (self.weights - self.weights.detach()).abs().sqrt().sum()}  # fmt: skip


class LossAlone(Honest):
    def loss(self, batch):
        return {"total": batch.sum()}


class StartsWithoutStart(Honest):
    def initial_state(self):
        return None


class FitsNothing(Honest):
    fit = None


CHEATS = {
    "powers": [LossAlone, StartsWithoutStart, FitsNothing, cheat(lambda *a: a[-1], interface_version=99)],
    "training": [
        ForgetsWhereItWas,
        SameBatches,
        DrawsInItsLoss,
        ChangesItsBatch,
        WithoutTotal,
        OneTermForEachTrial,
        InfiniteSlope,
    ],
    "position_leak": [cheat(position_leak)],
    "heading_leak": [cheat(heading_leak), cheat(lambda *a: a[-1], reads_heading=True)],
    "causality": [cheat(non_causal)],
    "random_state": [cheat(hidden_randomness), cheat(hidden_numpy_randomness)],
    "chunks": [cheat(ignores_state)],
    "carried_state": [cheat(rereads_start)],
    "shapes": [cheat(wrong_shape), cheat(state_without_batch)],
    "finite": [cheat(non_finite)],
    "batch_size": [cheat(batch_dependent)],
    "inputs_untouched": [cheat(writes_to_input), cheat(writes_to_state)],
    "deterministic": [
        cheat(generator_unannounced),
        cheat(two_runs_differ),
        cheat(lambda *a: a[-1], stochastic=True),
        cheat(noise_on_the_way, stochastic=True),
        cheat(generator_unannounced, stochastic=True, noisy_state=True),
    ],
    "gradients": [cheat(infinite_gradient)],
    "state_dict": [cheat(forgets_weights)],
    "card": [
        cheat(lambda *a: a[-1], citation="@article{x, title = {No author}}"),
        cheat(lambda *a: a[-1], provenance={}),
        cheat(lambda *a: a[-1], provenance={"units": "here", "unit": "a slip"}),
        cheat(lambda *a: a[-1], expected_failures={"causality": "because"}),
        cheat(lambda *a: a[-1], tasks=("gridness", "gridnes")),
    ],
}


def outcomes(model: type[Model]) -> dict[str, str]:
    return {result.name: result.outcome for result in check_model(model, raise_on_failure=False)}


def test_the_honest_model_passes() -> None:
    assert set(outcomes(HonestTrainee).values()) == {"passed"}
    assert outcomes(Honest) == outcomes(HonestTrainee) | {"training": "not applicable"}


@pytest.mark.parametrize(("name", "index"), [(name, i) for name, cheats in CHEATS.items() for i in range(len(cheats))])
def test_each_cheat_is_caught_by_its_check(name: str, index: int) -> None:
    assert outcomes(CHEATS[name][index])[name] == "failed"


def test_a_config_that_takes_unknown_keys_is_caught() -> None:
    class LooseConfig(HonestConfig):
        model_config = {"extra": "allow", "frozen": True}  # noqa: RUF012

    class Loose(Honest):
        Config = LooseConfig

    assert outcomes(Loose)["config"] == "failed"


def test_every_check_has_a_cheat() -> None:
    assert set(CHEATS) | {"config"} == set(CHECKS)


def test_check_model_raises_with_the_failures_named() -> None:
    with pytest.raises(ModelCheckError, match="position_leak: other positions change the rates"):
        check_model(CHEATS["position_leak"][0])


def test_expected_failures_must_fail_and_are_never_allowed_for_the_strict() -> None:
    expected = cheat(batch_dependent, expected_failures={"batch_size": "whitened across trials"})
    assert outcomes(expected)["batch_size"] == "expected failure"
    needless = cheat(lambda *a: a[-1], expected_failures={"batch_size": "not true"})
    assert outcomes(needless)["batch_size"] == "failed"
    for name in STRICT - {"finite", "shapes"}:
        excused = type(CHEATS[name][0])("Excused", (CHEATS[name][0],), {})
        excused.card = CHEATS[name][0].card.model_copy(update={"expected_failures": {name: "please"}})
        assert outcomes(excused)[name] == "failed"


@parametrize_with_checks(Honest, units=3)
def test_the_honest_model_passes_check_by_check(check) -> None:
    check()


def test_a_check_in_pytest_fails_skips_and_expects_as_the_report_does() -> None:
    class Excused(CHEATS["batch_size"][0]):
        card = Honest.card.model_copy(update={"expected_failures": {"batch_size": "whitened across trials"}})

    def run(model, name: str) -> None:
        found = {param.id: param.values[0] for param in parametrize_with_checks(model).args[1]}
        found[f"tests/honest-v1-{name}"]()

    run(Honest, "shapes")
    with pytest.raises(ModelCheckError, match="tests/honest-v1 fails position_leak: other positions"):
        run(CHEATS["position_leak"][0], "position_leak")
    with pytest.raises(pytest.skip.Exception, match="cannot be trained"):
        run(Honest, "training")
    with pytest.raises(pytest.xfail.Exception, match="whitened across trials"):
        run(Excused, "batch_size")


def test_a_model_that_is_not_there_fails_its_tests_and_not_their_collection() -> None:
    first = parametrize_with_checks("nobody/nothing").args[1][0]
    assert first.id == "nobody/nothing-v1-config"
    with pytest.raises(InputError, match="unknown model 'nobody/nothing'"):
        first.values[0]()


SMALLER: dict[str, dict[str, int]] = {
    "continuous_attractor/burak_fiete-v1": {"neurons_per_side": 64},
    "continuous_attractor/burak_fiete_aperiodic-v1": {"neurons_per_side": 80},
    "continuous_attractor/burak_fiete_spiking-v1": {"neurons_per_side": 64},
    "continuous_attractor/kang_balasubramanian-v1": {"networks": 2},
    "continuous_attractor/peak_selection-v1": {"neurons": 600},
    "continuous_attractor/peak_selection_sheet-v1": {"rows": 128, "columns": 80, "recorded_units": 64},
    "ssl/sic-v1": {"hidden": 32, "trajectories": 16, "steps_per_trajectory": 16},
    "ssl/sic_modular-v1": {"hidden": 32, "trajectories": 16, "steps_per_trajectory": 16},
    "supervised/nayebi-v1": {"units": 64},
    "supervised/sorscher-v1": {"units": 64},
}
"""What is checked is the same at any size, and at their own these would take five minutes of a core."""


@pytest.mark.parametrize("id", list_models())
def test_every_registered_model_passes(id: str) -> None:
    check_model(id, **SMALLER.get(id, {}))


def test_models_to_be_checked_smaller_are_there() -> None:
    assert SMALLER.keys() <= set(list_models())
