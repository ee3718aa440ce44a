"""`export.merged` against peft's own merge, on a model of a few kilobytes."""

import json
import warnings
import weakref
from hashlib import sha256

import pytest

import forge
from forge_llm.export.adapters import beyond_plain
from forge_llm.export.merge import Merged

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")


def write_model(folder, dtype=torch.float16):
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    transformers.LlamaForCausalLM(config).to(dtype).save_pretrained(folder, max_shard_size="30KB")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    return folder


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto")


def merge_by_peft(base, adapter):
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        return PeftModel.from_pretrained(load(base), adapter).merge_and_unload().state_dict()


def export(base, adapter, out):
    out.mkdir()
    run = forge.LocalRun(scratch=out.parent)
    inputs = {"base": forge.Artifact("base", base), "adapter": forge.Artifact("adapter", adapter)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)  # peft: tied weights that are saved
        Merged().export(inputs, out, run)
    return run


def digests(folder):
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"target_modules": ["q_proj", "down_proj"], "r": 2, "lora_alpha": 3},
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"use_dora": True, "use_rslora": True, "rank_pattern": {"layers.0.mlp.up_proj": 3}},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 5}},
        {"target_modules": ["q_proj", "embed_tokens"]},
    ],
    ids=["plain", "rslora", "targets", "dora", "saved modules", "dora, rslora and patterns", "patterns", "embeddings"],
)
def test_the_merged_weights_are_those_of_peft(tmp_path, save_adapter, dtype, options):
    base = write_model(tmp_path / "base", dtype)
    adapter = tmp_path / "adapter"
    save_adapter(base, adapter, **options)
    export(base, adapter, tmp_path / "out")
    expected, found, before = merge_by_peft(base, adapter), load(tmp_path / "out").state_dict(), load(base).state_dict()
    assert expected.keys() == found.keys()
    assert {name for name in expected if not torch.equal(expected[name], found[name])} == set()
    assert {value.dtype for value in found.values()} == {dtype}
    assert any(not torch.equal(before[name], found[name]) for name in before)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}], ids=str)
def test_weights_that_lie_the_other_way_round_and_tied_ones_merge_as_in_peft(tmp_path, save_adapter, options):
    torch.manual_seed(1)
    config = transformers.GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=32)
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    transformers.GPT2LMHeadModel(config).to(torch.float16).save_pretrained(base)
    targets = {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}
    save_adapter(base, adapter, **targets, **options)
    run = export(base, adapter, tmp_path / "out")
    expected, found = merge_by_peft(base, adapter), load(tmp_path / "out").state_dict()
    assert {name for name in expected if not torch.equal(expected[name], found[name])} == set()
    through_peft = "merging through peft, for the adapter sets `modules_to_save`" in run.messages
    assert through_peft == ("modules_to_save" in options)


def test_an_adapter_that_was_trained_over_four_bits_merges_into_the_sixteen_bit_base(tmp_path, tiny_model):
    pytest.importorskip("bitsandbytes")
    from forge_llm.train.backend_peft import open_model
    from forge_llm.train.lora import LoraTrainer
    from forge_llm.train.result import write_adapter

    base, adapter = tmp_path / "base", tmp_path / "adapter"
    transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).save_pretrained(base)
    adapter.mkdir()
    trained = open_model(base, LoraTrainer(r=4, load_in_4bit=True), "fp32", "cpu").model
    for name, parameter in trained.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.1)
    write_adapter(adapter, trained)
    export(base, adapter, tmp_path / "out")
    expected, found = merge_by_peft(base, adapter), load(tmp_path / "out").state_dict()
    assert {name for name in expected if not torch.equal(expected[name], found[name])} == set()
    assert {value.dtype for value in found.values()} == {torch.bfloat16}


def test_merging_holds_one_weight_in_memory_however_large_the_file(tmp_path):
    from safetensors.torch import load_file, save_file

    from forge_llm.export import shard_files

    weights = {f"w{index}": torch.full((64, 64), float(index)) for index in range(8)}
    save_file(weights, tmp_path / "old.safetensors")
    alive, most = set(), 0

    def change(name, weight):
        nonlocal most
        alive.add(name)
        weakref.finalize(weight, alive.discard, name)
        most = max(most, len(alive))
        return weight + 1 if name == "w3" else None

    sizes = list(shard_files.rewrite(tmp_path / "old.safetensors", tmp_path / "new.safetensors", change))
    assert [64 * 64 * 4] * 8 == sizes
    assert most <= 2
    found = load_file(tmp_path / "new.safetensors")
    assert {name: int(name[1]) + (name == "w3") for name in weights} == {n: int(w[0, 0]) for n, w in found.items()}
    cut = (tmp_path / "old.safetensors").read_bytes()[:-10]
    (tmp_path / "old.safetensors").write_bytes(cut)
    with pytest.raises(forge.StepError, match=r"`old.safetensors` is cut short"):
        list(shard_files.rewrite(tmp_path / "old.safetensors", tmp_path / "new.safetensors", change))


