"""What the language-model steps look at, each by itself."""

from __future__ import annotations

import json
import shutil
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest

import forge
from forge_llm.export.gguf_files import Gguf
from forge_llm.preflight import ASKED, machine, masks, prompts, tiny
from forge_llm.train import LoraTrainer, Tokens, device, fit

pytestmark = pytest.mark.skipif(
    any(find_spec(m) is None for m in ("torch", "transformers", "peft", "bitsandbytes", "llama_cpp")),
    reason="the packages of the extras `train` and `gguf` are not installed",
)
CHAT = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]


@pytest.fixture
def run(tmp_path):
    return forge.LocalRun(tmp_path / "scratch")


def copied(folder, target, template=None, **changes):
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    if template is not None:
        (target / "chat_template.jinja").write_text(template)
    for name, value in changes.items():
        path = target / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | value))
    return target


def table(folder, rows):
    import polars as pl

    forge.write_rows(pl.DataFrame(rows), folder)
    return forge.Artifact(folder.name, folder)


# ---------------------------------------------------------------- templates and masks


def test_the_model_s_own_template_fits_and_its_end_is_named(small_base):
    [notice] = masks.template_notices(small_base)
    assert ("good", "it fits the tokenizer; an answer ends with `<|im_end|>`") == (notice.state, notice.message)


@pytest.mark.parametrize(
    ("template", "state", "said"),
    [
        ("{% for m in messages %}{{ m.content }", "bad", "it can't be rendered: "),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "bad", "it leaves out what is said"),
        (
            "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}",
            "bad",
            "`<|user|>` is no token",
        ),
        ("{% for m in messages %}<start_of_turn>{{ m.content }}{% endfor %}", "bad", "`<start_of_turn>` is no token"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "doubtful", "an answer ends without a mark"),
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "doubtful", "the model may not learn to stop"),
        (
            "{% for m in messages %}{{ m.content }}<|im_start|>{% endfor %}",
            "doubtful",
            "an answer ends with `<|im_start|>`, generation stops at `<|im_end|>`",
        ),
    ],
)
def test_a_template_that_does_not_fit_is_told_why(small_base, tmp_path, template, state, said):
    [notice] = masks.template_notices(copied(small_base, tmp_path / "model", template))
    assert state == notice.state
    assert said in notice.message


def looked(step, rows, base, tmp_path, run):
    out = tmp_path / "out"
    out.mkdir()
    inputs = {"model": forge.Artifact("model", base), "train": table(tmp_path / "train", rows)}
    found = list(masks.look(step, inputs, out, run))
    return {notice.what: notice for notice in found}, out


ROWS = [{"instruction": f"Say {n} " + "again " * n, "output": "yes"} for n in range(10)]


def test_the_share_of_learned_tokens_and_the_longest_row_are_told(small_base, tmp_path, run):
    found, out = looked(Tokens(), ROWS, small_base, tmp_path, run)
    assert "% of" in found["masks"].message
    assert "good" == found["masks"].state
    assert "none is longer than `max_length` 1,024" in found["lengths"].message
    chats = json.loads((out / "train" / ASKED).read_text())
    assert 10 == len(chats)
    assert {"role": "assistant", "content": "yes"} == chats[0][1]


def test_a_mask_that_learns_next_to_nothing_is_a_doubt(small_base, tmp_path, run):
    rows = [{"instruction": "long " * 400, "output": "y"}]
    found, _ = looked(Tokens(), rows, small_base, tmp_path, run)
    assert "doubtful" == found["masks"].state


@pytest.mark.parametrize(("policy", "state"), [("drop", "doubtful"), ("error", "bad")])
def test_rows_that_are_too_long_are_judged_by_the_policy(small_base, tmp_path, run, policy, state):
    found, _ = looked(Tokens(max_length=42, too_long=policy), ROWS, small_base, tmp_path, run)
    assert state == found["lengths"].state
    assert "of 10 rows are longer than `max_length` 42" in found["lengths"].message


def test_rows_that_are_all_too_long_leave_nothing(small_base, tmp_path, run):
    found, _ = looked(Tokens(max_length=4), ROWS, small_base, tmp_path, run)
    assert "bad" == found["masks"].state
    assert "10 × longer than `max_length`" in found["masks"].message


