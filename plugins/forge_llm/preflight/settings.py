"""Look at what a LoRA run was told: settings that need others, rows that the base can't read, and what is a slip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forge import Notice, StepError
from forge_llm.train import device, fit
from forge_llm.train.samples import read_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forge import Artifact


def look_at_settings(step: Any, inputs: Mapping[str, Artifact]) -> Iterator[Notice]:
    """Say what training would refuse, and what was surely meant otherwise; rows may be a sample."""
    try:
        fit.refuse_settings(step, inputs)
    except StepError as error:  # held-out rows may be missing from the sample alone
        yield Notice("settings", "bad" if "eval" in inputs else "doubtful", error.message, error.hint)
    tables = [inputs[name] for name in ("data", "eval") if name in inputs and inputs[name].is_table]
    samples = [sample for table in tables for sample in read_samples(table, table.name)]
    longest = max((len(sample.ids) for sample in samples), default=0)
    try:
        fit.refuse_tokens(inputs["base"], samples)
    except StepError as error:
        yield Notice("tokens", "bad", error.message, error.hint)
    places = fit.places_of(inputs["base"])
    if places and longest > places and not fit.learns_places(inputs["base"]):
        said = f"the longest row has {longest:,} tokens, the base was made for {places:,} positions"
        yield Notice("tokens", "doubtful", said, f"`max_length = {places}` in `train.tokens`")
    for said in fit.doubts(step, step.max_steps, longest):
        yield Notice("settings", "doubtful", said)


def look_at_processes(step: Any, facts: Mapping[str, str]) -> Iterator[Notice]:
    """Say whether there is a core or a GPU for each process."""
    try:
        fit.refuse_processes(step)
    except StepError as error:
        yield Notice("processes", "bad", error.message, error.hint, here=True)
        return
    cores = device.cores()
    if facts["device"] == "cpu" and step.processes > cores:
        said = f"`processes` is {step.processes}, and {cores} cores are open to this process"
        yield Notice("processes", "bad", said, f"`processes = {cores}` at most", here=True)
