"""Checks over tables: what a person declares of rows and columns, each figure beside its bound."""

from __future__ import annotations

import forge

__all__ = ["forge_register"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the check."""
    from forge_table.expectations import TableCheck

    register.check("table", TableCheck, version="1")
