import os
import time

import pytest

from forge.store.base import Store
from forge.store.signatures import Signatures, Sources, build_name


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    return path


@pytest.fixture
def later(monkeypatch):
    """Let the clock run ahead, so that what was just written is old."""
    monkeypatch.setattr(time, "time_ns", lambda now=time.time_ns: now() + 10_000_000_000)


def count(signatures, path):
    seen = []
    value = signatures.of(path, "size", lambda p: seen.append(p) or p.stat().st_size)
    return value, len(seen)


def again(store, signatures):
    signatures.save()
    return Signatures.load(store, "m")


@pytest.mark.usefixtures("later")
def test_an_old_file_is_read_once(store, file):
    signatures = Signatures.load(store, "m")
    assert [(3, 1), (3, 0)] == [count(signatures, file), count(signatures, file)]
    assert (3, 0) == count(again(store, signatures), file)


def test_a_file_that_was_just_written_is_not_trusted(store, file):
    signatures = Signatures.load(store, "m")
    assert [(3, 1), (3, 1)] == [count(signatures, file), count(signatures, file)]
    assert (3, 1) == count(again(store, signatures), file)


@pytest.mark.usefixtures("later")
def test_a_file_that_was_written_again_is_read_again_even_with_its_time_set_back(store, file):
    signatures = Signatures.load(store, "m")
    before = signatures.digest(file)
    info = file.stat()
    file.write_text("two")
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert before != again(store, signatures).digest(file)


@pytest.mark.usefixtures("later")
def test_a_file_that_was_replaced_is_read_again(store, file, tmp_path):
    signatures = Signatures.load(store, "m")
    before = signatures.digest(file)
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").replace(file)
    assert before != signatures.digest(file)


@pytest.mark.usefixtures("later")
def test_what_is_no_longer_asked_for_is_forgotten(store, file, tmp_path):
    other = tmp_path / "other"
    other.write_text("")
    signatures = Signatures.load(store, "m")
    count(signatures, file)
    count(signatures, other)
    signatures = again(store, signatures)
    count(signatures, file)
    assert [f"size:{file}"] == list(again(store, signatures).known)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_damaged_memory_means_nothing_is_known(store, file, text):
    (store.root / "builds" / "m.signatures").write_text(text)
    assert (3, 1) == count(Signatures.load(store, "m"), file)


def test_manifests_of_one_name_in_two_places_have_two_memories(tmp_path):
    one, two = (build_name("a/b c", tmp_path / folder / "forge.toml") for folder in "xy")
    assert one != two
    assert one.startswith("a_b_c-")


def noted(path):
    sources = Sources()
    assert path.read_text() == sources.noting(lambda each: each.read_text())(path)
    return sources


CHANGES = {
    "written to": lambda path: path.write_text("other"),
    "replaced": lambda path: (path.with_name("new").write_text("code"), path.with_name("new").replace(path)),
    "gone": lambda path: path.unlink(),
    "no longer alone": lambda path: path.with_name("beside.txt").write_text("data"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_code_stands_until_a_file_or_its_folder_changes(tmp_path, later, change):
    path = tmp_path / "plugin.py"
    path.write_text("code")
    sources = noted(path)
    assert sources.stand()
    CHANGES[change](path)
    assert not sources.stand()


def test_code_that_may_change_within_the_clock_s_grain_does_not_stand(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text("code")
    assert not noted(path).stand()
