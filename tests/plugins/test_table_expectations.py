"""`check.table`: each expectation is a figure beside its bound, met or not."""

from pathlib import Path

import polars as pl
import pytest

import forge
from forge.plugin.parameters import structure
from forge_table.expectations import TableCheck

TABLE = pl.DataFrame(
    {
        "id": ["a", "b", "c", "c"],
        "likes": [0, 5, None, 30],
        "score": [0.5, 1.0, 0.25, 0.0],
        "text": ["一二", "一二三", "", None],
        "risk": ["none", "none", "none", "violence"],
        "turns": [[1], [1, 2], [], [1, 2, 3]],
    }
)


@pytest.fixture
def findings(tmp_path):
    forge.write_rows(TABLE, tmp_path / "in")

    def found(**values):
        step, complaints = structure(TableCheck, values, Path())
        assert [] == complaints
        artifacts = {"in": forge.Artifact("in", tmp_path / "in")}
        run = forge.LocalRun(scratch=tmp_path)
        return [(f.name, f.value, f.bound, f.passed) for f in step.check(artifacts, tmp_path, run)]

    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"rows": {"least": 4}}, ("rows", 4, "at least 4", True)),
        ({"rows": {"least": 1, "most": 3}}, ("rows", 4, "1 to 3", False)),
        ({"unique": ["id"]}, ("repeats of `id`", 1, 0, False)),
        ({"unique": ["id", "score"]}, ("repeats of `id` + `score`", 0, 0, True)),
        ({"unique": ["idd"]}, ("repeats of `idd`", "missing", 0, False)),
        ({"columns": {"idd": {}}}, ("column `idd`", "missing", "present", False)),
        ({"columns": {"id": {"type": "String"}}}, ("type of `id`", "String", "String", True)),
        ({"columns": {"turns": {"type": "List"}}}, ("type of `turns`", "List(Int64)", "List", True)),
        ({"columns": {"likes": {"type": "String"}}}, ("type of `likes`", "Int64", "String", False)),
        ({"columns": {"likes": {"nulls": 0.25}}}, ("nulls of `likes`", 0.25, 0.25, True)),
        ({"columns": {"likes": {"nulls": 0.2}}}, ("nulls of `likes`", 0.25, 0.2, False)),
        ({"columns": {"id": {"unique": True}}}, ("repeats of `id`", 1, 0, False)),
        (
            {"columns": {"likes": {"values": {"least": 0, "most": 30}}}},
            ("values of `likes`", "0 to 30", "0 to 30", True),
        ),
        ({"columns": {"likes": {"values": {"most": 29}}}}, ("values of `likes`", "0 to 30", "at most 29", False)),
        (
            {"columns": {"likes": {"values": {"most": 29}, "at_odds": 0.4}}},
            ("values of `likes` outside of at most 29", 1 / 3, 0.4, True),
        ),
        ({"columns": {"text": {"length": {"most": 3}}}}, ("length of `text`", "0 to 3", "at most 3", True)),
        ({"columns": {"text": {"length": {"least": 1}}}}, ("length of `text`", "0 to 3", "at least 1", False)),
        ({"columns": {"turns": {"length": {"most": 2}}}}, ("length of `turns`", "0 to 3", "at most 2", False)),
        ({"columns": {"risk": {"allowed": ["none"]}}}, ("`risk` not among the allowed", 0.25, 0.0, False)),
        ({"columns": {"score": {"allowed": [0, 1, 0.5, 0.25]}}}, ("`score` not among the allowed", 0.0, 0.0, True)),
        ({"columns": {"id": {"matches": "^[ab]$"}}}, ("`id` not matching", 0.5, 0.0, False)),
        (
            {"columns": {"risk": {"shares": {"none": {"least": 0.5, "most": 0.9}}}}},
            ("share of `none` in `risk`", 0.75, "0.5 to 0.9", True),
        ),
        (
            {"columns": {"risk": {"shares": {"self_harm": {"least": 0.01}}}}},
            ("share of `self_harm` in `risk`", 0.0, "at least 0.01", False),
        ),
    ],
)
def test_an_expectation_is_a_figure_beside_its_bound(findings, values, expected):
    assert [expected] == findings(**values)


def test_columns_that_are_not_declared_are_refused_where_only_is_said(findings):
    assert [("columns not declared", 5, 0, False)] == findings(columns={"id": {}}, only=True)


def test_all_expectations_are_looked_at_though_one_is_broken(findings):
    found = findings(rows={"least": 9}, columns={"gone": {"nulls": 0.0}, "id": {"type": "String", "nulls": 0.0}})
    assert [False, False, True, True] == [passed for *_, passed in found]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "nothing is expected"),
        ({"rows": {}}, "give `least`, `most` or both"),
        ({"rows": {"least": 3, "most": 2}}, "`least` is 3, over `most`, which is 2"),
        ({"columns": {"id": {"nulls": 1.5}}}, "`nulls` must be <= 1, got `1.5`"),
        ({"columns": {"id": {"uniqe": True}}}, "uniqe"),
    ],
)
def test_expectations_that_make_no_sense_are_refused_before_anything_runs(values, message):
    _, complaints = structure(TableCheck, values, Path())
    assert message in "; ".join(f"{c.path} {c.message}" for c in complaints)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": {"values": {"least": 1}}}, "`values` of column `id` wants a number, the column holds String"),
        ({"likes": {"length": {"least": 1}}}, "`length` of column `likes` wants text or a list"),
        ({"id": {"matches": "("}}, "`matches` of column `id` is no regular expression"),
    ],
)
def test_an_expectation_that_a_column_can_not_have_is_an_error(findings, values, message):
    with pytest.raises(forge.StepError, match=message):
        findings(columns=values)


def test_a_broken_expectation_names_the_rows_that_break_it(tmp_path):
    forge.write_rows(TABLE, tmp_path / "in")
    step, _ = structure(TableCheck, {"columns": {"risk": {"allowed": ["none"]}}}, Path())
    [finding] = step.check({"in": forge.Artifact("in", tmp_path / "in")}, tmp_path, forge.LocalRun(scratch=tmp_path))
    assert "1 of 4: `violence`" == finding.detail
