"""Merge a LoRA adapter into the base it was trained for, in full precision, one shard at a time."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import attrs

from forge import StepError
from forge_llm.export.model_folder import (
    ADAPTER,
    MODEL,
    copy_side_files,
    find_folder,
    read_config,
    refuse_quantised,
    shards,
)
from forge_llm.threads import wait_asleep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from forge import Artifact, Notice, Run

PREFIX = "base_model.model."
FLOATS = ("float16", "bfloat16", "float32")

PLAIN = {
    "alora_invocation_tokens": None,
    "bias": "none",
    "fan_in_fan_out": (True, False),
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),
    "peft_type": "LORA",
}
"""Settings of plain LoRA, where their value matters: a value, or a choice of values."""

HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
}
"""Settings that say nothing about how the weights are merged, or that are read below."""


@attrs.frozen
class Merged:
    """Merge a LoRA adapter into its 16- or 32-bit base and leave a whole Hugging Face model.

    Each weight is ``W + scale · B · A`` in 32-bit arithmetic, rounded once to the base's own type.
    Adapters that are more than plain LoRA (DoRA, modules to save, patterns of ranks) are merged by peft.
    Tokenizer, chat template and generation config are kept; the adapter's own tokenizer goes first.
    """

    def export(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> None:
        """Merge ``adapter`` into ``base``."""
        wait_asleep()
        base = find_folder(inputs["base"], MODEL)
        adapter = find_folder(inputs["adapter"], ADAPTER)
        refuse_quantised(read_config(base), inputs["base"].name)
        settings = json.loads((adapter / ADAPTER).read_text(encoding="utf-8"))
        special = beyond_plain(settings)
        if special:
            run.log(f"merging through peft, for the adapter sets {', '.join(f'`{name}`' for name in special)}")
            _merge_by_peft(base, adapter, out, run)
        else:
            _merge_by_shards(base, adapter, settings, out, run)
        copy_side_files(base, adapter if (adapter / "tokenizer_config.json").is_file() else base, out)

    def preflight(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> Iterable[Notice]:
        """Look at the base, and hand its shape on."""
        from forge_llm.preflight.machine import look_at_merging

        del run
        return look_at_merging(inputs, out)


def beyond_plain(settings: Mapping[str, Any]) -> list[str]:
    """Return the settings of an adapter that are more than plain LoRA; one that we don't know counts."""
    found = []
    for name, value in sorted(settings.items()):
        if name in PLAIN:
            allowed = PLAIN[name]
            if value != allowed and not (isinstance(allowed, tuple) and value in allowed):
                found.append(name)
        elif name not in HARMLESS and value:
            found.append(name)
    return found


def _merge_by_shards(base: Path, adapter: Path, settings: Mapping[str, Any], out: Path, run: Run) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    pairs = _read_pairs(adapter)
    torch.set_num_threads(run.threads)
    files = shards(base)
    total = sum(path.stat().st_size for path in files)
    done, merged, moved = 0, set(), 0
    for path in files:
        tensors = {}
        with safe_open(path, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118 - a shard is no mapping
                tensor = shard.get_tensor(name)
                if name in pairs:
                    left, right = pairs[name]
                    _refuse_type(name, tensor)
                    new = _merge(name, tensor, left, right, settings)
                    moved += not torch.equal(new, tensor)
                    tensor = new
                    merged.add(name)
                tensors[name] = tensor.contiguous()
                done += tensor.nbytes
                run.progress(done, total)
        save_file(tensors, out / path.name, metadata={"format": "pt"})
    missing = sorted(pairs.keys() - merged)
    if missing:
        raise StepError(
            f"the adapter changes `{missing[0]}`, which the base does not have ({len(missing)} of {len(pairs)} such)",
            hint="an adapter merges into the model it was trained for; is `base` that one?",
        )
    index = base / "model.safetensors.index.json"
    if index.is_file():
        shutil.copyfile(index, out / index.name)
    run.log(f"merged {len(merged)} weights, {moved} of them moved")
    if not moved:
        run.warn("the adapter changes nothing: has it been trained?")


def _read_pairs(adapter: Path) -> dict[str, tuple[Any, Any]]:
    """Return A and B for each weight of the base, by the weight's name."""
    from safetensors.torch import load_file

    path = adapter / "adapter_model.safetensors"
    if not path.is_file():
        raise StepError("the adapter has no `adapter_model.safetensors`", hint="pickled adapters are not read")
    halves: dict[str, dict[str, Any]] = {}
    for key, tensor in load_file(path).items():
        name = key.removeprefix(PREFIX)
        for half in ("lora_A", "lora_B"):
            if name.endswith(f".{half}.weight"):
                halves.setdefault(name.removesuffix(f"{half}.weight") + "weight", {})[half] = tensor
                break
        else:
            raise StepError(f"the adapter holds `{key}`, which plain LoRA does not have")
    if not halves:
        raise StepError("the adapter holds no weights")
    for name, both in halves.items():
        if len(both) != len(("lora_A", "lora_B")):
            raise StepError(f"the adapter holds only one of A and B for `{name}`")
    return {name: (both["lora_A"], both["lora_B"]) for name, both in halves.items()}


def _merge(name: str, weight: Any, left: Any, right: Any, settings: Mapping[str, Any]) -> Any:
    """Return ``W + scale · B · A`` in the type of *weight*; the scale is alpha / r, or alpha / √r for rsLoRA."""
    rank = left.shape[0]
    scale = settings["lora_alpha"] / (rank**0.5 if settings.get("use_rslora") else rank)
    product = right.float() @ left.float()
    delta = (product.T if settings.get("fan_in_fan_out") else product) * scale
    if delta.shape != weight.shape:
        raise StepError(
            f"the adapter's change of `{name}` has the shape {tuple(delta.shape)}, the base's weight "
            f"{tuple(weight.shape)}",
            hint="an adapter merges into the model it was trained for; is `base` that one?",
        )
    merged = (weight.float() + delta).to(weight.dtype)
    _refuse_overflow(name, merged)
    return merged


def _refuse_overflow(name: str, weight: Any) -> None:
    if not weight.isfinite().all():
        raise StepError(
            f"the merged weight `{name}` holds numbers that `{str(weight.dtype).removeprefix('torch.')}` can't",
            hint="the training diverged, or the base is float16 and needs to be bfloat16",
        )


def _refuse_type(name: str, tensor: Any) -> None:
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind not in FLOATS:
        raise StepError(f"the base's weight `{name}` is `{kind}`", hint=f"a base is one of {', '.join(FLOATS)}")


def _merge_by_peft(base: Path, adapter: Path, out: Path, run: Run) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(run.threads)
    run.progress(0, 3)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True)
    run.progress(1, 3)
    # not `safe_merge`: it rounds the change to the base's type before adding it, and the sum again
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    for name, weight in merged.state_dict().items():
        _refuse_overflow(name, weight)
    run.progress(2, 3)
    merged.save_pretrained(out, safe_serialization=True)
    run.progress(3, 3)
