"""Which tasks are there?  One file a task; ids carry versions, and a change in a score is a new version."""

from importlib import import_module
from typing import TYPE_CHECKING

from entorhinal.families.errors import unknown

if TYPE_CHECKING:
    from entorhinal.benchmarks.tasks.task import Task

__all__ = ["SUITES", "TASKS", "get_task", "suite"]

TASKS = {
    "gridness-v2": "entorhinal.benchmarks.tasks.gridness:Gridness",
    "path_integration-v1": "entorhinal.benchmarks.tasks.path_integration:PathIntegration",
    "attractor-v1": "entorhinal.benchmarks.tasks.attractor:Attractor",
    "generalization-v2": "entorhinal.benchmarks.tasks.generalization:Generalization",
    "modules-v1": "entorhinal.benchmarks.tasks.modules:ModulesTask",
    "capacity-v1": "entorhinal.benchmarks.tasks.capacity:Capacity",
    "isometry-v1": "entorhinal.benchmarks.tasks.isometry:IsometryTask",
    "robustness-v1": "entorhinal.benchmarks.tasks.robustness:Robustness",
    "topology-v3": "entorhinal.benchmarks.tasks.topology:Topology",
    "cost-v1": "entorhinal.benchmarks.tasks.cost:Cost",
}

SUITES = {
    "core": ("gridness-v2", "path_integration-v1", "generalization-v2", "cost-v1"),
    "open-field-v1": (
        "gridness-v2",
        "path_integration-v1",
        "attractor-v1",
        "generalization-v2",
        "modules-v1",
        "capacity-v1",
        "isometry-v1",
        "robustness-v1",
        "topology-v3",
        "cost-v1",
    ),
}
"""Named lists of tasks. ``open-field-v1`` has all that a row of every table needs; with other tasks it is a ``v2``."""


def get_task(id: str) -> "Task":
    """A task by id; the version may be left out."""
    full = {known.rpartition("-v")[0]: known for known in TASKS}.get(id, id)
    if full not in TASKS:
        raise unknown("task", id, TASKS)
    module, _, name = TASKS[full].partition(":")
    task: Task = getattr(import_module(module), name)()
    return task


def suite(name: str) -> tuple[str, ...]:
    """The task ids of a suite; the version may be left out."""
    full = {known.rpartition("-v")[0]: known for known in SUITES if "-v" in known}.get(name, name)
    if full not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[full]
