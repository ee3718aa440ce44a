"""Compare what transformers and llama.cpp make of the same chats, before anything is trained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from forge import Notice, StepError
from forge_llm.chat_format import UnusableRow, encode, load_tokenizer, messages_of, render
from forge_llm.check.gguf_choice import choose
from forge_llm.check.labels import read_labels
from forge_llm.check.wanted import hold
from forge_llm.export.model_folder import MODEL, find_folder
from forge_llm.preflight import ASKED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from forge import Artifact, File, Run

PROBES: tuple[list[dict[str, str]], ...] = tuple(
    [{"role": "user", "content": text}, {"role": "assistant", "content": "OK"}]
    for text in (
        "我最近总是睡不着，考试压力很大……怎么办？",
        "Prices: 1234567.89 €, 3/4 of it\n\n\tindented  twice",
        "naïve café — “quotes” 🙂👩‍🔬 don't, I'LL",
        '{"depression_level": 3, "risk_flag": "none"}',
    )
)
"""Chats with what tokenizers disagree on: scripts, digits, white space, emoji, apostrophes, JSON."""

_ENOUGH = 3
"""Answers of a sample from which it is sure that a schema allows none: fewer may be odd ones."""


def look(step: Any, inputs: Mapping[str, Artifact], out: Path, run: Run) -> Iterator[Notice]:
    """Look for the types that are named, and compare the prompts of held-out rows by the tiny file's vocabulary."""
    del out
    files = choose(inputs["gguf"], step.types)
    try:
        step.check_names(files)
    except StepError as error:
        yield Notice("types", "bad", error.message, error.hint)
    tokenizer = load_tokenizer(find_folder(inputs["reference"], MODEL))
    chats, long = [], 0
    answers = []
    table = inputs["data"].rows().collect()
    for number, row in enumerate(table.iter_rows(named=True), start=1):
        try:
            chat = messages_of(row, step.system)
            asked = chat[:-1] if chat[-1]["role"] == "assistant" else chat
            long += len(encode(tokenizer, render(tokenizer, asked, generate=True))) + step.max_tokens > step.context
        except UnusableRow as reason:
            run.drop(str(reason))
            continue
        chats.append(chat)
        answers.append((number, chat[-1]["content"] if chat[-1]["role"] == "assistant" else ""))
    if not chats:
        reasons = ", ".join(f"{count:,} × {reason}" for reason, count in getattr(run, "drops", {}).items())
        hint = "a row holds `messages`, `conversation`, or `instruction` and `output`"
        yield Notice("rows", "bad", f"none of {table.height:,} rows can be asked: {reasons}", hint)
        return
    if long:
        said = f"{long:,} of {len(chats):,} prompts do not fit `context` {step.context:,}"
        yield Notice("lengths", "bad" if long == len(chats) else "doubtful", said, "raise `context`")
    yield from _answers(step, answers)
    yield compare(files[0].path, tokenizer, chats, f"{len(chats):,} held-out rows")


def _answers(step: Any, answers: Sequence[tuple[int, str]]) -> Iterator[Notice]:
    """Hold the held-out answers against the schema; none that fits is a receipt that can say nothing good."""
    schema: File | None = getattr(step, "schema", None)
    if schema is None:
        return
    found = hold(answers, read_labels(schema))
    if found.refused:
        sure = found.hopeless and found.answers >= _ENOUGH
        yield Notice("answers", "bad" if sure else "doubtful", found.said(schema.name), found.hint)
    elif found.answers:
        yield Notice("answers", message=f"all {found.answers:,} are what `{schema.name}` allows")


def compare(file: Path, tokenizer: Any, chats: Sequence[Sequence[Mapping[str, str]]], what: str) -> Notice:
    """Render and tokenise *chats* on both sides, and name the first token that differs."""
    from forge_llm.check.local_model import LocalModel

    with LocalModel(file) as model:
        if model.template != tokenizer.chat_template:
            hint = "the converter lost it: export again, with a tokenizer that holds one template"
            return Notice("prompt ids", "bad", "the file's chat template is not the model's", hint)
        for number, said in enumerate(chats, start=1):
            difference = _difference(tokenizer, model, said)
            if difference:
                hint = "llama.cpp cuts words differently than this tokenizer: every prompt would be another one"
                return Notice("prompt ids", "bad", f"chat {number}: {difference}", hint)
    return Notice("prompt ids", message=f"equal in transformers and llama.cpp on {what}")


def _difference(tokenizer: Any, model: Any, said: Sequence[Mapping[str, str]]) -> str:
    """Return where the two sides first differ on a chat, or nothing."""
    try:
        wanted_text = render(tokenizer, said, generate=False)
    except UnusableRow:
        return ""
    try:
        found_text = model.render(said, generate=False)
    except StepError as error:
        return error.message
    wanted, found = encode(tokenizer, wanted_text), model.encode(found_text)
    if wanted == found:
        return ""
    pairs = enumerate(zip(wanted, found, strict=False))
    place = next((i for i, (a, b) in pairs if a != b), min(len(wanted), len(found)))

    def name(ids: Sequence[int]) -> str:
        return f"{ids[place]} `{tokenizer.decode([ids[place]])}`" if place < len(ids) else "the end"

    return f"token {place}: transformers has {name(wanted)}, llama.cpp {name(found)}"


def carried(artifact: Artifact) -> str:
    """Return the sample chats that came along with a stand-in, as JSON; nothing where there are none."""
    path = artifact.path / ASKED
    return path.read_text(encoding="utf-8") if path.is_file() else json.dumps([])
