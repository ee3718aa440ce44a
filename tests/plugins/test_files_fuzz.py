"""Readers on bytes that nobody meant to write: never a crash, every record a row or a reject, twice the same."""

import csv
import io
import json
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import forge
from forge.plugin.table import write_rows
from forge.run.intake import collect_batches, write_rejects
from forge.run.ledger import Ledger
from forge_counselling.dialogues import CPsyCounD, CPsyCounE
from forge_counselling.psyqa import PsyQA
from forge_files import csv_text
from forge_files.csv_source import FilesCsv
from forge_files.json_source import FilesJson, FilesJsonl
from forge_files.json_text import JsonReader
from forge_files.kinds import examine
from forge_files.parquet_source import FilesParquet
from forge_files.reading import Broken, decode, lines_of
from forge_files.text_source import FilesText
from forge_text.dialogue import Dialogue

RECORDS = [
    {"id": 1, "title": '题\\"', "answers": [{"content": "答\n", "likes": 1.5}], "tags": None},
    {"id": 2, "title": "失眠", "answers": [], "tags": ["校园", "😀"], "deep": {"a": {"b": [True]}}},
    {"id": "3", "title": "x,y", "answers": [{"content": "", "likes": "12赞"}]},
]
LIST = json.dumps(RECORDS, ensure_ascii=False).encode()
LINES = "\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS).encode()
TABLE = '﻿,a,"b"\r\n1,"x\r\n""y""",失眠\r\n2,NaN,""\r\n'.encode()
TALK = "来访者：睡不着。\r\n\r\n心理咨询师（小李）：多久了？\r（沉默）\n来访者：\n".encode()
SOURCES = {
    "json": (FilesJson, LIST, {}),
    "json in utf-16": (FilesJson, LIST.decode().encode("utf-16"), {}),
    "deep": (FilesJson, b'{"data": {"items": ' + LIST + b"}}", {"records": "data.items", "not_finite": "null"}),
    "one": (FilesJson, LIST, {"each": "file", "file_column": "f"}),
    "jsonl": (FilesJsonl, LINES, {}),
    "jsonl in gb18030": (FilesJsonl, LINES.decode().encode("gb18030"), {}),
    "csv": (FilesCsv, TABLE, {"file_column": "f", "index_column": "n"}),
    "csv in gb18030": (FilesCsv, TABLE.decode("utf-8-sig").encode("gb18030"), {}),
    "text": (FilesText, TALK, {"each": "paragraph", "unescape": True}),
    "psyqa": (PsyQA, LIST, {}),
    "cpsycound": (CPsyCounD, TALK, {}),
    "cpsycoune": (CPsyCounE, json.dumps(TALK.decode().splitlines(), ensure_ascii=False).encode(), {}),
}
SPLICES = st.lists(
    st.tuples(st.integers(0, 600), st.integers(0, 12), st.one_of(st.binary(max_size=4), st.sampled_from(
        [b'"', b"[", b"]", b"{", b"}", b",", b"\\", b"\r", b"\n", b"\0", b"NaN", b"1e999", b"\\ud800", b"\xe6", b'"a":']
    ))),
    max_size=4,
)  # fmt: skip


def spliced(data, splices):
    for anywhere, length, new in splices:
        place = anywhere % (len(data) + 1)
        data = data[:place] + new + data[place + length :]
    return data


def read(source, path, parameters):
    found = source(path=forge.Files("data", (forge.File("a/b.txt", path),)), **parameters)
    return collect_batches(found.read(forge.LocalRun(path.parent)), Ledger(path.parent, 1, print, lambda: None))


@pytest.mark.parametrize("name", SOURCES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(splices=SPLICES)
def test_no_bytes_crash_a_source_and_two_runs_give_the_same_bytes(name, splices, tmp_path):
    source, good, parameters = SOURCES[name]
    path = tmp_path / "b.txt"
    path.write_bytes(spliced(good, splices))
    written = []
    for run in ("first", "second"):
        frame, rejects = read(source, path, parameters)
        assert frame.height or rejects or name in {"csv", "csv in gb18030"}  # a header alone has no record
        write_rows(frame, tmp_path / run)
        write_rejects(rejects, tmp_path / run)
        written.append({member.name: member.read_bytes() for member in (tmp_path / run).iterdir()})
        for member in (tmp_path / run).iterdir():
            member.unlink()
    assert written[0] == written[1]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(splices=[], place=581, byte=0)
@given(splices=SPLICES, place=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_damaged_parquet_file_is_rejected_or_read(splices, place, byte, tmp_path):
    path = tmp_path / "b.txt"
    out = io.BytesIO()
    pl.DataFrame({"m": [{"text": "x", "tags": ["p", "q"]}] * 9, "s": ["失眠"] * 9}).write_parquet(out)
    data = bytearray(spliced(out.getvalue(), splices))
    data[place % len(data)] = byte
    path.write_bytes(data)
    frame, rejects = read(FilesParquet, path, {})
    if not rejects and not frame.height:  # the damage may be to how many rows there are, and none is a number like any
        assert 0 == pl.read_parquet(path).height
    else:
        assert (frame.width > 0) != bool(rejects)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(splices=SPLICES)
def test_each_line_of_json_lines_is_a_row_or_a_reject(splices, tmp_path):
    path = tmp_path / "b.txt"
    path.write_bytes(spliced(LINES, splices))
    frame, rejects = read(FilesJsonl, path, {"index_column": "n"})
    try:
        text = decode(path.read_bytes())
    except Broken:
        assert (0, 1) == (frame.height, len(rejects))
        return
    numbers = [number for number, line in lines_of(text) if line.strip()]
    assert numbers == sorted([*(frame["n"] if frame.height else ()), *(reject.index for reject in rejects)])


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
TABLES = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), max_size=5)


