"""What does not fit together: settings with inputs, token ids with a base; refused before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import forge
from forge_llm.export.model_folder import MODEL, find_folder, read_config

from . import device

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .lora import LoraTrainer
    from .samples import Sample

_LEARNED = {"biogpt", "gpt2", "gpt_bigcode", "gpt_neo", "openai-gpt", "opt"}
"""Architectures that learn a vector for each position: beyond the last there is none."""
_SIZES = ("max_position_embeddings", "n_positions")
_FAST = 1e-2
"""A learning rate above which LoRA runs diverge, not learn."""


def refuse_settings(step: LoraTrainer, inputs: Mapping[str, forge.Artifact]) -> None:
    """Refuse settings that only look as if they did something."""
    wants = [n for n, wanted in (("patience", step.patience), ('keep = "best"', step.keep == "best")) if wanted]
    for name in wants:
        if "eval" not in inputs:
            raise forge.StepError(f"`{name}` needs held-out rows", hint='from = { eval = "tokens.eval", … }')
        if step.eval_every is None:
            raise forge.StepError(f"`{name}` needs evaluations on the way", hint="eval_every = 50")


def refuse_processes(step: LoraTrainer) -> None:
    """Refuse more processes than the backend or this machine's GPUs can take."""
    if step.processes > 1 and step.facts()["backend"] == "unsloth":
        raise forge.StepError("`processes` above 1 is for the peft backend", hint='backend = "peft"')
    found = device.count()
    if step.facts()["device"] == "cuda" and step.processes > found:
        raise forge.StepError(
            f"`processes` is {step.processes} and {found} CUDA devices are open to this process",
            hint="resources = { gpus = … } asks for more",
        )


def refuse_tokens(base: forge.Artifact, samples: Sequence[Sample]) -> None:
    """Refuse token ids that the base has no vector for, and rows of more places than it has learned."""
    config = _config(base)
    most = max((max(sample.ids) for sample in samples if len(sample.ids)), default=0)
    words = config.get("vocab_size")
    if isinstance(words, int) and most >= words:
        raise forge.StepError(
            f"the rows hold the token id {most}, the base `{base.name}` has {words} (`vocab_size`)",
            hint="make the token ids with the base's own tokenizer: the same step as `model` and as `base`",
        )
    places, longest = places_of(base), max((len(sample.ids) for sample in samples), default=0)
    if places and longest > places and learns_places(base):
        raise forge.StepError(
            f"the longest row has {longest} tokens, the base `{base.name}` has learned {places} positions",
            hint=f'`max_length = {places}` in `train.tokens`, and `too_long = "split"` if rows would be lost',
        )


def places_of(base: forge.Artifact) -> int | None:
    """Return for how many positions the base was made; None where its config does not say."""
    config = _config(base)
    return next((config[name] for name in _SIZES if isinstance(config.get(name), int)), None)


def learns_places(base: forge.Artifact) -> bool:
    """Say whether the base has a vector for each position, and none beyond."""
    return _config(base).get("model_type") in _LEARNED


def doubts(step: LoraTrainer, steps: int | None, longest: int) -> Iterator[str]:
    """Yield what was surely meant otherwise, of a run of *steps* at most, where known, over rows up to *longest*."""
    if step.learning_rate > _FAST:
        yield f"`learning_rate` {step.learning_rate:g} is above {_FAST:g}: such runs diverge"
    if steps is not None and step.warmup_steps is not None and step.warmup_steps >= steps:
        yield f"`warmup_steps` {step.warmup_steps} of {steps} steps: the learning rate never comes to its height"
    wanted = "patience" if step.patience else 'keep = "best"' if step.keep == "best" else ""
    if wanted and steps is not None and step.eval_every is not None and step.eval_every > steps:
        yield f"`eval_every` {step.eval_every} is beyond the run's {steps} steps, and `{wanted}` wants evaluations"
    if step.batch_tokens is not None and step.batch_tokens < longest:
        yield f"`batch_tokens` {step.batch_tokens} is less than the longest row, which has {longest} tokens"


def _config(base: forge.Artifact) -> Mapping[str, Any]:
    config = read_config(find_folder(base, MODEL))
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else config
