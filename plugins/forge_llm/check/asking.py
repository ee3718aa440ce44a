"""Ask a GGUF file many questions, several at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import reduce
from queue import SimpleQueue
from typing import TYPE_CHECKING

import attrs

from forge_llm.check.decoding import Decoded, greedy
from forge_llm.check.local_model import shared_start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forge_llm.check.decoding import Grammar
    from forge_llm.check.local_model import LocalModel, Reader

MOST_READERS = 4
"""So many questions are asked at a time at most: each has a KV cache of its own."""


@attrs.frozen
class Question:
    """Hold one row as it is asked: its place in the table, its messages, the wanted answer and the token ids."""

    row: int
    messages: Sequence[Mapping[str, str]]
    expected: str
    prompt: str
    ids: Sequence[int]


@attrs.frozen
class Answer:
    """Hold the free reply and the one that a grammar held; they are the same where there is none."""

    free: Decoded
    held: Decoded


def ask_all(
    model: LocalModel,
    questions: Sequence[Question],
    *,
    grammar: str | None,
    limit: int,
    context: int,
    threads: int,
    report: Callable[[int], None],
) -> list[Answer]:
    """Return the greedy answers in the order of the questions; *report* hears how many are there.

    Two questions on a core each are answered faster than one on two. How many are asked at a time changes no answer:
    every one starts from the same cache of what all prompts share, and guesses nothing but its own wanted answer.
    """
    prefix = reduce(_shared, [list(question.ids) for question in questions])
    readers = max(1, min(threads, len(questions), MOST_READERS))
    free: SimpleQueue[tuple[Reader, Grammar | None]] = SimpleQueue()
    for _ in range(readers):
        reader = model.reader(context=context, threads=max(1, threads // readers))
        free.put((reader, model.grammar(grammar) if grammar else None))

    def ask(question: Question) -> Answer:
        reader, rules = free.get()
        try:
            return _ask(reader, rules, question, prefix, limit, model)
        finally:
            free.put((reader, rules))

    with ThreadPoolExecutor(readers) as pool:
        waiting = {pool.submit(ask, question): number for number, question in enumerate(questions)}
        answers: dict[int, Answer] = {}
        try:
            for done in as_completed(waiting):
                answers[waiting[done]] = done.result()
                report(len(answers))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [answers[number] for number in range(len(questions))]


def _ask(
    reader: Reader, grammar: Grammar | None, question: Question, prefix: Sequence[int], limit: int, model: LocalModel
) -> Answer:
    if prefix:
        reader.rewind(len(prefix))
        reader.logits_after(prefix)
    free = greedy(reader, question.ids, limit)
    if grammar is None:
        return Answer(free, free)
    guess = model.encode(question.expected)
    return Answer(free, greedy(reader, question.ids, limit, grammar=grammar, free=free, guess=guess))


def _shared(left: list[int], right: list[int]) -> list[int]:
    return left[: shared_start(left, right)]
