"""How two builds differ, as `forge diff` tells it."""

import json

import pytest

TOY = '''
import attrs

import forge


@attrs.frozen
class Rows:
    """Read rows of a JSON file."""

    path: forge.File

    def read(self, run):
        import json

        yield json.loads(self.path.read_text())


@attrs.frozen
class Level:
    """Label rows from *least* letters as long."""

    least: int = 2

    def label(self, rows):
        import polars as pl

        return rows.with_columns(level=(pl.col("text").str.len_chars() >= self.least).cast(pl.Int64))


@attrs.frozen
class Fit:
    """Write figures."""

    rate: float = 0.5

    def train(self, inputs, out, run):
        import json

        (out / "metrics.json").write_text(json.dumps({"loss": self.rate, "steps": 3, "note": "x", "good": True}))


@attrs.frozen
class Bound:
    """State the loss."""

    def check(self, inputs, out, run):
        yield forge.Finding("loss", next(iter(inputs.values())).json("metrics.json")["loss"])


@forge.hookimpl
def forge_register(register):
    register.source("rows", Rows, version="1")
    register.labeler("level", Level, version="1")
    register.trainer("fit", Fit, version="1")
    register.check("bound", Bound, version="1")
'''

MANIFEST = """
    [params]
    file = "a.json"
    least = 2
    rate = 0.5

    [sources.rows]
    use = "toy.rows"
    path = "${file}"

    [labelers.levels]
    use = "toy.level"
    from = "rows"
    least = "${least}"

    [trainers.model]
    use = "toy.fit"
    from = "levels"
    rate = "${rate}"

    [checks.receipt]
    use = "toy.bound"
    from = "model"
    """


def rows(*texts):
    return json.dumps([{"id": i, "text": text} for i, text in texts])


@pytest.fixture
def project(forge_project):
    forge_project.plugin("toy", TOY)
    forge_project.write("a.json", rows(("p", "a"), ("q", "bb"), ("r", "ccc")))
    forge_project.write("b.json", rows(("q", "bb"), ("r", "c"), ("s", "dd"), ("t", "ee")))
    forge_project.manifest(MANIFEST)
    assert 0 == forge_project.build("--jobs", "1").exit_code
    return forge_project


def diff(project, *arguments):
    result = project.forge("diff", *arguments, "--json")
    assert 0 == result.exit_code, result.stderr
    return {step["name"]: step for step in json.loads(result.stdout)["steps"]}


def test_a_build_that_is_the_last_one_differs_in_nothing(project):
    assert ["equal"] * 4 == [step["same"] for step in diff(project, "forge.toml").values()]
    assert "4 equal" in project.forge("diff", "forge.toml").stdout


def test_rows_are_matched_by_id(project):
    assert 0 == project.build("--set", "file=b.json").exit_code
    found = diff(project, "forge.toml", "--set-b", "file=b.json")
    changes = found["rows"]["tables"][""]
    assert ("id", 2, 1, 1) == tuple(changes[n] for n in ("by", "added", "removed", "changed"))
    assert {"text": 1} == changes["columns"]
    assert {"added": ["s", "t"], "removed": ["p"], "changed": ["r"]} == changes["examples"]
    assert [3, 4] == found["rows"]["rows"]
    assert ["input rows changed"] == found["rows"]["because"]
    assert {"1": [2, 3]} == {v: n for v, n in found["levels"]["labels"]["level"].items() if n[0] != n[1]}
    said = project.forge("diff", "forge.toml", "--set-b", "file=b.json").stdout
    assert "rows: 2 added, 1 removed, 1 changed" in said
    assert "level: `1` 2 → 3" in said


def test_a_step_that_ended_in_the_same_bytes_is_said_to_be_equal(project):
    assert 0 == project.build("--set", "file=b.json").exit_code
    assert ("equal result", ["input rows: rows.arrow changed"]) == tuple(
        diff(project, "forge.toml", "--set-b", "file=b.json")["model"][n] for n in ("same", "because")
    )


def test_rows_without_id_are_compared_whole(project):
    project.write("c.json", '[{"text": "a"}, {"text": "a"}, {"text": "b"}]')
    project.write("d.json", '[{"text": "a"}, {"text": "c", "more": [1]}]')
    for file in ("c.json", "d.json"):
        assert 0 == project.build("--set", f"file={file}").exit_code
    changes = diff(project, "forge.toml", "--set-a", "file=c.json", "--set-b", "file=d.json")["rows"]["tables"][""]
    assert ("row", 1, 2, 0) == tuple(changes[n] for n in ("by", "added", "removed", "changed"))
    assert ["more"] == changes["new_columns"]


def test_labels_and_figures_that_moved_are_named(project):
    assert 0 == project.build("--set", "least=3", "--set", "rate=0.25").exit_code
    found = diff(project, "forge.toml", "--set-b", "least=3", "--set-b", "rate=0.25")
    assert {"level": {"1": [2, 1], "0": [1, 2]}} == found["levels"]["labels"]
    assert {"level": 1} == found["levels"]["tables"][""]["columns"]
    assert {"metrics.json: loss": [0.5, 0.25]} == found["model"]["figures"]
    assert [0.5, 0.25] == found["receipt"]["figures"]["receipt.json: findings.loss.value"]
    assert "params.least: default → 3" in found["levels"]["because"]
    said = project.forge("diff", "forge.toml", "--set-b", "least=3", "--set-b", "rate=0.25").stdout
    assert "-0.25" in said


def test_what_one_build_alone_has_and_what_is_not_built_is_said(project):
    project.manifest(
        MANIFEST.replace("checks.receipt", "checks.other").replace("0.5", "0.75"),
        name="new.toml",
    )
    found = diff(project, "forge.toml", "new.toml")
    assert {
        "rows": "equal",
        "levels": "equal",
        "model": "not built",
        "other": "only b",
        "receipt": "only a",
    } == {name: step["same"] for name, step in found.items()}
    assert ["B: never built"] == found["model"]["because"]
    said = project.forge("diff", "forge.toml", "new.toml")
    assert (0, True) == (said.exit_code, "`forge build` makes it" in said.stdout), said.stderr


def test_the_last_build_is_compared_with_what_is_now(project):
    assert 0 == project.build("--set", "rate=0.25").exit_code
    found = diff(project, "forge.toml")
    assert {"metrics.json: loss": [0.25, 0.5]} == found["model"]["figures"]


def test_a_manifest_that_is_not_there_is_exit_code_2(project):
    said = project.forge("diff", "forge.toml", "frge.toml")
    assert (2, "", True) == (said.exit_code, said.stdout, "did you mean `forge.toml`?" in said.stderr), said.stderr
