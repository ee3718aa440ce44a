"""Token ids with a loss mask, and what is done with those that are too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from forge_llm.spans import Rendered

    Messages = Sequence[Mapping[str, str]]
    Offsets = Sequence[tuple[int, int]]

Learned = Literal["responses", "last", "all"]
"""What is learned: each answer, the last one alone, or every token."""


@attrs.frozen
class Encoded:
    """Hold one sample: token ids, which of them are learned, and where each stands in ``text``.

    ``straddling`` counts tokens that hold the end of a prompt and the start of an answer; they are not learned.
    """

    text: str
    ids: Sequence[int]
    mask: Sequence[bool]
    offsets: Offsets
    straddling: int = 0

    @property
    def is_learned(self) -> bool:
        """Say whether any token counts; nothing comes before the first, so it is never predicted."""
        return any(self.mask[1:])

    def part(self, start: int, end: int) -> Encoded:
        """Return the tokens from *start* to *end*."""
        cut = slice(start, end)
        return attrs.evolve(self, ids=self.ids[cut], mask=self.mask[cut], offsets=self.offsets[cut])


def encode_chats(tokenizer: Any, chats: Sequence[Rendered], learned: Learned) -> list[Encoded]:
    """Return each chat's token ids; the template has written every special token already."""
    found = tokenizer([chat.text for chat in chats], add_special_tokens=False, return_offsets_mapping=True)
    return [
        _masked(chat, found["input_ids"][place], found["offset_mapping"][place], learned)
        for place, chat in enumerate(chats)
    ]


def encode_texts(tokenizer: Any, texts: Sequence[str], end: int) -> list[Encoded]:
    """Return each text's token ids, begun as the model's tokenizer begins a text and ended by the token *end*."""
    found = tokenizer(list(texts), return_offsets_mapping=True)
    encoded = []
    for text, ids, offsets in zip(texts, found["input_ids"], found["offset_mapping"], strict=True):
        if not ids or ids[-1] != end:
            ids, offsets = [*ids, end], [*offsets, (len(text), len(text))]  # noqa: PLW2901
        encoded.append(Encoded(text, ids, [True] * len(ids), offsets))
    return encoded


def _masked(chat: Rendered, ids: Sequence[int], offsets: Offsets, learned: Learned) -> Encoded:
    """Mark the tokens that lie within an answer's span; also count those that only begin before one."""
    if learned == "all":
        return Encoded(chat.text, ids, [True] * len(ids), offsets)
    spans = chat.spans[-1:] if learned == "last" else chat.spans
    mask = [any(start <= a < end and b <= end for start, end in spans) for a, b in offsets]
    across = sum(any(a < start < b for start, _ in spans) for a, b in offsets)
    return Encoded(chat.text, ids, mask, offsets, across)


def windows(sample: Encoded, most: int) -> Iterator[Encoded]:
    """Cut a text into windows of *most* tokens.

    Each window but the first begins with the last token of the one before it, which is not learned again: so every
    token is learned once, behind at least one other.
    """
    for start in range(0, max(1, len(sample.ids) - 1), most - 1):
        window = sample.part(start, start + most)
        yield attrs.evolve(window, mask=[False, *window.mask[1:]]) if start else window


def split_chat(messages: Messages, encode: Callable[[Messages], Encoded], most: int) -> tuple[list[Encoded], int]:
    """Cut a chat between an answer and the next question into parts of up to *most* tokens.

    Each part begins with the chat's system message and is rendered for itself, so an answer sees what was said before
    it in its part. Also returned is how many exchanges are too long alone and lost.
    """
    heads, exchanges = _exchanges(messages)
    parts: list[Encoded] = []
    taken: list[Mapping[str, str]] = []
    longest: Encoded | None = None
    lost = 0
    for exchange in exchanges:
        grown = encode([*heads, *taken, *exchange])
        if len(grown.ids) > most and taken:
            parts += [longest] if longest is not None else []
            taken, longest = [], None
            grown = encode([*heads, *exchange])
        if len(grown.ids) > most:
            lost += 1
        else:
            taken, longest = [*taken, *exchange], grown
    return parts + ([longest] if longest is not None else []), lost


def _exchanges(messages: Messages) -> tuple[list[Mapping[str, str]], list[list[Mapping[str, str]]]]:
    """Part a chat into its system messages at the head, and questions each with the answers to it."""
    body = next((place for place, message in enumerate(messages) if message["role"] != "system"), len(messages))
    exchanges: list[list[Mapping[str, str]]] = []
    answered = False
    for message in messages[body:]:
        if message["role"] == "user" and answered:
            exchanges.append([])
            answered = False
        if not exchanges:
            exchanges.append([])
        exchanges[-1].append(message)
        answered = answered or (message["role"] == "assistant" and len(exchanges[-1]) > 1)
    return list(messages[:body]), [e for e in exchanges if any(m["role"] == "assistant" for m in e)]
