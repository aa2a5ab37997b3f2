"""How is it cited?  BibTeX of the software, tasks, releases and the papers behind models and tasks, each entry once."""

import json
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from string import ascii_lowercase

from entorhinal import __version__
from entorhinal.benchmarks.records import RELEASES
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

RELEASE = """@misc{{entorhinal_{key},
  title = {{Records and tables of entorhinal, release {release}}},
  author = {{{{The entorhinal developers}}}},
  howpublished = {{Version {version}, commit {commit}}},
  note = {{SHA-256 of its manifest: {sha256}}},
  year = {{{year}}}
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

SOURCES = {"gridness-v2": SARGOLINI, "path_integration-v1": SARGOLINI, "topology-v3": GARDNER}
"""The recording that a task is run on, the method that it follows."""


def cite(ids: Sequence[str] = ()) -> str:
    """BibTeX of the software, and of models, tasks and releases by id (all if none is named) with their sources.

    A version that is ``-v1``, or a task's newest, may be left out; an unknown id raises `InputError`.
    """
    newest = {id.rpartition("-v")[0]: id for id in TASKS}
    known = entries()
    texts = [SOFTWARE.format(version=__version__)]
    releases = {path.parent.name: path for path in sorted(RELEASES.glob("*/manifest.json"))}
    for id in ids or (*list_models(), *TASKS, *releases):
        if (task := newest.get(id, id)) in TASKS:
            title = get_task(task).title
            texts += [TASK.format(key=task.replace("-", "_"), title=title, id=task, version=__version__)]
            texts += [SOURCES[task]] if task in SOURCES else []
        elif versioned(id) in known:
            texts.append(get_class(id).card.citation)
        elif id in releases:
            texts.append(_release(releases[id]))
        else:
            raise unknown("model, task or release", id, [*known, *TASKS, *releases])
    return merged(texts)


def _release(path: Path) -> str:
    content = path.read_bytes()
    said = json.loads(content)
    return RELEASE.format(
        key=said["release"].replace(".", "_"),
        release=said["release"],
        version=said["entorhinal"],
        commit=said["commit"],
        sha256=sha256(content).hexdigest(),
        year=said["created"][:4],
    )


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