@settings(max_examples=60)
@given(records=TABLES, indent=st.sampled_from([None, 1]))
def test_the_careful_way_through_json_gives_what_the_quick_way_does(records, indent):
    reader, text = JsonReader("reject"), json.dumps(records, ensure_ascii=False, indent=indent)
    assert records == list(reader.records(text, "")) == list(reader.careful(text, ""))
    deep = json.dumps({"x": [1], "data": {"y": {"items": 1}, "items": records}}, indent=indent)
    assert records == list(reader.records(deep, "data.items")) == list(reader.careful(deep, "data.items"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=TABLES)
def test_what_json_says_is_what_the_rows_say(records, tmp_path):
    path = tmp_path / "b.txt"
    path.write_bytes(json.dumps(records).encode("ascii"))
    frame, rejects = read(FilesJson, path, {"index_column": "n"})
    sound = {}
    for number, record in enumerate(records, start=1):
        try:
            examine(record)
        except Broken:
            continue
        sound[number] = record
    assert len(records) == len(sound) + len(rejects)
    assert list(sound) == (frame["n"].to_list() if frame.height else [])
    for row in frame.to_dicts():
        for name, value in sound[row["n"]].items():
            if value is None or isinstance(value, str):  # what is text stays text, whatever stands beside it
                assert value == row.get(name)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"\r\n\0'), max_size=5)


@settings(max_examples=100)
@given(data=st.data(), width=st.integers(1, 4), end=st.sampled_from(["\n", "\r\n"]), separator=st.sampled_from(",;\t"))
def test_the_careful_way_through_csv_gives_what_the_quick_way_does(data, width, end, separator):
    cells = CELLS.filter(lambda cell: separator not in cell)
    rows = data.draw(st.lists(st.lists(cells, min_size=width, max_size=width), max_size=5))
    text = end.join(separator.join(row) for row in [list("abcd")[:width], *rows])
    quick = csv_text.quick(text, separator, header=True)
    careful, rejects = csv_text.careful(text, separator, header=True)
    if quick is not None:
        assert [] == rejects
        assert careful.with_columns(pl.exclude(csv_text.LINE).replace("", None)).to_dicts() == (
            quick.with_columns(pl.exclude(csv_text.LINE).replace("", None)).to_dicts()
        )
    elif "\n\n" not in text.replace("\r\n", "\n"):
        pytest.fail(f"the quick way refused {text!r}")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
                              min_size=2, max_size=2), min_size=1, max_size=5))  # fmt: skip
def test_what_csv_writers_write_is_read_back(rows, tmp_path):
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["p", "q"], *rows])
    path = tmp_path / "b.txt"
    path.write_bytes(out.getvalue().encode())
    frame, rejects = read(FilesCsv, path, {"types": "text", "separator": ","})
    assert ([], [[cell or None for cell in row] for row in rows]) == (rejects, [list(row) for row in frame.rows()])


@settings(max_examples=100)
@given(texts=st.lists(st.one_of(st.none(), st.text(), st.text(st.sampled_from("来访者咨询师AB：: \n12()（）")))))
def test_no_text_crashes_the_splitting_into_turns(texts):
    table = pl.DataFrame({"conversation": pl.Series(texts, dtype=pl.String)}).lazy()
    done = Dialogue(form="text", source="x").transform(table).collect()
    assert len(texts) == done.height
    for row in done.filter(pl.col("__dropped__").is_null()).to_dicts():
        roles = [turn["role"] for turn in row["conversation"]]
        assert all(first != second for first, second in pairwise(roles))
        assert all(turn["text"].strip() for turn in row["conversation"])
