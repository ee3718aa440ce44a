"""The hooks that a plugin may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from forge.plugin.context import Artifact, Run
    from forge.plugin.protocols import Chat, Evaluation
    from forge.plugin.registry import Register

hookspec = pluggy.HookspecMarker("forge")
hookimpl = pluggy.HookimplMarker("forge")


@hookspec
def forge_register(register: Register) -> None:
    """Register the plugin's step types; called once, when a manifest names the plugin."""


@hookspec(firstresult=True)
def forge_chat(path: Path, system: str | None, inputs: Mapping[str, Path], temperature: float) -> Chat | None:
    """Open the model at *path* (a GGUF file, or an artifact's folder) for talk, or return None if it isn't yours.

    *inputs* are the folders that the artifact was made of, by name: an adapter needs its ``base``. A *temperature* of
    0 is greedy. An implementation takes the arguments that it needs.
    """


@hookspec
def forge_metrics(step: str, folder: Path, point: Mapping[str, float]) -> None:
    """Take one point of a running step's curve (``{"step": 3, "loss": 1.2}``) and show it where you like.

    Called in the worker for the plugins that the environment's FORGE_METRICS names; *step* is the manifest's name for
    the step, *folder* lies beside its log. What is raised here ends no training: it is shown as a warning, once.
    """


@hookspec(firstresult=True)
def forge_eval(
    model: Artifact, inputs: Mapping[str, Artifact], data: Artifact, how: Evaluation, run: Run
) -> Mapping[str, Any] | None:
    """Return the figures of *model*, made of *inputs*, on the rows of *data*, or None if it isn't yours."""
