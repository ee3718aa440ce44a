import polars as pl
import pytest

from forge.plan.rows import distributions, first_difference, new_columns, row_changes


@pytest.fixture
def table(tmp_path):
    """Give a function that writes a table as the store keeps it."""

    def write(columns, schema=None):
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        pl.DataFrame(columns, schema).write_ipc(path, compression="uncompressed")
        return path

    return write


def turns(*texts):
    return [{"role": "user", "text": text} for text in texts]


def test_nested_columns_are_compared_by_value(table):
    before = table({"id": [1, 2, 3], "turns": [turns("a"), turns("b"), None], "meta": [{"n": 1}, {"n": 2}, None]})
    after = table({"id": [3, 2, 1], "turns": [None, turns("b", "c"), turns("a")], "meta": [None, {"n": 2}, {"n": 7}]})
    found = row_changes(before, after)
    assert (0, 0, 2, {"turns": 1, "meta": 1}) == (found.added, found.removed, found.changed, found.columns)


def test_a_repeated_or_missing_id_makes_whole_rows_count(table):
    whole = table({"id": ["a", "b"], "n": [1, 2]})
    for other in (table({"id": ["a", "a"], "n": [1, 3]}), table({"id": ["a", None], "n": [1, 2]})):
        found = row_changes(whole, other)
        assert ("row", 1, 1) == (found.by, found.added, found.removed)


def test_whole_rows_are_counted_as_often_as_they_stand(table):
    found = row_changes(table({"w": [["a"], ["a"], ["b"]]}), table({"w": [["a"], ["c"], ["c"], ["b"]]}))
    assert (3, 4, 2, 1) == (found.before, found.after, found.added, found.removed)


def test_columns_of_another_type_are_named_and_not_compared(table):
    found = row_changes(table({"id": [1], "n": [1], "old": [1]}), table({"id": [1], "n": ["1"], "new": [1]}))
    assert (0, ["n: Int64 → String"], ["new"], ["old"]) == (
        found.changed,
        found.retyped,
        found.new_columns,
        found.lost_columns,
    )


def test_tables_without_a_common_column_share_no_row(table):
    found = row_changes(table({"a": [1, 2]}), table({"b": [1, 2, 3]}))
    assert (3, 2) == (found.added, found.removed)


def test_values_are_counted_where_they_are_few(table):
    before = table({"id": list(range(60))})
    after = table(
        {
            "id": list(range(60)),
            "level": [0, 1, 1] * 20,
            "flags": [["x", "y"], ["x"], []] * 20,
            "text": [str(n) for n in range(60)],
            "score": [0.5] * 60,
            "seen": [True, None, False] * 20,
        }
    )
    columns = new_columns(before, after)
    assert ["level", "flags", "text", "score", "seen"] == columns
    assert {
        "level": {"1": 40, "0": 20},
        "flags": {"x": 40, "y": 20},
        "seen": {"(none)": 20, "False": 20, "True": 20},
    } == distributions(after, columns)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"a": [1.0, 2.5], "b": [["x"], None]}, "row 2, `a`: 2.0 → 2.5"),
        ({"a": [1.0, 2.0], "b": [["y"], None]}, "row 1, `b`: ['x'] → ['y']"),
        ({"a": [1.0], "b": [["x"]]}, "2 rows → 1 rows"),
        ({"a": [1, 2], "b": [["x"], None]}, "columns: a Float64 → Int64"),
        ({"b": [["x"], None], "a": [1.0, 2.0]}, "columns: in another order"),
        ({"a": [1.0, 2.0], "b": [["x"], None]}, "every value is equal, their bytes are not"),
    ],
)
def test_the_first_difference_of_two_tables_is_named(table, after, expected):
    assert expected == first_difference(table({"a": [1.0, 2.0], "b": [["x"], None]}), table(after))


def test_what_is_no_number_is_equal_to_itself(table):
    nan = {"a": [float("nan"), 1.0]}
    assert "every value is equal, their bytes are not" == first_difference(table(nan), table(nan))
