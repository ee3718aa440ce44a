"""`forge eval` hands a step's model, what it was made of and a table to the plugin that can score it."""

import json

import pytest

PLUGIN = '''
import attrs

import forge


@attrs.frozen
class Fit:
    """Leave a model, and its figure."""

    rank: int = 1

    def train(self, inputs, out, run):
        (out / "toy.model").write_text(str(self.rank))
        (out / "metrics.json").write_text('{"loss": %s}' % (1 / self.rank))


@attrs.frozen
class Right:
    """Check nothing, by a schema."""

    schema: forge.File

    def check(self, inputs, out, run):
        return [forge.Finding("right", True)]


@forge.hookimpl
def forge_register(register):
    register.check("right", Right, version="1", inputs=("model",))
    register.trainer("fit", Fit, version="1", inputs=("data",))


@forge.hookimpl
def forge_eval(model, inputs, data, how, run):
    if not (model.path / "toy.model").is_file():
        return None
    run.drop("too odd", 2)
    rows = data.rows().collect()
    return {
        "rows": min(rows.height, how.rows),
        "rank": int((model.path / "toy.model").read_text()),
        "inputs": ",".join(inputs),
        "system": how.system,
        "schema": how.schema.read_text().strip() if how.schema else None,
    }
'''

MANIFEST = """
    [sources.rows]
    use = "files.json"
    path = "rows.jsonl"

    [trainers.fit]
    use = "toyfit.fit"
    from = { data = "rows" }
    """
CHECK = """
[checks.right{number}]
use = "toyfit.right"
from = {{ model = "fit" }}
schema = "{name}.json"
"""
SWEEP = """
    [trainers.fit.sweep]
    rank = [1, 2]
    lowest = "loss"
    """


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    from forge.testing import ForgeProject

    project = ForgeProject(tmp_path_factory.mktemp("project"))
    project.plugin("toyfit", PLUGIN)
    project.write("rows.jsonl", '{"a": 1}\n{"a": 2}\n{"a": 3}\n')
    project.manifest(MANIFEST)
    project.manifest(MANIFEST + SWEEP, "swept.toml")
    project.write("one.json", "1")
    project.write("two.json", "2")
    for number, name in enumerate(("one", "two")):
        known = project.root / f"check{number - 1}.toml"
        before = known.read_text() if number else project.root.joinpath("forge.toml").read_text()
        project.manifest(before + CHECK.format(number=number, name=name), f"check{number}.toml")
    assert 0 == project.build().exit_code
    assert 0 == project.forge("build", "swept.toml").exit_code
    return project


def test_a_step_is_scored_on_a_step_s_table(project):
    found = project.forge("eval", "forge.toml", "fit", "--data", "rows", "--rows", "2", "--system", "me", "--json")
    assert 0 == found.exit_code, found.stderr
    document = json.loads(found.stdout)
    assert {"rows": 2, "rank": 1, "inputs": "data", "system": "me", "schema": None} == document["figures"]
    assert {"too odd": 2} == document["dropped"]


def test_a_file_will_do_for_a_table_and_figures_are_printed_as_one(project):
    project.write("other.csv", "a,b\n1,x\n")
    found = project.forge("eval", "forge.toml", "fit", "--data", "other.csv")
    assert 0 == found.exit_code, found.stderr
    assert ["rows", "1"] in [line.split() for line in found.stdout.splitlines()]
    assert "2 rows not asked: too odd" in found.stdout


def test_a_point_of_a_sweep_and_the_best_are_scored(project):
    for step, rank in (("fit", 2), ("fit[rank=1]", 1)):
        found = project.forge("eval", "swept.toml", step, "--data", "rows", "--json")
        assert (rank, "data") == tuple(json.loads(found.stdout)["figures"][name] for name in ("rank", "inputs"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rows", "--data", "rows"], "no plugin can score what `rows` made"),
        (["fit", "--data", "nothing"], "there is neither a step nor a file `nothing`"),
        (["fit", "--data", "fit"], "`fit` is not a table"),
        (["fit", "--data", "forge.toml"], "a table can't be read from `forge.toml`"),
    ],
)
def test_what_can_t_be_scored_is_told(project, arguments, said):
    found = project.forge("eval", "forge.toml", *arguments)
    assert (2, True) == (found.exit_code, said in found.stderr), found.stderr


@pytest.mark.parametrize(
    ("manifest", "schema", "said"),
    [
        ("forge.toml", None, "replies are judged as text, by no schema; `--schema` names one"),
        ("check0.toml", "1", "replies are judged by `one.json`, the schema of `right0`"),
        ("check1.toml", None, "replies are judged as text, by no schema: the checks name 2;"),
    ],
)
def test_the_schema_of_the_manifest_s_checks_is_taken_where_it_is_one(project, manifest, schema, said):
    found = project.forge("eval", manifest, "fit", "--data", "rows", "--json")
    assert (schema, True) == (json.loads(found.stdout)["figures"]["schema"], said in found.stderr)
    given = project.forge("eval", manifest, "fit", "--data", "rows", "--json", "--schema", "two.json")
    document = json.loads(given.stdout)
    assert ("2", "two.json") == (document["figures"]["schema"], document["schema"])
