"""`forge lock`, `forge build --locked` and `forge rebuild --verify`."""

import json

import pytest

from forge.testing import ForgeProject

MINE = '''
import os
import random
from pathlib import Path

import attrs

import forge


@attrs.frozen
class Words:
    """Read words, one a line."""

    path: forge.Files

    def read(self, run):
        for file in self.path:
            yield [{"id": w, "word": w} for w in file.read_text().split()]


@attrs.frozen
class Ask:
    """Ask about each word, and count it."""

    model: str = "m"

    def request(self, row):
        return forge.Request({"model": self.model}, [{"role": "user", "content": row["word"]}])

    async def ask(self, request):
        with open(os.environ["TOY_ASKED"], "a") as file:
            file.write("x")
        return forge.Reply(request.messages[0]["content"][::-1], "m", prompt_tokens=1, completion_tokens=1)

    def parse(self, reply):
        return {"label": reply.text}


@attrs.frozen
class Shake:
    """Add a column that depends on a variable, as no step should."""

    word: str = ""

    def transform(self, rows):
        import polars as pl

        return rows.with_columns(luck=pl.when(pl.col("word") == "b").then(pl.lit(os.environ.get("TOY_LUCK", "0"))))


@attrs.frozen
class Write:
    """Write the words to a file."""

    def make(self, inputs, out, run):
        (out / "words.txt").write_text(" ".join(str(r) for a in inputs.values() for r in a.rows().collect().rows()))


@forge.hookimpl
def forge_register(register):
    register.source("words", Words, version="1")
    register.labeler("ask", Ask, version="1", network=True)
    register.transform("shake", Shake, version="1", requires=("rich",), facts=("attrs",))
    register.transform("write", Write, version="1")
'''
MANIFEST = """
    [sources.words]
    use = "mine.words"
    path = "data/*.txt"

    [labelers.labels]
    use = "mine.ask"
    from = "words"

    [transforms.shaken]
    use = "mine.shake"
    from = "labels"

    [transforms.text]
    use = "mine.write"
    from = "shaken"

    [exporters.copy]
    use = "files.copy"
    from = "text"
    to = "out/words.txt"
    """


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """Give a project that is built and locked."""
    root = tmp_path_factory.mktemp("lock")
    project = ForgeProject(root, {"TOY_ASKED": str(root / "asked"), "TMPDIR": str(root / "tmp")})
    (root / "tmp").mkdir()
    project.plugin("mine", MINE)
    project.write("data/a.txt", "a b c")
    project.manifest(MANIFEST)
    assert 2 == project.forge("lock", "forge.toml").exit_code
    assert 0 == project.build().exit_code
    done = project.forge("lock", "forge.toml")
    assert (0, "`forge.toml.lock`: 5 steps, 1 files, ") == (done.exit_code, done.stdout[:37]), done
    return project


@pytest.fixture
def project(locked):
    """Give the locked project, and mend what a test changed."""
    yield locked
    locked.plugin("mine", MINE)
    locked.write("data/a.txt", "a b c")
    (locked.root / "data/b.txt").unlink(missing_ok=True)
    locked.manifest(MANIFEST)


def rebuild(project, *arguments, **environment):
    result = project.forge("rebuild", "--verify", "forge.toml", *arguments, "--json", **environment)
    assert "Traceback" not in result.stderr
    return result.exit_code, json.loads(result.stdout)


def test_a_lock_names_versions_files_keys_and_artifacts_and_no_place(project):
    text = (project.root / "forge.toml.lock").read_text()
    lock = json.loads(text)
    steps = project.build().steps
    assert {n: (s.key, s.tree) for n, s in steps.items()} == {
        n: (s["key"], s["tree"]) for n, s in lock["steps"].items()
    }
    assert {"forge", "python", "plugin files", "plugin mine", "package attrs", "package rich", "package polars"} == set(
        lock["environment"]
    )
    assert ["a.txt"] == list(lock["files"]["words"]["path"])
    assert str(project.root) not in text
    assert text == (project.forge("lock", "forge.toml"), (project.root / "forge.toml.lock").read_text())[1]


def test_what_is_as_locked_builds_and_rebuilds_to_equal_digests(project):
    assert 0 == project.build("--locked").exit_code
    asked = (project.root / "asked").read_text()
    (project.root / "out/words.txt").write_text("mine now")
    code, document = rebuild(project)
    assert (0, True, []) == (code, document["equal"], document["differences"])
    assert {True} == {step["equal"] for step in document["steps"]}
    assert asked == (project.root / "asked").read_text()
    assert [] == list((project.root / "tmp").glob("forge-rebuild-*"))
    assert "mine now" == (project.root / "out/words.txt").read_text()
    assert 0 == rebuild(project, "--no-journal")[0]
    assert asked * 2 == (project.root / "asked").read_text()


