"""A build looks ahead once before its first heavy step, and never where there is none."""

import pytest


def test_a_build_looks_ahead_before_its_first_heavy_step(peek):
    peek.chain()
    built = peek.build()
    assert (0, ["look", "train"]) == (built.exit_code, peek.runs())
    assert "`shipped`: shipping: of a stand-in" in built.stderr


def test_what_would_fail_afterwards_stops_the_heavy_step_and_names_step_value_and_hint(peek):
    peek.chain(fails=True)
    built = peek.build()
    assert 1 == built.exit_code
    assert {
        "words": "ran",
        "long": "ran",
        "model": "failed",
        "shipped": "skipped",
        "quiet": "skipped",
    } == built.statuses
    assert ["look"] == peek.runs()
    error = built.steps["model"].error
    assert "it was not started, for the build would fail" in error["message"]
    assert "step `shipped`, rows: the model can't be shipped" in error["message"]
    assert "hint: take another one" in error["message"]
    assert "--no-check" in error["hint"]


def test_a_person_may_build_all_the_same(peek):
    peek.chain("bad")
    assert "failed" == peek.build().statuses["model"]
    peek.runs()
    built = peek.build("--no-check")
    assert (0, ["train"]) == (built.exit_code, peek.runs())


def test_a_look_that_found_nothing_is_not_repeated_when_the_heavy_step_runs_again(peek):
    peek.chain()
    first = peek.build().steps["model"].key
    peek.runs()
    (peek.store / "actions" / first[:2] / f"{first[2:]}.json").unlink()
    assert "ran" == peek.build().statuses["model"]
    assert ["train"] == peek.runs()


def test_the_job_that_could_not_resume_a_killed_run_goes_on_and_is_looked_at_no_second_time(peek):
    peek.chain("killed")
    assert "failed" == peek.build().statuses["model"]
    assert ["look", "train"] == peek.runs()
    assert "ran" == peek.build().statuses["model"]
    assert ["train"] == peek.runs()


def test_a_look_is_repeated_when_data_parameters_or_the_step_s_code_change(peek):
    peek.chain()
    peek.build()
    peek.runs()
    peek.write("words/b.txt", "deer\n")
    peek.build()
    assert ["look", "train"] == peek.runs()
    source = (peek.root / "plugins/peek_plugin.py").read_text()
    peek.plugin("peek", source.replace('write_text("w")', 'write_text("v")'))
    peek.build()
    assert ["look", "train"] == peek.runs()


def test_looking_ahead_in_another_way_rebuilds_nothing(peek):
    peek.chain()
    peek.build()
    source = (peek.root / "plugins/peek_plugin.py").read_text()
    peek.plugin("peek", source.replace("rows to train on", "rows to learn from"))
    peek.runs()
    assert {"hit"} == set(peek.build().statuses.values())
    assert [] == peek.runs()


def test_the_short_way_of_changed_data_looks_ahead_too(peek):
    import time

    peek.chain(fails=True)
    peek.forge("build", "forge.toml", "--no-check")
    time.sleep(0.1)
    peek.forge("build", "forge.toml", "--no-check")
    peek.runs()
    peek.write("words/a.txt", "deer\n")
    said = peek.forge("build", "forge.toml")
    assert (1, ["look"]) == (said.exit_code, peek.runs())
    assert "the model can't be shipped" in said.stderr


@pytest.mark.parametrize("target", ["words", "long"])
def test_a_build_of_data_alone_does_not_look(peek, target):
    peek.chain("bad")
    said = peek.forge("build", "forge.toml", target, PYTHONPROFILEIMPORTTIME="1")
    assert 0 == said.exit_code
    names = {line.rpartition("|")[2].strip() for line in said.stderr.splitlines() if line.startswith("import time:")}
    assert set() == names & {"forge.run.preflight", "forge.plan.preflight", "forge.run.rehearsal"}
    assert [] == peek.runs()
