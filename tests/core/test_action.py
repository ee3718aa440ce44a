import attrs
import pytest

from forge.core.action import Action

ACTION = Action(
    use="toy.write",
    version="1",
    params={"b": 1, "a": {"y": 1.5, "x": "面"}},
    inputs=(("rows", "1" * 64), ("base", "2" * 64)),
    files={"path": "3" * 64},
    code={"toy": "4" * 64},
    facts={"torch": "2.8.0"},
)


def test_the_key_of_an_action_stays_what_it_was():
    # a change here rebuilds everything that anyone has: raise ENGINE knowingly instead
    assert "ca8bf3648d570c905553a7a3eda3352fee69d22ff94ebc5bc11ced61bfeebc23" == ACTION.key


def test_the_order_of_parameters_does_not_matter():
    assert ACTION.key == attrs.evolve(ACTION, params={"a": {"x": "面", "y": 1.5}, "b": 1}).key


@pytest.mark.parametrize(
    "change",
    [
        {"use": "toy.read"},
        {"version": "2"},
        {"params": {"b": 1}},
        {"inputs": (("base", "2" * 64), ("rows", "1" * 64))},
        {"inputs": (("rows", "1" * 64), ("base", "1" * 64))},
        {"files": {"path": "0" * 64}},
        {"code": {"toy": "0" * 64}},
        {"facts": {"torch": "2.9.0"}},
        {"previous": "5" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_moves_the_key(change):
    assert ACTION.key != attrs.evolve(ACTION, **change).key
