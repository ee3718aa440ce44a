"""Files as they are."""

from __future__ import annotations

import forge
from forge_files.any import AnyFiles


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register `files.any`."""
    register.source("any", AnyFiles, version="1")
