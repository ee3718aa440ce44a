"""Steps that leave a large table as it is: one file for all, whole builds and the store's own checks."""

import json
import os

import pytest

MANIFEST = """
    [sources.rows]
    use = "files.jsonl"
    path = "rows.jsonl"

    [transforms.band]
    use = "text.length-band"
    from = "rows"
    column = "text"
    least = 80

    [transforms.anonymous]
    use = "text.anonymise"
    from = "band"
    columns = ["text"]

    [transforms.unique]
    use = "text.deduplicate"
    from = "anonymous"
    column = "text"
    near = 1.0
    """
STEPS = ("rows", "band", "anonymous", "unique")
COUNT = 13_000


@pytest.fixture
def project(forge_project):
    """Write a table of some 50 MB, more than a part, in which nothing is short, personal or there twice."""
    lines = (json.dumps({"id": number, "text": f"{number:x} " + "最近总是睡不好。" * 170}) for number in range(COUNT))
    forge_project.write("rows.jsonl", "\n".join(lines))
    forge_project.manifest(MANIFEST)
    return forge_project


def table_of(project, result, step):
    tree = result.steps[step].tree
    return project.store / "artifacts" / tree[:2] / tree[2:] / "rows.arrow"


def test_a_table_that_steps_leave_as_it_is_is_one_file(project):
    result = project.build()
    assert dict.fromkeys(STEPS, "ran") == result.statuses
    assert {(COUNT, ())} == {(step.rows_out, tuple(step.drops)) for step in result.steps.values()}
    assert 1 == len({os.stat(table_of(project, result, step)).st_ino for step in STEPS})
    assert table_of(project, result, "rows").stat().st_size > 48 << 20
    assert {"hit"} == set(project.build().statuses.values())
    assert 0 == project.forge("store", "verify").exit_code
    log = (project.store / "logs" / f"{result.steps['unique'].key}.log").read_text()
    assert "warning" not in log


def test_a_table_that_changes_at_its_end_is_written_whole(project):
    kept = project.build()
    lines = (project.root / "rows.jsonl").read_text().splitlines()
    project.write("rows.jsonl", "\n".join([*lines, lines[7]]))
    result = project.build()
    assert [COUNT + 1, COUNT + 1, COUNT + 1, COUNT] == [result.steps[step].rows_out for step in STEPS]
    assert {"equal to an earlier row": 1} == result.steps["unique"].drops
    assert table_of(project, kept, "unique") == table_of(project, result, "unique")
    assert not table_of(project, result, "rows").samefile(table_of(project, result, "unique"))


def test_a_damaged_table_that_is_several_steps_is_made_again(project):
    result = project.build()
    table = table_of(project, result, "unique")
    table.chmod(0o644)
    with table.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"damaged")
    said = project.forge("store", "verify", "--repair").stdout
    assert "1 fault set aside" in said
    assert all(f"`{step}`" in said for step in STEPS)
    again = project.build()
    assert {step: result.steps[step].outputs for step in STEPS} == {step: again.steps[step].outputs for step in STEPS}
    assert 0 == project.forge("store", "verify").exit_code
