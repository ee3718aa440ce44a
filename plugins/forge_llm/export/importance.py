"""Measure which columns of a model's weights matter, as llama.cpp's importance matrix says it.

For each linear layer it is the mean square of each of its inputs over calibration text: a column that is multiplied by
large numbers is rounded with more care (llama.cpp, ``tools/imatrix``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from forge import StepError
from forge_llm.chat_format import UnusableRow, brings_code, encode, load_tokenizer, messages_of, render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from forge import Artifact, Run


@attrs.frozen
class Importance:
    """Hold the mean squares of the inputs of each weight, by the weight's name in the GGUF, and what they rest on."""

    squares: Mapping[str, np.ndarray]
    rows: int
    tokens: int


def measure(folder: Path, header: Mapping[str, Any], data: Artifact, rows: int, tokens: int, run: Run) -> Importance:
    """Run *rows* of *data*, spread over the table, each cut to *tokens* tokens, through the model in *folder*.

    *header* is that of the model's GGUF, by whose architecture weights are named. Layers that are not linear modules,
    such as experts in one block, are not seen.
    """
    import torch
    from transformers import AutoModelForCausalLM

    texts = _calibration(folder, data, rows, tokens)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, trust_remote_code=brings_code(folder)
    )
    torch.set_num_threads(run.threads)
    sums: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Any:
        def add(_: Any, inputs: tuple[Any, ...]) -> None:
            seen = inputs[0].detach().float().reshape(-1, inputs[0].shape[-1])
            squares = seen.square().sum(0, dtype=torch.float64)
            sums[name] = sums[name] + squares if name in sums else squares

        return add

    names = _gguf_names(model, header)
    for module_name, module in model.named_modules():
        if module_name in names:
            module.register_forward_pre_hook(watch(names[module_name]))
    with torch.inference_mode():
        for done, ids in enumerate(texts, 1):
            model(torch.tensor([ids]), use_cache=False, logits_to_keep=1)
            run.progress(done, len(texts))
    total = sum(len(ids) for ids in texts)
    squares = {name: (value / total).float().numpy() for name, value in sorted(sums.items())}
    run.log(f"importance of {len(squares)} weights from {len(texts)} rows, {total} tokens")
    return Importance(squares, len(texts), total)


def _calibration(folder: Path, data: Artifact, rows: int, tokens: int) -> list[list[int]]:
    """Return the token ids of rows that lie evenly over the table, rendered by the model's own template."""
    tokenizer = load_tokenizer(folder)
    table = data.rows().collect()
    step = max(1, table.height // rows)
    found = []
    for row in table.gather_every(step).head(rows).iter_rows(named=True):
        try:
            ids = encode(tokenizer, render(tokenizer, messages_of(row), generate=False))[:tokens]
        except UnusableRow:
            continue
        if ids:
            found.append(ids)
    if not found:
        raise StepError(
            f"no row of input `{data.name}` can be read by the model's template: there is no importance to measure",
            hint="rows hold `messages`, `conversation`, or `instruction` and `output`",
        )
    return found


def _gguf_names(model: Any, header: Mapping[str, Any]) -> dict[str, str]:
    """Return what the converter calls the weight of each linear module within the model's layers."""
    import gguf
    from torch.nn import Linear

    spoken = header["general.architecture"]
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == spoken)
    mapped = gguf.get_tensor_name_map(architecture, header[f"{spoken}.block_count"])
    found = {
        name: mapped.get_name(name, try_suffixes=()) for name, part in model.named_modules() if isinstance(part, Linear)
    }
    return {name: f"{place}.weight" for name, place in found.items() if place and place.startswith("blk.")}
