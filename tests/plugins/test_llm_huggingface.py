"""`export.huggingface` and `llamafactory.model`: folders that others load, and cards that say what is true."""

import json

import pytest

import forge
from forge_llamafactory.model import Model
from forge_llm.export.card import DataSource
from forge_llm.export.huggingface import HuggingFace

pl = pytest.importorskip("polars")
transformers = pytest.importorskip("transformers")


@pytest.fixture
def made(tmp_path, tiny_model, save_adapter):
    """Return artifacts as a build makes them: base, adapter, rows, training, receipt."""
    folders = {name: tmp_path / name for name in ("adapter", "rows", "training", "receipt", "gguf")}
    save_adapter(tiny_model, folders["adapter"])
    forge.write_rows(pl.DataFrame({"source": ["PsyQA", "SMILE", "PsyQA"], "input": ["a", "b", "c"]}), folders["rows"])
    for name in ("training", "receipt", "gguf"):
        folders[name].mkdir()
    settings = {
        "r": 4,
        "targets": ["q_proj", "v_proj"],
        "learning_rate": 0.0001,
        "load_in_4bit": True,
        "odd": {"a": 1},
        "none": None,
    }
    write(folders["training"] / "trainer.json", {"settings": settings, "facts": {"device": "cpu"}})
    write(folders["training"] / "metrics.json", {"steps": 30, "trained_tokens": 12345, "eval_loss": 0.123456})
    curve = [
        {"step": 0, "eval_loss": 2.0},
        *({"step": n, "loss": 1 / n} for n in range(1, 30)),
        {"step": 30, "loss": 0.01},
    ]
    (folders["training"] / "curve.jsonl").write_text("".join(json.dumps(point) + "\n" for point in curve))
    (folders["training"] / "loss.png").write_bytes(b"picture")
    findings = [{"name": "json_valid", "value": 1.0, "bound": 0.99, "passed": True, "detail": ""}]
    findings.append({"name": "token_ids_equal", "value": True, "bound": True, "passed": True, "detail": ""})
    write(folders["receipt"] / "receipt.json", {"findings": findings, "subjects": {"m-Q4_K_M.gguf": "ab" * 32}})
    (folders["gguf"] / "m-Q4_K_M.gguf").write_bytes(b"GGUF" * 250_000)
    folders["model"] = tiny_model
    return {name: forge.Artifact(name, path, digest="cd" * 32) for name, path in folders.items()}


def write(path, content):
    path.write_text(json.dumps(content))


def export(step, out, tmp_path, **inputs):
    out.mkdir()
    step.export(inputs, out, forge.LocalRun(scratch=tmp_path))
    return {path.name: path.read_bytes() for path in out.iterdir()}


STEP = HuggingFace(
    name="student",
    license="mit",
    language=("zh", "en"),
    base="someone/tiny",
    summary="It answers with four labels.",
    sources={"PsyQA": DataSource(license="research only", url="https://example.org/psyqa"), "SMILE": DataSource()},
)


def test_a_whole_model_is_loaded_from_the_folder_with_its_template(made, tmp_path):
    out = tmp_path / "out"
    files = export(STEP, out, tmp_path, model=made["model"], gguf=made["gguf"], training=made["training"])
    beside = {"README.md", "m-Q4_K_M.gguf", "loss.png"}
    assert {path.name for path in made["model"].path.iterdir()} | beside == files.keys()
    assert files["model.safetensors"] == (made["model"].path / "model.safetensors").read_bytes()
    said = [{"role": "user", "content": "Hi"}]
    texts = [
        transformers.AutoTokenizer.from_pretrained(folder).apply_chat_template(said, tokenize=False)
        for folder in (made["model"].path, out)
    ]
    assert texts[0] == texts[1]
    assert transformers.AutoModelForCausalLM.from_pretrained(out).config.hidden_size == 64


