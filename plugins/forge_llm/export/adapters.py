"""Read a LoRA adapter and say what it does to each weight of its base."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs

from forge import StepError
from forge_llm.export.model_folder import ADAPTER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX = "base_model.model."

PLAIN = {
    "alora_invocation_tokens": None,
    "bias": "none",
    "fan_in_fan_out": (True, False),
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),
    "peft_type": "LORA",
}
"""Settings of plain LoRA, where their value matters: a value, or a choice of values."""

HARMLESS = {
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
}
"""Settings that say nothing about how the weights are merged, or that are read below."""

_PARTS = {"lora_A.weight": "left", "lora_B.weight": "right", "lora_magnitude_vector": "magnitude"}


@attrs.frozen
class Change:
    """Say how one weight changes: to ``W + scale · B · A``, by DoRA set to *magnitude* a row, or to *whole*."""

    left: Any = None
    right: Any = None
    magnitude: Any = None
    whole: Any = None
    scale: float = 1.0
    transposed: bool = False

    def apply(self, name: str, weight: Any) -> Any:
        """Return the changed weight in the type of *weight*, in the order of peft's own arithmetic, in 32 bits."""
        import torch

        if self.whole is not None:
            self._require_shape(name, self.whole, weight)
            return self.whole.to(weight.dtype)
        product = self.right.float() @ self.left.float()
        delta = (product.T if self.transposed else product).mul_(self.scale)
        self._require_shape(name, delta, weight)
        if self.magnitude is None:
            return delta.add_(weight).to(weight.dtype)
        summed = weight + delta
        direction = torch.linalg.norm(summed.T if self.transposed else summed, dim=1)
        factor = (self.magnitude.float() / direction).view(-1, 1)
        return summed.mul_(factor.T if self.transposed else factor).to(weight.dtype)

    def _require_shape(self, name: str, change: Any, weight: Any) -> None:
        if change.shape != weight.shape:
            raise StepError(
                f"the adapter's change of `{name}` has the shape {tuple(change.shape)}, the base's weight "
                f"{tuple(weight.shape)}",
                hint="an adapter merges into the model it was trained for; is `base` that one?",
            )


def beyond_plain(settings: Mapping[str, Any]) -> list[str]:
    """Return the settings of an adapter that are not merged here; one that we don't know counts."""
    found = []
    for name, value in sorted(settings.items()):
        if name in PLAIN:
            allowed = PLAIN[name]
            if value != allowed and not (isinstance(allowed, tuple) and value in allowed):
                found.append(name)
        elif name not in HARMLESS and value:
            found.append(name)
    return found


def adapts_embeddings(adapter: Path) -> bool:
    """Say whether the adapter changes an embedding, which no setting tells; a pickled adapter says nothing."""
    from safetensors import safe_open

    path = adapter / "adapter_model.safetensors"
    if not path.is_file():
        return False
    with safe_open(path, framework="pt") as file:
        return any(".lora_embedding_" in key or ".base_layer." in key for key in file.keys())  # noqa: SIM118 - no mapping


def read_settings(adapter: Path) -> dict[str, Any]:
    """Return ``adapter_config.json``."""
    return dict(json.loads((adapter / ADAPTER).read_text(encoding="utf-8")))


def read_changes(adapter: Path, settings: Mapping[str, Any]) -> dict[str, Change]:
    """Return what the adapter does to each weight of the base, by the weight's name."""
    from safetensors.torch import load_file

    path = adapter / "adapter_model.safetensors"
    if not path.is_file():
        raise StepError("the adapter has no `adapter_model.safetensors`", hint="pickled adapters are not read")
    parts: dict[str, dict[str, Any]] = {}
    for key, tensor in load_file(path).items():
        name, part = _place(key.removeprefix(PREFIX), settings)
        parts.setdefault(name, {})[part] = tensor
    if not parts:
        raise StepError("the adapter holds no weights")
    return {name: _change(name, found, settings) for name, found in parts.items()}


def _place(key: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """Return the weight that an adapter's tensor belongs to, and which part of its change it is."""
    for end, part in _PARTS.items():
        if key.removesuffix(".weight").endswith(f".{end.removesuffix('.weight')}"):
            return key.removesuffix(".weight").removesuffix(end.removesuffix(".weight")) + "weight", part
    if any(re.search(rf"(^|\.){re.escape(saved)}\.", key) for saved in settings.get("modules_to_save") or ()):
        return key, "whole"
    raise StepError(f"the adapter holds `{key}`, which LoRA and DoRA do not have")


def _change(name: str, parts: Mapping[str, Any], settings: Mapping[str, Any]) -> Change:
    if "whole" in parts:
        return Change(whole=parts["whole"])
    if not {"left", "right"} <= parts.keys():
        raise StepError(f"the adapter holds only one of A and B for `{name}`")
    if bool(settings.get("use_dora")) != ("magnitude" in parts):
        raise StepError(f"the adapter's settings and weights disagree on DoRA for `{name}`")
    rank = parts["left"].shape[0]
    alpha = _matching(settings.get("alpha_pattern") or {}, name.removesuffix(".weight"), settings["lora_alpha"])
    scale = alpha / (rank**0.5 if settings.get("use_rslora") else rank)
    return Change(**parts, scale=scale, transposed=bool(settings.get("fan_in_fan_out")))


def _matching(patterns: Mapping[str, float], module: str, default: float) -> float:
    """Return what the first pattern that fits the end of a module's name says (peft, ``get_pattern_key``)."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)
