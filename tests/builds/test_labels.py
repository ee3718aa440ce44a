"""Labelling as people run it: a manifest, a provider, a store."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

PROVIDER = Path(__file__).parents[1] / "plugins/provider.py"


PLUGIN = '''
import attrs
import forge

@attrs.frozen
class Rows:
    """Read made rows."""

    count: int = 20

    def read(self, run):
        yield [{"text": f"row {number}"} for number in range(self.count)]

@forge.hookimpl
def forge_register(register):
    register.source("rows", Rows, version="1")
'''

STEP = """
    [sources.rows]
    use = "made.rows"

    [labelers.labels]
    use = "label.openai"
    from = "rows"
    base_url = "http://127.0.0.1:{port}/v1"
    provider = "fake"
    model = "fake"
    column = "text"
    prompt_text = "{{{{ text }}}}"
    schema = {{ risk_flag = {{ enum = ["none", "suicidal", "self_harm", "violence"] }}, depression_level = {schema} }}
    attempts = 1
    {more}
    """
WHOLE = "{ minimum = 0, maximum = 3 }, anxiety_level = { maximum = 3 }, student_distress_score = { maximum = 9 }"


@pytest.fixture
def port():
    with subprocess.Popen([sys.executable, str(PROVIDER)], stdout=subprocess.PIPE, text=True) as process:
        yield int(process.stdout.readline())
        process.kill()


def asked(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/log") as answer:
        return json.load(answer)["requests"]


@pytest.fixture
def project(forge_project):
    forge_project.plugin("made", PLUGIN)
    return forge_project


def test_rows_are_labelled_by_a_schema_in_the_manifest_and_again_for_nothing(project, port):
    project.manifest(STEP.format(port=port, schema=WHOLE, more=""))
    assert {"rows": "ran", "labels": "ran"} == project.build().statuses
    assert 20 == asked(port)
    assert {"rows": "hit", "labels": "hit"} == project.build().statuses
    project.manifest(STEP.format(port=port, schema=WHOLE, more="completeness = 0.5"))
    assert {"rows": "hit", "labels": "ran"} == project.build().statuses
    assert 20 == asked(port)


def test_rows_that_are_refused_fail_the_build_and_show_lists_them(project, port):
    project.manifest(STEP.format(port=port, schema="{ maximum = 0, minimum = 0 }", more=""))
    built = project.build()
    assert 1 == built.exit_code
    assert "`completeness` wants 100.00%" in built.steps["labels"].error["message"]
    shown = project.forge("show", "forge.toml", "labels")
    assert "20 rows, 20 refused" in shown.stdout
    assert "row 20 refused: " in shown.stdout
    assert "depression_level" in shown.stdout


def test_a_key_that_is_not_set_is_found_before_the_first_step_runs(project, port):
    project.environment["NO_SUCH_KEY"] = None
    project.manifest(STEP.format(port=port, schema=WHOLE, more='key_env = "NO_SUCH_KEY"'))
    built = project.build()
    assert (2, {}) == (built.exit_code, built.statuses)
    assert "forge.toml:15: step `labels`: the environment variable `NO_SUCH_KEY` is not set" in built.stderr
    assert 2 == project.forge("check", "forge.toml").exit_code
    project.environment["NO_SUCH_KEY"] = "sk-1"
    assert 0 == project.build().exit_code
    project.environment["NO_SUCH_KEY"] = None
    assert {"rows": "hit", "labels": "hit"} == project.build().statuses


def test_offline_refuses_the_provider(project, port):
    project.manifest(STEP.format(port=port, schema=WHOLE, more=""))
    built = project.build("--offline")
    assert "failed" == built.statuses["labels"]
    assert "needs the network" in built.steps["labels"].error["message"]
    assert 0 == asked(port)


def test_a_cap_stops_the_build_and_the_next_goes_on(project, port):
    project.manifest(STEP.format(port=port, schema=WHOLE, more="most_tokens = 1300\n    concurrency = 2"))
    built = project.build()
    assert 1 == built.exit_code
    assert "the cap of 1,300 tokens (`most_tokens`) is reached" in built.steps["labels"].error["message"]
    assert asked(port) <= 10
    project.manifest(STEP.format(port=port, schema=WHOLE, more="concurrency = 2"))
    assert 0 == project.build().exit_code
    assert 20 == asked(port)


ROOT = Path(__file__).parents[2]


def forge_at(root, *arguments, **environment):
    command = [sys.executable, "-m", "forge", *arguments]
    return subprocess.run(
        command, cwd=root, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_the_student_labels_come_from_any_provider_by_two_lines(tmp_path, port):
    two = ["--set", f"base_url=http://127.0.0.1:{port}/v1", "--set", "model=fake"]
    store = ["--store", str(tmp_path / "store")]
    steps = ["labels", "believable", "sheet"]
    built = forge_at(ROOT, "build", "manifests/labelled.toml", *steps, *two, *store, "--json", LABEL_KEY="any")
    assert 0 == built.returncode, built.stderr
    by_name = {step["name"]: step for step in json.loads(built.stdout)["steps"]}
    rows = by_name["labels"]["rows_out"]
    assert by_name["unified_min"]["rows_out"] == rows
    assert rows - 5 < asked(port) <= rows  # a dialogue that is there twice is asked about once
    shown = forge_at(ROOT, "show", "manifests/labelled.toml", "believable", *two, *store, LABEL_KEY="any")
    assert "labelled" in shown.stdout
    got = forge_at(ROOT, "get", "manifests/labelled.toml", "sheet", str(tmp_path / "got"), *two, *store)
    assert 0 == got.returncode, got.stderr
    (sheet,) = (tmp_path / "got").rglob("*.csv") if (tmp_path / "got").is_dir() else [tmp_path / "got"]
    head = sheet.read_text("utf-8-sig").splitlines()[0]
    assert "risk_flag (none|suicidal|self_harm|violence)" in head
    missing = forge_at(ROOT, "check", "manifests/labelled.toml", *two, *store, LABEL_KEY="")
    assert 2 == missing.returncode
    assert "the environment variable `LABEL_KEY` is not set" in missing.stderr


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ('"missing.json"', "there is no file `missing.json`"),
        ("{ a = { minimun = 3 } }", "there is no parameter `minimun`"),
        ("3", "`schema` must be file | table of Label, got `3`"),
    ],
)
def test_a_schema_that_is_wrong_is_told_what_is_wrong_in_it(project, schema, said):
    step = STEP.format(port=1, schema="", more="")
    project.manifest(re.sub(r"schema = .*", f"schema = {schema}", step))
    checked = project.forge("check", "forge.toml")
    assert 2 == checked.exit_code
    assert said in checked.stderr


def test_a_prompt_that_fails_on_a_row_is_a_step_s_error(project, port):
    step = STEP.format(port=port, schema=WHOLE, more="").replace("{{ text }}", "{{ text + 1 }}")
    project.manifest(step)
    error = project.build().steps["labels"].error
    assert error["message"].startswith("can't render the prompt: ")
    assert "it may use `text`" in error["hint"]
