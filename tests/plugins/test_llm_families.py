"""The families of models: what is learned under each one's template, and what their presets are good for."""

from __future__ import annotations

import json

import polars as pl
import pytest

import forge
from forge_llm.chat_format import load_tokenizer, messages_of, render
from forge_llm.model import LocalModel, preset
from forge_llm.train import Tokens

FAMILIES = sorted(preset.names())
SAID = [("user", "好"), ("assistant", "好"), ("user", "好 you"), ("assistant", "好的。")]
LEARNED = {
    "qwen2": ["好<|im_end|>", "好的。<|im_end|>"],
    "qwen2.5": ["好<|im_end|>", "好的。<|im_end|>"],
    "smollm": ["好<|im_end|>", "好的。<|im_end|>"],
    "qwen3": ["好<|im_end|>", "<think>\n\n</think>\n\n好的。<|im_end|>"],
    "deepseek-r1-distill": ["好<｜end▁of▁sentence｜>", "\n</think>\n\n好的。<｜end▁of▁sentence｜>"],
    "llama3": ["好<|eot_id|>", "好的。<|eot_id|>"],
    "gemma": ["好<end_of_turn>", "好的。<end_of_turn>"],
    "gemma3": ["好<end_of_turn>", "好的。<end_of_turn>"],
    "mistral": [" 好</s>", " 好的。</s>"],
    "tinyllama": ["好</s>", "好的。</s>"],
}


ROW_OF_MANIFEST = {"id": "a", "instruction": "Is it?", "output": "yes"}


@pytest.fixture
def tokenizer_of(tmp_path, family_tokenizer):
    """Return what gives a family's folder with its tokenizer."""

    def folder(family, template=""):
        family_tokenizer(tmp_path / family, family, template)
        return tmp_path / family

    return folder


def row_of(family, said=SAID):
    system = {} if preset.read(family).system == "refused" else {"system": "Be kind."}
    return {"id": "d", "conversation": [{"role": role, "text": text} for role, text in said], **system}


def make(tmp_path, model, rows, **parameters):
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    forge.write_rows(pl.DataFrame(rows), tmp_path / "rows")
    run = forge.LocalRun(scratch=tmp_path)
    inputs = {"model": forge.Artifact("base", model), "train": forge.Artifact("rows", tmp_path / "rows")}
    Tokens(**parameters).make(inputs, out, run)
    return forge.Artifact("train", out / "train").rows().collect(), run


def runs(tokenizer, row):
    """Return the texts that are learned, each run of tokens one."""
    found, before = [], False
    for token, learned in zip(row["input_ids"], row["loss_mask"], strict=True):
        if learned:
            found = [*found[:-1], [*found[-1], token]] if before else [*found, [token]]
        before = learned
    return [tokenizer.decode(tokens) for tokens in found]


