"""Which models are there?  Ids to strings to classes; listing imports no model and not torch.

Three sources give the same strings ``id -> "module:Class"``: the table of built-ins below, the entry-point group
``entorhinal.models`` of any installed package, and the environment variable ``ENTORHINAL_MODELS`` (``id=module:Class``,
separated by commas) for code not yet packaged. A package's registration that cannot stand (an id that is taken, or is
none) is refused alone: `refused` says why, and all others work.
"""

import os
import re
import warnings
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import entorhinal
from entorhinal.families.errors import InputError, unknown

if TYPE_CHECKING:
    from entorhinal.families.model import Card, Model

__all__ = [
    "BUILT_IN",
    "Entry",
    "Refused",
    "check_interface",
    "entries",
    "get_card",
    "get_class",
    "list_models",
    "make",
    "refused",
    "resolve",
    "versioned",
]

ENTRY_POINT_GROUP = "entorhinal.models"
ENVIRONMENT_VARIABLE = "ENTORHINAL_MODELS"
_ID = re.compile(r"[a-z0-9_]+/[a-z0-9_]+-v[1-9][0-9]*")

BUILT_IN = {
    "coding_theory/residue-v1": "entorhinal.families.coding_theory.residue:Residue",
    "coding_theory/error_correcting-v1": "entorhinal.families.coding_theory.error_correcting:ErrorCorrecting",
    "coding_theory/nested-v1": "entorhinal.families.coding_theory.nested:Nested",
    "coding_theory/dynamic-v1": "entorhinal.families.coding_theory.dynamic:Dynamic",
    "coding_theory/economy-v1": "entorhinal.families.coding_theory.economy:Economy",
    "coding_theory/nested_decoder-v1": "entorhinal.families.coding_theory.nested_decoder:NestedDecoder",
    "continuous_attractor/burak_fiete-v1": "entorhinal.families.continuous_attractor.burak_fiete:BurakFiete",
    "continuous_attractor/burak_fiete_aperiodic-v1": (
        "entorhinal.families.continuous_attractor.burak_fiete_aperiodic:BurakFieteAperiodic"
    ),
    "continuous_attractor/burak_fiete_spiking-v1": (
        "entorhinal.families.continuous_attractor.burak_fiete_spiking:BurakFieteSpiking"
    ),
    "continuous_attractor/guanella-v1": "entorhinal.families.continuous_attractor.guanella:Guanella",
    "continuous_attractor/couey-v1": "entorhinal.families.continuous_attractor.couey:Couey",
    "continuous_attractor/fuhs_touretzky-v1": "entorhinal.families.continuous_attractor.fuhs_touretzky:FuhsTouretzky",
    "continuous_attractor/kang_balasubramanian-v1": "entorhinal.families.continuous_attractor.kang_balasubramanian"
    ":KangBalasubramanian",
    "continuous_attractor/peak_selection-v1": "entorhinal.families.continuous_attractor.peak_selection:PeakSelection",
    "continuous_attractor/peak_selection_sheet-v1": "entorhinal.families.continuous_attractor.peak_selection_sheet"
    ":PeakSelectionSheet",
    "function_optimization/dordek-v1": "entorhinal.families.function_optimization.dordek:Dordek",
    "function_optimization/dordek_hebbian-v1": (
        "entorhinal.families.function_optimization.dordek_hebbian:DordekHebbian"
    ),
    "function_optimization/successor-v1": "entorhinal.families.function_optimization.successor:Successor",
    "function_optimization/pattern_formation-v1": (
        "entorhinal.families.function_optimization.pattern_formation:PatternFormation"
    ),
    "function_optimization/lie_group-v1": "entorhinal.families.function_optimization.lie_group:LieGroup",
    "function_optimization/conformal-v1": "entorhinal.families.function_optimization.conformal:Conformal",
    "function_optimization/actionable-v1": "entorhinal.families.function_optimization.actionable:Actionable",
    "supervised/cueva_wei-v1": "entorhinal.families.supervised.cueva_wei:CuevaWei",
    "supervised/banino-v1": "entorhinal.families.supervised.banino:Banino",
    "supervised/sorscher-v1": "entorhinal.families.supervised.sorscher:Sorscher",
    "supervised/nayebi-v1": "entorhinal.families.supervised.nayebi:Nayebi",
    "supervised/schaeffer-v1": "entorhinal.families.supervised.schaeffer:Schaeffer",
    "ssl/sic-v1": "entorhinal.ssl.sic:SIC",
    "ssl/sic_modular-v1": "entorhinal.ssl.sic_modular:SICModular",
    "ssl/sic_unpermuted-v1": "entorhinal.ssl.sic_unpermuted:SICUnpermuted",
    "ssl/vicreg-v1": "entorhinal.ssl.vicreg:VICReg",
    "ssl/simclr-v1": "entorhinal.ssl.simclr:SimCLR",
    "ssl/distance_preserving-v1": "entorhinal.ssl.distance_preserving:DistancePreserving",
    "ssl/distance_preserving_recurrent-v1": (
        "entorhinal.ssl.distance_preserving_recurrent:DistancePreservingRecurrent"
    ),
    "controls/ideal_grid-v1": "entorhinal.families.controls.ideal_grid:IdealGrid",
    "controls/lowpass_noise-v1": "entorhinal.families.controls.lowpass_noise:LowpassNoise",
    "controls/place_cells-v1": "entorhinal.families.controls.place_cells:PlaceCells",
    "controls/random_rnn-v1": "entorhinal.families.controls.random_rnn:RandomRNN",
    "controls/shuffled-v1": "entorhinal.families.controls.shuffled:Shuffled",
}


