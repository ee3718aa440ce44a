"""Tables through a build: the row ledger, and the ways to see them."""

import csv
import json

import pytest

from forge.cli.app import run
from forge.plugin.table import TABLE
from forge.testing import Result

MANIFEST = """
    [sources.words]
    use = "toy.words"
    path = "words/*.txt"

    [transforms.band]
    use = "toy.band"
    from = "words"
    least = 2
    most = 5

    [transforms.filtered]
    use = "toy.band"
    from = ["words", "band"]
    least = 2
    filtered = true

    [transforms.halves]
    use = "toy.halves"
    from = "band"

    [transforms.early]
    use = "toy.band"
    from = "halves.early"

    [transforms.secret]
    use = "toy.secret"
    from = "early"
    """
SECRET = "sk-planted-8d1f2c"


@pytest.fixture(scope="module")
def built(shared_toy):
    shared_toy.write("words/a.txt", "a\nbee\n-\ncee\nelephant\n")
    shared_toy.write("words/b.txt", "zoo\nqueue\n面包\n")
    shared_toy.manifest(MANIFEST)
    result = shared_toy.build(TOY_SECRET=SECRET)
    assert 0 == result.exit_code, result.stderr
    return shared_toy, result


@pytest.fixture
def forge(built, monkeypatch, capsys):
    """Run a command in this process, for each has much to import."""
    project, _ = built
    monkeypatch.chdir(project.root)
    monkeypatch.syspath_prepend(str(project.root / "plugins"))
    monkeypatch.delenv("FORGE_STORE", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")

    def ran(*arguments):
        capsys.readouterr()
        code = run(list(arguments))
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return ran


def test_rows_in_are_rows_out_and_drops(built):
    _, result = built
    ledger = {n: (s.rows_in, s.rows_out, dict(s.drops)) for n, s in result.steps.items() if s.rows_out is not None}
    assert {
        "words": (None, 7, {"not a word": 1}),
        "band": (7, 5, {"too short": 1, "too long": 1}),
        "filtered": (12, 11, {"filtered by toy.band": 1}),
        "halves": (5, 3, {"in no part": 2}),
        "early": (2, 2, {}),
    } == ledger
    for rows_in, rows_out, drops in ledger.values():
        assert rows_in is None or rows_in == rows_out + sum(drops.values())


def test_show_tells_rows_drops_with_examples_and_files(forge):
    said = forge("show", "forge.toml", "words").stdout
    assert all(part in said for part in ("7 rows out", "1 dropped: not a word", "a.txt:3 -", TABLE, '"bee"'))
    assert "(early 2, late 1)" in forge("show", "forge.toml", "halves").stdout


def test_rejects_are_shown_and_written_as_a_table(built, forge):
    project, _ = built
    said = forge("show", "forge.toml", "words").stdout
    assert "1 rejected; `forge get MANIFEST words rejects.jsonl` writes all" in said
    assert "a.txt:3  not a word  -" in said
    assert 0 == forge("get", "forge.toml", "words", "out/rejects.jsonl").exit_code
    assert [{"file": "a.txt", "index": 3, "reason": "not a word", "excerpt": "-"}] == [
        json.loads(line) for line in (project.root / "out/rejects.jsonl").read_text("utf-8").splitlines()
    ]
    none = forge("get", "forge.toml", "band", "out/none/rejects.jsonl")
    assert (2, True) == (none.exit_code, "the step rejected nothing" in none.stderr)


def test_too_many_rejects_fail_the_step_with_their_reasons(shared_toy):
    shared_toy.write("bad/a.txt", "-\n-\na\n")
    shared_toy.manifest('[sources.words]\nuse = "toy.words"\npath = "bad/*.txt"\n', "bad.toml")
    result = shared_toy.build(manifest="bad.toml")
    assert 1 == result.exit_code
    assert "2 of 3 records are rejected, `most_rejects` is 0.01" in result.stderr
    assert "2 × not a word, first a.txt:1" in result.stderr


def test_show_gives_the_record_as_json(built, forge):
    _, result = built
    record = json.loads(forge("show", "forge.toml", "band", "--json").stdout)
    assert [result.steps["band"].key, {"too short": 1, "too long": 1}, {"": 5}] == [
        record["key"],
        record["drops"],
        record["rows"],
    ]


def test_get_writes_a_table_in_the_form_of_the_ending(built, forge):
    import polars as pl

    project, _ = built
    words = ["bee", "cee", "zoo", "queue", "面包"]
    for ending in ("jsonl", "csv", "parquet", "json"):
        got = forge("get", "forge.toml", "band", f"out/band.{ending}")
        assert (0, f"5 rows → out/band.{ending}\n") == (got.exit_code, got.stdout)
    out = project.root / "out"
    assert words == [json.loads(line)["word"] for line in (out / "band.jsonl").read_text("utf-8").splitlines()]
    assert words == [entry["word"] for entry in json.loads((out / "band.json").read_text("utf-8"))]
    with (out / "band.csv").open(encoding="utf-8", newline="") as file:
        assert words == [row["word"] for row in csv.DictReader(file)]
    assert words == pl.read_parquet(out / "band.parquet")["word"].to_list()


def test_get_gives_a_part_and_refuses_several_or_none(forge):
    assert "2 rows" in forge("get", "forge.toml", "halves.early", "early.jsonl").stdout
    several = forge("get", "forge.toml", "halves", "halves.jsonl")
    assert (2, True) == (several.exit_code, "`halves.early`, `halves.late`" in several.stderr)
    none = forge("get", "forge.toml", "halves.middle", "middle.jsonl")
    assert (2, True) == (none.exit_code, "there is `halves.early`, `halves.late`" in none.stderr)


def test_get_writes_all_files_to_a_folder_and_over_nothing(built, forge):
    project, _ = built
    assert 0 == forge("get", "forge.toml", "halves", "parts").exit_code
    folder = project.root / "parts"
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert [f"early/{TABLE}", f"late/{TABLE}"] == found
    again = forge("get", "forge.toml", "halves", "parts")
    assert (2, True) == (again.exit_code, "`parts` is there already" in again.stderr)


def test_a_secret_of_the_environment_reaches_no_file_of_the_store(built):
    project, result = built
    files = [p for p in project.store.rglob("*") if p.is_file()]
    assert len(files) > 20
    assert [] == [p.name for p in files if SECRET.encode() in p.read_bytes()]
    assert SECRET not in result.stdout + result.stderr


def test_no_path_of_this_machine_is_in_an_artifact(built):
    project, _ = built
    objects = [p for p in (project.store / "objects").rglob("*") if p.is_file()]
    assert [] == [p.name for p in objects if str(project.root).encode() in p.read_bytes()]


def test_the_same_words_in_another_folder_are_hits(built):
    project, _ = built
    for name in ("a.txt", "b.txt"):
        project.write(f"moved/{name}", (project.root / "words" / name).read_bytes())
    moved = project.build("--set", "words.path=moved/*.txt", TOY_SECRET=SECRET)
    assert {"hit"} == set(moved.statuses.values())


def test_plugins_are_listed_and_shown(forge):
    listed = json.loads(forge("plugins", "list", "--json").stdout)
    assert {"use": "toy.band", "kind": "transform", "version": "1", "summary": "Keep words of *least* to *most* letters."} in listed  # fmt: skip  # noqa: E501
    assert "toy.halves" in forge("plugins", "list").stdout
    shown = forge("plugins", "show", "toy.write").stdout
    assert [["text", "string", '""', "yes"], ["pause", "number", "0.0", "no"]] == [
        line.split() for line in shown.splitlines() if line.startswith(("text", "pause"))
    ]
