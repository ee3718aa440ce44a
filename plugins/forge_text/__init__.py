"""Step types for any text: personal data, length, repeats, splits without leakage."""

from __future__ import annotations

import forge

__all__ = ["forge_register"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the step types."""
    from forge_text.dialogue import Dialogue
    from forge_text.filters import Anonymise, LengthBand
    from forge_text.leaks import Leaks
    from forge_text.loops import Boilerplate, Loops
    from forge_text.quality import Characters, Language, ThrowAway
    from forge_text.split import Deduplicate, Split

    register.transform("dialogue", Dialogue, version="1")
    register.transform("anonymise", Anonymise, version="1", in_parts=True)
    register.transform("loops", Loops, version="1")
    register.transform("boilerplate", Boilerplate, version="1")
    register.transform("language", Language, version="1", in_parts=True)
    register.transform("characters", Characters, version="1", in_parts=True)
    register.transform("throw-away", ThrowAway, version="1", in_parts=True)
    register.check("leaks", Leaks, version="1")
    register.transform("length-band", LengthBand, version="1", in_parts=True)
    register.transform("split", Split, version="1", facts=("rensa",))
    register.transform("deduplicate", Deduplicate, version="1", facts=("rensa",))
