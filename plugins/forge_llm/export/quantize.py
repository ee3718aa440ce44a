"""Quantise a GGUF file through llama.cpp's own function."""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Any

from forge import StepError
from forge_llm.export.llama_cpp_files import ERROR, WARN, llama_log

if TYPE_CHECKING:
    from pathlib import Path

    from forge import Run
    from forge_llm.export.importance import Importance

NEED_IMPORTANCE = ("Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S")
"""The types that llama.cpp refuses to write without an importance matrix."""

QUANTISED = (
    "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS",
    "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "Q2_K", "Q2_0", "Q1_0", "TQ2_0", "TQ1_0", "MXFP4_MOE",
    *NEED_IMPORTANCE,
)  # fmt: skip
"""llama.cpp's file types of less than 16 bits, as ``llama.h`` names them after ``LLAMA_FTYPE_MOSTLY_``."""

NOT_WRITTEN = ("NVFP4",)
"""The types that llama.cpp names, and reads, but does not quantise to."""

_COUNTER = re.compile(r"^\[ *(\d+)/ *(\d+)\]")


def quantise(source: Path, target: Path, kind: str, run: Run, *, importance: Importance | None = None) -> None:
    """Write *source* (16 or 32 bits) to *target* as *kind*, one of `QUANTISED`, with care where *importance* says."""
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    parameters.nthread = run.threads
    if importance is not None:
        matrix, said = _matrix(importance), _said(importance)
        parameters.imatrix = ctypes.cast(matrix, type(parameters.imatrix))
        parameters.kv_overrides = ctypes.cast(said, type(parameters.kv_overrides))
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
        needs = kind in NEED_IMPORTANCE
        raise StepError(
            f"llama.cpp could not quantise `{source.name}` to `{kind}`: {' '.join(errors) or f'status {status}'}",
            hint="it needs an importance of every weight, and sees that of linear modules alone" if needs else None,
        )


def _matrix(importance: Importance) -> Any:
    """Return the matrix as llama.cpp takes it: an array of names and numbers, closed by an entry without a name."""
    import llama_cpp

    entries = (llama_cpp.llama_model_imatrix_data * (len(importance.squares) + 1))()
    for entry, (name, squares) in zip(entries, importance.squares.items(), strict=False):
        entry.name = name.encode()
        entry.data = squares.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = squares.size
    return entries


def _said(importance: Importance) -> Any:
    """Return the entries by which llama-quantize says in the file that there was a matrix."""
    import llama_cpp

    said = {"entries_count": len(importance.squares), "chunks_count": importance.rows}
    entries = (llama_cpp.llama_model_kv_override * (len(said) + 1))()
    for entry, (name, number) in zip(entries, said.items(), strict=False):
        entry.tag = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT
        entry.key = f"quantize.imatrix.{name}".encode()
        entry.value.val_i64 = number
    return entries
