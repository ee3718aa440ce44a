import attrs
import polars as pl
import pytest

import forge
from forge.core.errors import StepError
from forge.plugin.table import write_rows
from forge.run.intake import bound_rejects, collect_batches, write_rejects
from forge.run.ledger import Ledger
from forge.run.tables import count_rows, settle, settle_parts, spans_of

ROWS = pl.DataFrame({"word": ["a", "bee", "cee", "elephant"], "length": [1, 3, 3, 8]})


@pytest.fixture
def events():
    return []


@pytest.fixture
def ledger(tmp_path, events):
    return Ledger(tmp_path, 2, events.append, lambda: None)


def test_marked_rows_leave_with_their_first_reason(ledger):
    marked = forge.drop(ROWS.lazy(), {"short": pl.col("length") < 2, "no b": ~pl.col("word").str.contains("b")})
    left = settle(marked, 4, ledger, "toy.band")
    assert ["bee"] == left["word"].to_list()
    assert ["word", "length"] == left.columns
    assert {"short": 1, "no b": 2} == ledger.drops
    assert '{"word": "a", "length": 1}' == ledger.examples["short"][0]


def test_a_row_that_is_marked_keeps_its_reason(ledger):
    marked = forge.drop(forge.drop(ROWS.lazy(), {"first": pl.col("length") < 2}), {"second": pl.lit(value=True)})
    assert 0 == settle(marked, 4, ledger, "toy.band").height
    assert {"first": 1, "second": 3} == ledger.drops


def test_rows_that_a_filter_takes_are_counted_under_the_step_type(ledger):
    settle(ROWS.lazy().filter(pl.col("length") > 2), 4, ledger, "toy.band")
    assert {"filtered by toy.band": 1} == ledger.drops


def test_rows_that_a_filter_takes_are_shown_where_they_have_an_identity(ledger):
    rows = ROWS.with_row_index("id").lazy()
    marked = forge.drop(rows.filter(pl.col("length") > 2), {"no b": ~pl.col("word").str.contains("b")})
    settle(marked, 4, ledger, "toy.band", rows)
    assert ['{"id": 0, "word": "a", "length": 1}'] == ledger.examples["filtered by toy.band"]
    assert {"filtered by toy.band": 1, "no b": 2} == ledger.drops


def test_a_step_that_makes_rows_drops_none(ledger):
    settle(pl.concat([ROWS, ROWS]).lazy(), 4, ledger, "toy.band")
    assert {} == ledger.drops


def test_what_leaves_inside_of_rows_is_summed_and_no_column(ledger):
    left = settle(forge.tally(ROWS.lazy(), {"letters": pl.col("length")}), 4, ledger, "toy.band")
    assert ({"letters": 15}, ["word", "length"]) == (ledger.tallies, left.columns)


def test_what_a_part_of_the_work_warns_of_is_logged_and_shown_once(ledger, events, capsys):
    part = ledger.apart()
    part.warn("weak")
    assert ("", []) == (capsys.readouterr().out, events)
    ledger.add(part.counted())
    assert (1, 1) == (capsys.readouterr().out.count("warning: weak"), len(events))


def test_parts_of_a_table_are_counted_as_the_whole_is(tmp_path):
    def step(rows):
        tallied = forge.tally(rows.filter(pl.col("n") % 7 != 3), {"letters": pl.col("n") % 2 + 1})
        return forge.drop(tallied, {"third": pl.col("n") % 3 == 0, "fifth": pl.col("n") % 5 == 0})

    rows = pl.DataFrame({"n": range(20_000)}).lazy()
    one, many = (Ledger(tmp_path, 2, print, lambda: None) for _ in range(2))
    spans = spans_of(20_000, 20 << 30)
    parts = [rows.slice(*span) for span in spans]
    heights = [part.select(pl.len()).collect().item() for part in parts]
    assert ([4096, 4096, 4096, 4096, 3616], heights) == (heights, [height for _, height in spans])
    whole = settle(step(rows), 20_000, one, "toy.band", rows)
    made = ((step(part), (part, height)) for part, (_, height) in zip(parts, spans, strict=True))
    assert whole.equals(pl.concat(settle_parts(made, 20_000, many, "toy.band")))
    assert 3 == len(many.examples["filtered by toy.band"])
    assert (one.drops, one.tallies, one.examples) == (many.drops, many.tallies, many.examples)


@pytest.mark.parametrize(("rows", "mebibytes", "parts"), [(0, 0, 1), (1, 0.01, 1), (10_000, 1, 1), (10_000, 96, 2)])
def test_a_table_is_cut_by_what_its_file_holds(rows, mebibytes, parts):
    assert parts == len(spans_of(rows, int(mebibytes * 2**20)))


def test_a_source_s_batches_are_joined_and_its_rejects_counted_with_their_places(ledger):
    batches = [
        ROWS.select("word"),
        [{"word": "zoo", "more": 1}],
        forge.Reject("a.json", "not a word", 3, "-"),
        forge.Reject("b.json", "not a word"),
        [],
    ]
    frame, rejects = collect_batches(batches, ledger)
    assert [("a.json", 3), ("b.json", None)] == [(reject.where, reject.index) for reject in rejects]
    assert (5, ["word", "more"]) == (frame.height, frame.columns)
    assert ({"not a word": 2}, ["a.json:3 -", "b.json"]) == (ledger.drops, ledger.examples["not a word"])


