"""Tables on disk: mapped or read, they are the same."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise

import polars as pl
import pyarrow as pa
import pytest

from forge.plugin import table
from forge.plugin.table import TABLE, read_rows, write_rows

KINDS = {
    "i8": pl.Series([1, None, 3], dtype=pl.Int8),
    "u64": pl.Series([1, 2, None], dtype=pl.UInt64),
    "i128": pl.Series([1, 2, None], dtype=pl.Int128),
    "u128 within": pl.Series([[1], [], None], dtype=pl.List(pl.UInt128)),
    "f32": pl.Series([1.5, float("nan"), None], dtype=pl.Float32),
    "bool": pl.Series([True, None, False]),
    "text": pl.Series(["a", None, "题" * 40]),
    "bytes": pl.Series([b"1", None, b""]),
    "date": pl.Series([date(2020, 1, 1), None, date(1969, 1, 1)]),
    "time": pl.Series([time(1, 2), None, time(0)]),
    "stamp": pl.Series([datetime(2020, 1, 1, tzinfo=UTC), None, None], dtype=pl.Datetime("ns", "Asia/Shanghai")),
    "span": pl.Series([timedelta(1), None, timedelta(0)]),
    "null": pl.Series([None, None, None]),
    "category": pl.Series(["a", "b", None], dtype=pl.Categorical),
    "enum": pl.Series(["a", "b", None], dtype=pl.Enum(["b", "a"])),
    "decimal": pl.Series([Decimal("1.20"), None, Decimal(0)], dtype=pl.Decimal(10, 2)),
    "list": pl.Series([["a"], None, []]),
    "array": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int16, 2)),
    "struct": pl.Series([{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}]),
    "structs": pl.Series([[{"role": "user", "text": "好"}], [], None]),
}


@pytest.fixture
def mapped(monkeypatch):
    """Map every table, however small."""
    monkeypatch.setattr(table, "MAPPED_FROM", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_that_is_mapped_is_the_one_that_was_written(mapped, tmp_path, kind):
    frame = pl.DataFrame({"value": KINDS[kind]})
    write_rows(frame, tmp_path)
    read = read_rows(tmp_path).collect()
    assert frame.schema == read.schema
    assert frame.equals(read)


@pytest.mark.parametrize(("first", "count"), [(0, None), (0, 4096), (4000, 200), (4096, 4096), (9000, 5000), (0, 0)])
@pytest.mark.parametrize("least", [0, 1 << 40])
def test_some_rows_of_a_table_are_those_of_a_slice(monkeypatch, tmp_path, first, count, least):
    monkeypatch.setattr(table, "MAPPED_FROM", least)
    frame = pl.DataFrame({"n": range(10_000), "text": [f"text {n}" * 3 for n in range(10_000)]})
    write_rows(frame, tmp_path)
    assert frame.slice(first, count).equals(read_rows(tmp_path, first, count).collect())


QUERIES = {
    "columns": lambda rows: rows.select("text", "n"),
    "no column": lambda rows: rows.select(pl.len()),
    "head": lambda rows: rows.head(5000),
    "tail": lambda rows: rows.tail(5),
    "slice": lambda rows: rows.slice(4000, 300),
    "filter": lambda rows: rows.filter(pl.col("n") % 7 == 3),
    "filter, then head": lambda rows: rows.filter(pl.col("n") > 8000).select("text").head(3),
    "head, then filter": lambda rows: rows.head(5000).filter(pl.col("n") > 4990),
    "with itself": lambda rows: rows.join(rows.filter(pl.col("n") < 9), on="n", maintain_order="left"),
    "none left": lambda rows: rows.filter(pl.col("n") < 0),
    "numbered": lambda rows: rows.with_row_index("row"),
}


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("query", QUERIES)
def test_what_is_asked_of_a_mapped_table_is_what_is_asked_of_its_rows(mapped, monkeypatch, tmp_path, query, engine):
    monkeypatch.setattr(table, "_SPAN", 1)
    frame = pl.DataFrame({"n": range(10_000), "text": [f"text {n}" * 3 for n in range(10_000)]})
    write_rows(frame, tmp_path)
    ask = QUERIES[query]
    assert ask(frame.lazy()).collect().equals(ask(read_rows(tmp_path)).collect(engine=engine))


def test_a_table_of_uneven_batches_that_somebody_else_wrote_is_mapped_too(mapped, tmp_path):
    parts = [pl.DataFrame({"n": range(start, stop)}) for start, stop in pairwise([0, 3, 3, 5000, 5001, 9000])]
    batches = [part.to_arrow() for part in parts]
    with pa.OSFile(str(tmp_path / TABLE), "wb") as file, pa.ipc.new_file(file, batches[0].schema) as writer:
        for batch in batches:
            writer.write_table(batch)
    for first, count in [(0, None), (0, 3), (2, 2), (3, 4997), (5000, 1), (5000, 9000), (8999, 1)]:
        assert list(range(9000))[first:][:count] == read_rows(tmp_path, first, count).collect()["n"].to_list()


def test_a_compressed_table_that_somebody_else_wrote_is_mapped_too(mapped, tmp_path):
    frame = pl.DataFrame({"text": ["some text"] * 5000})
    frame.write_ipc(tmp_path / TABLE, compression="zstd")
    assert frame.equals(read_rows(tmp_path).collect())


def test_a_table_that_is_no_longer_wanted_is_not_kept_mapped(mapped, tmp_path):
    write_rows(pl.DataFrame({"text": ["a text that is too long to lie within a view"] * 5000}), tmp_path)
    rows = read_rows(tmp_path).collect()
    assert maps(tmp_path) == 1
    del rows
    assert maps(tmp_path) == 0


def maps(folder):
    with open("/proc/self/maps", encoding="utf-8") as lines:
        return sum(str(folder) in line for line in lines)
