"""Grid cells as a low-dimensional basis of the successor representation (Stachenfeld, Botvinick & Gershman 2017).

Places are the nodes of a graph, and a random walk on it has the transition matrix T, each neighbour equally likely. The
expected discounted number of future visits to s′ from s is

    M = Σ_t γ^t T^t = (1 − γT)⁻¹                                                                             (1)

whose rows are place-like and whose columns are like place fields. Its eigenvectors are those of T: T v = μ v gives
M v = v/(1 − γμ), so smooth ones come first. In an open square they are products of cosines along its sides (and
mixtures of those of equal μ); the paper sets what is negative in them to 0, and finds them grid-like. Of non-negative
codes, M is best reproduced by a factorisation of it,

    M ≈ W H,   W, H >= 0,   W ← W ∘ (M Hᵀ)/(W H Hᵀ),   H ← H ∘ (Wᵀ M)/(Wᵀ W H)                               (2)

(Lee & Seung 2001), with M never written out: 1 − γT is sparse, and its factors multiply by M. Units are columns of W.
Walls, as missing edges, and the shape of the room bend both.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, Literal

import networkx as nx
import numpy as np
import torch
from pydantic import Field
from scipy import sparse
from scipy.ndimage import distance_transform_edt
from scipy.sparse.linalg import eigsh, splu
from torch import Tensor

from entorhinal.families import codes
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Config, Model, Representation, State
from entorhinal.families.world import Trajectories, World

__all__ = [
    "ENVIRONMENTS",
    "Successor",
    "SuccessorConfig",
    "check_connected",
    "eigenvectors",
    "environment",
    "nonnegative_factors",
    "successor_product",
    "transitions",
]

ENVIRONMENTS = ("square", "circle", "trapezoid", "barrier", "two_rooms")
NARROW = 0.2 / 0.9
"""Short over long side of the trapezoid, that of Krupic et al. 2015."""


class SuccessorConfig(Config):
    environment: Literal["square", "circle", "trapezoid", "barrier", "two_rooms"] = Field("square")
    basis: Literal["eigenvectors", "thresholded", "nonnegative"] = Field(
        "thresholded", description="eigenvectors of T, their positive parts, or factors W of eq. (2)"
    )
    bins: int = Field(40, ge=8, le=200, description="places along each side of the box")
    side_m: float = Field(1.0, gt=0, description="of the square box that holds the environment")
    door_bins: int = Field(6, ge=0, description="width of the door between two rooms")
    discount: float = Field(0.99, gt=0, lt=1, description="γ")
    units: int = Field(32, ge=1, description="eigenvectors after the constant one, or factors")
    iterations: int = Field(400, ge=1, description="of eq. (2)")
    seed: int = Field(0, ge=0, description="start of the factorisation; basis of eigenvectors of equal μ")


def environment(name: str, bins: int, door_bins: int) -> nx.Graph:
    """The environment's places, nodes (row, column), with edges between neighbours that no wall parts."""
    graph = nx.grid_2d_graph(bins, bins)
    middle = bins // 2
    door = (bins - door_bins) // 2
    row, column = np.indices((bins, bins)) - (bins - 1) / 2
    inside = np.ones((bins, bins), bool)
    if name == "circle":
        inside = np.hypot(row, column) <= bins / 2
    elif name == "trapezoid":
        inside = np.abs(row) <= bins / 2 * (1 - (1 - NARROW) * (column / bins + 0.5))
    elif name in ("barrier", "two_rooms"):
        open_rows = range(middle, bins) if name == "barrier" else range(door, door + door_bins)
        graph.remove_edges_from(((r, middle - 1), (r, middle)) for r in range(bins) if r not in open_rows)
    graph.remove_nodes_from([node for node in graph if not inside[node]])
    return graph


def check_connected(graph: nx.Graph, owner: str) -> None:
    """`InputError` that names the components of a graph that is not connected."""
    if not len(graph):
        raise InputError(f"{owner}: the graph has no places; give it some")
    if not nx.is_connected(graph):
        parts = sorted(nx.connected_components(graph), key=len, reverse=True)
        shown = ", ".join(f"{len(part)} places with {min(part)}" for part in parts[:4])
        raise InputError(
            f"{owner}: the graph is not connected: {len(parts)} components ({shown}{', ...' * (len(parts) > 4)}); join "
            "them by an edge, such as a door (door_bins >= 1), or use one"
        )


def transitions(graph: nx.Graph) -> sparse.csr_array:
    """T of a random walk, rows of sum 1, places in the order of the graph's nodes."""
    adjacency = sparse.csr_array(nx.to_scipy_sparse_array(graph, dtype=float))
    return sparse.csr_array(sparse.diags_array(1 / adjacency.sum(1)) @ adjacency)


def successor_product(walk: sparse.csr_array, discount: float) -> Callable[..., np.ndarray]:
    """``product(x)`` is M x, and ``product(x, "T")`` Mᵀ x, for x ``(places, k)``, from sparse factors of 1 − γT."""
    factors = splu(sparse.csc_array(sparse.eye_array(walk.shape[0]) - discount * walk))
    return lambda x, trans="N": factors.solve(np.ascontiguousarray(x), trans)


