"""Which of a model's files are taken: weights that are data alone, and what makes a tokenizer of them."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "vocab.*", "merges.txt")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_TWICE = "consolidated*.safetensors"
"""The same weights in Mistral's own form, beside those that transformers reads."""
_ADAPTER = "adapter_config.json"


def wanted(names: Sequence[str], *, trust_remote_code: bool) -> list[str]:
    """Keep what a model is loaded from: the files at the folder's top, without pickles and code."""
    patterns = (*_WANTED, "*.py") if trust_remote_code else _WANTED
    kept = [name for name in names if "/" not in name and any(fnmatch(name, pattern) for pattern in patterns)]
    weights = [name for name in kept if name.endswith(".safetensors")]
    if weights:
        once = [name for name in weights if not fnmatch(name, _TWICE)]
        return [name for name in kept if not once or name not in weights or name in once]
    pickled = [name for name in names if any(fnmatch(name, pattern) for pattern in _PICKLED)]
    if pickled:
        raise forge.StepError(
            f"the model has no safetensors, only pickled weights: `{pickled[0]}`",
            hint="loading a pickle runs code; convert it once, where you trust it, with `save_pretrained`",
        )
    raise forge.StepError("the model's folder has no `*.safetensors`", hint="is it the folder of one model?")


def check_complete(files: Mapping[str, Path]) -> None:
    """Refuse an adapter, a folder without its config, and a sharded model with a shard missing."""
    if _ADAPTER in files:
        raise forge.StepError("the folder holds an adapter, not a model", hint="merge it first, or name its base")
    if "config.json" not in files:
        raise forge.StepError("the model's folder has no `config.json`")
    for name in [name for name in files if name.endswith(".safetensors.index.json")]:
        shards = set(json.loads(files[name].read_text())["weight_map"].values())
        missing = sorted(shards - set(files))
        if missing:
            raise forge.StepError(f"the model is incomplete: `{missing[0]}` is missing ({len(missing)} in all)")
