"""Ids, plugins and their errors."""

import subprocess
import sys
from pathlib import Path

import pytest

from entorhinal.families import get_card, list_models, make, registry
from entorhinal.families.errors import InputError

ROOT = Path(__file__).parents[2]


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


def test_a_plugin_package_is_found_scored_and_checked(tmp_path) -> None:
    """The example package is installed with pip, without touching this environment."""
    build = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    source = ROOT / "tests" / "plugin_example"
    subprocess.run([*build, "--target", str(tmp_path), str(source)], check=True, capture_output=True, text=True)
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
        "from entorhinal.families import check_model, list_models\n"
        "from entorhinal.families.registry import entries\n"
        "assert 'example/grid_cosine-v1' in list_models()\n"
        "assert entries()['example/grid_cosine-v1'].provider == 'entorhinal-plugin-example'\n"
        "check_model('example/grid_cosine')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path)
