"""How is it cited?  BibTeX of the software, of tasks and of the papers behind models and tasks, each entry once."""

import re
from collections.abc import Iterable, Sequence
from string import ascii_lowercase

from entorhinal import __version__
from entorhinal.benchmarks.tasks import TASKS, get_task
from entorhinal.families.errors import unknown
from entorhinal.families.registry import entries, get_class, list_models, versioned

__all__ = ["bibliography", "cite", "merged"]

SOFTWARE = """@software{{entorhinal,
  title = {{entorhinal: every theory of grid cells behind one interface}},
  author = {{{{The entorhinal developers}}}},
  version = {{{version}}},
  year = {{2026}}
}}"""

TASK = """@misc{{entorhinal_{key},
  title = {{{title}}},
  author = {{{{The entorhinal developers}}}},
  howpublished = {{Task {id} of entorhinal, version {version}}},
  year = {{2026}}
}}"""

SARGOLINI = """@article{sargolini2006,
  title = {Conjunctive representation of position, direction, and velocity in entorhinal cortex},
  author = {Sargolini, Francesca and Fyhn, Marianne and Hafting, Torkel and McNaughton, Bruce L. and Witter, Menno P.
            and Moser, May-Britt and Moser, Edvard I.},
  journal = {Science},
  volume = {312},
  pages = {758--762},
  year = {2006}
}"""

GARDNER = """@article{gardner2022,
  title = {Toroidal topology of population activity in grid cells},
  author = {Gardner, Richard J. and Hermansen, Erik and Pachitariu, Marius and Burak, Yoram and Baas, Nils A. and Dunn,
            Benjamin A. and Moser, May-Britt and Moser, Edvard I.},
  journal = {Nature},
  volume = {602},
  pages = {123--128},
  year = {2022}
}"""

SOURCES = {"gridness-v2": SARGOLINI, "path_integration-v1": SARGOLINI, "topology-v2": GARDNER}
"""The recording that a task is run on, the method that it follows."""


def cite(ids: Sequence[str] = ()) -> str:
    """BibTeX of the software, and of models and tasks by id (all of them if none is named) with their sources.

    A version that is ``-v1``, or a task's newest, may be left out; an unknown id raises `InputError`.
    """
    newest = {id.rpartition("-v")[0]: id for id in TASKS}
    known = entries()
    texts = [SOFTWARE.format(version=__version__)]
    for id in ids or (*list_models(), *TASKS):
        if (task := newest.get(id, id)) in TASKS:
            title = get_task(task).title
            texts += [TASK.format(key=task.replace("-", "_"), title=title, id=task, version=__version__)]
            texts += [SOURCES[task]] if task in SOURCES else []
        elif versioned(id) in known:
            texts.append(get_class(id).card.citation)
        else:
            raise unknown("model or task", id, [*known, *TASKS])
    return merged(texts)


def bibliography(models: Iterable[str]) -> str:
    """The BibTeX of the models' sources."""
    return merged(get_class(model).card.citation for model in models)


def merged(texts: Iterable[str]) -> str:
    """One BibTeX text of many: equal entries once, and other entries with a key that is taken get a letter after it."""
    found: dict[str, str] = {}
    for text in texts:
        for kind, key, rest in re.findall(r"(?ms)^(@\w+\s*\{)\s*([^,\s}]+)(.*?)(?=^@|\Z)", text.strip()):
            for name in (key, *(key + letter for letter in ascii_lowercase[1:])):
                entry = f"{kind}{name}{rest.rstrip()}"
                if found.setdefault(name, entry).split() == entry.split():
                    break
    return "\n\n".join(found.values()) + "\n"
