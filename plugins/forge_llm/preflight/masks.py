"""Look at chat template, loss masks and lengths on sample rows."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs

from forge import LocalRun, Notice, StepError
from forge_llm.chat_format import MAP_ROLES, UNKNOWN_ROLE, UnusableRow, encode, load_tokenizer, messages_of, render
from forge_llm.preflight import ASKED
from forge_llm.train.token_part import SPECIAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forge import Artifact, Run

MODEL = "model"
_LITTLE = 0.01
"""The share of learned tokens below which a mask has most likely missed the answers."""
_MANY = 0.05
"""The share of rows beyond which what is lost is worth a thought."""
_ASKED = 16
"""Rows of each table whose chats go along."""
_MARK = re.compile(r"<[|｜][^\s<>|｜]{1,40}[|｜]>|<[a-z]+_of_[a-z]+>")
"""What templates write for a model's special tokens."""


def look(step: Any, inputs: Mapping[str, Artifact], out: Path, run: Run) -> Iterator[Notice]:
    """Make token ids of the sample as the step would, and say what would be learned."""
    if MODEL in inputs and not getattr(step, "column", None):
        yield from template_notices(inputs[MODEL].path)
    tables = {name: artifact for name, artifact in inputs.items() if name != MODEL}
    # a long row is counted first and judged afterwards, by the policy that is declared
    trial = attrs.evolve(step, too_long="drop")
    for name in tables or ("",):
        part = {key: artifact for key, artifact in inputs.items() if key in (MODEL, name)}
        counting = LocalRun(run.scratch, run.threads)
        try:
            trial.make(part, out, counting)
        except StepError as error:
            lost = {**counting.drops}
            long = _long(lost)
            if long and step.too_long == "error":
                yield _too_long(step, name, long, tables[name])
            first, *reasons = error.message.splitlines()
            said = f"{first}: {', '.join(each.strip() for each in reasons)}" if reasons else first
            yield Notice("masks", "bad", said, error.hint)
            continue
        for message in counting.messages:
            run.log(message)
            if SPECIAL in message:
                yield Notice("texts", "doubtful", message)
        figures = json.loads((out / "stats.json").read_text(encoding="utf-8"))[name]
        yield _learned(name, figures, counting.drops)
        yield _lengths(step, name, figures, counting.drops, tables[name])
        if _long(counting.drops) and step.too_long not in ("drop", "error"):
            step.make(part, out, LocalRun(run.scratch, run.threads))  # what stands for the artifact is what it will be
        _pass_on(step, tables[name], out / name)


def _learned(name: str, figures: Mapping[str, Any], drops: Mapping[str, int]) -> Notice:
    share = figures["trained_tokens"] / max(1, figures["tokens"])
    said = f"`{name}`: {share:.1%} of {figures['tokens']:,} tokens are learned"
    if figures.get("weights"):
        said += "; weights " + ", ".join(f"{weight} × {count:,} rows" for weight, count in figures["weights"].items())
    lost = {reason: count for reason, count in drops.items() if "max_length" not in reason}
    if lost:
        said += "; left out: " + ", ".join(f"{count:,} × {reason}" for reason, count in lost.items())
    if share < _LITTLE:
        hint = "`forge show` on the step prints rows with their mask; are the answers where the template puts them?"
        return Notice("masks", "doubtful", said, hint)
    if sum(lost.values()) > _MANY * figures["rows"]:
        strange = any(reason.startswith(UNKNOWN_ROLE) for reason in lost)
        hint = MAP_ROLES if strange else "look at the rows that are left out: they teach nothing"
        return Notice("masks", "doubtful", said, hint)
    return Notice("masks", message=said)


def _lengths(step: Any, name: str, figures: Mapping[str, Any], drops: Mapping[str, int], table: Artifact) -> Notice:
    long = _long(drops)
    if long and step.too_long == "error":
        return _too_long(step, name, long, table)
    rows = _height(table)
    bound = f"`max_length` {step.max_length:,}"
    if not long:
        said = f"`{name}`: none is longer than {bound}, the longest row has {figures['longest']:,} tokens"
        return Notice("lengths", message=said)
    said = f"`{name}`: {long:,} of {rows:,} rows are longer than {bound}, `too_long` is `{step.too_long}`"
    if long > _MANY * rows:
        return Notice("lengths", "doubtful", said, "raise `max_length`, or shorten the rows in a step before")
    return Notice("lengths", message=said)


def _too_long(step: Any, name: str, long: int, table: Artifact) -> Notice:
    return Notice(
        "lengths",
        "bad",
        f"`{name}`: {long:,} of {_height(table):,} rows are longer than `max_length` {step.max_length:,}, and "
        "`too_long` is `error`",
        'raise `max_length`, shorten the rows, or leave them out: `too_long = "drop"`',
    )


def _long(drops: Mapping[str, int]) -> int:
    return sum(count for reason, count in drops.items() if "max_length" in reason)


def _height(table: Artifact) -> int:
    import polars as pl

    return int(table.rows().select(pl.len()).collect().item())


def _pass_on(step: Any, table: Artifact, folder: Path) -> None:
    """Leave some chats as they were asked, for whoever compares prompts."""
    if getattr(step, "column", None):
        return
    chats = []
    for row in table.rows().head(_ASKED).collect().iter_rows(named=True):
        try:
            chats.append(messages_of(row, step.system))
        except UnusableRow:
            continue
    (folder / ASKED).write_text(json.dumps(chats, ensure_ascii=False), encoding="utf-8")


def template_notices(folder: Path) -> Iterator[Notice]:
    """Look whether the chat template is there, renders, and writes tokens that the tokenizer knows."""
    tokenizer = load_tokenizer(folder)
    ask, answer = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}
    from jinja2 import TemplateError

    try:
        tokenizer.apply_chat_template([ask, answer], tokenize=False)
    except TemplateError as error:
        hint = "mend the `chat_template.jinja` beside the tokenizer, or name the template of the model's family"
        yield Notice("chat template", "bad", f"it can't be rendered: {error}", hint)
        return
    text = render(tokenizer, [ask, answer], generate=False)
    opened = render(tokenizer, [ask], generate=True)
    if answer["content"] not in text or ask["content"] not in text:
        yield Notice("chat template", "bad", "it leaves out what is said", "is it the template of a chat model?")
        return
    marks = sorted({mark for mark in _MARK.findall(text + opened) if len(encode(tokenizer, mark)) != 1})
    if marks:
        pieces = len(encode(tokenizer, marks[0]))
        yield Notice(
            "chat template",
            "bad",
            f"it does not fit the model: `{marks[0]}` is no token of its tokenizer, but {pieces}",
            "it is the template of another family; take the one that came with the model",
        )
        return
    yield _ending(tokenizer, folder, text[text.rindex(answer["content"]) + len(answer["content"]) :])


def _ending(tokenizer: Any, folder: Path, tail: str) -> Notice:
    """Say whether what the template writes after an answer is what generation stops at."""
    ends = {tokenizer.eos_token_id}
    path = folder / "generation_config.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
        ends |= set(found) if isinstance(found, list) else {found}
    ids = encode(tokenizer, tail.strip())
    if ids and ids[0] in ends:
        mark = tokenizer.decode(ids[:1])
        return Notice("chat template", message=f"it fits the tokenizer; an answer ends with `{mark}`")
    what = f"with `{tokenizer.decode(ids[:1])}`" if ids else "without a mark"
    return Notice(
        "chat template",
        "doubtful",
        f"an answer ends {what}, generation stops at `{tokenizer.eos_token}`: the model may not learn to stop",
        "make the mark the tokenizer's `eos_token`, or take the instruct model",
    )
