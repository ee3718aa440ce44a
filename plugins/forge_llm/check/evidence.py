"""Keep what a check needs to be repeated from a file and its receipt alone.

``check.json`` says how was asked and what the files are, and holds no row's text. ``rows.jsonl`` has the rows as they
were asked and what the reference said, ``replies.jsonl`` what the files said, ``likely-….npz`` the distributions that a
file is compared with: those three hold the rows' words, and may be kept back where rows must not be shared.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from forge import StepError
from forge_llm.check.asking import Question
from forge_llm.check.facts import Facts, Known, compare_known
from forge_llm.check.figures import SAME
from forge_llm.check.gguf_choice import REFERENCE
from forge_llm.check.labels import labels_of
from forge_llm.check.local_model import LocalModel
from forge_llm.check.measuring import Asking, Told, ask_file, findings_of
from forge_llm.check.scoring import Likely, Scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import forge

CHECK, ROWS, REPLIES = "check.json", "rows.jsonl", "replies.jsonl"


@attrs.define
class Evidence:
    """Collect it during a check, and write it."""

    asking: Asking
    schema: Any
    require: Mapping[str, float | bool]
    files: dict[str, Any] = attrs.Factory(dict)
    rows: list[dict[str, Any]] = attrs.Factory(list)
    replies: list[dict[str, Any]] = attrs.Factory(list)
    scores: dict[str, Mapping[int | None, Scores]] = attrs.Factory(dict)

    def reference(self, questions: Sequence[Question], told: Told) -> None:
        """Take down the questions, and what the reference said."""
        self.rows = [{**attrs.asdict(question), "reference": told.texts.get(question.row)} for question in questions]
        self.replies += [{"of": REFERENCE, **attrs.asdict(reply)} for reply in told.replies]
        self.scores[REFERENCE] = told.scores

    def file(self, kind: str, name: str, base: str, known: Known, told: Told) -> None:
        """Take down what a file said."""
        self.files[kind] = {"name": name, "base": base, "known": attrs.asdict(known)}
        self.replies += [{"of": kind, **attrs.asdict(reply)} for reply in told.replies]
        if any(scores.likely for scores in told.scores.values()):
            self.scores[kind] = told.scores

    def write(self, out: Path) -> None:
        """Write all of it to the folder *out*."""
        asked = {"grammar": self.asking.grammar is not None, "max_tokens": self.asking.max_tokens}
        content = {
            "labels": self.schema,
            **asked,
            "context": self.asking.context,
            "require": dict(self.require),
            "files": self.files,
        }
        (out / CHECK).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        for name, entries in ((ROWS, self.rows), (REPLIES, self.replies)):
            lines = (json.dumps(entry, ensure_ascii=False) for entry in entries)
            (out / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        for of in {entry["base"] for entry in self.files.values()}:
            if self.scores.get(of):
                _write_scores(out / _likely(of), self.scores[of])


def repeat_check(file: Path, member: str, folder: Path, run: forge.Run) -> list[forge.Finding]:
    """Ask *file*, called *member* when it was checked, what it was asked then, and judge by the same bounds.

    Without the rows what the file says of itself is compared, and nothing is asked.
    """
    if not (folder / CHECK).is_file():
        raise StepError(
            f"`{CHECK}` is not beside the receipt: it says how the file was asked",
            hint="`forge get MANIFEST STEP DEST` writes the receipt with all that belongs to it",
        )
    content = json.loads((folder / CHECK).read_text(encoding="utf-8"))
    kind, entry = _entry(content["files"], member)
    labels = labels_of(content["labels"], CHECK) if content["labels"] is not None else None
    rules = labels.grammar() if labels is not None and content["grammar"] else None
    asking = Asking(labels, rules, content["max_tokens"], content["context"])
    facts = Facts()
    facts.leave("weights_equal", "the file's digest stands for them")
    with LocalModel(file) as model:
        compare_known(model, Known(**{**entry["known"], "ends": tuple(entry["known"]["ends"])}), facts)

    if not (folder / ROWS).is_file():
        run.warn(f"`{ROWS}` is not beside the receipt: nothing is asked, and what the file says of itself is compared")
        told = Told((), facts.values, facts.details, {})
        return [each for each in findings_of(told, {kind: told}, labels, {}) if each.name.endswith(SAME)]
    rows = [json.loads(line) for line in (folder / ROWS).read_text(encoding="utf-8").splitlines()]
    said = {row["row"]: row["reference"] for row in rows if row["reference"] is not None}
    questions = [
        Question(
            **{**{k: v for k, v in row.items() if k != "reference"}, **{k: tuple(row[k]) for k in ("ids", "answer")}}
        )
        for row in rows
    ]
    scores = _read_scores(folder / _likely(entry["base"]))
    told = ask_file(
        file,
        questions,
        questions,
        name=None,
        facts=facts,
        base=scores,
        said=said,
        keep=False,
        asking=asking,
        threads=run.threads,
        report=lambda count: run.progress(count, len(questions)),
    )
    for name, value in told.speed(file, asking.context, run.threads).items():
        run.measure(**{f"{kind}.{name}": value})
    return findings_of(Told((), {}, {}, {}), {kind: told}, labels, content["require"])


def _entry(files: Mapping[str, Any], member: str) -> tuple[str, Any]:
    for kind, entry in files.items():
        if entry["name"] == member.rpartition("/")[2]:
            return kind, entry
    raise StepError(f"the evidence beside the receipt does not speak of `{member}`")


def _likely(of: str) -> str:
    return f"likely-{of}.npz"


def _write_scores(path: Path, scores: Mapping[int | None, Scores]) -> None:
    import numpy as np

    each = [likely for one in scores.values() for likely in one.likely]
    np.savez_compressed(
        path,
        rows=np.array([-1 if row is None else row for row in scores], np.int64),
        starts=np.array([one.start for one in scores.values()], np.int64),
        lengths=np.array([len(one.likely) for one in scores.values()], np.int64),
        best=np.concatenate([one.best for one in scores.values()]).astype(np.int32),
        counts=np.array([len(likely.ids) for likely in each], np.int64),
        ids=np.concatenate([likely.ids for likely in each] or [np.zeros(0)]).astype(np.int32),
        logs=np.concatenate([likely.logs for likely in each] or [np.zeros(0)]).astype(np.float32),
    )


def _read_scores(path: Path) -> dict[int | None, Scores]:
    import numpy as np

    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        held = dict(file)
    ends = np.cumsum(held["counts"])[:-1]
    each = [Likely(a, b) for a, b in zip(np.split(held["ids"], ends), np.split(held["logs"], ends), strict=True)]
    found: dict[int | None, Scores] = {}
    place = 0
    for row, start, length in zip(held["rows"], held["starts"], held["lengths"], strict=True):
        best = held["best"][place : place + length]
        likely = tuple(each[place : place + length])
        found[None if row < 0 else int(row)] = Scores(int(start), best, np.zeros(len(best), np.float32), likely)
        place += length
    return found
