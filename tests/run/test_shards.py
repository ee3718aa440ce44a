"""Files that are read one by one, and how many of their tables are in memory at once."""

from types import SimpleNamespace

import attrs
import polars as pl
import pytest

import forge
from forge.core.files import File, Files
from forge.run import shards
from forge.run.intake import BARE
from forge.run.ledger import Ledger
from forge.run.shards import read_files
from forge.store.base import Store
from forge_files.json_source import FilesJsonl


@pytest.fixture
def source(tmp_path):
    for number in range(12):
        rows = "".join(f'{{"id": "{number}-{row}", "n": {row}}}\n' for row in range(20))
        (tmp_path / f"{number:02}.jsonl").write_text(rows + "{broken\n" * (number == 5))
    paths = sorted(tmp_path.glob("*.jsonl"))
    return FilesJsonl(path=Files("*.jsonl", tuple(File(path.name, path) for path in paths)), most_rejects=1.0)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path, 2, lambda _: None, lambda: None)


def read(source, tmp_path, ledger=None):
    names = ("engine", "use", "version", "params", "code", "facts")
    job = SimpleNamespace(action={**dict.fromkeys(names, ""), "files": {}}, seen={})
    ledger = ledger or Ledger(tmp_path, 2, lambda _: None, lambda: None)
    return list(read_files(source, job, ledger, Store.open(tmp_path / "store")))


@pytest.mark.parametrize("held", [1 << 30, 2000, 0])
def test_what_is_too_much_to_hold_is_found_again(source, tmp_path, monkeypatch, held):
    looked = []
    load = shards._load
    monkeypatch.setattr(shards, "_load", lambda path: looked.append(path) or load(path))
    monkeypatch.setattr(shards, "_HELD", held)
    items = read(source, tmp_path)
    frames = [item for item in items if isinstance(item, pl.DataFrame)]
    assert [f"{number}-{row}" for number in range(12) for row in range(20)] == pl.concat(frames)["id"].to_list()
    rejects = [(item.where, item.index) for item in items if isinstance(item, forge.Reject)]
    assert [("05.jsonl", 21)] == rejects
    assert {1 << 30: 0, 0: 12}.get(held, len(looked)) == len(looked)
    assert held in (0, 1 << 30) or 0 < len(looked) < 12


def test_files_of_other_columns_are_read_together(source, tmp_path):
    (tmp_path / "07.jsonl").write_text('{"id": "x", "other": 1}\n')
    frames = [item for item in read(source, tmp_path) if isinstance(item, pl.DataFrame)]
    assert {("id", "n", "other")} == {tuple(frame.columns) for frame in frames}


def test_a_file_that_a_validator_refuses_alone_is_read_with_the_others(source, tmp_path):
    (tmp_path / "03.jsonl").write_text('{"id": "x"}\n')
    mapped = attrs.evolve(source, columns={"id": "id", "n": "n"})
    frames = [item for item in read(mapped, tmp_path) if isinstance(item, pl.DataFrame)]
    assert 11 * 20 + 1 == sum(frame.height for frame in frames)


@attrs.frozen
class Counting:
    """Drop, tally and warn once a file; a file that says so has a column of its own."""

    path: forge.Files

    def read(self, run):
        for file in self.path:
            run.drop("seen", 2, f"of {file.name}")
            run.tally("letters", 3)
            run.warn(f"careful with {file.name}")
            yield [{"other" if "other" in file.path.read_text() else "id": file.name}]


def test_what_a_file_told_the_ledger_is_told_again_by_its_piece(source, tmp_path):
    files = Counting(path=source.path)
    said = []
    for changed in ("", "more", "other"):
        (tmp_path / "04.jsonl").write_text(changed)
        events = []
        ledger = Ledger(tmp_path, 2, events.append, lambda: None)
        assert 12 == len([item for item in read(files, tmp_path, ledger) if not isinstance(item, forge.Reject)])
        warned = [event["message"] for event in events if event["event"] == "warning"]
        said.append((ledger.drops, ledger.tallies, ledger.examples, ledger.warnings, warned))
    warnings = [f"careful with {number:02}.jsonl" for number in range(12)]
    examples = {"seen": ["of 00.jsonl", "of 01.jsonl", "of 02.jsonl"]}
    assert [({"seen": 24}, {"letters": 36}, examples, warnings, warnings)] * 3 == said


def test_records_without_a_field_leave_and_are_counted(source, tmp_path, ledger):
    (tmp_path / "09.jsonl").write_text("{}\n{}\n")

    @attrs.frozen
    class Bare:
        path: forge.Files

        def read(self, _):
            for file in self.path:
                yield pl.DataFrame(height=2) if file.name == "09.jsonl" else pl.DataFrame({"id": [file.name]})

    for _ in range(2):  # the second time from its piece
        ledger.drops.clear()
        frames = read(Bare(path=source.path), tmp_path, ledger)
        assert (11, {BARE: 2}) == (sum(frame.height for frame in frames), ledger.drops)
