"""`forge explain` names the part that moved, and the step that moved first."""

import json

import pytest

MINE = '''
import attrs

import forge


@attrs.frozen
class Words:
    """Read words, one a line."""

    path: forge.Files

    def read(self, run):
        for file in self.path:
            yield [{"id": w, "word": w} for w in file.read_text().split()]


def keep(rows, least):
    import polars as pl

    return rows.filter(pl.col("word").str.len_chars() >= least)


@attrs.frozen
class Band:
    """Keep words of *least* letters, but those in a file."""

    least: int = 1
    without: forge.File | None = None

    def transform(self, rows):
        return keep(rows, self.least)


@forge.hookimpl
def forge_register(register):
    register.source("words", Words, version="1")
    register.transform("band", Band, version="1")
'''
MANIFEST = """
    [sources.psyqa]
    use = "mine.words"
    path = "data/*.json"

    [transforms.band]
    use = "mine.band"
    from = "psyqa"
    least = 1
    without = "stop.txt"

    [transforms.late]
    use = "mine.band"
    from = "band"
    """


@pytest.fixture
def project(forge_project):
    forge_project.plugin("mine", MINE)
    for name in ("answers.json", "c.txt.json"):
        forge_project.write(f"data/{name}", f"{name} a bb ccc")
    forge_project.write("stop.txt", "a")
    forge_project.manifest(MANIFEST)
    assert 0 == forge_project.build().exit_code
    return forge_project


def explain(project, *arguments):
    result = project.forge("explain", "forge.toml", *arguments)
    assert 0 == result.exit_code, result.stderr
    return result.stdout


def test_a_parameter_is_named_with_both_values(project):
    assert "`band` would run: params.least: 1 → 2\n  params.least: 1 → 2\n" == explain(
        project, "band", "--set", "band.least=2"
    ).replace("default", "1")


def test_files_that_changed_came_and_went_are_named(project):
    project.write("data/answers.json", "other")
    project.write("data/b.json", "new")
    (project.root / "data/c.txt.json").unlink()
    said = explain(project, "psyqa")
    assert "input psyqa: answers.json changed, b.json added, c.txt.json removed" in said
    for number in range(7):
        project.write(f"data/more{number}.json", "x")
    assert "input psyqa: answers.json changed, b.json added, c.txt.json removed and 7 more (7 added)" in explain(
        project, "psyqa"
    )


def test_a_lone_file_is_named_by_the_manifests_name(project):
    project.write("stop.txt", "b")
    assert "file without: stop.txt changed" in explain(project, "band")


def test_code_is_named_by_file_and_function(project):
    project.plugin("mine", MINE.replace("str.len_chars() >= least", "str.len_chars() > least"))
    said = explain(project, "band")
    assert "code mine_plugin.py: function keep" in said
    project.plugin("mine", MINE.replace("least: int = 1", "least: int = 1\n    most: int = 9"))
    assert "code mine_plugin.py: class Band" in explain(project, "band")


def test_a_late_step_says_which_step_moved_first_before_anything_is_built(project):
    project.write("data/answers.json", "other")
    assert (
        "`late` would run unless what comes in is equal to what came in before: after `band`\n"
        "`psyqa` moved first: input psyqa: answers.json changed\n"
    ) == explain(project, "late")


def test_a_late_step_says_which_step_moved_first_after_that_was_built(project):
    project.write("data/answers.json", "another word")
    assert 0 == project.build("band").exit_code
    said = explain(project, "late")
    assert "`late` would run: input band: rows.arrow changed" in said
    assert "`psyqa` moved first: input psyqa: answers.json changed\n" in said


def test_every_step_that_moved_by_itself_is_named(project):
    project.write("data/answers.json", "another word")
    document = json.loads(explain(project, "late", "--set", "band.least=2", "--json"))
    assert ["psyqa", "band"] == [each["step"] for each in document["moved_first"]]
    assert ["params.least: default → 2"] == document["moved_first"][1]["moved"]


def test_a_step_that_is_there_is_a_hit(project):
    assert explain(project, "late").startswith("`late` is a hit: key ")
