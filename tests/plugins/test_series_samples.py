"""Records and series become samples: the join's rule, answers, intervals, and both forms."""

import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forge
from forge_series.answers import move
from forge_series.csv_files import CsvSeries
from forge_series.downsample import Downsample
from forge_series.join import Join, Rewrite
from forge_series.points import schema
from forge_series.records import Records
from forge_series.samples import ChatTS, Text
from forge_series.window import Window

CHATTS = Path(__file__).parents[3] / "shared" / "data" / "timeseries" / "chatts"
RULE = (Rewrite("^数据集"), Rewrite("^(gdsh_second_|whlj_ljsj_)"))


def table(*named, points=12):
    """Return series whose values count up, a row for each name."""
    blank = dict.fromkeys(schema()) | {"column": "value", "rows": points, "window": 0, "missing": 0}
    values = [float(i) for i in range(points)]
    rows = [blank | {"name": Path(file).stem, "file": file, "values": values} for file in named]
    return pl.DataFrame(rows, schema=schema())


def record(image, answer, prompt="<image>\nwhere?", **more):
    images = [image] if isinstance(image, str) else image
    return {"file": "r.json", "index": 1, "images": images, "system": "", "prompt": prompt, "answer": answer} | more


def said(*intervals, **more):
    entries = [
        {"interval": list(interval), "type": "up", "reason": f"at [{interval[0]},{interval[1]}]"}
        for interval in intervals
    ]
    return json.dumps({"status": "success", "detected_anomalies": entries} | more, ensure_ascii=False)


def joined(records, series, **rule):
    frame = pl.DataFrame(records, schema_overrides={"index": pl.UInt32})
    series = series.lazy() if isinstance(series, pl.DataFrame) else series
    return Join(**({"rewrites": RULE} | rule)).merge({"records": frame.lazy(), "series": series}).collect()


def samples(records, series, step=None, **rule):
    """Return the samples and the reasons of the records that are none."""
    done = (step or ChatTS()).transform(forge.kept(joined(records, series, **rule).lazy())).collect()
    if "__dropped__" not in done.columns:
        return done, []
    return done.filter(pl.col("__dropped__").is_null()), done["__dropped__"].drop_nulls().to_list()


def reasons(frame):
    return dict(frame.filter(pl.col("__dropped__").is_not_null()).group_by("__dropped__").len().iter_rows())


@pytest.mark.parametrize(
    ("image", "file"),
    [
        ("/home/x/gdsh_second_2501PI1.PV.jpg", "gdsh/gdsh_second_2501PI1.PV.csv"),
        ("/home/x/gdsh_second_2501PI1.PV.jpg", "gdsh/数据集gdsh_second_2501PI1.PV.csv"),
        ("C:\\data\\gdsh_second_AT_032005.PV.PNG", "hbsn/AT_032005.PV.csv"),
        ("NB.LJSJ.2501II1.PV.jpg", "whlj/数据集whlj_ljsj_NB.LJSJ.2501II1.PV.csv"),
        ("gdsh_second_E\u0301.jpg", "\u00c9.csv"),
    ],
)
def test_the_declared_rule_joins_names_that_differ(image, file):
    done = joined([record(image, said())], table(file, "other.csv"))
    kept = forge.kept(done.lazy()).collect()
    assert [[file]] == [[one["file"] for one in row[0]] for row in kept["series"].to_list()]


def test_every_record_and_every_series_is_accounted_for():
    records = [record("a.jpg", said()), record("gone.jpg", said()), record("b.jpg", said())]
    done = joined(records, table("a.csv", "x/b.csv", "y/b.csv", "c.csv"))
    expected = {
        "image without a series": 1,
        "image with several files": 1,
        "series, now beside its records": 3,
        "series that no record shows": 1,
    }
    assert (7, expected) == (done.height, reasons(done))


def test_what_a_record_looked_for_is_told_with_what_was_found_beside():
    records = [record(image, said()) for image in ("gdsh_second_pump1.jpg", "b.jpg", "pump2.jpg")]
    records.append(record(["pump2.jpg", "zzz.jpg"], said()))
    done = joined(records, table("pump2.csv", "x/b.csv", "y/b.csv"))
    assert [
        ("no `pump1`, near `pump2`", "image without a series"),
        ("`b` in x/b.csv, y/b.csv", "image with several files"),
        ("pump2", None),
        ("`pump2`; no `zzz`", "image without a series"),
        ("pump2", "series, now beside its records"),
        ("b", "series, now beside its records"),
        ("b", "series, now beside its records"),
    ] == done.select("looked_for", "__dropped__").rows()
    assert ["file", "index", "looked_for"] == done.columns[:3]