def test_an_adapter_goes_with_its_bases_tokenizer_and_names_the_base(made, tmp_path):
    out = tmp_path / "out"
    files = export(STEP, out, tmp_path, model=made["adapter"], base=made["model"])
    assert "model.safetensors" not in files
    assert {
        "adapter_model.safetensors",
        "chat_template.jinja",
        "tokenizer.json",
        "generation_config.json",
    } <= files.keys()
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "someone/tiny"
    kept = json.loads((made["adapter"].path / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert kept != "someone/tiny"
    assert b"AutoPeftModelForCausalLM" in files["README.md"]
    with pytest.raises(forge.StepError, match="is an adapter, and nothing says what it is one for"):
        export(HuggingFace(name="x"), tmp_path / "again", tmp_path, model=made["adapter"], base=made["model"])
    with pytest.raises(forge.StepError, match="has no chat template"):
        export(STEP, tmp_path / "bare", tmp_path, model=made["adapter"])


def test_the_card_says_data_training_and_proof_and_nothing_of_the_day_or_the_machine(made, tmp_path):
    inputs = {name: made[name] for name in ("model", "training", "receipt", "gguf")} | {"data": made["rows"]}
    card = export(STEP, tmp_path / "out", tmp_path, **inputs)["README.md"].decode()
    head, _, body = card.removeprefix("---\n").partition("---\n")
    assert [
        'license: "mit"',
        'language: ["zh", "en"]',
        'base_model: "someone/tiny"',
        'library_name: "transformers"',
        'pipeline_tag: "text-generation"',
    ] == head.splitlines()
    for line in (
        "# student",
        "It answers with four labels.",
        "This is a whole model, made from `someone/tiny`. Ask it through its own chat template:",
        "It was trained on 3 rows.",
        "| PsyQA | 2 | research only | https://example.org/psyqa |",
        "| SMILE | 1 | not declared |  |",
        "| targets | q_proj, v_proj |",
        "| load_in_4bit | yes |",
        "| learning_rate | 0.0001 |",
        "| device | cpu |",
        "| trained_tokens | 12,345 |",
        "| eval_loss | 0.1235 |",
        "| 30 | 0.01 |  |",
        "| json_valid | 1 | 0.99 |",
        "| token_ids_equal | yes | yes |",
        f"| m-Q4_K_M.gguf | `{'ab' * 32}` |",
        "| m-Q4_K_M.gguf | 1.0 MB |",
    ):
        assert line in body.splitlines()
    assert "odd" not in body
    assert "none" not in body
    assert f"`forge lineage {'cd' * 32}`" in body
    assert str(tmp_path) not in card
    again = export(STEP, tmp_path / "again", tmp_path, **inputs)["README.md"].decode()
    assert card == again


def test_a_card_says_nothing_of_what_it_was_not_given(made, tmp_path):
    card = export(HuggingFace(name="plain"), tmp_path / "out", tmp_path, model=made["model"])["README.md"].decode()
    titles = [line for line in card.splitlines() if line.startswith("#")]
    assert titles == ["# plain", "## Where it comes from"]


def test_rows_without_a_source_are_counted_together(made, tmp_path):
    forge.write_rows(pl.DataFrame({"input": ["a", "b"]}), tmp_path / "bare")
    inputs = {"model": made["model"], "data": forge.Artifact("data", tmp_path / "bare")}
    card = export(HuggingFace(name="plain"), tmp_path / "out", tmp_path, **inputs)["README.md"].decode()
    assert "## Data\n\nIt was trained on 2 rows.\n\n## Where it comes from\n" in card


def test_llamafactory_finds_adapter_and_base(made, tmp_path):
    files = export(Model(template="smollm2", base="someone/tiny"), tmp_path / "out", tmp_path, model=made["adapter"])
    chat = files["chat.yaml"].decode().splitlines()
    assert [
        'model_name_or_path: "someone/tiny"',
        'adapter_name_or_path: "."',
        'finetuning_type: "lora"',
        'template: "smollm2"',
        'infer_backend: "huggingface"',
        "trust_remote_code: false",
    ] == chat
    assert 'export_dir: "merged"' in files["merge.yaml"].decode()
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "someone/tiny"
    whole = export(Model(template="smollm2"), tmp_path / "whole", tmp_path, model=made["model"])
    assert whole["chat.yaml"].decode().splitlines()[0] == 'model_name_or_path: "."'
    assert "merge.yaml" not in whole


def test_llamafactory_is_refused_what_it_can_not_load(made, tmp_path):
    with pytest.raises(ValueError, match="did you mean `smollm2`"):
        Model(template="smolm2")
    with pytest.raises(forge.StepError, match="is an adapter, and nothing says what it is one for"):
        export(Model(template="qwen"), tmp_path / "out", tmp_path, model=made["adapter"])
    with pytest.raises(forge.StepError, match=r"holds neither `config.json` nor `adapter_config.json`"):
        export(Model(template="qwen"), tmp_path / "again", tmp_path, model=made["rows"])


def test_the_card_says_whose_accuracy_is_below_that_of_the_commonest_answer(made, tmp_path):
    values = {"accuracy_of_commonest": 0.5, "f16.accuracy": 0.5, "Q4_K_M.accuracy": 0.4}
    write(made["receipt"].path / "receipt.json", {"findings": [{"name": n, "value": v} for n, v in values.items()]})
    card = export(STEP, tmp_path / "out", tmp_path, model=made["model"], receipt=made["receipt"])["README.md"].decode()
    assert "The accuracy of `Q4_K_M` is below what always saying the commonest answer reaches." in card.splitlines()
