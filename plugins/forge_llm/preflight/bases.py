"""Look at a base model without its weights."""

from __future__ import annotations

import functools
import json
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from forge import Notice, StepError
from forge_llm.export.model_folder import MODEL
from forge_llm.preflight.shapes import count_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from forge import File

_SMALL = (".json", ".jinja", ".model", ".txt", ".py")
"""Files of a model that hold no weights."""
_INDEX = ".safetensors.index.json"


def look_at_gguf(
    file: File, out: Path, bytes_each: int, fit: Callable[..., None], tidy: Callable[[Path], None]
) -> Iterator[Notice]:
    """Write config and tokenizer of a GGUF file as the step would (*fit* and *tidy* are its own), and look at both."""
    from transformers import AutoConfig, AutoTokenizer

    from forge_llm.model.gguf_header import read_header

    folder, name = file.path.parent, file.path.name
    metadata = read_header(file.path)
    try:
        with _one_reader():
            config: Any = AutoConfig.from_pretrained(folder, gguf_file=name)
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    except (ValueError, KeyError, OSError) as error:
        raise StepError(
            f"transformers can't read `{name}`: {str(error).partition(chr(10))[0]}",
            hint='take the model\'s Hugging Face folder: `use = "model.local"`',
        ) from error
    fit(tokenizer, metadata, name)
    tokenizer.model_max_length = config.max_position_embeddings
    for mark in ("quantization_config", "_name_or_path"):
        config.__dict__.pop(mark, None)
    if not config.architectures:
        from transformers import AutoModelForCausalLM

        config.architectures = [AutoModelForCausalLM._model_mapping[type(config)].__name__]  # noqa: SLF001 - its only way to the class's name
    config.save_pretrained(out)
    tokenizer.save_pretrained(out)
    ends = {"eos_token_id": tokenizer.eos_token_id}
    (out / "generation_config.json").write_text(json.dumps(ends) + "\n", encoding="utf-8")
    tidy(out / "tokenizer_config.json")
    yield model_notice(out, bytes_each)


@contextmanager
def _one_reader() -> Iterator[None]:
    """Let transformers read the file once: it asks for the header three times, and gguf takes seconds for each."""
    import gguf

    reader = gguf.GGUFReader
    gguf.GGUFReader = functools.cache(reader)
    try:
        yield
    finally:
        gguf.GGUFReader = reader


def look_at_folder(files: Iterable[File], out: Path) -> Iterator[Notice]:
    """Take a model's folder without its weights, and look at it."""
    weight = 0
    for file in files:
        if file.name.endswith(_SMALL):
            shutil.copyfile(file.path, out / file.name)
        else:
            weight += file.path.stat().st_size
    yield model_notice(out, 0, weight)


def model_notice(folder: Path, bytes_each: int, size: int = 0) -> Notice:
    """Say what model a folder holds; *size* are the bytes of its weights, else *bytes_each* parameter."""
    config = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    kind = next(iter(config.get("architectures") or ()), config.get("model_type", "unknown"))
    parameters = count_parameters(folder)
    if parameters is None:
        return Notice("model", message=f"`{kind}`", disk=size)
    millions = f"{parameters / 1e9:.2f} billion" if parameters >= 1e9 else f"{parameters / 1e6:.0f} million"  # noqa: PLR2004
    return Notice("model", message=f"`{kind}`, {millions} parameters", disk=size or parameters * bytes_each)
