"""How rows are told apart of which what was done is kept."""

import polars as pl
import pytest

from forge.run.rowwise import _with_signs_of_zeros

KINDS = {
    "a number": pl.Float64,
    "a short number": pl.Float32,
    "a list": pl.List(pl.Float64),
    "a list of lists": pl.List(pl.List(pl.Float64)),
    "an array": pl.Array(pl.Float64, 1),
    "a struct": pl.Struct({"a": pl.Float64, "b": pl.String}),
    "a list of structs": pl.List(pl.Struct({"a": pl.Float64, "b": pl.String})),
    "a struct of lists": pl.Struct({"a": pl.List(pl.Float64), "b": pl.String}),
}


def nested(number, kind):
    if isinstance(kind, pl.List | pl.Array):
        return [nested(number, kind.inner)]
    if isinstance(kind, pl.Struct):
        return {field.name: nested(number, field.dtype) for field in kind.fields}
    return number if kind.is_float() else "b"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_zeros_of_either_sign_are_two_rows(kind):
    values = [nested(number, kind() if isinstance(kind, type) else kind) for number in (0.0, -0.0, 1.0)]
    rows = pl.DataFrame({"v": pl.Series([*values, None], dtype=kind)})
    told = _with_signs_of_zeros(rows)
    assert 4 == told.hash_rows(11).n_unique()
    assert told.hash_rows(11).to_list() == _with_signs_of_zeros(rows[::-1]).hash_rows(11).to_list()[::-1]


def test_rows_without_floats_are_hashed_as_they_are():
    rows = pl.DataFrame({"text": ["a"], "count": [0], "both": [{"a": 1}]})
    assert rows.columns == _with_signs_of_zeros(rows).columns
