"""Catch what llama.cpp writes to stderr, and read what a GGUF file says about itself."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from forge import StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Answer = TypeVar("Answer")

DEBUG, INFO, WARN, ERROR, GOES_ON = 1, 2, 3, 4, 5
"""ggml's log levels; a piece at `GOES_ON` belongs to the line before it."""

TEMPLATE = "tokenizer.chat_template"


@contextmanager
def llama_log(take: Callable[[int, str], None]) -> Iterator[None]:
    """Call *take* with level and text of each line that llama.cpp logs; the Python package's way comes back after."""
    import llama_cpp
    from llama_cpp._logger import llama_log_callback

    held: list[tuple[int, str]] = []

    def flush() -> None:
        text = "".join(piece for _, piece in held).rstrip()
        if text:
            take(held[0][0], text)
        held.clear()

    def receive(level: int, text: bytes, _: object) -> None:
        held.append((level, text.decode("utf-8", "replace")))
        if text.endswith(b"\n"):
            flush()

    callback = llama_cpp.llama_log_callback(receive)
    llama_cpp.llama_log_set(callback, None)
    try:
        yield
    finally:
        llama_cpp.llama_log_set(llama_log_callback, None)
        flush()


def embedded_template(path: Path) -> str | None:
    """Return the chat template that a GGUF file carries, as llama.cpp reads it."""
    return _with_vocabulary(path, lambda model: metadata_value(model, TEMPLATE))


def _with_vocabulary(path: Path, ask: Callable[[Any], Answer]) -> Answer:
    """Return what *ask* finds in a file that llama.cpp opened for its vocabulary; the weights are not read."""
    import llama_cpp

    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    errors: list[str] = []

    def take(level: int, text: str) -> None:
        if level == ERROR:
            errors.append(text)

    with llama_log(take):
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if model is None:
            raise StepError(f"llama.cpp can't read `{path.name}`: {errors[0] if errors else 'it gives no reason'}")
        try:
            return ask(model)
        finally:
            llama_cpp.llama_model_free(model)


def metadata_value(model: Any, key: str) -> str | None:
    """Return one text from a loaded model's metadata."""
    import llama_cpp

    size = llama_cpp.llama_model_meta_val_str(model, key.encode(), None, 0)
    if size < 0:
        return None
    buffer = ctypes.create_string_buffer(size + 1)
    llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, size + 1)
    return buffer.value.decode("utf-8")


def adds_start(path: Path) -> bool:
    """Say whether llama.cpp puts the vocabulary's first token before every text that it reads."""
    import llama_cpp

    return _with_vocabulary(
        path, lambda model: bool(llama_cpp.llama_vocab_get_add_bos(llama_cpp.llama_model_get_vocab(model)))
    )
