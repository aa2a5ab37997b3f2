"""What of the comparison can be tested without the packages."""

import sys

import numpy as np
import pytest
import torch

from entorhinal.benchmarks import public_scorers
from entorhinal.benchmarks.public_scorers import Scores, comparison, our_scores, public_scores, ranked_maps


def scores(*values: float) -> Scores:
    return Scores("s", "1", np.array(values), ("",) * len(values), np.zeros(len(values)))


def test_only_maps_that_both_score_are_compared() -> None:
    found = comparison(scores(1, 0.5, 0.02, -1, np.nan), scores(0.9, 0.4, -0.02, np.nan, 1))
    assert found == {"maps": 3, "spearman": 1.0, "clear": 2, "same_sign": 1.0}
    assert comparison(scores(1, 0.5, -0.5), scores(-1, -0.5, 0.5))["spearman"] == -1


def test_the_maps_run_from_hexagonal_to_not_at_all() -> None:
    kinds, maps = ranked_maps()
    assert len(kinds) == len(maps) == 40
    ours = our_scores(maps).scores
    assert ours[:6].min() > 1.2
    assert ours[np.array(kinds) == "square lattice"].max() < 0
    assert maps.min() == 0
    assert maps.max() == 1


def test_a_failing_installation_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    (tmp_path / "environment" / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(public_scorers, "REQUIREMENTS", ("./no-such-folder/package.whl",))
    with pytest.raises(RuntimeError, match=r"installing \./no-such-folder.* from PyPI with Python .* failed"):
        public_scores(torch.zeros(1, 9, 9), tmp_path)


def test_a_failing_scorer_is_named(tmp_path) -> None:
    with pytest.raises(RuntimeError, match=r"scoring failed \(exit status 1\):\n(?s:.*)ZeroDivisionError"):
        public_scorers._checked([sys.executable, "-c", "1 / 0"], "scoring")
