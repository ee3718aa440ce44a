"""Let a quantised file answer held-out rows, and compare it with the model that it was made of."""

from __future__ import annotations

import json
import time
from difflib import get_close_matches
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge, gt, optional

import forge
from forge import StepError
from forge_llm.chat_format import UnusableRow, encode, prompt_of, render
from forge_llm.check.asking import Question, ask_all
from forge_llm.check.decoding import greedy
from forge_llm.check.figures import SAME, Reply, check_bounds, figures, judge, names
from forge_llm.check.labels import Labels, read_labels
from forge_llm.check.local_model import LocalModel, shared_start
from forge_llm.export.model_folder import MODEL, find_folder
from forge_llm.threads import wait_asleep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from forge_llm.check.asking import Answer
    from forge_llm.check.reference import ReferenceModel


@attrs.frozen
class GgufCheck:
    """Run a GGUF file on held-out rows through its embedded template, and state how good it is.

    Replies are greedy. With *grammar* they are held to *schema*; figures that end in ``_free`` are of replies without
    it. ``agreement`` is the share of equal labels between the file and the reference, decoded alike, over
    *reference_rows*; ``token_ids_equal`` compares the rendered rows of the whole table, token by token.
    *require* gives bounds: at least for shares, at most for ``…_mae``, equal for true and false.
    *system* must be what training used.
    """

    require: dict[str, float | bool] = attrs.field(factory=lambda: {"token_ids_equal": True})
    type: str = "Q4_K_M"
    rows: int = attrs.field(default=24, validator=gt(0))
    reference_rows: int = attrs.field(default=8, validator=ge(0))
    max_tokens: int = attrs.field(default=96, validator=gt(0))
    context: int = attrs.field(default=4096, validator=gt(0))
    system: str | None = None
    schema: forge.File | None = None
    grammar: bool = True
    seed: int = 42
    threads: int | None = forge.setting(None, validator=optional(gt(0)))

    def __attrs_post_init__(self) -> None:
        labels = read_labels(self.schema)
        if self.grammar:
            labels.grammar()
        check_bounds(self.require, labels)
        if "agreement" in self.require and self.reference_rows == 0:
            raise ValueError("a bound on `agreement` needs `reference_rows` above 0")

    def check(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Finding]:
        """Ask the file, ask the reference, and judge."""
        wait_asleep()
        from forge_llm.check.reference import ReferenceModel

        labels = read_labels(self.schema)
        threads = self.threads or run.threads
        reference = ReferenceModel(find_folder(inputs["reference"], MODEL), threads=threads)
        path = self._file(inputs["gguf"])
        run.log(f"checking {path.name}")
        with LocalModel(path) as model:
            same, details, questions = self._compare_prompts(inputs["data"], model, reference, run)
            replies = self._ask(questions, model, reference, labels, threads, run)
        _write(replies, out)
        values: dict[str, Any] = {"rows": len(replies), **same, **figures(replies, labels)}
        return [judge(name, values[name], self.require, details.get(name, "")) for name in names(labels)]

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Compare the prompts of held-out rows between transformers and llama.cpp."""
        from forge_llm.preflight.prompts import look

        return look(self, inputs, out, run)

    def subjects(self, inputs: Mapping[str, forge.Artifact]) -> tuple[Path, ...]:
        """Return the file that the receipt speaks of."""
        return (self._file(inputs["gguf"]),)

    def _file(self, artifact: forge.Artifact) -> Path:
        """Return the file of the wanted type, or the only one there is."""
        found = {name: path for name, path in artifact.files().items() if path.suffix == ".gguf"}
        if len(found) == 1:
            return next(iter(found.values()))
        fits = [path for name, path in found.items() if name.lower().endswith(f"-{self.type.lower()}.gguf")]
        if len(fits) != 1:
            close = get_close_matches(self.type, [name.removesuffix(".gguf").rpartition("-")[2] for name in found], n=1)
            raise StepError(
                f"input `{artifact.name}` has {len(fits) or 'no'} file of the type `{self.type}`",
                hint=f"did you mean `{close[0]}`?" if close else f"it holds {', '.join(found) or 'no GGUF file'}",
            )
        return fits[0]

    def _compare_prompts(
        self, data: forge.Artifact, model: LocalModel, reference: ReferenceModel, run: forge.Run
    ) -> tuple[dict[str, bool], dict[str, str], list[Question]]:
        """Render and tokenise every row on both sides, and choose the questions to ask."""
        same: dict[str, bool] = dict.fromkeys(SAME, True)
        details: dict[str, str] = {}

        def differ(name: str, detail: str) -> None:
            if same[name]:
                same[name], details[name] = False, detail

        tokenizer = reference.tokenizer
        if model.template != tokenizer.chat_template:
            differ("template_equal", "the template in the file is not the model's")
        if model.end_token != tokenizer.eos_token_id:
            differ(
                "end_token_equal",
                f"the file ends at {model.end_token}, the model at {tokenizer.eos_token_id} `{tokenizer.eos_token}`",
            )
        questions = []
        for number, row in enumerate(data.rows().collect().iter_rows(named=True), start=1):
            try:
                messages, expected = prompt_of(row, self.system)
                question, difference = _compare(number, messages, expected, model, tokenizer)
            except UnusableRow as reason:
                run.drop(str(reason), example=f"row {number}")
                continue
            if difference:
                differ("token_ids_equal", difference)
            if len(question.ids) + self.max_tokens > self.context:
                run.drop("longer than the context", example=f"row {number}: {len(question.ids)} tokens")
                continue
            questions.append(question)
        if not questions:
            raise StepError(f"input `{data.name}` has no row that can be asked", hint="see the rows that were dropped")
        chosen = sorted(questions, key=self._lot)[: self.rows]
        return same, details, sorted(chosen, key=lambda question: question.row)

    def _lot(self, question: Question) -> bytes:
        """Draw a lot by the row's content, so that a new row elsewhere in the table moves none."""
        text = json.dumps([self.seed, list(question.messages), question.row], ensure_ascii=False)
        return blake2b(text.encode(), digest_size=16).digest()

    def _ask(
        self,
        questions: Sequence[Question],
        model: LocalModel,
        reference: ReferenceModel,
        labels: Labels,
        threads: int,
        run: forge.Run,
    ) -> list[Reply]:
        compared = min(self.reference_rows, len(questions))
        total = len(questions) + compared
        started = time.perf_counter()
        rules = labels.grammar() if self.grammar else None
        answers = ask_all(
            model,
            questions,
            grammar=rules,
            limit=self.max_tokens,
            context=self.context,
            threads=threads,
            report=lambda done: run.progress(done, total),
        )
        seconds = time.perf_counter() - started
        spoken = sum(len(q.ids) + len(a.free.tokens) for q, a in zip(questions, answers, strict=True))
        run.log(f"{len(questions)} rows in {seconds:.1f} s, {spoken / seconds:.0f} tokens/s with prompts")
        replies = [_reply(question, answer, model) for question, answer in zip(questions, answers, strict=True)]
        grammar = model.grammar(rules) if rules else None
        for number, question in enumerate(questions[:compared]):
            guess = answers[number].held.tokens
            held = greedy(reference, question.ids, self.max_tokens, grammar=grammar, guess=guess)
            replies[number] = attrs.evolve(replies[number], reference=reference.decode(held.tokens))
            run.progress(len(questions) + number + 1, total)
        if compared:
            run.log(f"{compared} rows of the reference in {time.perf_counter() - started - seconds:.1f} s")
        return replies


