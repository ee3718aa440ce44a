"""A model's shape from its config: how many parameters, which linear layers; no weight is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forge_llm.chat_format import brings_code

if TYPE_CHECKING:
    from pathlib import Path

BYTES = {"F32": 4.0, "16": 2.0, "Q8": 1.07, "Q6": 0.83, "Q5": 0.72, "Q4": 0.61, "Q3": 0.5, "Q2": 0.42, "1_": 0.3}
"""Bytes a parameter takes in a GGUF file, by what the type's name holds."""


def outline(folder: Path) -> Any:
    """Return the model that a folder's config describes, without weights; None where transformers can't make it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if brings_code(folder):
        return None  # code of a model is run where it is trained, not to look at it
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except (ValueError, KeyError, AttributeError, TypeError, ImportError, OSError, RuntimeError):
        return None


def count_parameters(folder: Path) -> int | None:
    """Return how many parameters the model has; None where that can't be told."""
    model = outline(folder)
    return None if model is None else sum(parameter.numel() for parameter in model.parameters())


def linear_layers(model: Any) -> dict[str, tuple[int, int]]:
    """Return width in and out of each linear layer but the head, by its full name."""
    import torch

    head = model.get_output_embeddings()
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }


def bytes_of_type(kind: str) -> float:
    """Return the bytes that a parameter takes in a GGUF file of a type."""
    return next((size for part, size in BYTES.items() if part in kind.upper()), 1.0)
