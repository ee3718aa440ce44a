import pytest

from forge.core.artifact import Member, Tree
from forge.core.errors import StoreError

MEMBERS = {"b/x": Member("1" * 64, 3), "a": Member("2" * 64, 5, executable=True), "b/y": Member("3" * 64, 7)}


def test_a_tree_s_digest_does_not_depend_on_the_order_of_its_members():
    assert Tree(MEMBERS).digest == Tree(dict(reversed(MEMBERS.items()))).digest


@pytest.mark.parametrize(
    "other",
    [
        MEMBERS | {"a": Member("2" * 64, 5)},
        MEMBERS | {"a": Member("4" * 64, 5, executable=True)},
        {("c" if name == "a" else name): member for name, member in MEMBERS.items()},
        {name: member for name, member in MEMBERS.items() if name != "a"},
    ],
    ids=["not executable", "other content", "other name", "one less"],
)
def test_a_tree_s_digest_depends_on_names_contents_and_modes(other):
    assert Tree(MEMBERS).digest != Tree(other).digest


def test_a_tree_survives_json():
    assert Tree(MEMBERS) == Tree.from_json(Tree(MEMBERS).to_json())


def test_a_part_is_the_folder_with_names_relative_to_it():
    assert {"x": MEMBERS["b/x"], "y": MEMBERS["b/y"]} == Tree(MEMBERS).part("b").members
    assert {} == Tree(MEMBERS).part("a").members
    assert MEMBERS == Tree(MEMBERS).part("").members


def test_a_part_has_the_digest_of_an_artifact_with_the_same_files():
    assert Tree({"x": MEMBERS["b/x"], "y": MEMBERS["b/y"]}).digest == Tree(MEMBERS).part("b").digest


def test_the_size_is_that_of_all_members():
    assert 15 == Tree(MEMBERS).size


@pytest.mark.parametrize("value", [None, [], "x", {"a": 3}, {"a": []}, {"a": ["1", "many"]}])
def test_anything_else_is_a_damaged_tree(value):
    with pytest.raises(StoreError, match="a tree in the store is damaged"):
        Tree.from_json(value)


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../../x", "a//b", "", "a/", "./a", "a/.", "C:x", "c:/x", "a\\b", "a\0b"]
)
def test_a_tree_whose_names_lead_elsewhere_is_refused(name):
    with pytest.raises(StoreError, match="is refused"):
        Tree.from_json({"a": ["1" * 64, 3], name: ["1" * 64, 3]})


@pytest.mark.parametrize("name", ["a", "...", "..a/b..", "a b/空.txt", "-", "ab:c"])
def test_plain_names_are_no_fault(name):
    assert [name] == list(Tree.from_json({name: ["1" * 64, 3]}).members)


@pytest.mark.parametrize("digest", ["../" * 20 + "etc/passwd", "1" * 63, "G" * 64, ""])
def test_a_member_whose_digest_is_a_path_is_refused(digest):
    with pytest.raises(StoreError, match="has no digest"):
        Tree.from_json({"a": [digest, 3]})
