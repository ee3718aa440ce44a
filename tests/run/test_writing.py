"""A table whose rows are those of its step's input is that input's file; any other is written as ever."""

import errno
import os
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forge.plugin import table
from forge.plugin.table import TABLE, write_rows
from forge.run import writing
from forge.run.writing import TableWriter

ROWS = pl.DataFrame(
    {
        "id": [f"r{n}" for n in range(40)],
        "word": [None if n % 7 == 3 else f"same beginning {n}" for n in range(40)],
        "turns": [[{"role": "user", "text": None if n % 5 else "字" * n}] * (n % 3) for n in range(40)],
        "likes": list(range(40)),
        "nothing": [None] * 40,
    },
    schema_overrides={"turns": pl.List(pl.Struct({"role": pl.String, "text": pl.String}))},
)
MARK = ROWS.with_columns(pl.lit(None, dtype=pl.String).alias("word"))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(writing, "MAPPED_FROM", 0)
    monkeypatch.setattr(table, "MAPPED_FROM", 0)
    monkeypatch.setattr(table, "BATCH", 4)
    monkeypatch.setattr(writing, "_LOOK", 3)


def written(frames, folder, source):
    """Write *frames*, made of the table *source*, and say whether the file is that of *source*."""
    folder.mkdir(exist_ok=True)
    with TableWriter(frames[0].schema, folder, source) as writer:
        for frame in frames:
            writer.give(frame)
    assert writer.kept == os.path.samefile(folder / TABLE, source / TABLE)
    return writer.kept


def cut(frame, cuts):
    edges = [0, *sorted(min(cut, frame.height) for cut in cuts), frame.height]
    return [frame.slice(start, stop - start) for start, stop in pairwise(edges)]


@pytest.mark.parametrize("cuts", [[], [0, 40], [1, 17, 17, 39]])
def test_the_same_rows_are_the_same_file_wherever_they_are_cut(tmp_path, cuts):
    write_rows(ROWS, tmp_path / "in")
    assert written(cut(ROWS, cuts), tmp_path / "out", tmp_path / "in")


@example(changed=[ROWS], cuts=[7])
@example(changed=[ROWS.slice(1)], cuts=[])
@example(changed=[ROWS.slice(0, 39)], cuts=[5])
@example(changed=[ROWS, ROWS.slice(0, 1)], cuts=[40])
@example(changed=[ROWS.slice(0, 20), MARK.slice(20)], cuts=[12, 20])
@given(
    changed=st.lists(
        st.builds(lambda frame, a, b: frame.slice(a, b), st.sampled_from([ROWS, MARK]), *[st.integers(0, 40)] * 2),
        min_size=1,
        max_size=3,
    ),
    cuts=st.lists(st.integers(0, 40), max_size=3),
)
def test_what_is_written_has_the_bytes_that_its_rows_have(tmp_path_factory, changed, cuts):
    folder = tmp_path_factory.mktemp("tables")
    write_rows(ROWS, folder / "in")
    frame = pl.concat(changed)
    write_rows(frame, folder / "plain")
    kept = written(cut(frame, cuts), folder / "out", folder / "in")
    assert (folder / "out" / TABLE).read_bytes() == (folder / "plain" / TABLE).read_bytes()
    assert kept == frame.equals(ROWS)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pl.Series([0.0]), pl.Series([-0.0])),
        (pl.Series([[{"a": 0.0}]]), pl.Series([[{"a": -0.0}]])),
        (
            pl.Series(["a"], dtype=pl.Enum(["a", "b"])),
            pl.Series(["a"], dtype=pl.Enum(["a", "b"])),
        ),
    ],
)
def test_values_that_are_equal_in_other_bytes_are_written(tmp_path, before, after):
    write_rows(pl.DataFrame({"c": before}), tmp_path / "in")
    write_rows(pl.DataFrame({"c": after}), tmp_path / "plain")
    assert not written([pl.DataFrame({"c": after})], tmp_path / "out", tmp_path / "in")
    assert (tmp_path / "out" / TABLE).read_bytes() == (tmp_path / "plain" / TABLE).read_bytes()


def test_other_columns_or_their_order_are_another_table(tmp_path):
    write_rows(ROWS, tmp_path / "in")
    for number, frame in enumerate([ROWS.select("word", "id"), ROWS.rename({"id": "key"}), ROWS.drop("turns")]):
        assert not written([frame], tmp_path / str(number), tmp_path / "in")


def test_a_disk_without_second_names_gets_the_rows(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise OSError(errno.EPERM, "no hard links here")

    write_rows(ROWS, tmp_path / "in")
    monkeypatch.setattr(writing.os, "link", refuse)
    assert not written(cut(ROWS, [9]), tmp_path / "out", tmp_path / "in")
    assert (tmp_path / "out" / TABLE).read_bytes() == (tmp_path / "in" / TABLE).read_bytes()


def test_a_small_table_is_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "MAPPED_FROM", 1 << 30)
    write_rows(ROWS, tmp_path / "in")
    assert not written([ROWS], tmp_path / "out", tmp_path / "in")
