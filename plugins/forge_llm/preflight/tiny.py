"""Send a tiny random model of the same architecture through converter, quantiser and llama.cpp."""

from __future__ import annotations

import json
import math
import shutil
from typing import TYPE_CHECKING, Any

from forge import Artifact, Notice, StepError
from forge_llm.chat_format import brings_code, load_tokenizer
from forge_llm.export.model_folder import MODEL, find_folder, read_config, refuse_quantised
from forge_llm.preflight import ASKED
from forge_llm.preflight.prompts import PROBES, compare
from forge_llm.preflight.shapes import bytes_of_type, count_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forge import Run

_BLOCK = 256
"""Weights that llama.cpp's K-quants pack together: a row must be a multiple of it."""
_LEAST_HEADS = 2
_FEW = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 0,
    "num_mtp_layers": 0,
}
"""What makes a mixture of experts small."""


def look(step: Any, inputs: Mapping[str, Artifact], out: Path, run: Run) -> Iterator[Notice]:
    """Make, convert, quantise and load the tiny model; compare prompts with its vocabulary, which is the whole one."""
    folder = find_folder(inputs["model"], MODEL)
    config = read_config(folder)
    refuse_quantised(config, inputs["model"].name)
    architecture = next(iter(config.get("architectures") or ()), config.get("model_type", "unknown"))
    parameters = count_parameters(folder)
    disk = 0 if parameters is None else int(sum(bytes_of_type(kind) for kind in step.types) * parameters)
    tiny = run.scratch / "tiny"
    tiny.mkdir(parents=True, exist_ok=True)
    reason = make_tiny(folder, tiny)
    if reason:
        yield Notice("conversion", "unseen", f"no tiny `{architecture}` can be made: {reason}", disk=disk)
        return
    step.export({**inputs, "model": Artifact(inputs["model"].name, tiny)}, out, run)
    files = sorted(out.glob("*.gguf"))
    for file in files:
        _answer(file)
    kinds = ", ".join(f"`{kind}`" for kind in step.types)
    yield Notice("conversion", message=f"a tiny `{architecture}` converts to {kinds}, loads and answers", disk=disk)
    asked = inputs["model"].path / ASKED
    chats = json.loads(asked.read_text(encoding="utf-8")) if asked.is_file() else []
    if asked.is_file():
        shutil.copyfile(asked, out / ASKED)
    tokenizer = load_tokenizer(folder)
    yield compare(files[0], tokenizer, [*chats, *PROBES], f"{len(chats)} rows and {len(PROBES)} probes")


def make_tiny(folder: Path, tiny: Path) -> str:
    """Save a model of few random layers under the config and the tokenizer of *folder*; return why that can't be."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if brings_code(folder):
        return "it is made by code of its own, which is run where it is trained"
    for path in folder.iterdir():
        if path.is_file() and path.suffix in (".json", ".jinja", ".model", ".txt") and "safetensors" not in path.name:
            shutil.copyfile(path, tiny / path.name)
    try:
        (tiny / MODEL).write_text(json.dumps(shrunk(read_config(folder))), encoding="utf-8")
        config = AutoConfig.from_pretrained(tiny, local_files_only=True)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float16)
        model.save_pretrained(tiny)
    except StepError:
        raise
    except Exception as error:  # noqa: BLE001 - transformers' models refuse shapes in as many ways as there are models
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
    return ""


def shrunk(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with two layers of the least width that every quantised type takes, the vocabulary whole."""
    small = dict(config)
    for part in ("text_config", "llm_config"):
        if isinstance(small.get(part), dict):
            small[part] = shrunk(small[part])
    layers = small.get("num_hidden_layers")
    if not isinstance(layers, int):
        return small
    kept = _kept_layers(small, layers)
    for name, value in small.items():
        if isinstance(value, list) and len(value) == layers and layers > len(kept):
            small[name] = [value[place] for place in kept]
    small["num_hidden_layers"] = len(kept)
    heads, hidden = small.get("num_attention_heads"), small.get("hidden_size")
    if isinstance(heads, int) and isinstance(hidden, int) and heads:
        width = small.get("head_dim") or hidden // heads
        few = max(_LEAST_HEADS, math.lcm(_BLOCK, width) // width)
        groups = small.get("num_key_value_heads") or heads
        small["num_attention_heads"] = few
        small["hidden_size"] = math.lcm(_BLOCK, few * (hidden // heads)) if small.get("head_dim") is None else _BLOCK
        if "num_key_value_heads" in small:
            small["num_key_value_heads"] = few if groups == heads else max(1, few // 2)
    for name in ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"):
        if isinstance(small.get(name), int) and small[name]:
            small[name] = _BLOCK
    return small | {name: min(small[name], few) for name, few in _FEW.items() if isinstance(small.get(name), int)}


def _kept_layers(config: dict[str, Any], layers: int) -> list[int]:
    """Return the places of two layers, and of one of each kind where there are more kinds."""
    kinds = config.get("layer_types")
    first = [] if not isinstance(kinds, list) else [kinds.index(kind) for kind in dict.fromkeys(kinds)]
    dense = config.get("first_k_dense_replace")
    kept = {0, *first, *([dense] if isinstance(dense, int) and dense < layers else [])}
    return sorted(kept) if len(kept) > 1 else list(range(min(layers, 2)))


def _answer(file: Path) -> None:
    """Load a file and let it read some tokens."""
    from forge_llm.check.local_model import LocalModel

    with LocalModel(file) as model:
        reader = model.reader(context=64, threads=1)
        reader.logits_after(model.encode("Why?")[:8] or [0])