def _reply(question: Question, answer: Answer, model: LocalModel) -> Reply:
    return Reply(
        row=question.row,
        prompt=question.prompt,
        expected=question.expected,
        text=model.decode(answer.held.tokens),
        stopped=answer.held.stopped,
        free=model.decode(answer.free.tokens),
        free_stopped=answer.free.stopped,
    )


def _compare(
    number: int, messages: Sequence[Mapping[str, str]], expected: str, model: LocalModel, tokenizer: Any
) -> tuple[Question, str]:
    """Return a row's question and, where transformers and llama.cpp read it differently, where they first do.

    The prompt is compared and, where the row has an answer, the whole chat that training saw.
    """
    sides = [(messages, True)]
    if expected:
        sides.append(([*messages, {"role": "assistant", "content": expected}], False))
    wanted = [encode(tokenizer, render(tokenizer, said, generate=opened)) for said, opened in sides]
    texts = [model.render(said, generate=opened) for said, opened in sides]
    found = [model.encode(text) for text in texts]
    differences = [
        _difference(number, left, right, tokenizer) for left, right in zip(wanted, found, strict=True) if left != right
    ]
    return Question(number, messages, expected, texts[0], found[0]), next(iter(differences), "")


def _difference(row: int, wanted: Sequence[int], found: Sequence[int], tokenizer: Any) -> str:
    """Name the first token that differs between transformers and llama.cpp."""
    place = shared_start(list(wanted), list(found))

    def name(ids: Sequence[int]) -> str:
        return f"{ids[place]} `{tokenizer.decode([ids[place]])}`" if place < len(ids) else "the end"

    return f"row {row}, token {place}: transformers has {name(wanted)}, the file {name(found)}"


def _write(replies: Sequence[Reply], out: Path) -> None:
    lines = (json.dumps(attrs.asdict(reply), ensure_ascii=False) for reply in replies)
    (out / "replies.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
