"""Ids, plugins and their errors."""

import pytest

from entorhinal.families import get_card, list_models, make, registry
from entorhinal.families.errors import InputError


def test_every_built_in_has_its_own_card_and_file() -> None:
    assert list_models()[: len(registry.BUILT_IN)] == list(registry.BUILT_IN)
    for id, target in registry.BUILT_IN.items():
        card = get_card(id)
        assert card.id == id
        room = "ssl" if card.family == "ssl" else f"families.{card.family}"
        assert target.startswith(f"entorhinal.{room}.{id.split('/')[1].removesuffix('-v1')}:")


def test_v1_may_be_left_out_and_a_wrong_id_names_the_nearest() -> None:
    assert get_card("controls/ideal_grid").id == "controls/ideal_grid-v1"
    with pytest.raises(InputError, match="did you mean 'controls/ideal_grid-v1'"):
        make("controls/ideal_grd")
    with pytest.raises(InputError, match="did you mean 'controls'"):
        list_models("control")
    assert all(id.startswith("controls/") for id in list_models("controls"))


def test_config_errors_name_the_field() -> None:
    with pytest.raises(InputError, match="did you mean 'spacing_m'"):
        make("controls/ideal_grid", spacing=(0.3,))
    with pytest.raises(InputError, match="units_per_module = -1"):
        make("controls/ideal_grid", units_per_module=-1)
    with pytest.raises(InputError, match="3 spacings but 1 orientations"):
        make("controls/ideal_grid", orientation_rad=(0.1,))


def test_models_from_the_environment(monkeypatch, tmp_path) -> None:
    (tmp_path / "loose_models.py").write_text(
        "from entorhinal.families.controls.ideal_grid import IdealGrid\n"
        "class Mine(IdealGrid):\n"
        "    card = IdealGrid.card.model_copy(update={'id': 'mine/grid-v1'})\n"
        "class Liar(IdealGrid):\n    pass\n"
        "NOT_A_MODEL = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, "mine/grid=loose_models:Mine")
    assert "mine/grid-v1" in list_models()
    assert make("mine/grid").card.id == "mine/grid-v1"
    monkeypatch.setenv(
        registry.ENVIRONMENT_VARIABLE, "mine/liar=loose_models:Liar, mine/three=loose_models:NOT_A_MODEL"
    )
    with pytest.raises(InputError, match="make them the same"):
        make("mine/liar")
    with pytest.raises(InputError, match="not a subclass of Model"):
        make("mine/three")
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, "mine/absent=no_such_module:Model")
    with pytest.raises(InputError, match="cannot be imported: ModuleNotFoundError"):
        make("mine/absent")
    assert make("controls/ideal_grid"), "a broken plugin must break nothing else"


def test_bad_registrations_are_refused(monkeypatch) -> None:
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, "controls/ideal_grid=somewhere:Else")
    with pytest.raises(InputError, match=r"registered twice.*by entorhinal and somewhere:Else by ENTORHINAL_MODELS"):
        list_models()
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, "nonsense")
    with pytest.raises(InputError, match="family/name=module:Class"):
        list_models()
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, "Bad Name=somewhere:Else")
    with pytest.raises(InputError, match="family/name-vN"):
        list_models()


class Point:
    """An entry point of an installed package, as `importlib.metadata` gives it."""

    def __init__(self, name: str, value: str, package: str) -> None:
        self.name, self.value = name, value
        self.dist = type("Distribution", (), {"name": package})()


def install(monkeypatch, *points: Point) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    monkeypatch.setattr(registry, "_packaged", registry._packaged.__wrapped__)  # which else is read once


def test_packages_that_claim_what_they_may_not_are_left_out_alone(monkeypatch) -> None:
    install(
        monkeypatch,
        Point("mine/good", "one:Model", "later-package"),
        Point("mine/good", "two:Model", "a-package"),
        Point("controls/ideal_grid-v1", "thief:Model", "thief"),
        Point("Bad Name", "bad:Model", "bad-package"),
    )
    known = registry.entries()
    assert list(known)[: len(registry.BUILT_IN)] == list(registry.BUILT_IN)
    assert known["controls/ideal_grid-v1"].provider == "entorhinal"
    assert known["mine/good-v1"].provider == "a-package", "the first by the package's name, whatever the path says"
    reasons = {found.entry.provider: found.reason for found in registry.refused()}
    assert set(reasons) == {"later-package", "thief", "bad-package"}
    assert "two:Model by a-package and one:Model by later-package; rename one" in reasons["later-package"]
    assert "rename one, or uninstall its package" in reasons["thief"]
    assert "family/name-vN" in reasons["bad-package"]
    assert make("controls/ideal_grid").card.id == "controls/ideal_grid-v1"


def test_half_of_a_power_and_other_interfaces_are_named(monkeypatch, tmp_path) -> None:
    (tmp_path / "odd_models.py").write_text(
        "from entorhinal.families.controls.ideal_grid import IdealGrid\n"
        "class Half(IdealGrid):\n"
        "    card = IdealGrid.card.model_copy(update={'id': 'mine/half-v1'})\n"
        "    def loss(self, batch): ...\n"
        "class Old(IdealGrid):\n"
        "    card = IdealGrid.card.model_copy(update={'id': 'mine/old-v1'})\n"
        "class New(IdealGrid):\n"
        "    card = IdealGrid.card.model_copy(update={'id': 'mine/new-v1', 'interface_version': 3})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    install(
        monkeypatch, *(Point(f"mine/{name.lower()}", f"odd_models:{name}", "odd") for name in ("Half", "Old", "New"))
    )
    with pytest.raises(InputError, match=r"has loss\(\), but not recipe\(\), training_data\(\): add what"):
        make("mine/half")
    with pytest.raises(InputError, match=r"needs interface version 3, and entorhinal .* has 1; upgrade entorhinal"):
        make("mine/new")
    make("mine/old")
    monkeypatch.setattr("entorhinal.INTERFACE_VERSION", 2)
    with pytest.warns(DeprecationWarning, match="interface version 1, which goes when 3 comes"):
        make("mine/old")
    monkeypatch.setattr("entorhinal.INTERFACE_VERSION", 3)
    make("mine/new")
    with pytest.raises(InputError, match=r"version 1, and entorhinal .* has 2 and 3; upgrade odd"):
        make("mine/old")


@pytest.mark.parametrize("id", registry.BUILT_IN)
def test_cards_are_valid_also_where_they_are_changed_copies(id: str) -> None:
    card = get_card(id)
    assert type(card).model_validate(card.model_dump()) == card
