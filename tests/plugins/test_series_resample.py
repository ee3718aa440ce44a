"""Series on a regular clock: gaps, repeated and backward stamps, time zones."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

import forge
from forge.run.tables import settle
from forge_series.csv_files import CsvSeries
from forge_series.points import schema
from forge_series.resample import Resample, seconds

NAB = Path(__file__).parents[3] / "shared" / "data" / "timeseries" / "nab" / "data"


class Counts:
    """Keep what the engine counts."""

    def __init__(self):
        self.drops, self.tallies = {}, {}

    def drop(self, reason, count=1, example=""):
        self.drops[reason] = count

    def tally(self, reason, count):
        if count:
            self.tallies[reason] = count

    def _example(self, reason, example):
        pass


def series(*points, name="a"):
    """Return a table of one series from (stamp, value) pairs."""
    row = dict.fromkeys(schema()) | {"name": name, "file": f"{name}.csv", "rows": len(points), "window": 0}
    stamps = [datetime.fromisoformat(f"2024-01-01 {stamp}" if len(stamp) < 9 else stamp) for stamp, _ in points]
    return pl.DataFrame([row | {"values": [v for _, v in points], "stamps": stamps, "missing": 0}], schema=schema())


def resampled(table, frequency, **rules):
    """Return the rows that stay, and what was counted."""
    counts = Counts()
    return settle(Resample(frequency, **rules).transform(table.lazy()), table.height, counts, "series.resample"), counts


def nab(name):
    path = NAB / name
    if not path.is_file():
        pytest.skip("../shared/data/timeseries/nab is not here")
    run = forge.LocalRun(NAB)
    return pl.concat(CsvSeries(forge.Files.match(str(path)), stamps=("timestamp",)).read(run))


GAP = series(("00:00", 1.0), ("00:05", 2.0), ("00:20", 8.0))


@pytest.mark.parametrize(
    ("gaps", "values"), [("interpolate", [1.0, 2.0, 4.0, 6.0, 8.0]), ("forward", [1.0, 2.0, 2.0, 2.0, 8.0])]
)
def test_gaps_are_filled_by_the_declared_rule_and_stand_for_no_row(gaps, values):
    rows, counts = resampled(GAP, "5m", gaps=gaps)
    assert {"point filled into a gap": 2} == counts.tallies
    row = rows.row(0, named=True)
    assert (values, [0, 1, 2, 2, 2], [0, 1, 1, 1, 2], 2) == (row["values"], row["low"], row["high"], row["filled"])


def test_a_series_with_a_gap_is_dropped_where_that_is_declared():
    rows, counts = resampled(pl.concat([GAP, series(("00:00", 1.0), ("00:05", 2.0), name="b")]), "5m", gaps="drop")
    assert (["b"], {"a gap in the stamps": 1}, {}) == (rows["name"].to_list(), counts.drops, counts.tallies)


@pytest.mark.parametrize(("repeated", "value"), [("first", 2.0), ("last", 6.0), ("mean", 4.0)])
def test_repeated_stamps_become_one_point(repeated, value):
    table = series(("00:00", 1.0), ("00:05", 2.0), ("00:05", 6.0), ("00:10", 3.0))
    rows, counts = resampled(table, "5m", repeated=repeated)
    assert [1.0, value, 3.0] == rows["values"][0].to_list()
    assert ([0, 1, 3], [0, 2, 3]) == (rows["low"][0].to_list(), rows["high"][0].to_list())
    assert {"stamp that stands twice": 1} == counts.tallies


@pytest.mark.parametrize(
    ("backward", "values", "counted"),
    [
        ("sort", [1.0, 3.0, 2.0, 4.0], {"point put where its stamp belongs": 1}),
        ("drop", [1.0, 1.5, 2.0, 4.0], {"stamp before the last one": 1, "point filled into a gap": 1}),
    ],
)
def test_backward_stamps_are_handled_by_the_declared_rule(backward, values, counted):
    table = series(("00:00", 1.0), ("00:10", 2.0), ("00:05", 3.0), ("00:15", 4.0))
    rows, counts = resampled(table, "5m", backward=backward)
    assert (values, counted) == (rows["values"][0].to_list(), counts.tallies)


@pytest.mark.parametrize(
    ("points", "rule", "said"),
    [
        (
            (("00:00", 1.0), ("00:05", 2.0), ("00:01", 3.0)),
            "backward",
            "stamp `2024-01-01 00:01:00` of `a.csv` goes back",
        ),
        ((("00:00", 1.0), ("00:00", 2.0)), "repeated", "stamp `2024-01-01 00:00:00` of `a.csv` stands twice"),
        ((("00:00", 1.0), ("00:10", 2.0)), "gaps", "stamp `2024-01-01 00:05:00` of `a.csv` is missing"),
    ],
)
def test_a_rule_may_be_to_stop(points, rule, said):
    with pytest.raises(forge.StepError, match=said):
        resampled(series(*points), "5m", **{rule: "error"})


def test_a_day_begins_at_midnight_of_the_declared_zone():
    table = series(("2024-03-30 22:00:00", 1.0), ("2024-03-31 01:00:00", 2.0), ("2024-03-31 23:30:00", 4.0))
    rows, counts = resampled(table, "1d", time_zone="Europe/Berlin")
    assert [1.0, 3.0] == rows["values"][0].to_list()
    assert {} == counts.tallies


def test_a_stamp_that_the_zone_skips_leaves_and_is_counted():
    table = series(("2024-03-31 01:30:00", 1.0), ("2024-03-31 02:30:00", 2.0), ("2024-03-31 03:30:00", 4.0))
    rows, counts = resampled(table, "1h", time_zone="Europe/Berlin")
    assert [1.0, 4.0] == rows["values"][0].to_list()
    assert {"stamp that its time zone skips": 1} == counts.tallies


def test_a_row_without_stamps_is_dropped_by_that_reason():
    bare = series(("00:00", 1.0), name="b").with_columns(pl.lit(None).cast(pl.List(pl.Datetime("us"))).alias("stamps"))
    rows, counts = resampled(pl.concat([GAP, bare]), "5m")
    assert (["a"], {"no points with a time stamp": 1}) == (rows["name"].to_list(), counts.drops)


def test_a_wrong_stamp_does_not_fill_the_memory():
    with pytest.raises(forge.StepError, match=r"`a\.csv` begins a series of more than 5,000,000 ticks of `1s`"):
        resampled(series(("1970-01-01 00:00:00", 1.0), ("00:00", 2.0)), "1s")


@pytest.mark.parametrize(("frequency", "expected"), [("30s", 30), ("1h30m", 5400), ("1w", 604800)])
def test_frequencies_add_up(frequency, expected):
    assert expected == seconds(frequency)


@pytest.mark.parametrize(("name", "value"), [("frequency", "five"), ("time_zone", "Mars/Base")])
def test_a_wrong_clock_is_refused_at_once(name, value):
    with pytest.raises(ValueError, match=name):
        Resample(**({"frequency": "5m"} | {name: value}))


def test_nabs_step_back_by_55_minutes_is_sorted_or_dropped():
    table = nab("realKnownCause/machine_temperature_system_failure.csv")
    rows, counts = resampled(table, "5m")
    assert (22683, 0) == (len(rows["values"][0]), rows["filled"][0])
    assert {"point put where its stamp belongs": 11, "stamp that stands twice": 12} == counts.tallies
    _, counts = resampled(table, "5m", backward="drop")
    assert {"stamp before the last one": 11, "stamp that stands twice": 1} == counts.tallies
    with pytest.raises(forge.StepError, match="goes back"):
        resampled(table, "5m", backward="error")


def test_nabs_repeated_stamps_and_the_jump_after_them_are_evened_out():
    rows, counts = resampled(nab("realAWSCloudwatch/ec2_disk_write_bytes_1ef3de.csv"), "5m")
    assert {"stamp that stands twice": 11, "point filled into a gap": 12} == counts.tallies
    assert (4730, 12) == (len(rows["values"][0]), rows["filled"][0])


def test_nabs_irregular_steps_become_regular():
    rows, _ = resampled(nab("realTraffic/occupancy_6005.csv"), "5m")
    steps = rows["stamps"].explode().diff().drop_nulls().unique().to_list()
    assert ["0:05:00"] == [str(step) for step in steps]
    assert 0 == rows["values"].explode().null_count()
