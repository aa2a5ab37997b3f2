"""Tests marked ``gpu`` are skipped where there is no CUDA device; caches stay out of the user's home."""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from entorhinal.families.kernel import HAS_TRITON

torch.set_num_threads(
    1
)  # tests are many small operations, and threads that wait for each other on a busy machine crawl


settings.register_profile("same examples every time", derandomize=True, deadline=None)  # machines are shared and slow
settings.load_profile("same examples every time")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


_INTERPRETED = HAS_TRITON and os.environ.get("TRITON_INTERPRET") == "1"


@pytest.fixture(
    params=[
        pytest.param("cpu", marks=pytest.mark.skipif(not _INTERPRETED, reason="needs Triton and TRITON_INTERPRET=1")),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ]
)
def device(request: pytest.FixtureRequest) -> str:
    """Where kernels run: on a CUDA device, and on a CPU only in Triton's interpreter."""
    return request.param


collect_ignore = ["plugin_example"]  # its tests run where it is installed: tests/families/test_template.py


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # then each worker has a folder of its own in that of the run
        base = base.parent
    patch = pytest.MonkeyPatch()
    patch.setenv("ENTORHINAL_CACHE", str(base / "cache"))
    yield
    patch.undo()
