"""Base models: from a GGUF file, a local Hugging Face folder, or the hub."""

from __future__ import annotations

import forge

from .from_gguf import GgufModel
from .hub import HubModel
from .local import LocalModel

__all__ = ["GgufModel", "HubModel", "LocalModel"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the sources of base models."""
    register.source(
        "gguf",
        GgufModel,
        version="1",
        requires=("torch", "transformers", "gguf"),
        extra="train",
        facts=("transformers", "gguf"),
        heavy=True,
    )
    register.source("local", LocalModel, version="1")
    register.source("hub", HubModel, version="1", requires=("huggingface_hub",), extra="train", network=True)
