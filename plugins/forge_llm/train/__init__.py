"""Training: token ids with a loss mask, and LoRA adapters."""

from __future__ import annotations

import forge

from .lora import LoraTrainer
from .mix import Mix
from .tokens import Tokens

__all__ = ["LoraTrainer", "Mix", "Tokens"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the step that makes token ids and the trainer."""
    register.transform(
        "tokens",
        Tokens,
        version="1",
        inputs=None,
        requires=("transformers", "jinja2"),
        extra="train",
        facts=("transformers", "tokenizers"),
    )
    register.transform("mix", Mix, version="1")
    register.trainer(
        "lora",
        LoraTrainer,
        version="1",
        inputs=("data", "eval?", "base", "adapter?"),
        requires=("torch", "transformers", "peft", "bitsandbytes", "accelerate", "matplotlib"),
        extra="train",
        facts=("torch", "transformers", "peft", "bitsandbytes"),
        heavy=True,
    )
