"""Columns are measured exactly, however many slices they are read in; rows are shown as what they are."""

import polars as pl
import pytest

from forge.plugin.table import TABLE, write_rows
from forge.report import tables
from forge.report.charts import curve_of, thinned, ticks
from forge.report.difference import difference
from forge.report.samples import changes_of, rows_of
from forge.report.words import figure, fitted, share, unplaced


def table(folder, **columns):
    write_rows(pl.DataFrame(columns), folder)
    return folder / TABLE


def measured(path):
    return {column.name: column for column in tables.columns_of(path)}


@pytest.fixture(params=[3, 1 << 17])
def slices(request, monkeypatch):
    monkeypatch.setattr(tables, "SLICE", request.param)


def test_numbers_are_measured_over_all_slices(tmp_path, slices):
    score = [0.5 * n for n in range(100)] + [None, float("nan"), float("inf")]
    found = measured(table(tmp_path, score=score))["score"]
    assert (1, 103) == (found.missing, found.rows)
    assert [("median", "24.75"), ("mean", "24.75")] == list(found.figures)
    assert (0.0, 49.5, 100) == (found.histogram.low, found.histogram.high, sum(found.histogram.counts))


def test_few_values_are_counted_and_many_are_not(tmp_path, slices):
    found = measured(
        table(
            tmp_path,
            topic=["b", "a", "a", None, ""] * 2,
            level=[3, 1, 1, 10, None] * 2,
            yes=[True, False, True, True, True] * 2,
            tags=[["x", "y"], [], ["x"], None, ["x"]] * 2,
            id=[f"row {n}" for n in range(10)],
        )
    )
    assert [("a", 4), ("(empty)", 2), ("(none)", 2), ("b", 2)] == list(found["topic"].values.entries)
    assert [("1", 4), ("3", 2), ("10", 2), ("(none)", 2)] == list(found["level"].values.entries)
    assert [("yes", 8), ("no", 2)] == list(found["yes"].values.entries)
    assert [("x", 6), ("y", 2)] == list(found["tags"].values.entries)
    assert found["id"].values is None


def test_texts_and_lists_are_measured_by_their_lengths(tmp_path, slices):
    talk = [[{"role": "user", "text": "hi"}] * n for n in (1, 2, 2, 7)]
    found = measured(table(tmp_path, text=["一二三", "a", "abcd", "ab"], talk=talk))
    assert ("characters", [1, 1, 1, 1]) == (found["text"].measured, list(found["text"].histogram.counts))
    assert ("turns", [1, 2, 0, 0, 0, 0, 1]) == (found["talk"].measured, list(found["talk"].histogram.counts))
    assert "list of {role, text}" == found["talk"].type


def test_an_empty_table_and_odd_columns_end_nothing(tmp_path):
    assert [0] == [c.rows for c in tables.columns_of(table(tmp_path / "a", text=pl.Series([], dtype=pl.String)))]
    odd = table(tmp_path / "b", void=[None, None], bytes=[b"\0", b""], day=pl.Series(["2026-01-01"] * 2).str.to_date())
    assert [2, 0, 0] == [column.missing for column in tables.columns_of(odd)]
    assert 2 == len(rows_of(odd))


def test_a_conversation_is_shown_as_talk_and_a_long_text_is_clipped(tmp_path):
    path = table(tmp_path, id=["a"], talk=[[{"role": "assistant", "text": "yes"}]], text=["x" * 9000])
    [row] = rows_of(path)
    talk, text = row.cells[1], row.cells[2].text
    assert [("assistant", "right", "yes")] == [(turn.role, turn.side, turn.text.head) for turn in talk.turns]
    assert (9000, 5000) == (len(text.head) + len(text.rest) + text.unshown, text.unshown)


def test_tokens_are_shown_from_before_the_first_that_is_learned(tmp_path):
    path = table(tmp_path, input_ids=[list(range(1000))], loss_mask=[[False] * 500 + [True] * 500])
    [cell] = rows_of(path)[0].cells
    assert ("440", 440, 400, 100) == (cell.entries[0], cell.before, cell.more, sum(cell.marks))


def test_rows_are_matched_by_id_and_those_with_most_that_is_new_come_first(tmp_path, slices):
    before = table(tmp_path / "before", id=[f"{n}" for n in range(9)], text=[f"call 555-{n} now" for n in range(9)])
    texts = [f"call 555-{n} now" for n in range(7)] + ["call [PHONE] now", "call 555- now"]
    after = table(tmp_path / "after", id=[f"{n}" for n in range(9)], text=texts)
    assert ["7", "8"] == [change.title for change in changes_of([before], after)]


def test_rows_without_an_id_are_not_matched(tmp_path):
    assert [] == changes_of([table(tmp_path / "a", text=["x"])], table(tmp_path / "b", text=["y"]))


def test_a_difference_holds_both_texts():
    old, new = "我叫张三，电话 13812345678，请回电。" * 9, "我叫[姓名]，电话 [电话]，请回电。" * 9
    found = difference(old, new)
    assert old == "".join(p.text for p in found.pieces if p.how in ("same", "gone"))
    assert new == "".join(p.text for p in found.pieces if p.how in ("same", "new"))
    assert ("gone", "张三") == (found.pieces[1].how, found.pieces[1].text)


def test_what_did_not_change_is_left_out_and_counted():
    text = "word " * 100
    pieces = difference(f"{text}old {text}", f"{text}new {text}").pieces
    assert ["left out", "same", "gone", "new", "same", "left out"] == [piece.how for piece in pieces]
    shown = sum(len(p.text) for p in pieces if p.how == "same")
    assert 1001 == shown + sum(int(p.text) for p in pieces if p.how == "left out")


def test_a_curve_of_many_points_keeps_its_spikes_and_leaves_out_what_is_not_finite():
    points = [(n, 1.0) for n in range(20_000)]
    points[7777] = (7777, 99.0)
    assert (7777, 99.0) in thinned(points)
    assert len(thinned(points)) <= 600
    curve = curve_of("loss", {"loss": [(1, float("nan")), (2, 3.0), (3, 1.0)], "none": []})
    assert [("loss", "3", "1")] == [(line.name, line.first, line.last) for line in curve.lines]
    assert curve_of("loss", {"loss": [(1, float("inf"))]}) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 40, [0, 10, 20, 30, 40]), (0.31, 2.49, [0, 1, 2, 3]), (5, 5, [5]), (0, 1e-4, [0, 2.5e-5, 5e-5, 7.5e-5, 1e-4])],
)
def test_ticks_are_round_numbers_around_the_values(low, high, expected):
    assert expected == pytest.approx(ticks(low, high))


def test_figures_are_written_as_people_write_them():
    assert ["1,234", "0.5", "1e-05", "–", "yes", "12,346"] == [
        figure(value) for value in (1234, 0.5, 1e-5, None, True, 12345.6)
    ]
    assert ["24 %", "2.3 %", "< 0.1 %", "–"] == [share(10, 42), share(1, 43), share(1, 5000), share(1, 0)]
    assert "张三李四…" == fitted("张三李四王五", 9)


def test_this_machine_s_folders_and_accounts_leave_no_trace():
    text = unplaced("/home/me/p/data/a.txt of /home/me/p, https://me:secret@host/x", ["/home/me/p", "/home/me/p/store"])
    assert "data/a.txt of ., https://…@host/x" == text
