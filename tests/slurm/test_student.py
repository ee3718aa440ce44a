"""The student pipeline on the cluster: labels as an array, training where the gpu is, the same bytes as here."""

import json
import shutil
import subprocess
import sys

import pytest

from forge.testing import ForgeProject

from .conftest import ROOT

SMALL = """
[forge]
extends = "quickstart.toml"
name = "small"

[labelers.labels]
use = "label.openai"
from = "unified_min"
base_url = "${base_url}"
model = "fake"
prompt = "manifests/prompts/student.md"
schema = "manifests/schemas/student.json"
structured = "json_object"

[transforms.split]
limits = { train = 16, eval = 4, test = 4 }

[trainers.lora]
max_steps = 2

[exporters.gguf]
types = ["Q4_K_M"]

[checks.receipt]
rows = 2
"""


@pytest.fixture
def provider():
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/plugins/provider.py")], stdout=subprocess.PIPE, text=True
    )
    with process:
        yield process.stdout.readline().strip()
        process.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_student_pipeline_runs_on_the_cluster_as_it_does_here(slurm, tmp_path, provider):
    project = ForgeProject(tmp_path / "project", {**slurm.environment, "LABEL_KEY": "any"})
    shutil.copytree(ROOT / "manifests", project.root / "manifests")
    project.manifest(SMALL + f'[params]\nbase_url = "http://127.0.0.1:{provider}/v1"\n', "manifests/small.toml")
    profile = (ROOT / "slurm/local.toml").read_text().replace("at_once", "shard = 40\nat_once")
    project.write("slurm/local.toml", profile)
    words = ["manifests/small.toml", "--set", f"data={ROOT}/examples/counselling", "--json"]

    def build(*more):
        with project.start("build", *words, *more) as process:
            stdout, stderr = process.communicate()
        assert 0 == process.returncode, stderr
        return {each["name"]: each for each in json.loads(stdout)["steps"]}

    cluster = ["--executor", "slurm", "--profile", "local"]
    first = build(*cluster)
    assert {"ran"} == {each["status"] for each in first.values()}
    jobs = set(project.store.glob("jobs/*/script-*"))
    [labels] = (project.store / "jobs" / first["labels"]["key"]).glob("script-*.sh")
    assert "--array=0-" in labels.read_text()
    key = first["lora"]["key"]
    record = json.loads((project.store / "actions" / key[:2] / f"{key[2:]}.json").read_text())["record"]
    assert ("A40", "gpu1") == (record["job"]["partition"], record["job"]["node"])

    second = build(*cluster)
    assert {"hit"} == {each["status"] for each in second.values()}
    assert jobs == set(project.store.glob("jobs/*/script-*")), "a build of hits submitted a job"

    local = build("--executor", "local", "--store", str(tmp_path / "local"))
    assert {"ran"} == {each["status"] for each in local.values()}
    assert {n: e["tree"] for n, e in local.items()} == {n: e["tree"] for n, e in first.items()}
