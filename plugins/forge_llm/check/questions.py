"""Turn rows into questions: as the model's own tokenizer reads them, and as a GGUF file does."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import attrs

from forge import StepError
from forge_llm.chat_format import UnusableRow, encode, prompt_of, render
from forge_llm.check.asking import Question
from forge_llm.check.facts import compare_end, compare_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import forge
    from forge_llm.check.facts import Facts
    from forge_llm.check.local_model import LocalModel


def read_questions(
    data: forge.Artifact, tokenizer: Any, ends: Collection[int], *, system: str | None, room: int, run: forge.Run
) -> list[Question]:
    """Return the rows of a table that can be asked in *room* tokens, as transformers renders and cuts them."""
    questions = []
    for number, row in enumerate(data.rows().collect().iter_rows(named=True), start=1):
        try:
            messages, expected = prompt_of(row, system)
            question = _question(
                number,
                messages,
                expected,
                lambda said, opened: render(tokenizer, said, generate=opened),
                lambda text: encode(tokenizer, text),
                ends,
            )
        except UnusableRow as reason:
            run.drop(str(reason), example=f"row {number}")
            continue
        if len(question.everything) > room:
            run.drop("longer than the context", example=f"row {number}: {len(question.everything)} tokens")
            continue
        questions.append(question)
    if not questions:
        raise StepError(f"input `{data.name}` has no row that can be asked", hint="see the rows that were dropped")
    return questions


def draw(questions: Sequence[Question], count: int, seed: int) -> list[Question]:
    """Return *count* questions by lots, in the order of the table.

    A lot is drawn by the row's content, so that a new row elsewhere in the table moves none.
    """

    def lot(question: Question) -> bytes:
        text = json.dumps([seed, list(question.messages), question.row], ensure_ascii=False)
        return blake2b(text.encode(), digest_size=16).digest()

    return sorted(sorted(questions, key=lot)[:count], key=lambda question: question.row)


def as_the_file_reads(question: Question, model: LocalModel, name: Callable[[int], str], facts: Facts) -> Question:
    """Return a question as the file renders and cuts it, and take down where that differs from *question*.

    The prompt is compared and, where the row has an answer, the whole chat that training saw.
    """
    found = _question(
        question.row,
        question.messages,
        question.expected,
        lambda said, opened: model.render(said, generate=opened),
        model.encode,
        frozenset(question.answer[-1:]),
    )
    for wanted, has in ((question.ids, found.ids), (question.everything, found.everything)):
        compare_ids(question.row, (question.prompt, found.prompt), (wanted, has), name, facts)
    if question.answer:
        compare_end(question.row, question.answer[-1], model, name, facts)
    return found


def _question(
    row: int,
    messages: Sequence[Mapping[str, str]],
    expected: str,
    rendered: Callable[[Sequence[Mapping[str, str]], bool], str],
    encoded: Callable[[str], Sequence[int]],
    ends: Collection[int],
) -> Question:
    prompt = rendered(messages, True)  # noqa: FBT003 - the turn is opened
    ids = tuple(encoded(prompt))
    question = Question(row, messages, expected, prompt, ids, ())
    if not expected:
        return question
    whole = tuple(encoded(rendered([*messages, {"role": "assistant", "content": expected}], False)))  # noqa: FBT003
    # where the template writes something else after an answer than it opens with, its own tokens alone are left
    answer = whole[len(ids) :] if whole[: len(ids)] == ids else tuple(encoded(expected))
    end = next((place for place, token in enumerate(answer) if token in ends), len(answer) - 1)
    return attrs.evolve(question, answer=answer[: end + 1])
