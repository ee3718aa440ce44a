"""Take a chat template apart: what it writes before, between and after the turns of a conversation.

A template is a program; what it does to the plainest conversations is found by asking it, and whether that is all it
does by comparing (`differences`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge import StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Messages = list[dict[str, str]]
    Render = Callable[[Messages, bool], str]

NO_OTHER = "programs that read the template in the GGUF itself (llama.cpp and what builds on it) need no other"

_DAY = (
    "{%- macro strftime_now(form) -%}{{ form | replace('%d', '26') | replace('%b', 'Jul') | replace('%B', 'July')"
    " | replace('%m', '07') | replace('%Y', '2024') }}{%- endmacro -%}"
)
"""Stands for today, as Llama's own templates do where they know no date: 26 July 2024."""

_QUESTION, _ANSWER, _NEXT, _SYSTEM = "FirstQuestion", "FirstAnswer", "NextQuestion", "SystemText"


class OtherShape(Exception):
    """Say what a template does that the turns of a `Turns` do not."""


@attrs.frozen
class Turns:
    """Hold the texts around the turns.

    ``head`` opens a conversation without a system message; with one it is ``system[0]``, the message, ``system[1]``.
    ``place`` says where a system message stands: in a turn of its own, inside the ``first`` user's turn, whose opening
    it then has written already, inside the ``last`` one, where ``system[0]`` is empty, or nowhere (``none``).
    ``ask`` opens the assistant's turn that is to be written.
    """

    head: str
    user: tuple[str, str]
    assistant: tuple[str, str]
    ask: str
    place: Literal["own", "first", "last", "none"]
    system: tuple[str, str] = ("", "")


def conversation(*texts: str, system: str | None = None) -> Messages:
    """Return *texts* as turns of user and assistant, one after the other, below a *system* message."""
    said = [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *said] if system else said


def read_turns(render: Render) -> Turns:
    """Ask a template, as *render(messages, generate)*, for its turns; raise `OtherShape` where it has others."""
    opening, between, back, rest = _cut(
        render(conversation(_QUESTION, _ANSWER, _NEXT), True),  # noqa: FBT003 - called by place everywhere
        _QUESTION,
        _ANSWER,
        _NEXT,
    )
    [_, user_end] = _cut(render(conversation(_QUESTION), False), _QUESTION)  # noqa: FBT003
    [_, _, closing] = _cut(render(conversation(_QUESTION, _ANSWER), False), _QUESTION, _ANSWER)  # noqa: FBT003
    if not rest.startswith(user_end) or not between.startswith(user_end):
        user_end = rest[: _shared(rest, between)]  # some templates close a text that nothing follows
    if not back.startswith(closing):
        closing = back[: len(back) - _shared(opening[::-1], back[::-1])]
    user_start = back[len(closing) :]
    if not opening.endswith(user_start):
        raise OtherShape("the first user's turn begins in another way than those that follow")
    turns = Turns(
        head=opening.removesuffix(user_start),
        user=(user_start, user_end),
        assistant=(between[len(user_end) :], closing),
        ask=rest[len(user_end) :],
        place="none",
    )
    return _with_system(turns, render)


def _with_system(turns: Turns, render: Render) -> Turns:
    """Find where a system message stands; a template that takes none is left as it is."""
    from jinja2 import TemplateError

    try:
        text = render(conversation(_QUESTION, _ANSWER, _NEXT, system=_SYSTEM), True)  # noqa: FBT003
    except TemplateError:
        return turns
    if _SYSTEM not in text:
        return turns
    if text.index(_SYSTEM) > text.index(_ANSWER):
        *_, before, after, _ = _cut(text, _QUESTION, _ANSWER, _SYSTEM, _NEXT)
        if before != turns.assistant[1] + turns.user[0]:
            raise OtherShape("the system message stands in the last user's turn, which begins in another way")
        return attrs.evolve(turns, place="last", system=("", after))
    before, after, *_ = _cut(text, _SYSTEM, _QUESTION, _ANSWER, _NEXT)
    if after.endswith(turns.user[0]) and turns.user[0]:
        return attrs.evolve(turns, place="own", system=(before, after.removesuffix(turns.user[0])))
    return attrs.evolve(turns, place="first", system=(before, after))


def _shared(left: str, right: str) -> int:
    """Return how many characters two texts share at their start."""
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def _cut(text: str, *marks: str) -> list[str]:
    """Return what stands before, between and after *marks*, each of which is in *text* once and in this order."""
    parts = []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found or mark in text:
            raise OtherShape("it does not write each message once, in the order in which they were said")
        parts.append(before)
    return [*parts, text]


def samples(turns: Turns) -> Iterator[Messages]:
    """Yield conversations that a template and what was made of it are compared on."""
    hard = 'Braces {{ .Role }} and "quotes",\nlines, <b>marks</b> & 中文 — 🙂'
    systems = [None] if turns.place == "none" else [None, "Answer in one word.", "Two lines:\nthe second."]
    for system in systems:
        for texts in (["Hello"], [hard], ["Hello", "Hi.", hard], ["One", hard, "Three", "Four", "Five"]):
            yield conversation(*texts, system=system)


def differences(turns: Turns, ours: Callable[[Messages], str], render: Render) -> list[tuple[str, str]]:
    """Return what both make of each sample where they disagree: ours and the template's."""
    pairs = [(ours(messages), render(messages, True)) for messages in samples(turns)]  # noqa: FBT003
    return [(left, right) for left, right in pairs if left != right]


def template_renderer(tokenizer: Any) -> Render:
    """Return transformers' rendering, on a day that never changes where a template writes the date."""
    template = tokenizer.get_chat_template()
    if writes_date(template):
        template = _DAY + template

    def render(messages: Messages, generate: bool) -> str:  # noqa: FBT001 - called by place everywhere
        return str(
            tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, add_generation_prompt=generate
            )
        )

    return render


def writes_date(template: str) -> bool:
    """Say whether a template asks for the date."""
    return "strftime_now" in template


def require_turns(render: Render, name: str) -> Turns:
    """Return the turns of a template, or fail with what it does beyond them."""
    from jinja2 import TemplateError

    try:
        return read_turns(render)
    except (OtherShape, TemplateError) as error:
        raise StepError(
            f"the chat template of input `{name}` can't be said in another language: {error}",
            hint=NO_OTHER,
        ) from error
