"""Tests marked ``gpu`` are skipped where there is no CUDA device; caches of the tests stay out of the user's home."""

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    patch = pytest.MonkeyPatch()
    patch.setenv("ENTORHINAL_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()