@dataclass(frozen=True)
class Entry:
    """One registered model: its id, ``module:Class``, and who registered it (a distribution, or the environment)."""

    id: str
    target: str
    provider: str

    @property
    def family(self) -> str:
        return self.id.partition("/")[0]

    def load(self) -> "type[Model]":
        """Import the class. What the import raises is passed on; a target that is no model raises `InputError`."""
        from entorhinal.families.model import Model, misdeclared_powers

        module, _, name = self.target.partition(":")
        found = getattr(import_module(module), name, None)
        if not (isinstance(found, type) and issubclass(found, Model)):
            raise InputError(f"model {self.id!r}: {self.target!r} from {self.provider} is not a subclass of Model")
        if found.card.id != self.id:
            raise InputError(
                f"model {self.id!r}: the card of {self.target!r} says {found.card.id!r}; make them the same"
            )
        check_interface(found.card, self.provider)
        if wrong := misdeclared_powers(found):
            raise InputError(f"model {self.id!r} from {self.provider}: {'; '.join(wrong)}")
        return found


@dataclass(frozen=True)
class Refused:
    """A package's registration that is left out, and why, with the way out."""

    entry: Entry
    reason: str


def check_interface(card: "Card", provider: str) -> None:
    """Refuse, with an `InputError`, a card of a newer interface or one long gone; the one before the present warns."""
    wanted, ours = card.interface_version, entorhinal.INTERFACE_VERSION
    if wanted > ours:
        raise InputError(
            f"model {card.id!r} needs interface version {wanted}, and entorhinal {entorhinal.__version__} has {ours}; "
            "upgrade entorhinal"
        )
    if wanted < ours - 1:
        raise InputError(
            f"model {card.id!r} is written for interface version {wanted}, and entorhinal {entorhinal.__version__} has "
            f"{ours - 1} and {ours}; upgrade {provider}, or install an older entorhinal"
        )
    if wanted < ours:
        warnings.warn(
            f"model {card.id!r} is written for interface version {wanted}, which goes when {ours + 1} comes; "
            f"the changelog says what {ours} changes",
            DeprecationWarning,
            stacklevel=2,
        )


def entries() -> dict[str, Entry]:
    """All registered models by id, built-ins first, then packages by name.

    A bad ``ENTORHINAL_MODELS`` raises `InputError`; a package's bad registration is left out (`refused`).
    """
    return _registered()[0]


def refused() -> list[Refused]:
    """Registrations of packages that are left out."""
    return _registered()[1]


def _registered() -> tuple[dict[str, Entry], list[Refused]]:
    table = {id: Entry(id, target, "entorhinal") for id, target in BUILT_IN.items()}
    left_out = []
    for entry in sorted(_packaged(), key=lambda entry: (entry.provider, entry.id)):
        if wrong := _wrong(entry, table):
            left_out.append(Refused(entry, wrong))
        else:
            table[entry.id] = entry
    for item in filter(None, (part.strip() for part in os.environ.get(ENVIRONMENT_VARIABLE, "").split(","))):
        name, equals, target = item.partition("=")
        if not equals or ":" not in target:
            raise InputError(f"{ENVIRONMENT_VARIABLE}: {item!r} is not of the form family/name=module:Class")
        entry = Entry(versioned(name.strip()), target.strip(), ENVIRONMENT_VARIABLE)
        if wrong := _wrong(entry, table):
            raise InputError(wrong)
        table[entry.id] = entry
    return table, left_out


@cache
def _packaged() -> tuple[Entry, ...]:
    """What installed packages register; read once, as every reading searches all of their metadata."""
    return tuple(
        Entry(versioned(point.name), point.value, point.dist.name if point.dist else "an unnamed package")
        for point in entry_points(group=ENTRY_POINT_GROUP)
    )


def _wrong(entry: Entry, table: dict[str, Entry]) -> str:
    """Why an entry cannot join the table; "" if it can."""
    if not _ID.fullmatch(entry.id):
        return f"model id {entry.id!r} from {entry.provider} is not of the form family/name-vN"
    if entry.id in table:
        first = table[entry.id]
        return (
            f"model {entry.id!r} is registered twice: {first.target} by {first.provider} and {entry.target} by "
            f"{entry.provider}; rename one, or uninstall its package"
        )
    return ""


def list_models(family: str | None = None) -> list[str]:
    """Ids of all registered models, or of one family."""
    known = entries()
    if family is not None and family not in (families := {entry.family for entry in known.values()}):
        raise unknown("family", family, families)
    return [id for id, entry in known.items() if family in (None, entry.family)]


def resolve(id: str) -> str:
    """The full id; ``-v1`` may be left out. An unknown id raises `InputError` with the nearest right one."""
    known = entries()
    if (full := versioned(id)) not in known:
        raise unknown("model", id, known)
    return full


def get_class(id: str) -> "type[Model]":
    """The model's class. A model that cannot be imported raises `InputError` with the import's own error."""
    entry = entries()[resolve(id)]
    try:
        return entry.load()
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"model {entry.id!r} ({entry.target} from {entry.provider}) cannot be imported: {type(error).__name__}: "
            f"{error}; 'entorhinal list --long' shows the traceback"
        ) from error


def get_card(id: str) -> "Card":
    """The card of a model."""
    return get_class(id).card


def make(id: str, **config: Any) -> "Model":
    """A model by id, with config keywords. ``make("controls/ideal_grid", spacing_m=(0.4,))``."""
    return get_class(id).make(**config)


def versioned(id: str) -> str:
    """The id with ``-v1`` where it names no version."""
    return id if re.search(r"-v\d+$", id) else f"{id}-v1"