def test_rows_of_unknown_roles_are_told_how_to_map_them(small_base, tmp_path, run):
    def row(asks, answers):
        return {"messages": [{"role": asks, "content": "Who?"}, {"role": answers, "content": "Me, of course."}]}

    found, _ = looked(Tokens(), [row("user", "assistant"), row("human", "gpt")], small_base, tmp_path, run)
    assert "doubtful" == found["masks"].state
    assert "1 × unknown role `human`" in found["masks"].message
    assert found["masks"].hint.startswith("`text.dialogue` with")


def test_special_tokens_in_the_rows_own_text_are_a_doubt(small_base, tmp_path, run):
    found, _ = looked(Tokens(), [*ROWS, {"instruction": "Say it", "output": "ok<|im_end|>"}], small_base, tmp_path, run)
    assert "doubtful" == found["texts"].state
    assert "1 rows hold special tokens" in found["texts"].message


# ---------------------------------------------------------------- the machine


def trained(step, base, tmp_path, run, monkeypatch, ids=None, **facts):
    for name, value in facts.items():
        monkeypatch.setattr(device, name, lambda *_, value=value: value)
    out = tmp_path / "adapter"
    out.mkdir()
    data = forge.Artifact("data", tmp_path)
    if ids is not None:
        data = table(tmp_path / "data", [{"id": "a", "input_ids": ids, "loss_mask": [True] * len(ids)}])
    inputs = {"data": data, "base": forge.Artifact("base", base)}
    return {notice.what: notice for notice in machine.look_at_training(step, inputs, out, run)}


def test_a_run_that_fits_says_what_it_will_run_on_and_what_it_adds_to_the_disk(small_base, tmp_path, run, monkeypatch):
    found = trained(LoraTrainer(r=8), small_base, tmp_path, run, monkeypatch, device="cpu")
    assert ["good"] == sorted({notice.state for notice in found.values()})
    assert "`peft` on cpu, " in found["device"].message
    assert "14 layers, 0.05 million parameters to train" == found["targets"].message
    assert found["targets"].disk > 1_000_000
    assert found["device"].here
    assert not found["targets"].here