@pytest.mark.parametrize("family", FAMILIES)
def test_of_every_family_each_answer_and_its_end_mark_are_learned_and_nothing_else(tmp_path, tokenizer_of, family):
    folder = tokenizer_of(family)
    made, run = make(tmp_path, folder, [row_of(family)])
    assert ([], {}) == (run.messages, run.drops)
    assert LEARNED[family] == runs(load_tokenizer(folder), made.row(0, named=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_of_every_family_the_last_answer_stands_behind_the_prompt_that_is_asked_later(tmp_path, tokenizer_of, family):
    folder = tokenizer_of(family)
    row = row_of(family)
    made, _ = make(tmp_path, folder, [row], train_on="last")
    tokenizer = load_tokenizer(folder)
    prompt = tokenizer(render(tokenizer, messages_of(row)[:-1], generate=True), add_special_tokens=False)["input_ids"]
    ids, mask = made["input_ids"][0].to_list(), made["loss_mask"][0].to_list()
    assert prompt == ids[: mask.index(True)]
    assert LEARNED[family][-1:] == runs(tokenizer, made.row(0, named=True))


@pytest.mark.parametrize("family", ["qwen3", "deepseek-r1-distill"])
def test_a_thought_of_the_last_answer_is_learned_and_earlier_ones_are_not_shown(tmp_path, tokenizer_of, family):
    said = [("user", "好"), ("assistant", "<think>\nhm\n</think>\n\n好"), ("user", "and?")]
    said.append(("assistant", "<think>\nah\n</think>\n\n你好"))
    folder = tokenizer_of(family)
    made, _ = make(tmp_path, folder, [row_of(family, said)])
    end = preset.read(family).end
    first, last = runs(load_tokenizer(folder), made.row(0, named=True))
    assert "好" + end == first.lstrip("\n")
    opened = "<think>\n" if family == "qwen3" else ""
    assert f"{opened}ah\n</think>\n\n你好{end}" == last


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_without_a_thought_begins_as_it_was_learned(tokenizer_of, family):
    from forge_llm.spans import Template

    template = Template.of(load_tokenizer(tokenizer_of(family)))
    prompt = template.prompt([{"role": "user", "content": "好"}])
    thoughtless = {"qwen3": "<think>\n\n</think>\n\n", "deepseek-r1-distill": "\n</think>\n\n"}
    assert thoughtless.get(family, "") == template.thoughtless(prompt)
    assert LEARNED[family][-1].startswith(template.thoughtless(prompt))


def test_a_chat_that_a_family_refuses_costs_the_row_alone_and_says_why(tmp_path, tokenizer_of):
    rows = [{"system": None, **row_of("gemma")}, row_of("gemma") | {"id": "s", "system": "Be kind."}]
    made, run = make(tmp_path, tokenizer_of("gemma"), rows)
    assert (["d"], {"refused by the chat template": 1}) == (made["id"].to_list(), run.drops)


def test_templates_that_write_the_date_give_the_same_ids_on_every_day(tmp_path, tokenizer_of):
    dated = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}" + preset.read("llama3").template
    folder = tokenizer_of("llama3", dated)
    made, _ = make(tmp_path, folder, [row_of("llama3")])
    assert load_tokenizer(folder).decode(made["input_ids"][0].to_list()).startswith("26 Jul 2024<|begin_of_text|>")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_preset_says_what_its_own_template_does(tokenizer_of, family):
    tokenizer, found = load_tokenizer(tokenizer_of(family)), preset.read(family)
    assert preset.problem_of(tokenizer, found) is None
    with_system = [{"role": "system", "content": "SYS"}, {"role": "user", "content": "Q"}]
    if found.system == "refused":
        with pytest.raises(Exception, match="refused by the chat template"):
            render(tokenizer, with_system, generate=True)
    else:
        text = render(tokenizer, with_system, generate=True)
        turn = text.index(found.user)
        assert (text.index("SYS") < turn) == (found.system in {"own", "head"})
        assert text.index("SYS") < text.index("Q")
    assert found.targets
    assert found.models


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_fits_no_other_preset_fits_its_own(tmp_path, save_family, family):
    save_family(tmp_path, family, weights=False)
    assert preset.fitting(tmp_path)[0] == family


@pytest.mark.slow
def test_the_embedded_model_is_of_the_family_that_its_manifest_names(smollm2):
    assert ["smollm"] == preset.fitting(smollm2)


def local(tmp_path, folder, **parameters):
    out = tmp_path / "model"
    out.mkdir()
    run = forge.LocalRun(scratch=tmp_path)
    LocalModel(path=forge.Files.match(folder.name, folder.parent), **parameters).fetch(out, run)
    return out, run


@pytest.mark.parametrize(
    ("model", "named", "problem", "hint"),
    [
        ("qwen2.5", "qwen3", "it is a `Qwen2ForCausalLM`, the preset is for `Qwen3ForCausalLM`", "`qwen2.5`"),
        ("qwen2.5", "qwen2", "its chat template writes another system message", "`qwen2.5`"),
        ("tinyllama", "llama3", "its tokenizer has no token `<|eot_id|>`, `<|end_of_text|>`", "`tinyllama`"),
        ("smollm", "tinyllama", "its tokenizer has no token `</s>`", "`smollm`"),
    ],
)
def test_a_model_that_is_not_of_the_family_is_refused_with_the_one_it_is_of(
    tmp_path, save_family, model, named, problem, hint
):
    save_family(tmp_path / "m", model)
    with pytest.raises(forge.StepError) as caught:
        local(tmp_path, tmp_path / "m", preset=named)
    assert f"the model does not fit the preset `{named}`: {problem}" in str(caught.value)
    assert f"this model fits {hint}" == caught.value.hint


def test_a_template_of_another_family_is_named_by_what_it_writes(tmp_path, save_family):
    save_family(tmp_path / "m", "llama3", template=preset.read("tinyllama").template)
    with pytest.raises(forge.StepError, match="does not open a question with ") as caught:
        local(tmp_path, tmp_path / "m", preset="llama3")
    assert "leave `preset` out: the model's own template is taken" == caught.value.hint


def test_a_model_without_a_template_is_given_that_of_its_preset(tmp_path, save_family):
    save_family(tmp_path / "m", "qwen2.5", template=None)
    out, run = local(tmp_path, tmp_path / "m", preset="qwen2.5")
    assert ["the model has no chat template: it gets that of the preset `qwen2.5`"] == run.messages
    made, _ = make(tmp_path, out, [row_of("qwen2.5")])
    assert LEARNED["qwen2.5"] == runs(load_tokenizer(out), made.row(0, named=True))


def test_a_wrong_preset_is_an_error_of_the_manifest_with_the_name_that_was_meant(forge_project):
    forge_project.write("m/model.safetensors", b"")
    forge_project.manifest('[sources.base]\nuse = "model.local"\npath = "m"\npreset = "qwen25"\n')
    result = forge_project.forge("check", "forge.toml")
    assert result.exit_code == 2
    assert "there is no preset `qwen25`" in result.stderr
    assert "did you mean `qwen2.5`?" in result.stderr


def test_the_presets_are_listed_where_the_step_type_is_shown(forge_project):
    shown = forge_project.forge("plugins", "show", "model.local").stdout
    assert [] == [name for name in FAMILIES if f"{name} " not in shown]
    assert "Qwen/Qwen2.5-0.5B-Instruct" in shown


@pytest.mark.parametrize("family", ["qwen2.5", "qwen3", "llama3", "gemma", "gemma3", "mistral"])
def test_rows_that_are_packed_lose_what_they_lose_alone_and_none_sees_another(tmp_path, save_family, family):
    torch = pytest.importorskip("torch")
    pytest.importorskip("peft")
    from forge_llm.train import LoraTrainer, backend_peft
    from forge_llm.train.samples import read_samples

    save_family(tmp_path / "m", family)
    said = [[("user", "q" * n), ("assistant", "a" * (9 - n))] for n in (1, 5, 8)]
    rows = [row_of(family, turns) | {"id": str(n)} for n, turns in enumerate(said)]
    make(tmp_path, tmp_path / "m", rows, train_on="all")
    samples = read_samples(forge.Artifact("train", tmp_path / "out" / "train"), "train")
    step = LoraTrainer(r=2, dropout=0.0, load_in_4bit=False, precision="fp32")
    model = backend_peft.open_model(tmp_path / "m", step, "fp32", "cpu")
    assert model.attention is not None
    with torch.no_grad():
        alone = [model.loss([sample], 1.0).item() for sample in samples]
        packed = model.loss(samples, 1.0).item()
        others = model.loss(samples[:2], 1.0).item()
    assert sum(alone) == pytest.approx(packed, rel=1e-6)
    assert sum(alone[:2]) == pytest.approx(others, rel=1e-6)


FEW = """
    [sources.rows]
    use = "files.jsonl"
    path = "rows.jsonl"

    [sources.base]
    use = "model.local"
    path = "{family}"
    preset = "{family}"

    [transforms.tokens]
    use = "train.tokens"
    from = {{ train = "rows", model = "base" }}
    """


@pytest.mark.slow
def test_another_model_is_two_other_lines_of_a_manifest(forge_project, save_family):
    forge_project.write("rows.jsonl", json.dumps({**ROW_OF_MANIFEST}) + "\n")
    templates = []
    for family in ("qwen2.5", "llama3", "gemma3"):
        save_family(forge_project.root / family, family)
        forge_project.manifest(FEW.format(family=family))
        built = forge_project.build()
        assert {"rows": "ran" if not templates else "hit", "base": "ran", "tokens": "ran"} == built.statuses
        shown = forge_project.forge("show", "forge.toml", "tokens").stdout
        assert f"⟦yes{preset.read(family).end}⟧" in shown
        templates.append(json.loads(forge_project.forge("show", "forge.toml", "tokens", "--json").stdout)["stats"])
    assert 3 == len({stats["template"] for stats in templates})


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_on_its_presets_targets(tmp_path, save_family, family):
    pytest.importorskip("peft")
    from forge_llm.train import LoraTrainer

    save_family(tmp_path / "m", family)
    base, run = local(tmp_path, tmp_path / "m", preset=family)
    make(tmp_path, base, [row_of(family)], max_length=256)
    trainer = LoraTrainer(
        targets=preset.read(family).targets, r=2, load_in_4bit=False, precision="fp32", max_steps=1, batch=1
    )
    inputs = {"data": forge.Artifact("data", tmp_path / "out" / "train"), "base": forge.Artifact("base", base, "b")}
    (tmp_path / "adapter").mkdir()
    trainer.train(inputs, tmp_path / "adapter", run)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert {*preset.read(family).targets} == {*config["target_modules"]}
    assert json.loads((tmp_path / "adapter" / "metrics.json").read_text())["loss"] > 0
