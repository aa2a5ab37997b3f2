"""What is printed to be cited parses, names everything once, and never loses an entry."""

import bibtexparser
import pytest
from bibtexparser.bparser import BibTexParser

from entorhinal import __version__
from entorhinal.benchmarks.citations import SOURCES, bibliography, cite, merged
from entorhinal.benchmarks.records import RELEASES
from entorhinal.benchmarks.tasks import TASKS
from entorhinal.families.errors import InputError
from entorhinal.families.registry import get_class, list_models


def parsed(text: str) -> list[dict[str, str]]:
    return bibtexparser.loads(text, BibTexParser(ignore_nonstandard_types=False)).entries  # BibLaTeX has @software


def keys(text: str) -> list[str]:
    return [entry["ID"] for entry in parsed(text)]


def test_everything_is_cited_and_keys_are_unique() -> None:
    text = cite()
    found = keys(text)
    assert len(found) == len(set(found)) == text.count("\n@") + 1
    releases = [path.parent.name.replace(".", "_") for path in RELEASES.glob("*/manifest.json")]
    wanted = {"entorhinal", *(f"entorhinal_{name.replace('-', '_')}" for name in (*TASKS, *releases))}
    for each in (*(get_class(model).card.citation for model in list_models()), *SOURCES.values()):
        assert keys(each), "every citation parses"
        wanted |= set(keys(each))
    assert set(found) == wanted, "and no two sources have one key and other texts"


def test_fields_that_a_reader_needs_are_there() -> None:
    for entry in parsed(cite()):
        assert {"title", "author", "year"} <= set(entry), entry["ID"]
    software, task, source = parsed(cite(["topology"]))
    assert (software["ENTRYTYPE"], software["version"]) == ("software", __version__)
    assert f"Task topology-v3 of entorhinal, version {__version__}" in task["howpublished"]
    assert source["ID"] == "gardner2022"


def test_sources_that_several_share_are_there_once() -> None:
    text = bibliography(["controls/ideal_grid-v1", "controls/shuffled-v1", "controls/random_rnn-v1"])
    assert sorted(keys(text)) == ["sorscher2019", "stensola2012"]
    assert keys(cite(["gridness", "gridness-v2", "path_integration"])).count("sargolini2006") == 1


def test_two_sources_with_one_key_are_both_kept() -> None:
    mine, yours = "@misc{me, title = {Mine}}", "@misc{me,\n  title = {Yours}\n}"
    text = merged([mine, yours, "@misc{me,  title = {Mine}}", yours])
    assert [(entry["ID"], entry["title"]) for entry in parsed(text)] == [
        ("me", "Mine"), ("meb", "Yours"),
    ]  # fmt: skip


def test_unknown_ids_name_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown model, task or release 'gridnes'; did you mean 'gridness-v2'"):
        cite(["gridnes"])
