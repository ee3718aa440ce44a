"""`forge check` as a newcomer reads it."""

import json

import pytest

MANIFEST = """
    [sources.rows]
    use = "files.jsonl"
    path = "rows.jsonl"

    [transforms.split]
    use = "text.split"
    from = "rows"
    column = "{column}"
    shares = {{ train = 0.5, test = 0.5 }}
    """


@pytest.fixture
def project(forge_project):
    rows = [{"input": f"question number {n} " + "abcdefgh"[n] * 40, "output": "yes"} for n in range(8)]
    forge_project.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return forge_project


def test_what_is_well_is_said_in_a_line_a_step(project):
    project.manifest(MANIFEST.format(column="input"))
    checked = project.forge("check", "forge.toml")
    assert (0, "") == (checked.exit_code, checked.stderr)
    lines = checked.stdout.splitlines()
    assert "✓ rows     8 rows" == lines[0]
    assert lines[1].startswith("✓ split    8 of 8 rows (train ")
    assert lines[2].startswith("✓ machine  disk: ≈ ")
    assert "2 steps, 1 files: no problem found" == lines[-1]


def test_what_would_fail_is_said_with_a_hint_and_is_exit_code_1(project):
    project.manifest(MANIFEST.format(column="inptu"))
    checked = project.forge("check", "forge.toml")
    assert 1 == checked.exit_code
    assert "✗ split" in checked.stdout
    assert "`inptu`" in checked.stdout
    assert "hint: " in checked.stdout
    assert "2 steps, 1 files: 1 problem" == checked.stdout.splitlines()[-1]


def test_the_document_holds_all_that_was_looked_at(project):
    project.manifest(MANIFEST.format(column="inptu"))
    document = json.loads(project.forge("check", "forge.toml", "--json").stdout)
    assert not document["passed"]
    assert ["rows", "split", ""] == [look["step"] for look in document["looks"]]
    assert ["good", "bad", "good"] == [look["state"] for look in document["looks"]]
    assert {"what", "state", "message", "hint", "disk", "here"} == set(document["looks"][0]["notices"][0])


def test_named_steps_are_looked_at_with_all_they_need_and_no_others(project):
    project.manifest(MANIFEST.format(column="inptu"))
    checked = project.forge("check", "forge.toml", "rows")
    assert 0 == checked.exit_code
    assert "split" not in checked.stdout


def test_a_manifest_s_own_problems_come_first_and_are_exit_code_2(project):
    project.manifest(MANIFEST.format(column="input").replace("shares", "share"))
    checked = project.forge("check", "forge.toml")
    assert (2, "") == (checked.exit_code, checked.stdout)
    assert "there is no parameter `share`" in checked.stderr