def test_what_differs_is_named_by_file_row_and_column(project):
    code, document = rebuild(project, TOY_LUCK="7")
    assert (1, False) == (code, document["equal"])
    steps = {step["step"]: step for step in document["steps"]}
    assert {"words": True, "labels": True, "shaken": False, "text": False, "copy": False} == {
        n: s["equal"] for n, s in steps.items()
    }
    assert ["rows.arrow changed", "rows.arrow: row 2, `luck`: '0' → '7'"] == steps["shaken"]["details"]
    assert (False, True) == (steps["shaken"]["inputs_differ"], steps["text"]["inputs_differ"])
    result = project.forge("rebuild", "--verify", "forge.toml", TOY_LUCK="7")
    assert (1, True) == (result.exit_code, "3 of 5 steps differ" in result.stdout)


def test_other_versions_and_files_are_listed_before_what_they_did(project):
    lock = json.loads((project.root / "forge.toml.lock").read_text())
    lock["environment"]["package polars"] = "0.1"
    project.write("other.lock", json.dumps(lock))
    project.write("data/a.txt", "a b")
    project.write("data/b.txt", "c d")
    result = project.forge("rebuild", "--verify", "forge.toml", "--lock", "other.lock")
    assert 1 == result.exit_code
    lines = result.stdout.splitlines()
    assert lines[0].startswith("other than locked")
    assert lines[1].startswith("  package polars: 0.1 → ")
    assert "  input words: a.txt changed, b.txt added" == lines[2]
    assert "words rows.arrow: 3 rows → 4 rows" in result.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p.write("data/b.txt", "d"), "input words: b.txt added"),
        (
            lambda p: p.plugin("mine", MINE.replace('word: str = ""', 'word: str = "x"')),
            "code mine_plugin.py: class Shake",
        ),
        (
            lambda p: p.manifest(MANIFEST.replace("mine.shake", 'mine.shake"\n    word = "w')),
            "params.word: default → w",
        ),
        (
            lambda p: p.write("plugins/mine-1.dist-info/METADATA", "Name: mine\nVersion: 2\n"),
            "plugin mine: mine 1 → mine 2",
        ),
    ],
    ids=["files", "code", "parameter", "version"],
)
def test_a_locked_build_refuses_what_is_other_than_locked(project, change, said):
    assert 0 == project.build("--locked").exit_code
    change(project)
    result = project.build("--locked")
    assert (2, True) == (result.exit_code, said in result.stderr), result.stderr
    assert "this is not what `forge.toml.lock` locks" in result.stderr


def test_no_short_cut_answers_a_locked_build(project):
    assert [0, 0] == [project.build().exit_code for _ in range(2)]
    text = (project.root / "forge.toml.lock").read_text()
    try:
        assert 0 == project.build("--locked").exit_code
        project.write("forge.toml.lock", text.replace('"forge": "', '"forge": "9'))
        assert 2 == project.build("--locked").exit_code
        (project.root / "forge.toml.lock").unlink()
        assert "there is no lock at `forge.toml.lock`" in project.build("--locked").stderr
    finally:
        project.write("forge.toml.lock", text)


def test_a_locked_build_that_makes_other_bytes_fails(project):
    result = project.build("--locked", "--store", "elsewhere", TOY_LUCK="8")
    assert (1, "ran") == (result.exit_code, result.statuses["shaken"])
    assert "2 steps made other bytes than are locked" in result.stderr


def test_a_lock_speaks_for_nobody_outside_of_the_project(project):
    lock = json.loads((project.root / "forge.toml.lock").read_text())
    project.write("other.lock", json.dumps(lock | {"sets": ["words.path=/etc/*.conf"]}))
    result = project.forge("rebuild", "--verify", "forge.toml", "--lock", "other.lock")
    assert (2, True) == (result.exit_code, "sets `words.path` to `/etc/*.conf`, which leads out" in result.stderr)
    project.write("other.lock", json.dumps(lock | {"sets": ["words.path=data/a.*"]}))
    assert 0 == project.forge("rebuild", "--verify", "forge.toml", "--lock", "other.lock").exit_code
