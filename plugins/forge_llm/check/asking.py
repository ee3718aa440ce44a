"""Ask a model many questions, several at a time, what they share at their start read once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import reduce
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

import attrs

from forge_llm.check.decoding import Decoded, Model, greedy
from forge_llm.check.local_model import shared_start
from forge_llm.check.scoring import score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from forge_llm.check.decoding import Grammar
    from forge_llm.check.local_model import LocalModel
    from forge_llm.check.scoring import Scores

MOST_READERS = 4
"""So many questions are asked at a time at most: each has a KV cache of its own."""

WHOLE = 4
"""Questions of which every position is scored, beside what all share; of the others those of the answer. Scoring a
position costs a fifth of reading it and as much again to compare, and a few hundred of prompts tell enough."""


class Asked(Model, Protocol):
    """Read tokens with a memory that can be taken back to what was read first."""

    def rewind(self, count: int) -> None:
        """Forget all but the first *count* tokens."""


@attrs.frozen
class Question:
    """Hold one row as it is asked: its place in the table, its messages, the wanted answer and the token ids.

    ``answer`` is the wanted answer in tokens, with the one that ends it.
    """

    row: int
    messages: Sequence[Mapping[str, str]]
    expected: str
    prompt: str
    ids: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def everything(self) -> tuple[int, ...]:
        """Return the prompt and the wanted answer in tokens."""
        return (*self.ids, *self.answer)


@attrs.frozen
class Answer:
    """Hold the free reply, the one that a grammar held (the same where there is none), and the wanted one's scores."""

    free: Decoded
    held: Decoded
    scores: Scores


@attrs.frozen
class Answers:
    """Hold a model's answers in the order of the questions, and the scores of what all prompts share."""

    shared: Scores
    each: tuple[Answer, ...]


def shared_prompt(questions: Iterable[Question]) -> list[int]:
    """Return the token ids that all prompts start with."""
    return reduce(lambda left, right: left[: shared_start(left, right)], [list(q.ids) for q in questions])


def readers_of(
    model: LocalModel, count: int, *, grammar: str | None, context: int, threads: int
) -> list[tuple[Asked, Grammar | None]]:
    """Return what reads for *count* questions: two on a core each are answered faster than one on two."""
    readers = max(1, min(threads, count, MOST_READERS))
    return [
        (model.reader(context=context, threads=max(1, threads // readers)), model.grammar(grammar) if grammar else None)
        for _ in range(readers)
    ]


def ask_all(
    readers: Sequence[tuple[Asked, Grammar | None]],
    questions: Sequence[Question],
    *,
    limit: int,
    shared: Sequence[int],
    keep: bool = False,
    base: Mapping[int | None, Scores] | None = None,
    report: Callable[[int], None] = lambda _: None,
) -> Answers:
    """Return the greedy answers, and the scores of the wanted ones; *report* hears how many are there.

    *shared* are the ids that all prompts start with: each reader reads them once. *base* holds another model's scores
    by row, those of *shared* under None; a row that it does not have is compared with nothing.
    How many questions are asked at a time changes no answer: each starts from the same cache, and guesses nothing but
    its own wanted answer.
    """
    base = base or {}
    shared_places = max(0, len(shared) - 1)
    free: SimpleQueue[tuple[Asked, Grammar | None]] = SimpleQueue()
    for each in readers:
        free.put(each)

    def ask(number: int, question: Question) -> Answer:
        reader, grammar = free.get()
        try:
            reader.rewind(shared_places)
            start = shared_places if number < WHOLE else max(shared_places, len(question.ids) - 1)
            scores = score(reader, question.everything, start, keep=keep, base=base.get(question.row))
            return _ask(reader, grammar, question, scores, limit)
        finally:
            free.put((reader, grammar))

    with ThreadPoolExecutor(len(readers)) as pool:
        read = [pool.submit(score, reader, shared, keep=keep, base=base.get(None)) for reader, _ in readers]
        prefix = [each.result() for each in read]
        waiting = {pool.submit(ask, number, question): number for number, question in enumerate(questions)}
        answers: dict[int, Answer] = {}
        try:
            for done in as_completed(waiting):
                answers[waiting[done]] = done.result()
                report(len(answers))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Answers(prefix[0], tuple(answers[number] for number in range(len(questions))))


def _ask(reader: Asked, grammar: Grammar | None, question: Question, scores: Scores, limit: int) -> Answer:
    said = [int(token) for token in scores.part(len(question.ids) - 1).best]
    free = greedy(reader, question.ids, limit, said=_as_far(said, question.answer), guess=question.answer)
    if grammar is None:
        return Answer(free, free, scores)
    held = greedy(reader, question.ids, limit, grammar=grammar, free=free, guess=question.answer)
    return Answer(free, held, scores)


def _as_far(said: Sequence[int], wanted: Sequence[int]) -> Sequence[int]:
    """Return what the model says as long as it was read with what it had said before: to the first other token."""
    same = next((i for i, (a, b) in enumerate(zip(said, wanted, strict=True)) if a != b), len(said))
    return said[: same + 1]
