"""The drift of labels against the last build, which the engine remembers and the key holds."""

import json

import pytest

MANIFEST = """
    [sources.rows]
    use = "files.json"
    path = "rows.jsonl"

    [checks.believable]
    use = "check.labels"
    from = { data = "rows" }
    labels = ["risk"]
    require = { drift = 0.2 }
    """


def write(project, risky):
    rows = [{"id": str(number), "risk": "suicidal" if number < risky else "none"} for number in range(10)]
    project.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def drift(project, *arguments):
    shown = project.forge("show", "forge.toml", "believable", "--json", *arguments)
    assert 0 == shown.exit_code, shown.stderr
    [found] = [f for f in json.loads(shown.stdout)["receipt"]["findings"] if f["name"] == "drift.risk"]
    return found


@pytest.fixture
def project(forge_project):
    forge_project.manifest(MANIFEST)
    write(forge_project, 1)
    return forge_project


def test_the_first_build_has_nothing_to_compare_with_and_says_so(project):
    assert {"rows": "ran", "believable": "ran"} == project.build().statuses
    found = drift(project)
    assert (None, True) == (found["value"], found["passed"])
    assert "no earlier build of this check passed" in found["detail"]


def test_other_labels_are_compared_with_the_last_build_and_building_again_is_a_hit(project):
    project.build()
    write(project, 2)
    assert "ran" == project.build().statuses["believable"]
    assert (0.1, "since the last build") == (drift(project)["value"], drift(project)["detail"])
    assert {"rows": "hit", "believable": "hit"} == project.build().statuses
    # also where nothing is remembered of the answer, and by what a plan says
    for snapshot in (project.root / "store/builds").glob("*.snapshot"):
        snapshot.unlink()
    assert {"rows": "hit", "believable": "hit"} == project.build().statuses
    assert 0.1 == drift(project)["value"]


def test_labels_that_drift_too_far_fail_until_a_person_lets_them_pass_once(project):
    project.build()
    write(project, 9)
    for _ in range(2):
        built = project.build()
        assert (1, "failed") == (built.exit_code, built.statuses["believable"])
        assert "drift.risk: 0.8, required 0.2 (since the last build)" in built.steps["believable"].error["message"]
    assert 0 == project.build("--set", "believable.require.drift=1").exit_code
    assert "ran" == project.build().statuses["believable"]
    assert 0.0 == drift(project)["value"]
    assert "hit" == project.build().statuses["believable"]


def test_labels_that_come_back_are_compared_with_those_between(project):
    project.build()
    write(project, 2)
    project.build()
    write(project, 1)
    assert "ran" == project.build().statuses["believable"]
    assert 0.1 == drift(project)["value"]
    write(project, 2)
    # the same labels after the same labels: that was judged before
    assert "hit" == project.build().statuses["believable"]


def test_a_plan_and_an_explanation_name_what_moved_and_not_what_it_is_compared_with(project):
    project.build()
    write(project, 2)
    project.build("rows")
    planned = project.forge("plan", "forge.toml", "--json")
    [step] = [s for s in json.loads(planned.stdout)["steps"] if s["name"] == "believable"]
    assert step["because"].startswith("input rows")


def test_a_lost_result_is_made_again_of_what_it_was_made_of(project):
    project.build()
    write(project, 2)
    project.build()
    tree = json.loads(project.forge("show", "forge.toml", "believable", "--json").stdout)["tree"]
    for receipt in (project.root / "store/objects").rglob("*"):
        if receipt.is_file() and b'"check.labels"' in receipt.read_bytes():
            receipt.unlink()
    assert "ran" == project.build().statuses["believable"]
    assert tree == json.loads(project.forge("show", "forge.toml", "believable", "--json").stdout)["tree"]


def test_what_a_check_was_compared_with_outlives_a_collection_and_is_there_when_all_is_made_again(project):
    project.build()
    write(project, 2)
    project.build()
    assert 0 == project.forge("store", "gc").exit_code
    assert 0 == project.forge("lock", "forge.toml").exit_code
    again = project.forge("rebuild", "forge.toml", "--verify")
    assert 0 == again.exit_code, again.stdout + again.stderr


def test_the_short_way_for_changed_data_compares_with_the_last_build_too(project):
    for risky, ran in ((1, 2), (3, 2), (3, 0)):
        write(project, risky)
        built = project.forge("build", "forge.toml")
        assert 0 == built.exit_code, built.stderr
        assert ran == built.stdout.count(" ran ") - built.stdout.count(" ran in")
    assert 0.2 == drift(project)["value"]
    assert "hit" == project.build().statuses["believable"]