def test_a_source_that_yields_something_else_is_told_what_it_may_yield(ledger):
    with pytest.raises(StepError, match="a source yields frames, lists of dicts, rejects and restarts, not `str`"):
        collect_batches(["row"], ledger)


def test_three_examples_of_a_reason_are_kept_in_short(ledger):
    for number in range(5):
        ledger.drop("long", example=f"{number}" * 1000)
    assert (5, 3, 160) == (ledger.drops["long"], len(ledger.examples["long"]), len(ledger.examples["long"][0]))


def test_progress_is_sent_seldom_and_at_the_end(ledger, events):
    for done in range(1, 1001):
        ledger.progress(done, 1000, loss=0.5)
    assert 1 <= len(events) < 20
    assert {"event": "progress", "done": 1000, "total": 1000, "figures": {"loss": 0.5}} == events[-1]


def test_a_warning_is_sent_once(ledger, events, capsys):
    ledger.warn("weak labels")
    ledger.warn("weak labels")
    assert ([{"event": "warning", "message": "weak labels"}], ["weak labels"]) == (events, ledger.warnings)
    assert 2 == capsys.readouterr().out.count("warning: weak labels")


def test_a_warning_moves_no_cursor_and_changes_no_colours(ledger, events):
    ledger.warn("\x1b[31mred\x1b[0m\tand\r\nmore\x9b")
    assert ["\\x1b[31mred\\x1b[0m\tand\\x0d\nmore\\x9b"] == ledger.warnings == [events[-1]["message"]]


def test_half_a_character_is_written_in_its_escaped_form(ledger, capsys):
    ledger.log("half \ud800")
    ledger.warn("half \ud800")
    assert "half \\ud800" in capsys.readouterr().out
    assert ["half \\ud800"] == ledger.warnings


def test_the_same_frame_gives_the_same_bytes(tmp_path):
    rows = [write_rows(ROWS, tmp_path / name) for name in "ab"]
    (one,), (two,) = (list((tmp_path / name).iterdir()) for name in "ab")
    assert ([4, 4], one.read_bytes()) == (rows, two.read_bytes())
    assert (4, None) == (count_rows(tmp_path / "a"), count_rows(tmp_path))


REJECTS = [forge.Reject("a.json", "odd", n, "x") for n in range(1, 4)] + [forge.Reject("b\udcff.json", "empty")]


def test_rejects_beyond_the_bound_fail_with_their_reasons_and_first_places():
    with pytest.raises(StepError) as caught:
        bound_rejects(REJECTS, 96, 0.03)
    expected = "4 of 100 records are rejected, `most_rejects` is 0.03\n  3 × odd, first a.json:1\n  1 × empty, first b"
    assert caught.value.message.startswith(expected)
    bound_rejects(REJECTS, 96, 0.04)


def test_one_reject_alone_fails_nothing_unless_none_is_allowed():
    bound_rejects(REJECTS[:1], 1, 0.01)
    with pytest.raises(StepError, match="1 of 2 records are rejected, `most_rejects` is 0"):
        bound_rejects(REJECTS[:1], 1, 0.0)


@attrs.frozen
class Lines:
    path: forge.Files


@pytest.fixture
def lines(tmp_path):
    """Write files of so many bytes, and return a source of them."""

    def lines(*sizes):
        for number, size in enumerate(sizes):
            (tmp_path / f"{number}.txt").write_bytes(b"x" * size)
        return Lines(forge.Files.match("*.txt", tmp_path))

    return lines


def test_a_file_that_cant_be_used_counts_as_the_records_that_it_would_hold(lines, ledger):
    source = lines(1000, 500, 2000)
    lost = [forge.Reject("1.txt", "odd"), forge.Reject("2.txt", "cut", 1)]
    with pytest.raises(StepError) as caught:
        bound_rejects(lost, 299, 0.1, source)
    told = "some 51 of 350 records are rejected, by the bytes of 1 file that can't be used, `most_rejects` is 0.1"
    assert caught.value.message.startswith(f"{told}\n  1 × odd, first 1.txt")
    bound_rejects(lost, 299, 0.2, source)
    collect_batches([pl.DataFrame({"a": range(299)}), *lost], ledger, source)
    assert {"cut": 1, "odd (a whole file, its records by its bytes)": 50} == ledger.drops
    assert ledger.warnings[0].startswith("1 record and 1 file (by its bytes some 50 records) can't be used")


@pytest.mark.parametrize(("sizes", "rows"), [((10, 90, 50), 2), ((500, 0, 500), 30), ((9000, 10, 900), 600)])
def test_one_file_of_one_record_or_of_none_fails_nothing(lines, sizes, rows):
    bound_rejects([forge.Reject("1.txt", "odd")], rows, 0.01, lines(*sizes))


def test_of_thousands_of_little_files_a_bad_one_fails_nothing(lines):
    bound_rejects([forge.Reject("1.txt", "odd")], 1500, 0.01, lines(*[10] * 500))


def test_rejects_are_a_table_beside_the_rows(tmp_path):
    write_rejects(REJECTS[2:], tmp_path)
    assert [
        {"file": "a.json", "index": 3, "reason": "odd", "excerpt": "x"},
        {"file": "b?.json", "index": None, "reason": "empty", "excerpt": ""},
    ] == pl.read_ipc(tmp_path / "rejects.arrow").to_dicts()
    write_rejects([], tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_columns_that_do_not_go_together_are_told(ledger):
    with pytest.raises(StepError, match="columns of one name that don't go together"):
        collect_batches([pl.DataFrame({"a": [[1]]}), pl.DataFrame({"a": ["x"]})], ledger)
