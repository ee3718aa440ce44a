"""What a training run leaves: the adapter in peft's format, its settings, figures, order and curves."""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

CURVE = "curve.jsonl"
_SAME = {
    "r": "r", "lora_alpha": "alpha", "target_modules": "targets", "use_rslora": "rslora", "use_dora": "dora",
}  # fmt: skip
"""What an adapter's configuration and the step must agree on, by peft's name and by ours."""
FIGURES = (
    "steps", "samples", "tokens", "trained_tokens", "trained_parameters", "weighted_tokens", "loss",
    "loss_last_10_steps",
)  # fmt: skip
"""The numbers in `metrics.json`; `weighted_tokens` where samples have weights."""
HELD_OUT = (
    "eval_loss", "eval_accuracy", "eval_loss_before", "eval_accuracy_before", "eval_rows", "kept_step",
)  # fmt: skip
"""Those beside them where there are held-out rows."""
_PACKAGES = ("accelerate", "bitsandbytes", "peft", "torch", "transformers")


def adapter_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the adapter's tensors under the names that peft saves them by."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model)
    return {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}


def read_adapter(adapter: forge.Artifact, model: Any) -> None:
    """Give a new adapter the values of one that was trained; what differs between the two is refused by name."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    missing = {"adapter_config.json", "adapter_model.safetensors"} - set(adapter.files())
    if missing:
        raise forge.StepError(f"input `{adapter.name}` has no {', '.join(f'`{name}`' for name in sorted(missing))}")
    there, here = adapter.json("adapter_config.json"), model.peft_config["default"].to_dict()
    differ = []
    for name, ours in _SAME.items():
        a, b = (_plain(config.get(name)) for config in (there, here))
        if a != b:
            differ.append(f"`{ours}` is {a} in the adapter and {b} here")
    if differ:
        raise forge.StepError(
            f"the adapter of input `{adapter.name}` is of another shape: {'; '.join(differ)}",
            hint="give the step the values of the adapter that it goes on from",
        )
    weights = load_file(adapter.path / "adapter_model.safetensors")
    wanted = adapter_weights(model)
    wrong = sorted(
        n for n in {*weights, *wanted} if n not in weights or n not in wanted or weights[n].shape != wanted[n].shape
    )
    if wrong:
        raise forge.StepError(
            f"the adapter of input `{adapter.name}` does not fit this base: "
            f"{len(wrong)} of {len(wanted)} tensors differ, `{wrong[0]}` first",
            hint="is it of another base model?",
        )
    set_peft_model_state_dict(model, weights)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, (list, set, tuple)) else value


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


def write_order(out: Path, names: Sequence[str], whole: int) -> None:
    """Write which samples each optimiser step took, by the ids of their rows."""
    with (out / "order.jsonl").open("w", encoding="utf-8") as file:
        for step, start in enumerate(range(0, len(names), whole), start=1):
            file.write(
                json.dumps({"step": step, "samples": list(names[start : start + whole])}, ensure_ascii=False) + "\n"
            )


def environment() -> dict[str, str]:
    """Return the versions that a result depends on; the step's facts have them too."""
    return {name: version(name) for name in _PACKAGES if find_spec(name) is not None}


def figures_of(curve: Sequence[Mapping[str, float]], kept: int) -> dict[str, float]:
    """Return a curve's figures at its end, and those of the evaluation that the adapter was *kept* from."""
    last = [point["loss"] for point in curve if "loss" in point][-10:]
    figures = {"loss": last[-1], "loss_last_10_steps": sum(last) / len(last)}
    for point in curve:
        for name in ("eval_loss", "eval_accuracy"):
            if name in point and point["step"] == 0:
                figures[f"{name}_before"] = point[name]
            if name in point and point["step"] == kept:
                figures[name] = point[name]
    return figures


def write_curve(out: Path, traces: Path, curve: Sequence[Mapping[str, float]]) -> None:
    """Write the curve as JSON lines and as a picture, the same for the same figures; beside the log one with speed.

    How fast it went differs from run to run, so it is in no result.
    """
    lines = "".join(json.dumps(point) + "\n" for point in curve)
    (out / CURVE).write_text(lines, encoding="utf-8")
    measured = {}
    if (traces / "metrics.jsonl").exists():
        with (traces / "metrics.jsonl").open(encoding="utf-8") as file:
            measured = {point["step"]: point for point in map(json.loads, file)}
    _draw(out / "loss.png", curve, _PANELS[:2])
    if any("tokens_per_second" in point for point in measured.values()):
        _draw(traces / "curves.png", list(measured.values()), _PANELS)


_PANELS = (
    ("loss of a learned token, nats", (("loss", "training", "-"), ("eval_loss", "evaluation", "o-"))),
    ("learning rate", (("learning_rate", "", "-"),)),
    ("tokens a second", (("tokens_per_second", "", "-"),)),
)


def _draw(path: Path, curve: Sequence[Mapping[str, float]], panels: Sequence[tuple[str, Any]]) -> None:
    """Draw one panel above the other over the same steps; the first is the tallest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [3.0] + [1.2] * (len(panels) - 1)
    figure = Figure(figsize=(8, 1.5 + sum(heights)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(len(panels), sharex=True, height_ratios=heights)
    for axes, (label, lines) in zip(every, panels, strict=True):
        for name, title, style in lines:
            points = [(point["step"], point[name]) for point in curve if name in point]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=title, linewidth=1.2, markersize=4)
        axes.set_ylabel(label)
        axes.grid(visible=True, alpha=0.3)
        if len(lines) > 1:
            axes.legend()
    every[-1].set_xlabel("optimiser steps")
    figure.savefig(path, metadata={"Software": None})
