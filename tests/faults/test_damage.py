"""Damage planted in a store: it is named or mended, nothing good is lost, and nothing damaged is given out."""

import contextlib
import io
import json
import random
import subprocess
import time
from collections import Counter

import pytest

from forge.cli import snapshot
from forge.cli.app import run
from forge.cli.note import read_graph
from forge.core.errors import StoreError
from forge.store.actions import Actions
from forge.store.base import Store
from forge.store.disk import remove
from forge.store.faults import describe_damage, set_aside
from forge.store.signatures import Signatures

from .conftest import SIMPLE, cut, empty, flip, garbage, make_project

HARMS = {"flipped": flip, "cut": cut, "emptied": empty, "garbage": garbage, "missing": lambda path: path.unlink()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Give a project that is built, and what it came to."""
    project = make_project(tmp_path_factory.mktemp("damage") / "project", SIMPLE)
    project.build()
    return project, project.build()


@pytest.fixture
def healthy(built):
    """Give the project with its store as it was before the last test."""
    project, result = built
    kept = project.root / "kept"
    if not kept.exists():
        copy(project.store, kept)
    remove(project.store)
    copy(kept, project.store)
    return project, result


def copy(store, to):
    """Copy a store with the hard links inside of it."""
    subprocess.run(["cp", "-a", str(store), str(to)], check=True)


def place_of(project, result, kind):
    """Return the path of one file of the store."""
    step = result.steps["one"]
    [object_digest] = step.outputs.values()
    folder, digest, suffix = {
        "object": ("objects", object_digest, ""),
        "tree": ("trees", step.tree, ".json"),
        "record": ("actions", step.key, ".json"),
    }[kind]
    return project.store / folder / digest[:2] / (digest[2:] + suffix)


def heals(project, result):
    """Build at most twice, the first with a named error at worst, and see the digests that were there before."""
    first = project.build()
    assert (first.exit_code, "Traceback" in first.stderr) in ((0, False), (4, False)), first.stderr
    again = first if first.exit_code == 0 else project.build()
    assert (0, project.digests(result)) == (again.exit_code, project.digests(again)), again.stderr
    return first, again


CASES = [(kind, harm) for kind in ("object", "tree", "record") for harm in HARMS]


@pytest.mark.parametrize(("kind", "harm"), CASES, ids=lambda each: each)
def test_every_planted_fault_is_found_and_set_aside(healthy, kind, harm):
    project, result = healthy
    HARMS[harm](place_of(project, result, kind))
    store = Store.open(project.store)
    found = describe_damage(store, Actions(store))
    # a record that is missing is no fault: its action has not run
    expected = [] if (kind, harm) == ("record", "missing") else [("is missing", "is damaged")[harm != "missing"]]
    assert [f"{kind} {what}" for what in expected] == [fault.fault for fault in found]
    assert [] == set_aside(store, found)
    assert [] == describe_damage(store, Actions(store))


def test_after_a_repair_the_next_build_makes_anew_what_was_damaged_and_that_alone(healthy):
    project, result = healthy
    for kind in ("object", "tree"):
        flip(place_of(project, result, kind))
    cut(next((project.store / "actions").glob(f"*/{result.steps['two'].key[2:]}.json")))
    found = project.forge("store", "verify")
    assert (4, 3) == (found.exit_code, found.stdout.count("is damaged  "))
    assert 0 == project.forge("store", "verify", "--repair").exit_code
    again = project.build()
    assert (0, project.digests(result)) == (again.exit_code, project.digests(again)), again.stderr
    assert ("hit", "ran", "ran") == tuple(again.statuses.values())
    assert [] == project.damage()


FEW = [("object", "flipped"), ("object", "missing"), ("tree", "garbage"), ("tree", "missing"), ("record", "emptied")]


@pytest.mark.parametrize(("kind", "harm"), FEW, ids=lambda each: each)
def test_a_build_mends_what_is_damaged_or_names_it_and_the_next_mends_it(healthy, kind, harm):
    project, result = healthy
    HARMS[harm](place_of(project, result, kind))
    project.manifest(SIMPLE.replace('cat "$1" "$1"', 'true && cat "$1" "$1"'))
    try:
        heals(project, result)
        assert [] == project.damage()
    finally:
        project.manifest(SIMPLE)


@pytest.mark.parametrize("kind", ["object", "tree"])
def test_a_step_that_runs_again_puts_good_bytes_in_the_place_of_damaged_ones_of_the_same_size(healthy, kind):
    project, result = healthy
    flip(place_of(project, result, kind))
    place_of(project, result, "record").unlink()
    first = project.build()
    assert (0, "ran", project.digests(result)) == (first.exit_code, first.statuses["one"], project.digests(first))
    assert [] == project.damage()


CHAIN = """
    [sources.raw]
    use = "files.json"
    path = "raw.jsonl"

    [transforms.band]
    use = "text.length-band"
    from = "raw"
    column = "text"
    least = {least}
    """


@pytest.mark.parametrize("harm", ["damaged", "missing", "more"])
def test_a_folder_that_was_harmed_since_is_not_what_the_next_step_reads(tmp_path, harm):
    project = make_project(tmp_path / "project", CHAIN.format(least=1))
    project.write("raw.jsonl", '{"id": "1", "text": "hello one"}\n{"id": "2", "text": "hello two"}\n')
    assert 0 == project.build().exit_code
    for table in (project.store / "artifacts").rglob("rows.arrow"):
        table.parent.chmod(0o755)
        if harm == "damaged":
            table.chmod(0o644)
            data = bytearray(table.read_bytes())
            place = data.index(b"hello one")
            data[place : place + 5] = b"WRONG"
            table.write_bytes(data)
        elif harm == "missing":
            table.unlink()
        else:
            (table.parent / "more").write_text("more")
    # both run again, one after the other in the same worker, and the first makes what it made before
    project.write("raw.jsonl", '{ "id": "1", "text": "hello one"}\n{"id": "2", "text": "hello two"}\n')
    project.manifest(CHAIN.format(least=2))
    result = project.build()
    assert {"raw": "ran", "band": "ran"} == result.statuses, result.stderr
    shown = project.forge("show", "forge.toml", "band").stdout
    assert (True, False) == ("hello one" in shown, "WRONG" in shown)


def test_a_damaged_object_is_not_given_out_though_its_step_is_a_hit(healthy):
    project, result = healthy
    flip(place_of(project, result, "object"))
    assert "hit" == project.build().statuses["one"]
    given = project.forge("get", "forge.toml", "one", "given")
    assert (4, False) == (given.exit_code, "Traceback" in given.stderr)
    assert "is damaged or missing" in given.stderr
    assert [] == [path for path in (project.root / "given").rglob("*") if path.is_file()]
    assert "ran" == project.build().statuses["one"]
    assert 0 == project.forge("get", "forge.toml", "one", "given").exit_code


FOLDERS = ("objects", "trees", "actions", "claims", "scratch", "staging", "logs", "journals", "builds")


def test_folders_of_the_store_that_somebody_removed_are_made_again(healthy):
    project, result = healthy
    for names in (FOLDERS[:1], FOLDERS[1:3], FOLDERS[3:]):
        for name in names:
            remove(project.store / name)
        place_of(project, result, "record").unlink(missing_ok=True)
        first, _ = heals(project, result)
        assert 0 == first.exit_code, first.stderr


@pytest.mark.parametrize("harm", ["cut", "garbage"])
def test_what_is_only_remembered_may_be_lost_and_the_build_is_as_before(healthy, harm):
    project, result = healthy
    time.sleep(0.1)
    assert {"hit"} == set(project.build().statuses.values())
    files = [path for path in (project.store / "builds").iterdir() if path.is_file()]
    assert {".json", ".signatures", ".snapshot"} <= {path.suffix for path in files}
    for path in files:
        HARMS[harm](path)
    (project.store / "builds" / "running").mkdir(exist_ok=True)
    (project.store / "builds" / "running" / "neither host nor number").write_bytes(b"\xff")
    again = project.build()
    assert (0, {"hit"}) == (again.exit_code, set(again.statuses.values())), again.stderr
    assert project.digests(result) == project.digests(again)
    assert 0 == project.forge("store", "gc").exit_code


def test_a_store_whose_format_is_cut_off_is_named(healthy):
    project, _ = healthy
    empty(project.store / "format")
    result = project.build()
    assert (4, False) == (result.exit_code, "Traceback" in result.stderr)
    assert "has format ``" in result.stderr


def test_an_empty_claim_holds_nothing_up(healthy):
    project, result = healthy
    place_of(project, result, "record").unlink()
    (project.store / "claims" / result.steps["one"].key).write_bytes(b"")
    assert "ran" == project.build().statuses["one"]
    assert [] == list((project.store / "claims").iterdir())


def test_a_journal_that_is_cut_in_mid_line_loses_that_line_alone(mixed):
    assert 0 == mixed.build().exit_code
    before, [path] = mixed.runs(), (mixed.store / "journals").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    middle = len(b"".join(lines[: len(lines) // 2])) + 90
    flip(path, middle)
    for record in mixed.records():
        if b'"levels"' in (place := mixed.store / "actions" / record[:2] / f"{record[2:]}.json").read_bytes():
            place.unlink()
    again = mixed.build()
    assert (0, "ran") == (again.exit_code, again.statuses["levels"]), again.stderr
    asked = Counter(mixed.runs())
    asked.subtract(before)
    assert [1, 1] == [count for count in asked.values() if count]
    assert (
        "damaged lines"
        in again.stderr
        + json.dumps(again.document)
        + (mixed.store / "logs" / f"{again.steps['levels'].key}.log").read_text()
    )


# ---------------------------------------------------------------- every byte


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """Give an argument list whose build a snapshot answers in this process."""
    project = make_project(tmp_path / "project", SIMPLE.partition("[transforms")[0])
    monkeypatch.chdir(project.root)
    monkeypatch.delenv("FORGE_STORE", raising=False)
    arguments = ["build", "forge.toml", "--json"]
    (project.store / "builds").mkdir(parents=True)
    time.sleep(0.1)
    with contextlib.redirect_stdout(io.StringIO()):
        assert 0 == run(arguments)
    return project, arguments


def said(arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = snapshot.answer(arguments)
    lines = [line for line in out.getvalue().splitlines() if '"finished"' not in line]
    return code, lines


def places(path, count=400):
    return sorted(random.Random(3).sample(range(path.stat().st_size), min(count, path.stat().st_size)))


def test_no_flipped_bit_of_a_snapshot_changes_its_answer(plain):
    project, arguments = plain
    [path] = (project.store / "builds").glob("*.snapshot")
    whole, expected = path.read_bytes(), said(arguments)
    assert 0 == expected[0]
    answers = Counter()
    for place in places(path):
        flip(path, place)
        found = said(arguments)
        assert found in (expected, (None, [])), f"byte {place}: {found}"
        answers[found[0]] += 1
        path.write_bytes(whole)
    assert answers[None] > answers[0]


def test_no_flipped_bit_of_a_kept_graph_is_believed(plain):
    project, _ = plain
    [path] = (project.store / "builds").glob("*.graph")
    whole = path.read_bytes()
    assert read_graph(str(path))["steps"]
    for place in places(path):
        flip(path, place)
        with pytest.raises(ValueError, match=path.name):
            read_graph(str(path))
        path.write_bytes(whole)


def test_no_flipped_bit_of_what_is_known_of_files_is_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda now=time.time_ns: now() + 10_000_000_000)
    store = Store.open(tmp_path / "store")
    (tmp_path / "file").write_text("content")
    known = Signatures.load(store, "m")
    digest = known.digest(tmp_path / "file")
    known.save()
    path = store.root / "builds" / "m.signatures"
    whole = path.read_bytes()
    for place in range(len(whole)):
        flip(path, place)
        assert {} == Signatures.load(store, "m").known, f"byte {place}"
        assert digest == Signatures.load(store, "m").digest(tmp_path / "file")
        path.write_bytes(whole)
    assert Signatures.load(store, "m").known


@pytest.mark.parametrize("kind", ["tree", "record"])
def test_no_flipped_bit_of_a_tree_or_a_record_is_believed(healthy, kind):
    project, result = healthy
    store, step, path = Store.open(project.store), result.steps["one"], place_of(project, result, kind)
    actions, whole = Actions(store), path.read_bytes()
    expected = store.tree(step.tree) if kind == "tree" else actions.read(step.key)
    path.chmod(0o644)
    for place in places(path):
        flip(path, place)
        found = None
        with contextlib.suppress(StoreError):
            found = store.tree(step.tree) if kind == "tree" else actions.read(step.key)
        assert found in (None, expected), f"byte {place}"
        path.write_bytes(whole)
    assert expected == (store.tree(step.tree) if kind == "tree" else actions.read(step.key))
