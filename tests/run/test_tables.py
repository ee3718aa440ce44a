"""Tables that become one, and columns that are not a source's to use."""

import polars as pl
import pytest

from forge.core.errors import StepError
from forge.run.tables import join_tables, refuse_marks


def lazy(**columns):
    return pl.LazyFrame({name: pl.Series(values, dtype=kind) for name, (values, kind) in columns.items()})


def test_tables_are_joined_in_their_order_and_what_some_lack_is_null():
    one, two = lazy(a=([1], pl.Int64)), lazy(a=([2.5], pl.Float64), b=(["x"], pl.String))
    rows = join_tables({"one": one, "two": two}).collect().to_dicts()
    assert [{"a": 1.0, "b": None}, {"a": 2.5, "b": "x"}] == rows


def test_a_column_of_nulls_goes_with_any_type():
    one, two = lazy(a=([None], pl.Null)), lazy(a=([["x"]], pl.List(pl.String)))
    assert [None, ["x"]] == join_tables({"one": one, "two": two}).collect()["a"].to_list()


@pytest.mark.parametrize(
    ("kind", "value"), [(pl.List(pl.String), ["x"]), (pl.Struct({"text": pl.String}), {"text": "x"})]
)
def test_columns_of_unlike_types_are_named_with_their_inputs(kind, value):
    one, two, three = lazy(a=(["x"], pl.String)), lazy(a=(["y"], pl.String)), lazy(a=([value], kind))
    with pytest.raises(StepError) as caught:
        join_tables({"one": one, "two": two, "three": three})
    assert f"column `a` is String in `one`, {kind} in `three`" in caught.value.message


@pytest.mark.parametrize("name", ["__dropped__", "__near__", "__tally__:few"])
def test_names_of_forge_s_own_marks_are_refused_with_a_way_out(name):
    with pytest.raises(StepError, match=name) as caught:
        refuse_marks(["text", name])
    assert "columns" in caught.value.hint


def test_the_index_that_pandas_writes_is_a_column_like_any():
    refuse_marks(["__index_level_0__", "_id", "text__"])
