"""Label rows: through any OpenAI-compatible endpoint, or with a transparent lexicon.

The classes are imported when a manifest names the plugin; their libraries when a step runs.
"""

from __future__ import annotations

import forge


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the step types of the namespace `label`."""
    from forge_label.endpoint import OpenAI
    from forge_label.lexicon import Lexicon

    register.labeler(
        "openai",
        OpenAI,
        version="1",
        inputs=("data",),
        requires=("openai", "jinja2", "jsonschema"),
        extra="label",
        network=True,
    )
    register.labeler("lexicon", Lexicon, version="1", inputs=("data",))
