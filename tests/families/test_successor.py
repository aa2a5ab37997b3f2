"""The successor representation against dense algebra, closed forms on a line, and bad input."""

import math

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entorhinal.families import make
from entorhinal.families.errors import InputError
from entorhinal.families.function_optimization import successor
from entorhinal.families.function_optimization.successor import ENVIRONMENTS, SuccessorConfig, environment, transitions
from entorhinal.families.world import Arena, World

ID = "function_optimization/successor"
ALL = pytest.mark.parametrize("name", ENVIRONMENTS)


@ALL
def test_walks_stay_and_rows_sum_to_one(name: str) -> None:
    graph = environment(name, 12, 4)
    walk = transitions(graph).toarray()
    np.testing.assert_allclose(walk.sum(1), 1)
    assert ((walk > 0) == (nx.to_numpy_array(graph) > 0)).all()
    assert nx.is_connected(graph)


def test_shapes_have_their_areas_and_walls_part_neighbours() -> None:
    bins = 60
    sizes = {name: len(environment(name, bins, 6)) / bins**2 for name in ENVIRONMENTS}
    assert sizes["square"] == sizes["barrier"] == sizes["two_rooms"] == 1
    assert sizes["circle"] == pytest.approx(math.pi / 4, abs=0.01)
    assert sizes["trapezoid"] == pytest.approx((1 + 0.2 / 0.9) / 2, abs=0.02)
    rooms, barrier = environment("two_rooms", bins, 6), environment("barrier", bins, 6)
    crossing = [row for row in range(bins) if rooms.has_edge((row, 29), (row, 30))]
    assert crossing == list(range(27, 33))
    assert [barrier.has_edge((row, 29), (row, 30)) for row in range(bins)] == [False] * 30 + [True] * 30


@ALL
def test_the_product_is_that_with_the_inverse(name: str) -> None:
    walk = transitions(environment(name, 10, 4))
    product = successor.successor_product(walk, 0.9)
    dense = np.linalg.inv(np.eye(walk.shape[0]) - 0.9 * walk.toarray())
    x = np.random.default_rng(0).random((walk.shape[0], 3))
    np.testing.assert_allclose(product(x), dense @ x)
    np.testing.assert_allclose(product(x, "T"), dense.T @ x)
    np.testing.assert_allclose(product(np.ones((walk.shape[0], 1))), 10)  # visits, discounted, of all places


@ALL
def test_eigenvectors_are_those_of_the_walk_and_of_its_successors(name: str) -> None:
    graph = environment(name, 14, 4)
    value, vector = successor.eigenvectors(graph, 6, seed=0)
    walk = transitions(graph)
    np.testing.assert_allclose(walk @ vector, value * vector, atol=1e-8)
    np.testing.assert_allclose(
        successor.successor_product(walk, 0.95)(vector), vector / (1 - 0.95 * value), rtol=1e-6, atol=1e-6
    )
    dense = np.sort(np.linalg.eigvals(walk.toarray()).real)[::-1]
    np.testing.assert_allclose(value, dense[1:7], atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(vector, axis=0), 1)


def test_a_path_has_the_cosines_of_its_closed_form() -> None:
    places = 31
    value, vector = successor.eigenvectors(nx.path_graph(places), 5, seed=0)
    angle = math.pi * np.arange(1, 6) / (places - 1)  # a walk reflected at its ends
    np.testing.assert_allclose(value, np.cos(angle), atol=1e-9)
    cosines = np.cos(np.arange(places)[:, None] * angle)
    overlap = np.abs((vector * cosines / np.linalg.norm(cosines, axis=0)).sum(0))
    np.testing.assert_allclose(overlap, 1, atol=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.floats(0.3, 0.97))
def test_factors_are_not_negative_and_never_get_worse(seed: int, discount: float) -> None:
    product = successor.successor_product(transitions(environment("square", 8, 4)), discount)
    w, h, error = successor.nonnegative_factors(product, 64, 5, 30, seed)
    dense = product(np.eye(64))
    assert (w >= 0).all()
    assert (h >= 0).all()
    assert (np.diff(error) <= 1e-6 * abs(error[0])).all()
    left = np.square(dense - w @ h).sum() - np.square(dense).sum()
    assert left <= error[-1] + 1e-6 * abs(error[-1])


def test_as_many_factors_as_places_reproduce_all() -> None:
    product = successor.successor_product(transitions(environment("square", 4, 2)), 0.5)
    w, h, _ = successor.nonnegative_factors(product, 16, 16, 6000, 0)
    assert np.abs(product(np.eye(16)) - w @ h).max() < 0.05


@pytest.mark.parametrize("basis", ["eigenvectors", "thresholded", "nonnegative"])
def test_maps_are_read_at_places_and_are_nan_where_there_are_none(basis: str) -> None:
    model = make(ID, environment="circle", basis=basis, bins=16, units=4, iterations=20)
    world = World(Arena.square(1.2))
    walk = world.walk(200, 3, seed=0)
    rates = model.represent(walk).rates
    radius_m = walk.position_m.norm(dim=-1)
    nan = rates.isnan().all(-1)
    assert not nan[radius_m < 0.45].any()
    assert nan[radius_m > 0.56].all()
    assert torch.equal(rates.isnan().any(-1), nan)
    model.fit(world)
    again = model.maps.clone()
    model.fit(world)
    assert torch.equal(model.maps, again)
    mean_square = model.maps[:, model.inside].square().mean(1)
    torch.testing.assert_close(mean_square, torch.ones(4))
    assert (model.maps >= 0).all() == (basis != "eigenvectors")


def test_a_door_of_no_width_is_refused_with_both_rooms_named() -> None:
    model = make(ID, environment="two_rooms", door_bins=0, bins=10, units=3)
    with pytest.raises(
        InputError, match=r"not connected: 2 components \(50 places with \(0, .\), 50 places with \(0, .\)\); join them"
    ):
        model.fit(World())
    lonely = nx.Graph()
    lonely.add_nodes_from([(0, k) for k in range(6)])
    with pytest.raises(InputError, match=r"a/b: the graph is not connected: 6 components \(.*, \.\.\.\)"):
        successor.check_connected(lonely, "a/b")
    with pytest.raises(InputError, match="no places"):
        successor.check_connected(nx.Graph(), "a/b")


def test_more_units_than_places_and_a_line_are_refused() -> None:
    with pytest.raises(InputError, match="units = 63 of 64 places; give fewer"):
        make(ID, bins=8, units=63).fit(World())
    with pytest.raises(InputError, match="successor-v1: the arena has 1 dimension"):
        make(ID).fit(World(Arena.line(1.0)))
    with pytest.raises(InputError, match=r"discount = 1.0"):
        make(ID, discount=1.0)
    with pytest.raises(InputError, match=r"environment = 'maze'"):
        make(ID, environment="maze")


def test_the_seed_chooses_a_basis_within_equal_values_only() -> None:
    first, second = (successor.eigenvectors(environment("square", 12, 4), 2, seed)[1] for seed in (0, 1))
    np.testing.assert_allclose(first @ first.T, second @ second.T, atol=1e-8)
    assert np.abs(first[:, 0] @ second[:, 0]) < 0.999
    one, other = (successor.solve(SuccessorConfig(bins=8, units=3, basis="nonnegative", seed=s))[0] for s in (0, 1))
    assert not torch.allclose(one, other)
