"""Step types for a character's model: lines and settings as instructions, scenes as windows, weights by kind."""

from __future__ import annotations

import forge

__all__ = ["forge_register"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the step types."""
    from forge_roleplay.dialogues import Dialogues
    from forge_roleplay.instructions import Instructions
    from forge_roleplay.lines import Lines, Speakers
    from forge_roleplay.weights import Weights
    from forge_roleplay.windows import Windows

    register.transform("speakers", Speakers, version="1")
    register.transform("lines", Lines, version="1")
    register.transform("instructions", Instructions, version="1")
    register.transform("windows", Windows, version="1")
    register.transform("dialogues", Dialogues, version="1")
    register.transform("weights", Weights, version="1")
