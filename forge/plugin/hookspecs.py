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
def forge_chat(path: Path, system: str | None) -> Chat | None:
    """Open the model at *path* (a GGUF file, or an artifact's folder) for talk, or return None if it isn't yours."""


@hookspec(firstresult=True)
def forge_eval(
    model: Artifact, inputs: Mapping[str, Artifact], data: Artifact, how: Evaluation, run: Run
) -> Mapping[str, Any] | None:
    """Return the figures of *model*, made of *inputs*, on the rows of *data*, or None if it isn't yours."""