def test_rewrites_apply_to_one_side_and_case_may_be_folded():
    rule = {"rewrites": (), "images": (Rewrite("^pic-(.*)$", r"\1.PV"),), "fold_case": True}
    done = joined([record("pic-ab.jpg", said())], table("AB.PV.csv"), **rule)
    assert {"series, now beside its records": 1} == reasons(done)


def test_a_rewrite_that_is_no_pattern_is_refused_at_once():
    with pytest.raises(ValueError, match="`pattern` is no regular expression"):
        Rewrite("(")


def test_records_of_one_series_become_one_sample():
    records = [record("a.jpg", said((1, 2))), record("a.jpg", said((5, 6))), record("a.jpg", said((1, 2)))]
    rows, why = samples(records, table("a.csv"))
    assert [(1, 2), (5, 6)] == [tuple(e["interval"]) for e in json.loads(rows["output"][0])["detected_anomalies"]]
    assert ["record now part of its series' sample", "exact repeat of a record"] == why


def test_a_sample_a_record_where_that_is_declared():
    rows, why = samples([record("a.jpg", said((1, 2)))] * 2, table("a.csv"), ChatTS(gather="record"))
    assert (2, []) == (rows.height, why)


def test_entries_that_say_nothing_is_wrong_leave_an_empty_list():
    answer = json.dumps({"status": "success", "detected_anomalies": [{"type": "无异常", "reason": "x"}]})
    rows, _ = samples([record("a.jpg", answer)], table("a.csv"))
    assert ['{"status": "success", "detected_anomalies": []}'] == rows["output"].to_list()


@pytest.mark.parametrize(("whole_series", "left"), [("drop", 1), ("keep", 2)])
def test_entries_of_the_whole_series_follow_the_declared_rule(whole_series, left):
    answer = said((1, 2)) + ',{"status": "success", "detected_anomalies": [{"type": "trend"}]}'
    rows, _ = samples([record("a.jpg", answer)], table("a.csv"), ChatTS(whole_series=whole_series))
    assert left == len(json.loads(rows["output"][0])["detected_anomalies"])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("all is well", "answer is not JSON"),
        (said((5, 3)), "an interval that is not [start, end]"),
        (said((-1, 3)), "an interval that is not [start, end]"),
        (said((12, 14)), "an interval behind the end of the series"),
        ('{"detected_anomalies": 3}', "answer without a list `detected_anomalies`"),
        ('{"detected_anomalies": [{"interval": [1]}]}', "an interval that is not [start, end]"),
        ('{"status": "<ts>", "detected_anomalies": []}', "mark of a series in the answer"),
    ],
)
def test_a_bad_answer_drops_its_record_alone(answer, reason):
    rows, why = samples([record("a.jpg", answer), record("a.jpg", said((1, 2)))], table("a.csv"))
    assert (1, [reason]) == (rows.height, why)


def test_answers_that_disagree_are_dropped_together():
    records = [record("a.jpg", said((1, 2))), record("a.jpg", said((4, 5), status="failed"))]
    _, why = samples([*records, record("b.jpg", said())], table("a.csv", "b.csv"))
    assert ["answers disagree on `status`"] * 2 == why


def test_a_sample_has_as_many_marks_as_series():
    pair = record(["a.jpg", "b.jpg"], said(), "<image> and <image>?")
    rows, _ = samples([pair, record("a.jpg", said(), "no picture")], table("a.csv", "b.csv"))
    assert ["<ts><ts/> and <ts><ts/>?", "<ts><ts/>\nno picture"] == rows["input"].to_list()
    assert [2, 1] == rows["timeseries"].list.len().to_list()


def test_a_prompt_with_other_marks_than_pictures_is_dropped():
    _, why = samples([record("a.jpg", said(), "<image><image>")], table("a.csv"))
    assert ["prompt shows more or fewer pictures than the record has"] == why


def test_several_columns_of_a_file_are_several_series():
    both = pl.concat([table("a.csv"), table("a.csv").with_columns(pl.lit("y").alias("column"))])
    rows, _ = samples([record("a.jpg", said((2, 3)))], both)
    assert ("<ts><ts/><ts><ts/>\nwhere?", 2) == (rows["input"][0], len(rows["timeseries"][0]))


def test_an_interval_over_series_that_keep_different_rows_is_refused():
    low = pl.Series([list(range(6)) * 2, list(range(12))], dtype=pl.List(pl.UInt32))
    series = table("a.csv", "b.csv").with_columns(low.alias("low"), low.alias("high"))
    _, why = samples([record(["a.jpg", "b.jpg"], said((2, 3)), "?")], series)
    assert ["interval over series that keep different rows"] == why


