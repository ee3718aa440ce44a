"""Find Hugging Face model folders in artifacts, and carry over what belongs to a model besides its weights."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from forge import StepError

if TYPE_CHECKING:
    from pathlib import Path

    from forge import Artifact

MODEL = "config.json"
ADAPTER = "adapter_config.json"

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
"""Everything that makes a tokenizer, its chat template included."""

OTHER_FILES = ("generation_config.json", "README.md", "LICENSE")


def find_folder(artifact: Artifact, marker: str) -> Path:
    """Return the one folder in *artifact* that holds the file *marker* (`MODEL` or `ADAPTER`)."""
    if (artifact.path / marker).is_file():
        return artifact.path
    found = sorted(p.parent for p in artifact.path.rglob(marker))
    if len(found) == 1:
        return found[0]
    what = "no" if not found else f"{len(found)} folders with a"
    raise StepError(
        f"input `{artifact.name}` holds {what} `{marker}`",
        hint=f"it holds {', '.join(list(artifact.files())[:5]) or 'nothing'}",
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return ``config.json`` without the path it was once loaded from."""
    config: dict[str, Any] = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    return config


def refuse_quantised(config: dict[str, Any], name: str) -> None:
    """Refuse a model whose weights are packed into few bits: adding to them rounds the adapter away."""
    packing = config.get("quantization_config")
    if packing:
        method = packing.get("quant_method", "unknown") if isinstance(packing, dict) else packing
        raise StepError(
            f"input `{name}` holds quantised weights (`{method}`)",
            hint="give the 16-bit base: an adapter trained over a 4-bit copy still merges into the original",
        )


def copy_side_files(folder: Path, tokenizer_from: Path, out: Path) -> None:
    """Copy config, generation config and tokenizer to *out*, the tokenizer from the folder that trained with it."""
    (out / MODEL).write_text(json.dumps(read_config(folder), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for source, names in ((folder, OTHER_FILES), (tokenizer_from, TOKENIZER_FILES)):
        for name in names:
            if (source / name).is_file():
                shutil.copyfile(source / name, out / name)


def chat_template(folder: Path) -> str | None:
    """Return the folder's default chat template, read as transformers reads it: the jinja file goes first."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            continue
        found = json.loads((folder / name).read_text(encoding="utf-8")).get("chat_template")
        if isinstance(found, list):
            found = {each["name"]: each["template"] for each in found}.get("default")
        if found:
            return str(found)
    return None


def shards(folder: Path) -> list[Path]:
    """Return the safetensors files of a model in the order of their names."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return [folder / name for name in sorted(names)]
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise StepError(
            "the base model has no safetensors file",
            hint="load it with transformers and `save_pretrained` it: pickled weights are not read",
        )
    return found
