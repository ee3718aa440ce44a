"""Label rows: through a provider, its batches, a model on this machine, earlier replies, people, or a lexicon.

The classes are imported when a manifest names the plugin; their libraries when a step runs.
"""

from __future__ import annotations

import forge


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the step types of the namespace `label`."""
    from forge_label.batch import Batch
    from forge_label.endpoint import OpenAI
    from forge_label.human import Human, Sheet
    from forge_label.lexicon import Lexicon
    from forge_label.local import Gguf
    from forge_label.pick import Pick
    from forge_label.replay import Replay

    remote = {"requires": ("aiohttp", "jinja2", "jsonschema"), "extra": "label", "network": True}
    register.labeler("openai", OpenAI, version="1", inputs=("data",), **remote)
    register.labeler("batch", Batch, version="1", inputs=("data",), **remote)
    register.labeler(
        "gguf",
        Gguf,
        version="1",
        inputs=("data",),
        requires=("llama_cpp", "jinja2", "jsonschema"),
        extra="label,gguf",
        facts=("llama-cpp-python",),
        heavy=True,
    )
    register.labeler("replay", Replay, version="1", inputs=("data",), requires=("jsonschema",), extra="label")
    register.labeler("human", Human, version="1", inputs=("data",), requires=("jsonschema",), extra="label")
    register.exporter("sheet", Sheet, version="1", inputs=("data",), requires=("jsonschema",), extra="label")
    register.labeler("lexicon", Lexicon, version="1", inputs=("data",))
    register.transform("pick", Pick, version="1", inputs=("data",))
