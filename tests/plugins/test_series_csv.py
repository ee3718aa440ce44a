"""CSV files as series: columns, encodings, line ends, and points that are no numbers."""

from pathlib import Path

import polars as pl
import pytest

import forge
from forge_series.csv_files import CsvSeries
from forge_series.downsample import Downsample
from forge_series.points import schema

SHARED = Path(__file__).parents[3] / "shared" / "data" / "timeseries"
PLAIN = ",date,category,value\n0,2024-01-01 00:00:00,P,1.5\n1,2024-01-01 00:05:00,P,2\n2,2024-01-01 00:10:00,P,4\n"


def read(folder, **parameters):
    """Return the rows and the rejects of the files in *folder*."""
    found = list(CsvSeries(forge.Files.match("**/*.csv", folder), **parameters).read(forge.LocalRun(folder)))
    frames = [item for item in found if isinstance(item, pl.DataFrame)]
    return pl.concat(frames), [item for item in found if isinstance(item, forge.Reject)]


def lists(folder, **parameters):
    rows, rejects = read(folder, **parameters)
    assert [] == rejects
    return dict(rows.select("name", "values").iter_rows())


def shared(folder):
    if not (SHARED / folder).is_dir():
        pytest.skip(f"../shared/data/timeseries/{folder} is not here")
    return SHARED / folder


def test_a_file_is_a_row_with_its_values_as_a_list(tmp_path):
    (tmp_path / "gdsh").mkdir()
    (tmp_path / "gdsh" / "P.PV.csv").write_text(PLAIN)
    rows, rejects = read(tmp_path)
    assert [] == rejects
    expected = {"name": "P.PV", "file": "gdsh/P.PV.csv", "column": "value", "rows": 3, "window": 0, "missing": 0}
    points = {"values": [1.5, 2.0, 4.0], "stamps": None, "low": None, "high": None}
    assert [expected | points] == rows.rows(named=True)
    assert schema() == dict(rows.schema)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.replace(",P,", ",液位,").encode("gb18030"),
        PLAIN.replace(",P,", ",液位,").encode(),
        PLAIN.replace(",date,category,value", '"", Date ,Category,"VALUE"').encode(),
        PLAIN.replace("value\n", "value\n", 1).removesuffix("\n").encode(),
    ],
    ids=["cr", "crlf", "bom", "gb18030", "utf-8", "header", "no end of line"],
)
def test_encodings_line_ends_and_headers_make_no_difference(tmp_path, data):
    (tmp_path / "plain.csv").write_text(PLAIN)
    (tmp_path / "other.csv").write_bytes(data)
    expected = [1.5, 2.0, 4.0]
    assert {"plain": expected, "other": expected} == lists(tmp_path, stamps=("date",))
    assert {"plain": expected, "other": expected} == lists(tmp_path)


@pytest.mark.parametrize("bad", ["NaN", "", "inf", "Bad Input"])
@pytest.mark.parametrize(
    ("missing", "values", "low"),
    [
        ("drop", [1.0, 4.0], [0, 3]),
        ("interpolate", [1.0, 2.0, 3.0, 4.0, 4.0], None),
        ("forward", [1.0, 1.0, 1.0, 4.0, 4.0], None),
    ],
)
def test_points_that_are_no_numbers_are_handled_by_the_declared_rule(tmp_path, bad, missing, values, low):
    (tmp_path / "a.csv").write_text(f"value,x\n1,0\n{bad},0\n{bad},0\n4,0\n{bad},0\n")
    rows, rejects = read(tmp_path, missing=missing)
    assert ([], [3], [5]) == (rejects, rows["missing"].to_list(), rows["rows"].to_list())
    assert (values, low) == (rows["values"][0].to_list(), rows["low"].to_list()[0])


def test_a_warning_sums_up_what_became_of_missing_points(tmp_path):
    for name, text in {"a": "1\nx\nx\n4\n", "b": '1\n""\n2\n3\n', "c": "1\n2\n"}.items():
        (tmp_path / f"{name}.csv").write_text(f"value\n{text}")
    for missing, done in {"drop": "dropped", "interpolate": "interpolated"}.items():
        run = forge.LocalRun(tmp_path)
        list(CsvSeries(forge.Files.match("*.csv", tmp_path), missing=missing).read(run))
        said = f"3 missing points of 2 series were {done}, as `missing` says; the greatest share in `a.csv`: 2 of 4"
        assert [said] == run.messages


