"""Step types that hand datasets to LLaMA-Factory, and to ChatTS's training, which is a fork of it."""

from __future__ import annotations

import forge

__all__ = ["forge_register"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the step types."""
    from forge_llamafactory.exporter import Export

    register.exporter("export", Export, version="1", inputs=("data",))
