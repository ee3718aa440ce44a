"""Files as they are: brought in, put out; `forge_files.tables` has those that hold rows or other files."""

from __future__ import annotations

import forge
from forge_files.any import AnyFiles
from forge_files.copy import CopyOut


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register `files.any` and `files.copy`."""
    register.source("any", AnyFiles, version="1")
    register.exporter("copy", CopyOut, version="1", inputs=("files",))