def eigenvectors(graph: nx.Graph, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` largest μ below 1, falling, and eigenvectors of T ``(places, count)``, of norm 1.

    D^½ T D^−½ is symmetric, with D the numbers of neighbours, so one sparse symmetric problem is solved, about 1.
    """
    degree = np.array([d for _, d in graph.degree()], float)
    root = sparse.diags_array(degree**0.5)
    symmetric = sparse.csc_array(root @ transitions(graph) @ sparse.diags_array(degree**-0.5))
    start = np.random.default_rng(seed).standard_normal(len(degree))
    value, vector = eigsh(symmetric, count + 1, sigma=1 + 1e-4, v0=start)
    order = np.argsort(-value)[1:]
    vector = vector[:, order] / degree[:, None] ** 0.5
    return value[order], vector / np.linalg.norm(vector, axis=0)


def nonnegative_factors(
    product: Callable[..., np.ndarray], places: int, count: int, iterations: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W ``(places, count)`` and H ``(count, places)`` of eq. (2), and ‖M − WH‖² less ‖M‖² after each step."""
    rng = np.random.default_rng(seed)
    w, h = rng.random((places, count)), rng.random((count, places))
    error = []
    for _ in range(iterations):
        w *= product(h.T) / (w @ (h @ h.T) + 1e-12)
        back = product(w, "T").T  # Wᵀ M
        h *= back / (w.T @ w @ h + 1e-12)
        error.append(float(((w.T @ w) * (h @ h.T)).sum() - 2 * (back * h).sum()))
    return w, h, np.array(error)


@lru_cache(maxsize=16)
def solve(config: SuccessorConfig) -> tuple[Tensor, Tensor]:
    """Maps ``(units, bins, bins)`` of root mean square 1 inside, and what is inside ``(bins, bins)``.

    Outside, maps repeat the nearest place inside, so that reading between bins never mixes in a place that is none.
    """
    graph = environment(config.environment, config.bins, config.door_bins)
    check_connected(graph, Successor.card.id)
    if config.units + 2 > len(graph):
        raise InputError(f"{Successor.card.id}: units = {config.units} of {len(graph)} places; give fewer")
    if config.basis == "nonnegative":
        product = successor_product(transitions(graph), config.discount)
        found = nonnegative_factors(product, len(graph), config.units, config.iterations, config.seed)[0]
    else:
        found = eigenvectors(graph, config.units, config.seed)[1]
        if config.basis == "thresholded":
            found = found.clip(0)
    inside = np.zeros((config.bins, config.bins), bool)
    inside[tuple(np.array(graph.nodes).T)] = True
    maps = np.zeros((config.units, config.bins, config.bins))
    maps[:, *np.array(graph.nodes).T] = (found / np.sqrt(np.mean(found**2, axis=0))).T
    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return torch.from_numpy(maps[:, *nearest]), torch.from_numpy(inside)


class Successor(Model):
    """Rates ``(B, T, units)`` of the position alone; NaN outside the environment."""

    Config = SuccessorConfig
    card: ClassVar[Card] = Card(
        id="function_optimization/successor-v1",
        title="Basis of the successor representation",
        citation="""@article{stachenfeld2017hippocampus,
  title = {The hippocampus as a predictive map},
  author = {Stachenfeld, Kimberly L. and Botvinick, Matthew M. and Gershman, Samuel J.},
  journal = {Nature Neuroscience},
  volume = {20},
  pages = {1643--1653},
  year = {2017},
  doi = {10.1038/nn.4650}
}""",
        training_extent_m=1.0,
        lattice="scale given",
        supervision="input",
        tasks=("gridness", "generalization", "modules", "topology", "capacity", "isometry", "robustness", "cost"),
        deviations=(
            "The walk is uniform over neighbours, and M is exact, not learned from a walk by temporal differences.",
            "Eigenvectors of equal μ are a basis of their space that the seed chooses.",
            "Rates are scaled to root mean square 1 over the environment.",
        ),
        provenance={
            "environment": "paper",
            "basis": "paper: eigenvectors, thresholded at 0; the factorisation is ours",
            "bins": "ours",
            "side_m": "ours",
            "door_bins": "ours",
            "discount": "ours; eigenvectors do not depend on it",
            "units": "ours",
            "iterations": "ours",
            "seed": "ours",
        },
    )
    maps: Tensor
    inside: Tensor
    fitted: Tensor

    def __init__(self, config: SuccessorConfig | None = None) -> None:
        super().__init__(config)
        c = self.config
        self.register_buffer("maps", torch.zeros(c.units, c.bins, c.bins))
        self.register_buffer("inside", torch.zeros(c.bins, c.bins, dtype=torch.bool))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, world: World) -> None:
        """Compute the maps. They depend on the config alone: rooms are the model's own, and ``world`` only a plane."""
        self._plane(world.arena.dimensions)
        self._fit()

    def _fit(self) -> None:
        if not self.fitted:
            maps, inside = solve(self.config)
            self.maps.copy_(maps)
            self.inside.copy_(inside)
            self.fitted.fill_(True)

    def _plane(self, dimensions: int) -> None:
        if dimensions != 2:
            raise InputError(f"{self.card.id}: the arena has 1 dimension; give a plane, such as Arena.square(1.0)")

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        self._plane(trajectories.dimensions)
        self._fit()
        c, half_m = self.config, self.config.side_m / 2
        rates = codes.interpolate_maps(self.maps, trajectories.position_m, ((-half_m, half_m), (-half_m, half_m)))
        column, row = ((trajectories.position_m / c.side_m + 0.5) * c.bins).long().clamp(0, c.bins - 1).unbind(-1)
        return Representation(rates.masked_fill(~self.inside[row, column][..., None], torch.nan))
