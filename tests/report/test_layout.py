"""Graphs and flows are laid out without overlap, in layers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from forge.report import flow, graph
from forge.report.layout import Bend, arrange, spread

SOME = st.lists(st.tuples(st.floats(-500, 500), st.floats(1, 80)), max_size=8)


@st.composite
def graphs(draw):
    names = [f"s{number}" for number in range(draw(st.integers(1, 9)))]
    return {name: draw(st.lists(st.sampled_from(names[:n]), unique=True)) if n else [] for n, name in enumerate(names)}


@given(SOME)
def test_what_is_spread_keeps_its_order_and_its_distance(nodes):
    wanted, sizes = [n[0] for n in nodes], [n[1] for n in nodes]
    places = spread(wanted, sizes, 5.0)
    for (one, size), (other, next_size) in pairwise(zip(places, sizes, strict=True)):
        assert other - one >= (size + next_size) / 2 + 5 - 1e-6


def test_what_has_room_stays_where_it_wants_to_be():
    assert [0.0, 100.0] == spread([0.0, 100.0], [10.0, 10.0], 5.0)
    assert [-7.5, 7.5] == spread([0.0, 0.0], [10.0, 10.0], 5.0)


@given(graphs())
def test_each_step_lies_below_what_it_needs_and_overlaps_nothing(needs):
    picture = graph.draw(needs)
    boxes = {box.name: box for box in picture.boxes}
    assert list(needs) == list(boxes)
    for name, befores in needs.items():
        for before in befores:
            assert boxes[before].top + boxes[before].height < boxes[name].top
    for one in picture.boxes:
        assert 0 <= one.left
        assert one.left + one.width <= picture.width + 0.2
        for other in picture.boxes:
            if one.name < other.name and one.top == other.top:
                assert one.left + one.width <= other.left or other.left + other.width <= one.left


@given(graphs())
def test_an_edge_bends_once_in_each_layer_that_it_passes(needs):
    layout = arrange(needs, dict.fromkeys(needs, 10.0), gap=5.0)
    layers = layout.layer_of
    for (before, after), route in layout.routes.items():
        assert list(range(layers[before], layers[after] + 1)) == [layers[node] for node in route]
        assert all(isinstance(node, Bend) for node in route[1:-1])


def test_a_source_lies_just_above_its_first_reader():
    needs = {"base": [], "raw": [], "a": ["raw"], "b": ["a"], "fit": ["b", "base"]}
    assert 2 == arrange(needs, dict.fromkeys(needs, 10.0), gap=5.0).layer_of["base"]


def test_edges_do_not_cross_where_they_need_not():
    needs = {"a": [], "b": [], "c": ["b"], "d": ["a"]}
    layout = arrange(needs, dict.fromkeys(needs, 10.0), gap=5.0)
    assert (layout.across["a"] < layout.across["b"]) == (layout.across["d"] < layout.across["c"])


def rows(name, came, parts, dropped, *sources):
    return flow.Rows(name, came, parts, dropped, sources)


def test_a_band_is_as_wide_as_its_rows():
    steps = [rows("raw", 0, {"": 100}, 0), rows("half", 100, {"": 50}, 50, ("raw", "", 100))]
    picture = flow.draw(steps)
    raw, half = picture.bars
    assert (raw.height, raw.kept) == (half.height, 2 * half.kept)
    [stub] = picture.leaving
    assert (half.kept, "−50") == (stub.height, stub.label)
    assert half.y + half.height == stub.y + stub.height


def test_there_is_no_flow_without_rows_from_step_to_step():
    assert flow.draw([]) is None
    assert flow.draw([rows("raw", 0, {"": 100}, 0)]) is None


def test_a_step_without_rows_left_is_drawn():
    steps = [rows("raw", 0, {"": 3}, 0), rows("none", 3, {"": 0}, 3, ("raw", "", 3))]
    assert 2 == len(flow.draw(steps).bars)
