"""Checkpoints of a training run: complete or absent, and never of another run.

Tensors lie in safetensors and all else in JSON, so that opening one runs no code. The newest is enough to go on
from: random numbers are drawn anew for each batch from the seed and the batch's place, so no generator is kept.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

_STATE = "state.json"
_KEPT = 2


@attrs.frozen
class Checkpoint:
    """Hold a run after *step* optimiser steps and *samples* samples."""

    step: int
    samples: int
    curve: list[dict[str, float]]
    weights: dict[str, torch.Tensor]
    moments: dict[str, torch.Tensor]
    best: dict[str, torch.Tensor] | None = None


def of(
    step: int,
    samples: int,
    curve: list[dict[str, float]],
    named: Mapping[str, Any],
    optimizer: Any,
    best: dict[str, torch.Tensor] | None,
) -> Checkpoint:
    """Copy what a run needs to go on from here; *best* are the weights of its best evaluation."""
    moments = {f"{name}/{key}": value.cpu() for name, p in named.items() for key, value in optimizer.state[p].items()}
    return Checkpoint(step, samples, curve, weights_of(named), moments, best)


def weights_of(named: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Copy the trained parameters."""
    return {name: p.detach().cpu().clone().contiguous() for name, p in named.items()}


def put_weights(named: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    """Give the trained parameters these values."""
    import torch

    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(weights[name])


def put_back(saved: Checkpoint, named: Mapping[str, Any], optimizer: Any) -> None:
    """Put a checkpoint's weights and moments where they were."""
    put_weights(named, saved.weights)
    for name, parameter in named.items():
        keys = ("step", "exp_avg", "exp_avg_sq")
        moments = {key: saved.moments[f"{name}/{key}"] for key in keys}
        optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in moments.items()}


def save(folder: Path, checkpoint: Checkpoint, run_of: Mapping[str, str]) -> None:
    """Write a checkpoint below *folder*; *run_of* names by digest what the run is made of."""
    from safetensors.torch import save_file

    name = f"step-{checkpoint.step:08d}"
    staged = folder / f".{name}"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    save_file(checkpoint.weights, staged / "adapter.safetensors")
    save_file(checkpoint.moments, staged / "optimizer.safetensors")
    if checkpoint.best is not None:
        save_file(checkpoint.best, staged / "best.safetensors")
    state = {"step": checkpoint.step, "samples": checkpoint.samples, "run": dict(run_of), "curve": checkpoint.curve}
    (staged / _STATE).write_text(json.dumps(state), encoding="utf-8")
    for path in (*staged.iterdir(), staged):
        _sync(path)
    if (folder / name).exists():
        shutil.rmtree(folder / name)
    staged.rename(folder / name)
    _sync(folder)
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        shutil.rmtree(old)


def newest(folder: Path, run_of: Mapping[str, str]) -> Checkpoint | None:
    """Return the newest checkpoint below *folder*; one of another run is refused by what differs."""
    from safetensors.torch import load_file

    found = sorted(folder.glob("step-*"))
    if not found:
        return None
    state: dict[str, Any] = json.loads((found[-1] / _STATE).read_text(encoding="utf-8"))
    other = sorted(name for name in {*state["run"], *run_of} if state["run"].get(name) != run_of.get(name))
    if other:
        raise forge.StepError(
            f"checkpoint `{found[-1].name}` belongs to another run: {', '.join(f'`{name}`' for name in other)} differ",
            hint=f"remove `{folder}` to train from the beginning",
        )
    return Checkpoint(
        state["step"],
        state["samples"],
        state["curve"],
        load_file(found[-1] / "adapter.safetensors"),
        load_file(found[-1] / "optimizer.safetensors"),
        load_file(found[-1] / "best.safetensors") if (found[-1] / "best.safetensors").exists() else None,
    )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