@pytest.mark.parametrize("method", ["lttb", "minmaxlttb", "mean", "every"])
def test_intervals_move_with_the_points_in_texts_too(method):
    series = Downsample(50, method).transform(table("a.csv", points=1000).lazy())
    rows, _ = samples([record("a.jpg", said((400, 599)))], series)
    [entry] = json.loads(rows["output"][0])["detected_anomalies"]
    first, last = entry["interval"]
    assert f"at [{first},{last}]" == entry["reason"]
    values = rows["timeseries"][0][0]
    assert 50 == len(values)
    tolerance = 20 if method == "mean" else 0
    assert 400 - tolerance <= values[first] <= values[last] <= 599 + tolerance
    assert values[first - 1] < 400
    assert values[last + 1] > 599 - tolerance


def test_windows_clip_intervals_and_drop_what_they_do_not_touch():
    series = Window(4).transform(table("a.csv").lazy())
    rows, why = samples([record("a.jpg", said((3, 5)))], series)
    found = [
        (r["id"], json.loads(r["output"])["detected_anomalies"][0]["interval"]) for r in rows.iter_rows(named=True)
    ]
    assert [("a.csv", [3, 3]), ("a.csv#1", [0, 1])] == found
    assert ["window that no interval touches"] == why
    rows, why = samples([record("a.jpg", said((3, 5)))], series, ChatTS(untouched="keep"))
    assert ("[]", []) == (json.dumps(json.loads(rows["output"][2])["detected_anomalies"]), why)


@given(
    st.integers(2, 300), st.integers(3, 40), st.lists(st.tuples(st.integers(0, 299), st.integers(0, 299)), min_size=2)
)
def test_means_cover_every_row_and_intervals_keep_their_order(length, points, pairs):
    reduced = Downsample(points, "mean").transform(table("a.csv", points=length).lazy()).collect()
    low, high = (
        (reduced[n][0].to_numpy() if reduced[n][0] is not None else np.arange(length, dtype=np.uint32))
        for n in ("low", "high")
    )
    assert (0, length - 1) == (low[0], high[-1])
    assert all(after == before + 1 for after, before in zip(low[1:], high[:-1], strict=True))
    places = [move((min(p), max(p)), low, high, length).place for p in sorted(pairs, key=min) if min(p) < length]
    assert all(0 <= first <= last < len(low) for first, last in places)
    assert all(before[0] <= after[0] for before, after in pairwise(places))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_never_get_through(value):
    series = table("a.csv").with_columns(pl.Series("values", [[1.0, value, 2.0]]))
    with pytest.raises(forge.StepError, match="series `a` has points that are no finite numbers"):
        Downsample(3).transform(series.lazy())
    with pytest.raises(forge.StepError, match="no finite numbers"):
        joined([record("a.jpg", said())], series)


def test_series_as_text_are_rounded_or_levels():
    rows, _ = samples([record("a.jpg", said((2, 3)))], table("a.csv", points=4), Text())
    expected = {"instruction": "where?", "input": "0 1 2 3", "output": said((2, 3)), "system": ""}
    assert expected == rows.select(*expected).row(0, named=True)
    rows, _ = samples([record("a.jpg", said())], table("a.csv", points=4), Text(numbers="levels", levels=9))
    assert "0..3: 0 3 6 9" == rows["input"][0]
    rows, _ = samples([record("a.jpg", said())], table("a.csv", points=1), Text(numbers="levels"))
    assert "0..0: 0" == rows["input"][0]
    _, why = samples([record("a.jpg", said())], table("a.csv"), Text(points=5))
    assert ["series of more than 5 points"] == why


def read(folder, name):
    run = forge.LocalRun(folder)
    series = pl.concat(CsvSeries(forge.Files.match("timeseries/**/*.csv", folder)).read(run))
    found = list(Records(forge.Files.match(f"json/{name}", folder)).read(run))
    return pl.concat([f for f in found if isinstance(f, pl.DataFrame)]), series


@pytest.mark.parametrize("name", ["gdsh.json", "gdsh_messages.json"])
def test_full_length_samples_are_those_that_are_expected(name):
    if not CHATTS.is_dir():
        pytest.skip("../shared/data/timeseries/chatts is not here")
    records, series = read(CHATTS, name)
    rows, why = samples(records.to_dicts(), series)
    with (CHATTS / "expected_full_length.jsonl").open(encoding="utf-8") as opened:
        expected = [json.loads(line) for line in opened]
    got = rows.select("input", "output", "timeseries").to_dicts()
    assert [1, 1] == [got.count(sample) for sample in expected]
    assert (42, 13, 4) == (
        rows.height,
        why.count("record now part of its series' sample"),
        why.count("exact repeat of a record"),
    )


def test_the_example_is_what_its_script_writes(tmp_path, monkeypatch):
    example = Path(__file__).parents[2] / "examples" / "timeseries"
    monkeypatch.syspath_prepend(str(example))
    import make

    monkeypatch.setattr(sys, "argv", ["make.py", str(tmp_path)])
    make.main()
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    kept = {p.relative_to(example): p.read_bytes() for p in example.rglob("*") if p.suffix in {".csv", ".json"}}
    assert kept == made