def test_a_file_that_cannot_be_used_is_rejected_and_the_others_go_on(tmp_path):
    files = {
        "bad.csv": "value\n1\nx\n3\n",
        "empty.csv": "",
        "good.csv": "value\n1\n2\n",
        "other.csv": "time,level\n1,2\n2,3\n",
        "short.csv": "value\n1\n",
        "gone.csv": "value\nNaN\nNaN\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    rows, rejects = read(tmp_path, missing="reject")
    assert ["good"] == rows["name"].to_list()
    assert [
        ("bad.csv", "a value that is no number", 3),
        ("empty.csv", "empty file", None),
        ("gone.csv", "a value that is no number", 2),
        ("other.csv", "no column of values", 1),
        ("short.csv", "under 2 points", None),
    ] == [(reject.where, reject.reason, reject.index) for reject in rejects]


def test_each_named_column_of_a_file_is_a_series(tmp_path):
    (tmp_path / "a.csv").write_text("memory,cpu,success\n1,2,3\n4,5,6\n")
    rows, _ = read(tmp_path, values=("CPU", "memory"))
    assert [("memory", [1.0, 4.0]), ("cpu", [2.0, 5.0])] == rows.select("column", "values").rows()


def test_a_stamp_that_cannot_be_read_names_its_line(tmp_path):
    (tmp_path / "a.csv").write_text("ds,y\n2024-01-01,1\nyesterday,2\n")
    _, [reject] = read(tmp_path, stamps=("ds",))
    assert ("a time stamp that can't be read", 3, "yesterday") == (reject.reason, reject.index, reject.excerpt)


def test_stamps_are_read_in_the_declared_format(tmp_path):
    (tmp_path / "a.csv").write_text("ds,y\n31/01/2024 06:00,1\n01/02/2024 07:00,2\n")
    rows, rejects = read(tmp_path, stamps=("ds",), stamp_format="%d/%m/%Y %H:%M")
    assert [] == rejects
    assert ["2024-01-31 06:00:00", "2024-02-01 07:00:00"] == [str(stamp) for stamp in rows["stamps"][0]]


def test_prophets_files_are_read_with_cr_and_nan():
    rows, rejects = read(shared("prophet"), stamps=("ds",), missing="interpolate")
    assert [] == rejects
    assert [
        ("example_air_passengers", 144, 0),
        ("example_wp_log_R", 2863, 0),
        ("example_yosemite_temps", 18721, 12),
    ] == (rows.select("name", "rows", "missing").rows())


def test_all_of_nab_is_read():
    rows, rejects = read(shared("nab") / "data", stamps=("timestamp",))
    assert ([], 40, 248830) == (rejects, rows.height, rows["rows"].sum())


def test_files_read_together_are_as_those_read_alone(tmp_path):
    for place, name in enumerate(("a", "b", "c")):
        (tmp_path / f"{name}.csv").write_text(PLAIN + "3,2024-01-01 00:15:00,P,8\n" * place)
    together, _ = read(tmp_path)
    (tmp_path / "d.csv").write_text("other\n1\n2\n")
    alone, rejects = read(tmp_path)
    assert ["d.csv"] == [reject.where for reject in rejects]
    assert together.equals(alone)


@pytest.mark.parametrize("method", ["lttb", "minmaxlttb", "mean", "every"])
def test_reducing_while_reading_is_as_reducing_afterwards(tmp_path, method):
    for name, points in (("a", 40), ("b", 5), ("c", 90)):
        (tmp_path / f"{name}.csv").write_text("value\n" + "".join(f"{i * 7 % 11}\n" for i in range(points)))
    reduce = Downsample(9, method)
    rows, _ = read(tmp_path)
    afterwards = reduce.transform(rows.lazy()).collect()
    assert afterwards.equals(read(tmp_path, reduce=reduce)[0])
    assert [9, 5, 9] == afterwards["values"].list.len().to_list()
    assert [0, 0, 0] == afterwards["low"].list.first().to_list()


def test_stamps_are_reduced_with_their_points_and_stay_away_where_there_are_none(tmp_path):
    (tmp_path / "a.csv").write_text(PLAIN + "3,2024-01-01 00:15:00,P,8\n")
    stamped, _ = read(tmp_path, stamps=("date",))
    bare, _ = read(tmp_path)
    reduced = Downsample(3, "every").transform(pl.concat([stamped, bare]).lazy()).collect()
    assert [3, None] == reduced["stamps"].list.len().to_list()
    assert reduced["values"][0].to_list() == reduced["values"][1].to_list()


def test_a_line_of_too_many_cells_is_no_value(tmp_path):
    (tmp_path / "a.csv").write_text("value,unit\n1,kPa\n1,234,kPa\n")
    (tmp_path / "b.csv").write_text("value,unit\n1,kPa\n1234,kPa\n")
    rows, [reject] = read(tmp_path)
    assert (["b"], "a.csv", "broken CSV") == (rows["name"].to_list(), reject.where, reject.reason)


def test_one_file_with_a_fault_keeps_its_place_among_the_others(tmp_path):
    texts = {"a": "value\n1\n2\n", "b": "value\n1\nBad\n3\n", "c": "value\n4\n5\n", "d": 'value\n"6"\n7\n'}
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    expected = {"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0], "c": [4.0, 5.0], "d": [6.0, 7.0]}
    assert list(expected.items()) == list(lists(tmp_path, missing="interpolate").items())
