"""Checks: a model file proves on held-out rows that it is the model that was trained."""

from __future__ import annotations

import forge


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the checks."""
    from forge_llm.check.gguf_check import GgufCheck

    register.check(
        "gguf",
        GgufCheck,
        version="1",
        inputs=("gguf", "reference", "data"),
        requires=("llama_cpp", "gguf", "transformers", "torch", "safetensors", "jinja2"),
        extra="gguf",
        facts=("llama-cpp-python", "transformers", "torch"),
        heavy=True,
    )
