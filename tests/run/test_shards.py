"""Files that are read one by one, and how many of their tables are in memory at once."""

from types import SimpleNamespace

import polars as pl
import pytest

import forge
from forge.core.files import File, Files
from forge.run import shards
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


def read(source, tmp_path):
    names = ("engine", "use", "version", "params", "code", "facts")
    job = SimpleNamespace(action={**dict.fromkeys(names, ""), "files": {}}, seen={})
    ledger = Ledger(tmp_path, 2, lambda _: None, lambda: None)
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
