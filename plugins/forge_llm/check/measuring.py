"""Ask a model its questions and turn what it said into figures."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import attrs

from forge_llm.check.asking import WHOLE, Answer, Answers, ask_all, readers_of, shared_prompt
from forge_llm.check.figures import COMMONEST, ROWS, SAME, Reply, figures, judge, names
from forge_llm.check.footprint import measure
from forge_llm.check.gguf_choice import REFERENCE, bound_of
from forge_llm.check.local_model import LocalModel
from forge_llm.check.questions import as_the_file_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import forge
    from forge_llm.check.asking import Question
    from forge_llm.check.facts import Facts
    from forge_llm.check.figures import Bound
    from forge_llm.check.labels import Labels
    from forge_llm.check.reference import ReferenceModel
    from forge_llm.check.scoring import Scores

OF_ROWS = (ROWS, COMMONEST)
"""Figures of the rows, whoever answers them."""

COMPARED = ("agreement", "top1", "top1_answers", "kl", "kl_answers")
"""Figures of a file beside another model."""


@attrs.frozen
class Asking:
    """Hold how every model is asked: what replies must be, as labels and as a grammar, and how long they may get."""

    labels: Labels | None
    grammar: str | None
    max_tokens: int
    context: int


@attrs.frozen
class Told:
    """Hold what a model said: its replies, its figures, its scores by row (those of the shared prompt under None)."""

    replies: tuple[Reply, ...]
    values: Mapping[str, Any]
    details: Mapping[str, str]
    scores: Mapping[int | None, Scores]
    seconds: float = 0.0
    longest: tuple[int, ...] = ()

    @property
    def texts(self) -> dict[int, str]:
        """Return what was said to each row."""
        return {reply.row: reply.text for reply in self.replies}

    def speed(self, path: Path, context: int, threads: int) -> dict[str, float]:
        """Return what inference with the file costs on this machine."""
        found = measure(path, self.longest, context=context, threads=threads)
        return {"seconds_per_row": round(self.seconds / max(1, len(self.replies)), 3), **found}


def ask_reference(
    reference: ReferenceModel,
    questions: Sequence[Question],
    count: int,
    path: Path,
    asking: Asking,
    report: Callable[[int], None],
) -> Told:
    """Ask the model itself the first *count* questions; its grammar walks the tokens of the file at *path*."""
    chosen = questions[:count]
    if not chosen:
        return Told((), {}, {}, {})
    begun = time.perf_counter()
    with LocalModel(path) as model:
        grammar = model.grammar(asking.grammar) if asking.grammar else None
        answers = ask_all(
            [(reference, grammar)],
            chosen,
            limit=asking.max_tokens,
            shared=shared_prompt(questions),
            keep=True,
            report=report,
        )
    replies = [_reply(question, answer, reference) for question, answer in zip(chosen, answers.each, strict=True)]
    values = {**figures(replies, asking.labels), **_positions(chosen, answers)}
    return Told(tuple(replies), values, {}, _by_row(chosen, answers), time.perf_counter() - begun)


def ask_file(
    path: Path,
    table: Iterable[Question],
    questions: Sequence[Question],
    *,
    name: Callable[[int], str] | None,
    facts: Facts,
    base: Mapping[int | None, Scores],
    said: Mapping[int, str],
    keep: bool,
    asking: Asking,
    threads: int,
    report: Callable[[int], None],
) -> Told:
    """Ask a file the *questions* as it renders and cuts them; those of the whole *table* are compared.

    *base* are another model's scores, *said* the reference's replies; both may be of a part of the rows.
    *name* gives a token's text, where the file's own vocabulary is not to be trusted.
    """
    with LocalModel(path) as model:
        read = {question.row: as_the_file_reads(question, model, name or model.name, facts) for question in table}
        asked = [read[question.row] for question in questions]
        alike = all(a.everything == b.everything for a, b in zip(asked, questions, strict=True))
        begun = time.perf_counter()
        model.damaged = facts.details.get("weights_equal", "")
        answers = ask_all(
            readers_of(model, len(asked), grammar=asking.grammar, context=asking.context, threads=threads),
            asked,
            limit=asking.max_tokens,
            shared=shared_prompt(asked),
            keep=keep,
            base=base if alike else None,
            report=report,
        )
        seconds = time.perf_counter() - begun
        replies = [
            attrs.evolve(_reply(question, answer, model), reference=said.get(question.row))
            for question, answer in zip(asked, answers.each, strict=True)
        ]
    details = dict(facts.details)
    if not alike:
        details |= dict.fromkeys(COMPARED[1:], "its prompts are not the model's")
    values = {**facts.values, **figures(replies, asking.labels), **_positions(asked, answers)}
    longest = max((question.ids for question in asked), key=len)
    return Told(tuple(replies), values, details, _by_row(asked, answers), seconds, longest)


def findings_of(
    reference: Told, files: Mapping[str, Told], labels: Labels | None, require: Mapping[str, float | bool]
) -> list[forge.Finding]:
    """Set every figure beside its bound; what is so or not must be so, unless *require* says false."""
    replies = next(iter(files.values())).replies
    rows = {ROWS: len(replies), **figures(replies, labels)}
    every = names(labels)
    found = [judge(name, rows[name], require) for name in every if name in OF_ROWS]
    for name in every:
        if name in OF_ROWS:
            continue
        if reference.replies and name not in (*SAME, *COMPARED):
            bound = bound_of(require, REFERENCE, name)
            found.append(_judged(REFERENCE, name, reference, bound))
        found += [_judged(kind, name, told, bound_of(require, kind, name)) for kind, told in files.items()]
    return found


def _judged(of: str, name: str, told: Told, bound: Bound | None) -> forge.Finding:
    value, full = told.values.get(name), f"{of}.{name}"
    if name in SAME and value is not None and bound is None:
        bound = True
    wanted = {} if bound is None or bound is False else {name: bound}
    return attrs.evolve(judge(name, value, wanted, told.details.get(name, "")), name=full)


def _reply(question: Question, answer: Answer, model: LocalModel | ReferenceModel) -> Reply:
    return Reply(
        row=question.row,
        prompt=question.prompt,
        expected=question.expected,
        text=model.decode(answer.held.tokens),
        stopped=answer.held.stopped,
        free=model.decode(answer.free.tokens),
        free_stopped=answer.free.stopped,
    )


def _by_row(questions: Sequence[Question], answers: Answers) -> dict[int | None, Scores]:
    return {None: answers.shared, **{q.row: a.scores for q, a in zip(questions, answers.each, strict=True)}}


def _positions(questions: Sequence[Question], answers: Answers) -> dict[str, float | None]:
    """Return the figures of positions; what prompts share is counted once, the rest of them in a few questions."""
    whole = [answers.shared, *(answer.scores for answer in answers.each[:WHOLE])]
    wanted = [
        (question, answer.scores.part(len(question.ids) - 1))
        for question, answer in zip(questions, answers.each, strict=True)
        if question.answer
    ]
    loss = _mean(float(-log) for _, part in wanted for log in part.logs)
    found: dict[str, float | None] = {
        "answer_loss": loss,
        "perplexity": None if loss is None else math.exp(min(loss, 700.0)),
        "answer_top1": _mean(
            a == b for question, part in wanted for a, b in zip(part.best, question.answer, strict=True)
        ),
        "ends": _mean(part.best[-1] == question.answer[-1] for question, part in wanted),
    }
    for ending, parts in (("", whole), ("_answers", [part for _, part in wanted])):
        compared = [part for part in parts if part.same is not None]
        found["top1" + ending] = _mean(bool(same) for part in compared for same in part.same)
        found["kl" + ending] = _mean(float(value) for part in compared for value in part.divergence)
    return {name: None if value is None else round(value, 6) for name, value in found.items()}


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
