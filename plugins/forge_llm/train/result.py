"""What a training run leaves: the adapter in peft's format, its settings, figures and curve."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

CURVE = "curve.jsonl"


def adapter_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the adapter's tensors under the names that peft saves them by."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model)
    return {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}


def write_adapter(out: Path, model: Any) -> None:
    """Write the two files of a peft adapter, without the folder that the base was read from."""
    from safetensors.torch import save_file

    save_file(adapter_weights(model), out / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config["default"].to_dict()
    config |= {"base_model_name_or_path": None, "inference_mode": True}
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in sorted(config.items())}
    write_json(out / "adapter_config.json", plain)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON member."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_curve(out: Path, curve: Sequence[Mapping[str, float]]) -> None:
    """Write the curve as JSON lines and as a picture, both the same for the same figures."""
    lines = "".join(json.dumps(point) + "\n" for point in curve)
    (out / CURVE).write_text(lines, encoding="utf-8")

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, label, style in (("loss", "training", "-"), ("eval_loss", "evaluation", "o-")):
        points = [(point["step"], point[name]) for point in curve if name in point]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label, linewidth=1.2, markersize=4)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("loss of a learned token, nats")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(out / "loss.png", metadata={"Software": None})
