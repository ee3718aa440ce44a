"""Quantise a GGUF file through llama.cpp's own function."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forge import StepError
from forge_llm.export.llama_cpp_files import ERROR, WARN, llama_log

if TYPE_CHECKING:
    from pathlib import Path

    from forge import Run

QUANTISED = (
    "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "Q3_K_L", "Q3_K_M",
    "Q3_K_S", "Q2_K", "IQ4_NL", "IQ4_XS", "IQ3_M", "IQ3_S",
)  # fmt: skip
"""The types that need nothing but the weights."""

NEED_IMPORTANCE = ("IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "Q2_K_S")
"""The types that llama.cpp refuses to write without an importance matrix."""

_COUNTER = re.compile(r"^\[ *(\d+)/ *(\d+)\]")


def quantise(source: Path, target: Path, kind: str, run: Run) -> None:
    """Write *source* (16 or 32 bits) to *target* as *kind*, one of `QUANTISED`."""
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    parameters.nthread = run.threads
    errors: list[str] = []

    def take(level: int, text: str) -> None:
        counter = _COUNTER.match(text)
        if counter:
            run.progress(int(counter[1]), int(counter[2]))
        elif level == ERROR:
            errors.append(text)
        if level == WARN or "size  =" in text:
            run.log(text)

    with llama_log(take):
        status = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), parameters)
    if status != 0:
        raise StepError(
            f"llama.cpp could not quantise `{source.name}` to `{kind}`: {' '.join(errors) or f'status {status}'}"
        )
