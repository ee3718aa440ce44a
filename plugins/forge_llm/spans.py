"""Render a chat by the model's own template, and find what the model has to write in it.

Nothing is searched for in the text, and no template is known by name: an answer stands right behind its prompt, and
where a template rewrites it, its place is seen by rendering the chat once more with another answer there. The last
answer always stands behind the very prompt that is asked later, whatever the template makes of it in a finished
chat: some open it with a thought, some move the system message into the last question, some take thoughts out of
what was said before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from forge_llm.chat_format import UnusableRow, render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Messages = Sequence[Mapping[str, str]]

THINK, THOUGHT = "<think>", "</think>"
"""The marks around a thought: Qwen3, DeepSeek-R1 and those distilled from it, SmolLM3."""
_NO_THOUGHT = f"\n{THOUGHT}\n\n"
_PRIVATE = range(0xE000, 0xF900)
"""Characters that no text uses, for answers that stand in for the true one."""


@attrs.frozen
class Rendered:
    """Hold one chat as text, with the character spans ``(start, end)`` of each assistant turn.

    A span runs from the first character that the model has to write to the end of the marker that ends its turn.
    """

    text: str
    spans: tuple[tuple[int, int], ...]


@attrs.frozen
class Template:
    """Hold a tokenizer with a chat template, and the marker by which the template ends an answer.

    ``opening`` is what it writes between a prompt and the answer (a blank, an empty thought). ``closing`` is empty
    where it writes none: a model would never learn to stop.
    """

    tokenizer: Any
    opening: str
    closing: str

    @classmethod
    def of(cls, tokenizer: Any) -> Template:
        """Look what the template writes around an answer."""
        asked = {"role": "user", "content": "?"}
        text = render(tokenizer, [asked, {"role": "assistant", "content": chr(_PRIVATE[0])}], generate=False)
        before, _, after = text.rpartition(chr(_PRIVATE[0]))
        prompt = render(tokenizer, [asked], generate=True)
        closing = after.rstrip()
        # some write the end of the text too, behind the last answer alone: the model stops at the first mark
        marks = [str(token) for token in tokenizer.added_tokens_decoder.values() if closing.startswith(str(token))]
        opening = before.removeprefix(prompt) if before.startswith(prompt) else ""
        return cls(tokenizer, opening, max(marks, key=len, default=closing))

    def prompt(self, messages: Messages) -> str:
        """Return the text that the model is asked with."""
        return render(self.tokenizer, messages, generate=True)

    def thoughtless(self, prompt: str) -> str:
        """Return what an answer without a thought begins with behind *prompt*; empty where the family has none.

        A reply that is held to a grammar has to begin with it too: it is what was learned.
        """
        if prompt.rfind(THINK) > prompt.rfind(THOUGHT):
            return _NO_THOUGHT
        return self.opening if THINK in self.opening else ""

    def render(self, messages: Messages) -> Rendered:
        """Render a whole chat and find each assistant turn in it, exactly."""
        spoken = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        last = len(messages) - 1
        if last not in spoken:
            text = render(self.tokenizer, messages, generate=False)
            return Rendered(text, tuple(self._earlier(messages, index, text, generate=False) for index in spoken))
        asked = messages[:last]
        prompt = self.prompt(asked)
        spans = [self._earlier(asked, index, prompt, generate=True) for index in spoken[:-1]]
        text, end = self._answered(messages, prompt)
        return Rendered(text, (*spans, (len(prompt), end)))

    def _answered(self, messages: Messages, prompt: str) -> tuple[str, int]:
        """Return *prompt* with the last answer behind it, and where that ends."""
        text = render(self.tokenizer, messages, generate=False)
        if text.startswith(prompt):
            end = self._behind(text, prompt, messages[-1]["content"])
            if end is None:
                _, end = self._place(messages, len(messages) - 1, text, generate=False)
            return text, self._closed(text, max(end, len(prompt)))
        answer = messages[-1]["content"].strip()
        if prompt.rfind(THINK) > prompt.rfind(THOUGHT) and THOUGHT in answer:
            answer = answer.removeprefix(THINK).lstrip("\n")  # the prompt has opened the answer's own thought
        else:
            answer = (self.thoughtless(prompt) or self.opening) + answer
        text = prompt + answer + self.closing
        return text, len(text)

    def _earlier(self, messages: Messages, index: int, text: str, *, generate: bool) -> tuple[int, int]:
        """Return the span of an answer that is not the last message, as it stands in *text*."""
        opened = self._opened(messages[:index])
        known = self._behind(text, opened, messages[index]["content"]) if opened else None
        if known is not None:
            return len(opened), self._closed(text, known)
        start, end = self._place(messages, index, text, generate=generate)
        if opened and text.startswith(opened) and len(opened) <= end:
            start = len(opened)
        elif text.endswith(self.opening, 0, start):
            start -= len(self.opening)
        return start, self._closed(text, end)

    def _opened(self, messages: Messages) -> str:
        """Return the prompt for an earlier answer; nothing where nobody asks for it, as before a greeting."""
        if all(message["role"] == "system" for message in messages):
            return ""
        try:
            return self.prompt(messages)
        except UnusableRow:
            return ""  # some templates refuse the start of a chat that they take as a whole

    def _behind(self, text: str, prompt: str, answer: str) -> int | None:
        """Return where an answer ends that stands in *text* as it is, right behind its prompt; None for any other."""
        if text.startswith(prompt):
            for opening in (self.opening, ""):
                if text.startswith(opening + answer, len(prompt)):
                    return len(prompt) + len(opening) + len(answer)
        return None

    def _place(self, messages: Messages, index: int, text: str, *, generate: bool) -> tuple[int, int]:
        """Return where the content of message *index* stands in *text*, which was rendered from *messages*."""
        other = next(chr(code) for code in _PRIVATE if chr(code) not in text)
        exchanged = [*messages[:index], {"role": "assistant", "content": other}, *messages[index + 1 :]]
        beside = render(self.tokenizer, exchanged, generate=generate)
        if beside.count(other) != 1:
            raise UnusableRow("the template leaves an answer out, or repeats it")
        before, _, after = beside.partition(other)
        start = len(before) if text.startswith(before) else _alike(text, before)
        end = len(text) - (len(after) if text.endswith(after) else _alike(text[::-1], after[::-1]))
        if end <= start:
            raise UnusableRow("the template leaves nothing of an answer")
        return start, end

    def _closed(self, text: str, end: int) -> int:
        """Return where the marker behind an answer ends; white space behind it is not the model's to write."""
        return end + len(self.closing) if text.startswith(self.closing, end) else end


def _alike(left: str, right: str) -> int:
    """Return how many characters two texts share at their start."""
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
