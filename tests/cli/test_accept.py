"""`forge accept`: code moved, and a person says that its meaning did not."""

import json

import pytest

MINE = '''
import attrs

import forge


@attrs.frozen
class Write:
    """Write *text*, and what came in."""

    text: str = ""

    def make(self, inputs, out, run):
        before = "".join(a.file.read_text() for a in inputs.values())
        (out / "text").write_text(before + self.text)


@forge.hookimpl
def forge_register(register):
    register.transform("write", Write, version="1")
'''
MANIFEST = """
    [sources.raw]
    use = "files.any"
    path = "raw.txt"

    [transforms.one]
    use = "mine.write"
    from = "raw"
    text = "a"

    [transforms.two]
    use = "mine.write"
    from = "one"
    text = "b"
    """
MOVED = MINE.replace("before + self.text", '"".join((before, self.text))')


@pytest.fixture
def project(forge_project):
    forge_project.plugin("mine", MINE)
    forge_project.write("raw.txt", "raw")
    forge_project.manifest(MANIFEST)
    result = forge_project.build()
    assert 0 == result.exit_code, result.stderr
    return forge_project


def accept(project, *arguments):
    result = project.forge("accept", "forge.toml", *arguments)
    assert "Traceback" not in result.stderr
    return result


def test_an_accepted_step_and_what_needs_it_are_hits_with_the_old_artifact(project):
    before = project.build()
    project.plugin("mine", MOVED)
    said = accept(project, "one")
    assert (0, True) == (said.exit_code, "code mine_plugin.py: class Write" in said.stdout), said
    assert 0 == accept(project, "two").exit_code
    after = project.build()
    assert {"raw": "hit", "one": "hit", "two": "hit"} == after.statuses
    assert {n: s.tree for n, s in before.steps.items()} == {n: s.tree for n, s in after.steps.items()}
    assert before.steps["one"].key != after.steps["one"].key


def test_what_was_accepted_is_in_the_record_and_shown(project):
    old = project.build().steps["one"].key
    project.plugin("mine", MOVED)
    accept(project, "one", "--why", "a join")
    shown = project.forge("show", "forge.toml", "one").stdout
    assert f"made under key {old}, since when code mine_plugin.py: class Write; why: a join" in shown
    accepted = json.loads(project.forge("show", "forge.toml", "one", "--json").stdout)["accepted"]
    assert (old, "a join") == (accepted["from"], accepted["why"])
    assert {"from", "moved", "when", "why"} == accepted.keys() - {"who"}  # some machines know nobody
    assert "accepted" not in project.forge("show", "forge.toml", "raw").stdout


def test_what_was_accepted_twice_says_so(project):
    project.plugin("mine", MOVED)
    accept(project, "one")
    project.plugin("mine", MINE.replace("before + self.text", "before + str(self.text)"))
    accept(project, "one")
    accepted = json.loads(project.forge("show", "forge.toml", "one", "--json").stdout)["accepted"]
    assert {"from", "moved", "when"} == accepted["before"].keys() - {"who"}


def test_a_version_that_moved_can_be_accepted(project):
    project.plugin("mine", MINE.replace('version="1"', 'version="2"'))
    said = accept(project, "one")
    assert (0, True) == (said.exit_code, "version: 1 → 2" in said.stdout), said


def test_an_accepted_result_outlives_a_collection(project):
    project.plugin("mine", MOVED)
    accept(project, "one")
    assert 0 == project.forge("store", "gc").exit_code
    assert "hit" == project.build("one").statuses["one"]


@pytest.mark.parametrize(
    ("prepare", "step", "message"),
    [
        ("nothing", "one", "step `one` is a hit: there is nothing to accept"),
        ("nothing", "oen", "there is no step `oen`"),
        ("parameter", "one", "can't be accepted: more than its code moved (params.text: a → z)"),
        ("file", "raw", "can't be accepted: more than its code moved (file path changed)"),
        ("file", "one", "can't be accepted before `raw`, which would run"),
        ("code", "two", "can't be accepted before `one`, which would run"),
        ("new", "three", "step `three` was never built"),
        ("gone", "one", "its last result is no longer in the store"),
    ],
)
def test_what_can_t_be_accepted_says_why_and_changes_nothing(project, prepare, step, message):
    outputs = project.build().steps["one"].outputs
    if prepare in ("code", "parameter", "gone"):
        project.plugin("mine", MOVED)
    if prepare == "parameter":
        project.manifest(MANIFEST.replace('"a"', '"z"'))
    if prepare == "file":
        project.write("raw.txt", "other")
    if prepare == "new":
        project.manifest(MANIFEST + '\n[transforms.three]\nuse = "mine.write"\nfrom = "raw"\ntext = "c"\n')
    if prepare == "gone":
        [digest] = outputs.values()
        (project.store / "objects" / digest[:2] / digest[2:]).unlink()
    before = sorted(p.name for p in (project.store / "actions").rglob("*.json"))
    said = accept(project, step)
    assert (2, True) == (said.exit_code, message in said.stderr), said
    assert before == sorted(p.name for p in (project.store / "actions").rglob("*.json"))
