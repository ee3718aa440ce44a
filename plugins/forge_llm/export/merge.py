"""Merge a LoRA adapter into the base it was trained for, in full precision, one shard at a time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import attrs

from forge import StepError
from forge_llm.export.adapters import adapts_embeddings, beyond_plain, read_changes, read_settings
from forge_llm.export.model_folder import (
    ADAPTER,
    MODEL,
    copy_side_files,
    find_folder,
    read_config,
    refuse_quantised,
    shards,
)
from forge_llm.export.shard_files import TYPES, rewrite
from forge_llm.hush import hush_bitsandbytes
from forge_llm.threads import wait_asleep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from forge import Artifact, Notice, Run


@attrs.frozen
class Merged:
    """Merge a LoRA adapter into its 16- or 32-bit base and leave a whole Hugging Face model.

    Each weight is ``W + scale · B · A`` in 32-bit arithmetic, rounded once to the base's own type.
    rsLoRA, DoRA, patterns of ranks and alphas and saved modules are merged the same way, with one weight in memory at a
    time; what else peft knows (adapted embeddings, biases, other starts) is merged by peft, with the model in memory.
    Tokenizer, chat template and generation config are kept; the adapter's own tokenizer goes first.
    """

    def export(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> None:
        """Merge ``adapter`` into ``base``."""
        wait_asleep()
        base = find_folder(inputs["base"], MODEL)
        adapter = find_folder(inputs["adapter"], ADAPTER)
        refuse_quantised(read_config(base), inputs["base"].name)
        settings = read_settings(adapter)
        special = beyond_plain(settings) or _tied_and_saved(read_config(base), settings)
        if special or adapts_embeddings(adapter):
            reason = f"sets {', '.join(f'`{name}`' for name in special)}" if special else "changes embeddings"
            run.log(f"merging through peft, for the adapter {reason}")
            _merge_by_peft(base, adapter, out, run)
        else:
            _merge_by_shards(base, adapter, settings, out, run)
        copy_side_files(base, adapter if (adapter / "tokenizer_config.json").is_file() else base, out)

    def preflight(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> Iterable[Notice]:
        """Look at the base, and hand its shape on."""
        from forge_llm.preflight.machine import look_at_merging

        del run
        return look_at_merging(inputs, out)


def _tied_and_saved(config: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Name the setting by which one of two weights that are one was trained apart: peft knows what to do then."""
    ends = {"lm_head", "embed_tokens"} & set(settings.get("modules_to_save") or ())
    return ["modules_to_save"] if ends and config.get("tie_word_embeddings", True) else []


def _merge_by_shards(base: Path, adapter: Path, settings: Mapping[str, Any], out: Path, run: Run) -> None:
    """Merge with one weight in memory at a time."""
    import torch

    changes = read_changes(adapter, settings)
    torch.set_num_threads(run.threads)
    files = shards(base)
    total = sum(path.stat().st_size for path in files)
    done, moved, merged = 0, 0, set()

    def change(name: str, weight: Any) -> Any | None:
        nonlocal moved
        if name not in changes:
            return None
        _refuse_type(name, weight)
        new = changes[name].apply(name, weight)
        _refuse_overflow(name, new)
        moved += not torch.equal(new, weight)
        merged.add(name)
        return new

    for path in files:
        for size in rewrite(path, out / path.name, change):
            done += size
            run.progress(done, total)
    missing = sorted(changes.keys() - merged)
    if missing:
        raise StepError(
            f"the adapter changes `{missing[0]}`, which the base does not have ({len(missing)} of {len(changes)} such)",
            hint="an adapter merges into the model it was trained for; is `base` that one?",
        )
    index = base / "model.safetensors.index.json"
    if index.is_file():
        shutil.copyfile(index, out / index.name)
    run.log(f"merged {len(merged)} weights, {moved} of them moved")
    if not moved:
        run.warn("the adapter changes nothing: has it been trained?")


def _refuse_overflow(name: str, weight: Any) -> None:
    if not all(bound.isfinite() for bound in weight.aminmax()):
        raise StepError(
            f"the merged weight `{name}` holds numbers that `{str(weight.dtype).removeprefix('torch.')}` can't",
            hint="the training diverged, or the base is float16 and needs to be bfloat16",
        )


def _refuse_type(name: str, tensor: Any) -> None:
    if isinstance(tensor, str):
        kinds = ", ".join(TYPES.values())
        raise StepError(f"the base's weight `{name}` is `{tensor}`", hint=f"a base is one of {kinds}")


def _merge_by_peft(base: Path, adapter: Path, out: Path, run: Run) -> None:
    hush_bitsandbytes()
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
