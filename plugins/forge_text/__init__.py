"""Step types for any text: personal data, length, repeats, splits without leakage."""

from __future__ import annotations

import forge

__all__ = ["forge_register"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the step types."""
    from forge_text.dialogue import Dialogue
    from forge_text.filters import Anonymise, LengthBand
    from forge_text.split import Deduplicate, Split

    register.transform("dialogue", Dialogue, version="1")
    register.transform("anonymise", Anonymise, version="1")
    register.transform("length-band", LengthBand, version="1")
    register.transform("split", Split, version="1", facts=("rensa",))
    register.transform("deduplicate", Deduplicate, version="1", facts=("rensa",))
