"""Look at what training and merging need: settings, devices, precisions, packages, targets, memory."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import attrs

from forge import Notice
from forge_llm.export.model_folder import ADAPTER, MODEL, copy_side_files, find_folder, read_config, refuse_quantised
from forge_llm.hush import hush_bitsandbytes
from forge_llm.preflight import ASKED
from forge_llm.preflight.prompts import carried
from forge_llm.preflight.settings import look_at_processes, look_at_settings
from forge_llm.preflight.shapes import count_parameters, linear_layers, outline
from forge_llm.train import device

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forge import Artifact, Run

_CHECKPOINTS = 3
"""An adapter is stored once, and twice in checkpoints with two moments each."""

_OTHERS = (".arrow", ".gguf", ".jsonl", ".csv", ".txt")
"""How files end that are no part of what stands for an adapter."""
_LIBRARIES = 4e8
"""Bytes that torch and transformers take in each process."""


def look_at_training(step: Any, inputs: Mapping[str, Artifact], out: Path, run: Run) -> Iterator[Notice]:
    """Look at settings, tokens, device, precision, 4 bits, targets and memory of a LoRA run."""
    del run
    (out / ASKED).write_text(carried(inputs["data"]), encoding="utf-8")
    facts = step.facts()
    yield from look_at_settings(step, inputs)
    yield from look_at_processes(step, facts)
    yield attrs.evolve(_device(facts), here=True)
    if facts["backend"] != "unsloth":
        yield attrs.evolve(_precision(facts), here=True)
    if step.load_in_4bit:
        yield _four_bits(facts["device"])
    model = outline(find_folder(inputs["base"], MODEL))
    if model is None:
        yield Notice("targets", "unseen", "the model is made by code of its own, which is run where it is trained")
        return
    layers = linear_layers(model)
    unknown, chosen = _targets(step, layers)
    if unknown is not None:
        yield unknown
        return
    adapter = sum(step.r * (wide + long) for wide, long in chosen.values())
    said = f"{len(chosen)} layers, {adapter / 1e6:.2f} million parameters to train"
    yield Notice("targets", message=said, disk=adapter * 4 * (1 + _CHECKPOINTS * 2))
    yield attrs.evolve(_memory(sum(p.numel() for p in model.parameters()), adapter, step, facts), here=True)


def look_at_merging(inputs: Mapping[str, Artifact], out: Path) -> Iterator[Notice]:
    """Look at the base that an adapter will be merged into, and hand its shape on."""
    base = find_folder(inputs["base"], MODEL)
    refuse_quantised(read_config(base), inputs["base"].name)
    wrong = _no_adapter(inputs["adapter"])
    if wrong is not None:
        yield wrong
        return
    copy_side_files(base, base, out)
    (out / ASKED).write_text(carried(inputs["adapter"]), encoding="utf-8")
    parameters = count_parameters(base)
    dtype = str(read_config(base).get("dtype") or read_config(base).get("torch_dtype") or "float16")
    each = 4 if dtype == "float32" else 2
    yield Notice("base", message=f"weights of `{dtype}` can take an adapter", disk=(parameters or 0) * each)


def _no_adapter(artifact: Artifact) -> Notice | None:
    """Say that an input holds rows, a model or files of another kind; what stands for an adapter may hold little."""
    files = artifact.files()
    names = {name.rpartition("/")[2] for name in files}
    if ADAPTER in names or not any(name in (MODEL, "stats.json") or name.endswith(_OTHERS) for name in names):
        return None
    there = ", ".join(f"`{name}`" for name in list(files)[:3])
    hint = f"name a step that trains one, such as `train.lora`; this one makes {there}"
    return Notice("adapter", "bad", f"input `{artifact.name}` is no adapter: it has no `{ADAPTER}`", hint)


def _device(facts: Mapping[str, str]) -> Notice:
    if facts["backend"] == "unsloth":
        if facts["device"] != "cuda":
            hint = '`backend = "auto"` takes peft where there is no GPU: same data, same loss'
            return Notice("device", "bad", '`backend = "unsloth"` needs a CUDA device, this machine has none', hint)
        if find_spec("unsloth") is None:
            hint = "pip install 'forge[unsloth]'"
            return Notice("device", "bad", '`backend = "unsloth"` and `unsloth` is not installed', hint)
    if facts["device"] == "cuda":
        import torch

        if not torch.cuda.is_available():
            built = version("torch")
            hint = "install the torch that is built for the driver's CUDA, or hide the GPU: `CUDA_VISIBLE_DEVICES=`"
            return Notice("device", "bad", f"there is a GPU, and torch {built} can't use it", hint)
    return Notice("device", message=f"`{facts['backend']}` on {facts['device']}, {facts['precision']}")


def _precision(facts: Mapping[str, str]) -> Notice:
    if facts["precision"] != "bf16":
        return Notice("precision", message=f"{facts['precision']}: products in full precision")
    if facts["device"] == "cuda":
        import torch

        if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
            hint = '`precision = "fp32"`, or another GPU: bf16 came with Ampere'
            return Notice("precision", "bad", "the GPU does not multiply bf16", hint)
    elif device.precision("auto") != "bf16":
        hint = '`precision = "auto"` takes fp32 here'
        return Notice("precision", "doubtful", "this processor does not multiply bf16 itself: it will be slow", hint)
    return Notice("precision", message="bf16, which the device multiplies itself")


def _four_bits(where: str) -> Notice:
    """Pack a weight into four bits and open it again: a library that was built for another machine fails here."""
    hint = "install it for this machine (`pip install 'forge[train]'`), or `load_in_4bit = false`"
    if find_spec("bitsandbytes") is None:
        return Notice("4 bits", "bad", "`load_in_4bit` needs `bitsandbytes`, which is not installed", hint)
    hush_bitsandbytes()
    try:
        import torch
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        usable = where if where == "cpu" or torch.cuda.is_available() else "cpu"
        weight = torch.linspace(-1, 1, 4096, device=usable).reshape(64, 64)
        packed, state = quantize_4bit(weight, quant_type="nf4")
        error = (dequantize_4bit(packed, state) - weight).abs().max().item()
    except Exception as failure:  # noqa: BLE001 - a native library that does not fit raises whatever it likes
        said = f"{type(failure).__name__}: {str(failure).partition(chr(10))[0][:200]}"
        return Notice("4 bits", "bad", f"`bitsandbytes` does not work here: {said}", hint)
    if not error < 0.5:  # noqa: PLR2004 - half of the largest weight: NF4 errs by a tenth of it
        return Notice("4 bits", "bad", f"`bitsandbytes` gives weights back wrong, by {error:.2g}", hint)
    return Notice("4 bits", message=f"bitsandbytes {version('bitsandbytes')} packs and opens NF4 on {usable}")


def _targets(step: Any, layers: Mapping[str, tuple[int, int]]) -> tuple[Notice | None, dict[str, tuple[int, int]]]:
    """Return what is wrong with the targets, or the layers that get an adapter."""
    if isinstance(step.targets, str):
        return None, dict(layers)
    names = sorted({name.rpartition(".")[2] for name in layers})
    for wanted in step.targets:
        if not any(name == wanted or name.endswith(f".{wanted}") for name in layers):
            close = get_close_matches(wanted, names, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"there is {', '.join(f'`{n}`' for n in names)}"
            return Notice("targets", "bad", f"`targets`: the model has no linear layer `{wanted}`", hint), {}
    ends = tuple(f".{wanted}" for wanted in step.targets)
    return None, {name: size for name, size in layers.items() if f".{name}".endswith(ends)}


def _memory(parameters: int, adapter: int, step: Any, facts: Mapping[str, str]) -> Notice:
    """Compare what weights and moments take at least with the memory that is free; activations come on top."""
    each = 0.6 if step.load_in_4bit else 2 if facts["precision"] == "bf16" else 4
    wanted = parameters * each + adapter * 4 * 4
    beside = "activations"
    if facts["device"] == "cuda":  # each process has a GPU of its own
        import torch

        there = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    else:
        there = device.memory()
        if step.processes > 1:
            wanted = (wanted + _LIBRARIES) * step.processes
            beside = f"the activations of {step.processes} processes"
    said = f"≈ {wanted / 1e9:.2f} GB for weights and optimizer, beside {beside}; {there / 1e9:.0f} GB are free"
    if wanted > there:
        fewer = "fewer `processes`, " if step.processes > 1 and facts["device"] != "cuda" else ""
        hint = f"{fewer}`load_in_4bit = true`, a smaller model, or a machine with more"
        return Notice("memory", "bad", said, hint)
    return Notice("memory", message=said)