def test_shards_config_and_tokenizer_are_kept(tmp_path, save_adapter):
    base = write_model(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "_name_or_path": "/home/someone/model"}))
    save_adapter(base, tmp_path / "adapter")
    export(base, tmp_path / "adapter", tmp_path / "out")
    kept = {path.name for path in base.iterdir()}
    assert len([name for name in kept if name.endswith(".safetensors")]) > 1
    assert kept == {path.name for path in (tmp_path / "out").iterdir()}
    assert config == json.loads((tmp_path / "out/config.json").read_text())


def test_two_merges_have_the_same_bytes(tmp_path, save_adapter):
    base = write_model(tmp_path / "base")
    adapter = tmp_path / "adapter"
    save_adapter(base, adapter)
    export(base, adapter, tmp_path / "one")
    export(base, adapter, tmp_path / "two")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_the_tokenizer_that_the_adapter_was_trained_with_goes_first(tmp_path, save_adapter):
    base = write_model(tmp_path / "base")
    adapter = tmp_path / "adapter"
    save_adapter(base, adapter)
    (adapter / "tokenizer_config.json").write_text('{"chat_template": "trained with"}')
    export(base, adapter, tmp_path / "out")
    assert (tmp_path / "out/tokenizer_config.json").read_text() == '{"chat_template": "trained with"}'


def test_a_four_bit_base_is_refused(tmp_path, save_adapter):
    base = write_model(tmp_path / "base")
    adapter = tmp_path / "adapter"
    save_adapter(base, adapter)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "bitsandbytes"}}))
    with pytest.raises(forge.StepError) as caught:
        export(base, adapter, tmp_path / "out")
    assert caught.value.message == "input `base` holds quantised weights (`bitsandbytes`)"


def test_an_adapter_of_another_model_is_refused_by_the_weight_that_does_not_fit(tmp_path, save_adapter):
    from safetensors.torch import load_file, save_file

    base = write_model(tmp_path / "base")
    adapter = tmp_path / "adapter"
    save_adapter(base, adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {k.replace("layers.1.", "layers.9."): v for k, v in weights.items()}, adapter / "adapter_model.safetensors"
    )
    with pytest.raises(forge.StepError, match=r"`model\.layers\.9\.mlp\.down_proj\.weight`, which the base does not"):
        export(base, adapter, tmp_path / "out")
    cut = {k: v[:, :8].contiguous() if "lora_A" in k else v for k, v in weights.items()}
    save_file(cut, adapter / "adapter_model.safetensors")
    with pytest.raises(forge.StepError, match=r"has the shape \(32, 8\), the base's weight \(32, "):
        export(base, adapter, tmp_path / "again")


def test_an_adapter_that_changes_nothing_is_warned_of(tmp_path, save_adapter):
    base = write_model(tmp_path / "base")
    adapter = tmp_path / "adapter"
    save_adapter(base, adapter)
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({k: v * 0 for k, v in weights.items()}, adapter / "adapter_model.safetensors")
    run = export(base, adapter, tmp_path / "out")
    assert run.messages[-1] == "the adapter changes nothing: has it been trained?"


def test_a_diverged_adapter_is_refused(tmp_path, save_adapter):
    from safetensors.torch import load_file, save_file

    base = write_model(tmp_path / "base")
    adapter = tmp_path / "adapter"
    save_adapter(base, adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({k: v * 1e4 for k, v in weights.items()}, adapter / "adapter_model.safetensors")
    with pytest.raises(forge.StepError, match="holds numbers that `float16` can't"):
        export(base, adapter, tmp_path / "out")


def test_a_folder_without_an_adapter_is_named(tmp_path):
    base = write_model(tmp_path / "base")
    (tmp_path / "empty").mkdir()
    with pytest.raises(forge.StepError) as caught:
        export(base, tmp_path / "empty", tmp_path / "out")
    assert caught.value.message == "input `adapter` holds no `adapter_config.json`"


def test_a_setting_that_nobody_knows_is_not_plain():
    plain = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "use_dora": False, "init_lora_weights": True}
    assert beyond_plain(plain) == []
    assert beyond_plain({**plain, "use_dora": True, "use_rslora": True, "rank_pattern": {"q_proj": 2}}) == []
    assert beyond_plain({**plain, "lora_bias": True}) == ["lora_bias"]
    assert beyond_plain({**plain, "bias": "all"}) == ["bias"]
    assert beyond_plain({**plain, "invented_next_year": {"a": 1}}) == ["invented_next_year"]
    assert beyond_plain({**plain, "init_lora_weights": "pissa"}) == ["init_lora_weights"]