def test_a_gpu_that_torch_can_t_use_is_found(small_base, tmp_path, run, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = trained(LoraTrainer(backend="peft"), small_base, tmp_path, run, monkeypatch, device="cuda")
    assert "bad" == found["device"].state
    assert "there is a GPU, and torch" in found["device"].message


def test_bf16_on_a_processor_without_it_is_a_doubt(small_base, tmp_path, run, monkeypatch):
    monkeypatch.setattr(device, "_processor_flags", set)
    found = trained(LoraTrainer(precision="bf16"), small_base, tmp_path, run, monkeypatch, device="cpu")
    assert "doubtful" == found["precision"].state


def test_a_bitsandbytes_that_does_not_load_is_found(small_base, tmp_path, run, monkeypatch):
    class Broken(types.ModuleType):
        def __getattr__(self, name):
            raise OSError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", Broken("bitsandbytes.functional"))
    found = trained(LoraTrainer(), small_base, tmp_path, run, monkeypatch, device="cpu")
    assert "bad" == found["4 bits"].state
    assert "libcudart.so.12" in found["4 bits"].message
    again = tmp_path / "again"
    again.mkdir()
    found = trained(LoraTrainer(load_in_4bit=False), small_base, again, run, monkeypatch, device="cpu")
    assert "4 bits" not in found


def test_a_model_that_does_not_fit_into_memory_is_found(small_base, tmp_path, run, monkeypatch):
    found = trained(LoraTrainer(), small_base, tmp_path, run, monkeypatch, device="cpu", memory=1_000_000)
    assert "bad" == found["memory"].state


def test_every_process_takes_its_memory_and_a_core(small_base, tmp_path, run, monkeypatch):
    machine_of_4 = {"device": "cpu", "memory": 2 * 10**9, "cores": 4}
    (tmp_path / "few").mkdir()
    found = trained(LoraTrainer(processes=4), small_base, tmp_path / "few", run, monkeypatch, **machine_of_4)
    assert "good" == found["memory"].state
    assert "processes" not in found
    found = trained(LoraTrainer(processes=5), small_base, tmp_path, run, monkeypatch, **machine_of_4)
    assert ("bad", "`processes` is 5, and 4 cores are open to this process") == (
        found["processes"].state,
        found["processes"].message,
    )
    assert found["processes"].here
    assert "bad" == found["memory"].state
    assert found["memory"].hint.startswith("fewer `processes`")


def test_the_memory_that_is_looked_at_is_what_is_free():
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert 0 < device.memory() < int(lines["MemTotal"].split()[0]) * 1024


def test_more_processes_than_gpus_are_found(small_base, tmp_path, run, monkeypatch):
    step = LoraTrainer(processes=3, backend="peft")
    found = trained(step, small_base, tmp_path, run, monkeypatch, device="cuda", count=2)
    assert "`processes` is 3 and 2 CUDA devices are open to this process" == found["processes"].message


def test_token_ids_that_the_base_does_not_know_are_found(small_base, tmp_path, run, monkeypatch):
    base = copied(small_base, tmp_path / "base", config={"vocab_size": 100})
    found = trained(LoraTrainer(), base, tmp_path, run, monkeypatch, ids=[1, 2, 100], device="cpu")
    assert ("bad", "the rows hold the token id 100, the base `base` has 100 (`vocab_size`)") == (
        found["tokens"].state,
        found["tokens"].message,
    )


@pytest.mark.parametrize(("kind", "state"), [("gpt2", "bad"), ("llama", "doubtful")])
def test_rows_longer_than_the_base_s_positions_are_found(small_base, tmp_path, run, monkeypatch, kind, state):
    base = copied(small_base, tmp_path / "base", config={"model_type": kind, "max_position_embeddings": 4})
    found = trained(LoraTrainer(), base, tmp_path, run, monkeypatch, ids=[1, 2, 3, 4, 5], device="cpu")
    assert state == found["tokens"].state
    assert "the longest row has 5 tokens" in found["tokens"].message


@pytest.mark.parametrize(
    ("settings", "state", "said"),
    [
        ({"patience": 2, "eval_every": 5}, "doubtful", "`patience` needs held-out rows"),
        ({"keep": "best"}, "doubtful", '`keep = "best"` needs held-out rows'),
        ({"learning_rate": 0.1}, "doubtful", "`learning_rate` 0.1 is above 0.01"),
        ({"warmup_steps": 10, "max_steps": 10}, "doubtful", "`warmup_steps` 10 of 10 steps"),
        ({"batch_tokens": 4}, "doubtful", "`batch_tokens` 4 is less than the longest row, which has 5 tokens"),
        ({"learning_rate": 1e-2, "warmup_steps": 9, "max_steps": 10, "batch_tokens": 5}, None, ""),
    ],
)
def test_settings_that_were_meant_otherwise_are_told(small_base, tmp_path, run, monkeypatch, settings, state, said):
    step = LoraTrainer(**settings)
    found = trained(step, small_base, tmp_path, run, monkeypatch, ids=[1, 2, 3, 4, 5], device="cpu").get("settings")
    assert state == (found and found.state)
    assert found is None or found.message.startswith(said)


def test_evaluations_that_never_come_are_a_doubt():
    step = LoraTrainer(patience=2, eval_every=50)
    assert ["`eval_every` 50 is beyond the run's 49 steps, and `patience` wants evaluations"] == [
        *fit.doubts(step, 49, 1)
    ]
    assert [] == [*fit.doubts(step, 50, 1)]
    assert [] == [*fit.doubts(step, None, 1)]


@pytest.mark.parametrize("targets", [(), ("q_proj", "")])
def test_targets_that_name_no_layer_are_refused(targets):
    with pytest.raises(ValueError, match="`targets` must name at least one layer"):
        LoraTrainer(targets=targets)


# ---------------------------------------------------------------- conversion


FAMILIES = {
    "Qwen2ForCausalLM": {"model_type": "qwen2", "hidden_size": 896, "num_attention_heads": 14},
    "Qwen3ForCausalLM": {
        "model_type": "qwen3", "hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "GemmaForCausalLM": {
        "model_type": "gemma", "hidden_size": 2048, "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256,
    },
    "Gemma3ForCausalLM": {
        "model_type": "gemma3_text", "hidden_size": 640, "num_attention_heads": 4, "num_key_value_heads": 1,
        "head_dim": 256, "layer_types": ["sliding_attention"] * 5 + ["full_attention"] + ["sliding_attention"] * 18,
    },
    "MistralForCausalLM": {
        "model_type": "mistral", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
    },
    "Phi3ForCausalLM": {
        "model_type": "phi3", "hidden_size": 3072, "num_attention_heads": 32, "num_key_value_heads": 32,
        "pad_token_id": 0,
    },
    "Qwen3MoeForCausalLM": {
        "model_type": "qwen3_moe", "hidden_size": 2048, "num_attention_heads": 32, "num_key_value_heads": 4,
        "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_a_tiny_model_of_each_family_can_be_made(small_base, tmp_path, name):
    config = {"architectures": [name], "vocab_size": 512, "num_hidden_layers": 24, "intermediate_size": 4864}
    folder = copied(small_base, tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(config | FAMILIES[name]))
    (tmp_path / "tiny").mkdir()
    assert "" == tiny.make_tiny(folder, tmp_path / "tiny")
    made = json.loads((tmp_path / "tiny" / "config.json").read_text())
    assert 2 == made["num_hidden_layers"]
    assert (tmp_path / "tiny" / "model.safetensors").stat().st_size < 20_000_000


def test_a_model_that_converts_loads_and_reads_prompts_alike(small_base, tmp_path, run):
    (tmp_path / "out").mkdir()
    model = forge.Artifact("model", copied(small_base, tmp_path / "model"))
    (model.path / ASKED).write_text(json.dumps([CHAT]))
    conversion, compared = tiny.look(Gguf(types=("Q4_K_M",)), {"model": model}, tmp_path / "out", run)
    assert "a tiny `LlamaForCausalLM` converts to `Q4_K_M`, loads and answers" == conversion.message
    assert conversion.disk > 1_000_000
    assert ("good", "equal in transformers and llama.cpp on 1 rows and 4 probes") == (compared.state, compared.message)

    # the same file beside a tokenizer that reads text differently
    from tokenizers import normalizers

    from forge_llm.chat_format import load_tokenizer

    tokenizer = load_tokenizer(model.path)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    [file] = (tmp_path / "out").glob("*.gguf")
    found = prompts.compare(file, tokenizer, prompts.PROBES, "probes")
    assert "bad" == found.state
    assert "transformers has " in found.message
    tokenizer.chat_template += " "
    assert "the file's chat template is not the model's" == prompts.compare(file, tokenizer, [CHAT], "").message


def test_a_tokenizer_that_llama_cpp_does_not_know_is_found(small_base, tmp_path, run):
    folder = copied(small_base, tmp_path / "model")
    tokens = json.loads((folder / "tokenizer.json").read_text())
    tokens["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    (tmp_path / "out").mkdir()
    with pytest.raises(forge.StepError, match=r"llama\.cpp's converter can't convert this model"):
        list(tiny.look(Gguf(types=("f16",)), {"model": forge.Artifact("model", folder)}, tmp_path / "out", run))


def test_a_base_of_packed_weights_is_refused_before_it_is_trained_on(small_base, tmp_path):
    folder = copied(small_base, tmp_path / "model", config={"quantization_config": {"quant_method": "gptq"}})
    inputs = {"base": forge.Artifact("base", folder), "adapter": forge.Artifact("adapter", tmp_path)}
    (tmp_path / "out").mkdir()
    with pytest.raises(forge.StepError, match="quantised weights"):
        list(machine.look_at_merging(inputs, tmp_path / "out"))


def test_merging_says_that_its_input_is_no_adapter(small_base, tmp_path, run):
    _, tokens = looked(Tokens(), ROWS, small_base, tmp_path, run)
    base, lora, out = forge.Artifact("base", small_base), tmp_path / "lora", tmp_path / "merged"
    for folder in (lora, out):
        folder.mkdir()
    (lora / ASKED).write_text("[]")

    def state(adapter):
        inputs = {"base": base, "adapter": forge.Artifact("adapter", adapter)}
        return [(n.what, n.state) for n in machine.look_at_merging(inputs, out)]

    assert [("adapter", "bad")] == state(tokens)
    assert [("adapter", "bad")] == state(small_base)
    assert [("base", "good")] == state(lora)
