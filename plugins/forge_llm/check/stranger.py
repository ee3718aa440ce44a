"""Say in what a file differs from the one that a receipt speaks of, as far as the receipt knows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from forge_llm.check.evidence import CHECK
from forge_llm.check.facts import CUTS, MERGES, TOKENS, digest_of
from forge_llm.check.gguf_choice import exported
from forge_llm.export.llama_cpp_files import TEMPLATE
from forge_llm.model.gguf_header import damage, read_header

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

END = "tokenizer.ggml.eos_token_id"


def tell_apart(file: Path, member: str | None, folder: Path) -> str:
    """Return what differs between *file* and the one that was checked as *member*, or as the file of the same type."""
    reason = damage(file)
    if reason or not (folder / CHECK).is_file():
        return reason
    files: Mapping[str, Any] = json.loads((folder / CHECK).read_text(encoding="utf-8"))["files"]
    kind = exported(file).kind
    named = [entry for entry in files.values() if member is not None and entry["name"] == member.rpartition("/")[2]]
    entry = named[0] if named else files.get(kind)
    if entry is None:
        return f"it is of the type `{kind}`, and there is {', '.join(f'`{each}`' for each in files)}"
    found = _differing(read_header(file), entry["known"])
    if found:
        return f"what differs: {', '.join(found)}"
    return "chat template, end token and tokenizer are as they were; its tensors or other metadata are not"


def _differing(header: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    found = []
    if digest_of(header.get(TEMPLATE)) != known["template"]:
        found.append("the chat template")
    end = header.get(END, known["ends"][0])
    if end != known["ends"][0]:
        found.append(f"the end token ({end}, it was {known['ends'][0]})")
    if digest_of([header.get(key) for key in (TOKENS, MERGES, CUTS)]) != known["tokenizer"]:
        found.append("the tokenizer")
    return found
