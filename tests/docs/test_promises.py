"""Every promise names a test that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/concepts/promises.md"


def rows():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("| ") and line != "| promise | test |"]


def functions_of(path):
    """Return the names of the test functions of a file."""
    nodes = ast.parse((ROOT / path).read_text(encoding="utf-8")).body if (ROOT / path).is_file() else []
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_its_test():
    assert rows()
    assert [] == [row for row in rows() if not re.fullmatch(r"\| [^|]+ \| tests/[\w/]+\.py::test_\w+ \|", row)]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.rpartition("::")[2].removesuffix(" |"))
def test_the_test_of_a_promise_exists(row):
    path, _, name = row.split(" | ")[1].removesuffix(" |").partition("::")
    assert name in functions_of(path), f"`{path}` has no `{name}`"
