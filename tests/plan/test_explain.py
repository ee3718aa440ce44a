"""The words for what moved."""

import pytest

from forge.core.artifact import Member, Tree
from forge.plan.explain import Names, differences, member_differences
from forge.plugin.fingerprint import name_of


def members(**digests):
    return {name: Member(digest * 64, 1) for name, digest in digests.items()}


def test_files_are_named_with_what_became_of_them():
    assert "b changed, c added, d removed" == member_differences(
        members(a="1", b="2", c="3"), members(a="1", b="9", d="4")
    )


def test_a_long_list_ends_in_counts():
    new = members(**{f"n{number}": "1" for number in range(5)}, x="2")
    assert "n0 added, n1 added, n2 added and 4 more (2 added, 1 changed, 1 removed)" == member_differences(
        new, members(x="3", z="4")
    )


def test_a_mode_that_moved_is_named():
    assert "a may be executed" == member_differences(
        {"a": Member("1" * 64, 1, executable=True)}, {"a": Member("1" * 64, 1)}
    )


def test_inputs_are_named_as_the_manifest_names_them_and_their_files_where_the_store_has_both():
    trees = {tree.digest: tree for tree in (Tree(members(a="1")), Tree(members(a="2")))}
    new, old = trees
    action = {"inputs": [["", new], ["", "gone"]]}
    names = Names(tree=trees.get, inputs=["one", "two.part"])
    assert ["input one: a changed", "input two.part changed"] == differences(
        action, {"inputs": [["", old], ["", "lost"]]}, names
    )
    assert ["inputs: 1 → 2"] == differences(action, {"inputs": [["", old]]})


@pytest.mark.parametrize(
    ("module", "definition", "expected"),
    [
        ("forge_text.filters", "LengthBand", "forge_text/filters.py: class LengthBand"),
        ("forge_files", "forge_register", "forge_files/__init__.py: function forge_register"),
        ("forge_text.filters", "", "forge_text/filters.py: module level"),
        ("forge_text.filters", "gone", "forge_text/filters.py: gone"),
        ("forge_label/*", "words.txt", "forge_label/words.txt"),
        ("no_such_module", "f", "no_such_module.py: f"),
    ],
)
def test_definitions_are_named_as_people_find_them(module, definition, expected):
    assert expected == name_of(module, definition)
