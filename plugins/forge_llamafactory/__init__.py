"""LLaMA-Factory's registry of datasets: read what is there, and hand datasets to it and to ChatTS's training."""

from __future__ import annotations

import forge

__all__ = ["forge_register"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the step types."""
    from forge_llamafactory.exporter import Export
    from forge_llamafactory.importer import Dataset
    from forge_llamafactory.model import Model

    register.source("dataset", Dataset, version="1")
    register.exporter("export", Export, version="1", inputs=("data",))
    register.exporter("model", Model, version="1", inputs=("model",))
