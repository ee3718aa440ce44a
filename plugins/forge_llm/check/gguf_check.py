"""Let GGUF files answer held-out rows, and compare them with the model that they were made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge, gt, optional

import forge
from forge import StepError
from forge_llm.check.evidence import Evidence, repeat_check
from forge_llm.check.facts import Facts, compare_header, know, token_name
from forge_llm.check.figures import BELOW, COMMONEST, below_commonest, check_bounds
from forge_llm.check.gguf_choice import REFERENCE, WHOLE, Exported, choose, of_bound
from forge_llm.check.labels import read_labels, read_schema
from forge_llm.check.local_model import LocalModel
from forge_llm.check.measuring import Asking, ask_file, ask_reference, findings_of
from forge_llm.check.questions import draw, read_questions
from forge_llm.check.stranger import tell_apart
from forge_llm.check.tolerance import beyond
from forge_llm.check.wanted import require_some
from forge_llm.check.weights import compare_files, compare_with_model
from forge_llm.export.gguf_files import canonical
from forge_llm.export.model_folder import MODEL, find_folder
from forge_llm.threads import wait_asleep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from forge_llm.check.asking import Question


def _canonical(kinds: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(canonical(kind) for kind in kinds))


@attrs.frozen
class GgufCheck:
    """Run GGUF files on held-out rows through their embedded templates, and state how good each is.

    Each file of *types* (all, where none is named) is compared with the 16-bit file beside it, and that one with the
    reference, the model that both were made of. Replies are greedy. With a *schema* they are labels: JSON by it, held
    to it by a *grammar*, and figures that end in ``_free`` are of replies without it; without one they are text.
    *rows* are asked of each file, *reference_rows* of them of the reference, which is slower; token ids are compared
    over the whole table.
    *require* gives bounds, of every file (``accuracy``) or of one (``Q4_K_M.accuracy``, ``reference.accuracy``): at
    least for shares, at most for losses and distances. That template, tokenizer, token ids, end token and weights are
    the model's is required unless it says false.
    *system* must be what training used.
    """

    require: dict[str, float | bool] = attrs.field(factory=dict)
    types: tuple[str, ...] = attrs.field(default=(), converter=_canonical)
    form: Literal["labels", "text"] | None = None
    rows: int = attrs.field(default=24, validator=gt(0))
    reference_rows: int = attrs.field(default=8, validator=ge(0))
    max_tokens: int = attrs.field(default=96, validator=gt(0))
    context: int = attrs.field(default=4096, validator=gt(0))
    system: str | None = None
    schema: forge.File | None = None
    grammar: bool = True
    seed: int = 42
    threads: int | None = forge.setting(None, validator=optional(gt(0)))
    measure: bool = forge.setting(default=True)

    def __attrs_post_init__(self) -> None:
        if self.form == "text" and self.schema is not None:
            raise ValueError('`schema` describes labels, and `form = "text"` has none')
        if self.form == "labels" and self.schema is None:
            raise ValueError('`form = "labels"` needs a `schema` that says what they are; without one replies are text')
        asking = self._asking()
        check_bounds(self.require, asking.labels)
        for name in self.require:
            of, figure = of_bound(name)
            if of not in ("", REFERENCE) and canonical(of) != of:
                raise ValueError(f"`{name}` names no type; did you mean `{canonical(of)}.{figure}`?")
            if self.reference_rows == 0 and (figure == "agreement" or of == REFERENCE):
                raise ValueError(f"a bound on `{name}` needs `reference_rows` above 0")

    def check(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Finding]:
        """Ask the reference, ask the files, and judge."""
        wait_asleep()
        from forge_llm.check.reference import ReferenceModel

        asking = self._asking()
        folder = find_folder(inputs["reference"], MODEL)
        reference = ReferenceModel(folder, threads=self.threads or run.threads)
        files = choose(inputs["gguf"], self.types)
        self.check_names(files)
        room = self.context - self.max_tokens
        table = read_questions(
            inputs["data"], reference.tokenizer, reference.ends_known, system=self.system, room=room, run=run
        )
        self._hold_answers(table, asking, run)
        questions = draw(table, self.rows, self.seed)
        evidence = Evidence(asking, read_schema(self.schema) if self.schema else None, dict(self.require))
        total = len(questions) * len(files) + min(self.reference_rows, len(questions))
        done = 0

        def report(count: int) -> None:
            run.progress(done + count, total)

        spoken = ask_reference(reference, questions, self.reference_rows, files[0].path, asking, report)
        reference.let_go()
        done += len(spoken.replies)
        evidence.reference(questions, spoken)
        base = files[0] if files[0].kind in WHOLE else None
        base_of = {each.kind: REFERENCE if base in (None, each) else files[0].kind for each in files}
        scored = {REFERENCE: spoken.scores}
        measured = {}
        for each in files:
            facts = Facts()
            with LocalModel(each.path) as model:
                compare_header(model, folder, reference.tokenizer, facts)
                _compare_weights(each, None if base_of[each.kind] == REFERENCE else base, folder, facts)
                known = know(model, reference.ends_known)
            keep = each is base and len(files) > 1
            told = ask_file(
                each.path,
                table,
                questions,
                name=lambda token: token_name(reference.tokenizer, token),
                facts=facts,
                base=scored[base_of[each.kind]],
                said=spoken.texts,
                keep=keep,
                asking=asking,
                threads=self.threads or run.threads,
                report=report,
            )
            done += len(questions)
            scored[each.kind] = told.scores
            measured[each.kind] = told
            evidence.file(each.kind, each.path.name, base_of[each.kind], known, told)
            run.log(f"{each.path.name}: {len(questions)} rows, {told.seconds / len(questions):.2f} s each")
            if self.measure:
                speed = told.speed(each.path, self.context, self.threads or run.threads)
                run.measure(**{f"{each.kind}.{name}": value for name, value in speed.items()})
        evidence.write(out)
        found = findings_of(spoken, measured, asking.labels, self.require)
        values = {finding.name: finding.value for finding in found}
        for of in below_commonest(values):
            figures = f"{values[f'{of}.accuracy']:.4g}, and that is {values[COMMONEST]:.4g}"
            run.warn(f"the accuracy of `{of}` is {BELOW}: {figures}")
        return found

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Look for the files that bounds name, and compare how transformers and llama.cpp read held-out rows."""
        from forge_llm.preflight.prompts import look

        return look(self, inputs, out, run)

    def subjects(self, inputs: Mapping[str, forge.Artifact]) -> tuple[Path, ...]:
        """Return the files that the receipt speaks of."""
        return tuple(each.path for each in choose(inputs["gguf"], self.types))

    @staticmethod
    def repeat(file: Path, member: str, evidence: Path, run: forge.Run) -> Iterable[forge.Finding]:
        """Ask *file*, which a receipt calls *member*, again, with nothing but what lies beside the receipt."""
        wait_asleep()
        return repeat_check(file, member, evidence, run)

    @staticmethod
    def beyond(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
        """Return the figures found again that are farther from the receipt's than another machine explains."""
        return beyond(then, now)

    @staticmethod
    def tell_apart(file: Path, member: str | None, evidence: Path) -> str:
        """Return in what *file* differs from the one that the receipt speaks of."""
        return tell_apart(file, member, evidence)

    def check_names(self, files: Sequence[Exported]) -> None:
        """Raise where a bound is on a file that is not there."""
        kinds = [each.kind for each in files]
        for name in self.require:
            of = of_bound(name)[0]
            if of and of not in (*kinds, REFERENCE):
                hint = f"there is {', '.join(f'`{kind}`' for kind in kinds)}"
                raise StepError(f"`require` bounds `{name}`, and there is no file of `{of}`", hint=hint)

    def _asking(self) -> Asking:
        labels = read_labels(self.schema) if self.schema is not None else None
        rules = labels.grammar() if labels is not None and self.grammar else None
        return Asking(labels, rules, self.max_tokens, self.context)

    def _hold_answers(self, table: Sequence[Question], asking: Asking, run: forge.Run) -> None:
        if asking.labels is not None and self.schema is not None:
            wanted = ((question.row, question.expected) for question in table)
            doubt = require_some(wanted, asking.labels, self.schema.name)
            if doubt:
                run.warn(doubt)


def _compare_weights(each: Exported, base: Exported | None, folder: Path, facts: Facts) -> None:
    """Name the first tensor that is not the 16-bit file's, or the model's where there is no such file."""
    found = (
        compare_with_model(each.path, each.architecture, folder)
        if base is None
        else compare_files(each.path, base.path)
    )
    if found.differs:
        facts.differ("weights_equal", found.differs)
    elif found.unread:
        facts.leave("weights_equal", found.unread)
