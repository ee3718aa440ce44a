"""What a source yields becomes a table while the source reads on."""

import json
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forge
from forge.core.errors import StepError
from forge.plugin import table
from forge.plugin.table import TABLE, read_rows, write_rows
from forge.run import intake, writing
from forge.run.intake import collect_batches, take_in
from forge.run.ledger import Ledger

ROWS = pl.DataFrame(
    {
        "id": [f"r{n}" for n in range(30)],
        "word": [None if n % 7 == 3 else "字" * (n % 5 * 9) for n in range(30)],
        "turns": [[{"role": "user", "text": f"第{n}句" * (n % 4 * 8)}] * (n % 3) for n in range(30)],
    }
)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path, 2, lambda _: None, lambda: None)


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(1, 40))
def test_the_same_rows_give_the_same_bytes_wherever_they_are_cut(tmp_path_factory, cuts, batch):
    folder = tmp_path_factory.mktemp("tables")
    edges = [0, *sorted(cuts), ROWS.height]
    parts = [ROWS.slice(start, stop - start) for start, stop in pairwise(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "BATCH", batch)
        write_rows(ROWS, folder / "whole")
        taken = take_in(parts, folder / "parts", Ledger(folder, 2, lambda _: None, lambda: None))
    assert (folder / "whole" / TABLE).read_bytes() == (folder / "parts" / TABLE).read_bytes()
    assert (30, ("id", "word", "turns"), []) == (taken.rows, taken.columns, taken.rejects)


def test_frames_of_other_columns_are_joined_as_in_memory(tmp_path, ledger):
    items = [ROWS, ROWS, ROWS.select("id", more=pl.lit(1)), [{"id": "z", "more": 2.5}], ROWS]
    taken = take_in(iter(items), tmp_path / "out", ledger)
    joined, _ = collect_batches(items, ledger)
    assert joined.equals(read_rows(tmp_path / "out").collect())
    assert (joined.height, tuple(joined.columns)) == (taken.rows, taken.columns)


def test_columns_that_do_not_go_together_are_told(tmp_path, ledger):
    with pytest.raises(StepError, match="columns of one name that don't go together"):
        take_in([pl.DataFrame({"a": [[1]]}), pl.DataFrame({"a": ["x"]})], tmp_path / "out", ledger)


def test_without_rows_there_is_no_table(tmp_path, ledger):
    reject = forge.Reject("a.json", "not a word", 3)
    taken = take_in([reject, pl.DataFrame(), []], tmp_path, ledger)
    assert (0, (), [reject]) == (taken.rows, taken.columns, taken.rejects)
    assert not (tmp_path / TABLE).exists()


def test_a_fault_of_the_source_is_raised_as_it_is(tmp_path, ledger):
    def read():
        yield ROWS
        yield ROWS
        raise StepError("no more")

    with pytest.raises(StepError, match="no more"):
        take_in(read(), tmp_path, ledger)


class Panic(BaseException):
    """What Polars raises where it has a fault of its own derives from no Exception."""


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), Panic("No space left in its tables")])
def test_a_table_that_can_t_be_written_ends_the_reading(tmp_path, ledger, monkeypatch, fault):
    def write(*_):
        raise fault

    monkeypatch.setattr(writing, "write_parts", write)
    read = []
    with pytest.raises(type(fault), match="No space left"):
        take_in((read.append(n) or ROWS for n in range(1000)), tmp_path, ledger)
    assert len(read) < 1000


def test_records_without_a_field_are_no_rows(tmp_path, ledger):
    taken = take_in([[{"a": 1}], [{}, {}]], tmp_path, ledger)
    assert (1, {intake.BARE: 2}) == (taken.rows, ledger.drops)
    assert 0 == take_in([[{}, {}]], tmp_path / "none", ledger).rows


OTHER = pl.DataFrame({"id": [1, 2]})
STRANGE = forge.Reject("a.json", "not a word", 3)
BEGUN_AGAIN = {
    "before anything": [forge.Restart("no")],
    "after rows alike": [STRANGE, ROWS, ROWS, forge.Restart("no")],
    "after rows of other columns": [ROWS, OTHER, STRANGE, forge.Restart("no")],
    "after records without a field": [[{}, {}], ROWS, forge.Restart("no")],
    "twice": [ROWS, forge.Restart("no"), ROWS, OTHER, forge.Restart("no")],
}


@pytest.mark.parametrize("before", BEGUN_AGAIN)
@pytest.mark.parametrize("after", [[], [ROWS], [OTHER, STRANGE], [ROWS, OTHER, ROWS]])
def test_what_stands_before_a_restart_was_never_there(tmp_path, before, after):
    def ledger():
        return Ledger(tmp_path, 2, lambda _: None, lambda: None)

    plain, begun_again, joined = ledger(), ledger(), ledger()
    wanted = take_in(after, tmp_path / "plain", plain)
    found = take_in([*BEGUN_AGAIN[before], *after], tmp_path / "out", begun_again)
    assert (wanted.rows, wanted.columns, wanted.rejects) == (found.rows, found.columns, found.rejects)
    frame, rejects = collect_batches([*BEGUN_AGAIN[before], *after], joined)
    assert wanted.rejects == rejects
    assert plain.counted() == begun_again.counted() == joined.counted()
    if wanted.rows:
        assert (tmp_path / "plain" / TABLE).read_bytes() == (tmp_path / "out" / TABLE).read_bytes()
        assert frame.equals(read_rows(tmp_path / "out").collect())
    else:
        assert not (tmp_path / "out" / TABLE).exists()
        assert frame.is_empty()


def test_what_was_counted_before_a_restart_does_not_count(tmp_path, ledger):
    def read():
        ledger.drop("gone", 5, "an example")
        ledger.tally("inside", 3)
        yield ROWS
        yield forge.Restart("no")
        ledger.drop("gone", 2)
        yield ROWS

    take_in(read(), tmp_path, ledger)
    assert ({"gone": 2}, {}, {"gone": []}) == (ledger.drops, ledger.tallies, ledger.examples)


@pytest.mark.parametrize(("item", "named"), [(forge.Restart, "the class `Restart`"), (7, "`int`")])
def test_what_a_source_may_not_yield_is_named(item, named, tmp_path, ledger):
    with pytest.raises(StepError, match=f"rejects and restarts, not {named}"):
        take_in([item], tmp_path, ledger)


def test_halves_of_characters_in_what_a_reject_shows_can_be_kept(tmp_path, ledger):
    take_in([ROWS, forge.Reject("\udcff.json", "not a word", 1, "\ud800")], tmp_path, ledger)
    json.dumps(ledger.examples, ensure_ascii=False).encode()
