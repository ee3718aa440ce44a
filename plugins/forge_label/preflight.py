"""Look at a labeler's prompts and its schema on sample rows, without a request."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge_label.prompted import EVIDENCE
from forge_label.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forge_label.prompted import Prompted

_GIVEN = ("text", "evidence", "schema")
"""Names that every prompt has beside the row's columns."""
_MANY = 0.05
"""The share of skipped rows beyond which it is worth a thought."""


def look(labeler: Prompted, inputs: Mapping[str, forge.Artifact], out: Path) -> Iterator[forge.Notice]:
    """Render every sample row, and leave rows with labels that the schema allows."""
    import polars as pl

    rows = next(iter(inputs.values())).rows().collect()
    form = Schema.read(labeler.schema).exact["properties"]
    yield forge.Notice("schema", message=f"{len(form)} labels: {', '.join(form)}")
    if labeler.column not in rows.columns:
        raise forge.StepError(f"the rows have no column `{labeler.column}`", hint=_meant(labeler.column, rows.columns))
    unknown = list(_unknown_names(labeler, rows.columns))
    asked, skipped = 0, 0
    try:
        for row in rows.iter_rows(named=True):
            given = {**row, EVIDENCE: "…"} if len(labeler.stages) > 1 else row
            try:
                for stage in labeler.stages:
                    stage.request(given)
                asked += 1
            except forge.Refused:
                skipped += 1
    except forge.StepError:
        if not unknown:
            raise
        yield from unknown
        return
    for notice in unknown:  # asked for by `is defined`, or in a branch that no row takes
        yield attrs.evolve(notice, state="doubtful")
    said = f"{asked:,} of {rows.height:,} rows give a prompt"
    if not asked:
        yield forge.Notice("prompts", "bad", f"{said}: `{labeler.column}` is empty in all", "nothing would be asked")
        return
    many = skipped > _MANY * rows.height
    said += f", {skipped:,} are skipped: `{labeler.column}` is empty" if skipped else ""
    yield forge.Notice("prompts", "doubtful" if many else "good", said)
    labels = [pl.Series(name, [_value(each, n) for n in range(rows.height)]) for name, each in form.items()]
    taken = [name for name in form if name in rows.columns]
    if taken:
        raise forge.StepError(
            f"the rows have the columns {', '.join(f'`{n}`' for n in taken)} already",
            hint="rename or drop them before labelling",
        )
    forge.write_rows(
        rows.with_columns(
            *labels,
            pl.lit("labelled").alias("label_state"),
            *(pl.lit(None, pl.String).alias(name) for name in ("label_reason", "label_reply")),
            pl.lit("stand-in").alias("label_source"),
        ),
        out,
    )


def _unknown_names(labeler: Prompted, columns: list[str]) -> Iterator[forge.Notice]:
    """Yield a notice for each name in a prompt that no row has."""
    import jinja2
    from jinja2 import meta

    known = [*columns, *_GIVEN]
    for parameter, file, text in (
        ("prompt_text", labeler.prompt, labeler.prompt_text),
        ("evidence_text", labeler.evidence_prompt, labeler.evidence_text),
    ):
        name = parameter if file is None else file.name
        source = text or "" if file is None else file.read_text()
        try:
            names = meta.find_undeclared_variables(jinja2.Environment(autoescape=True).parse(source))
        except jinja2.TemplateSyntaxError as error:
            raise forge.StepError(f"the prompt `{name}`, line {error.lineno}: {error.message}") from error
        for unknown in sorted(names - set(known)):
            said = f"the prompt `{name}` names `{unknown}`, which is no column of the rows"
            yield forge.Notice("prompts", "bad", said, _meant(unknown, known))


def _meant(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"did you mean `{close[0]}`?" if close else f"there is {', '.join(f'`{name}`' for name in known)}"


def _value(form: Any, number: int) -> Any:
    """Return a value that a label's schema allows, another one for the next row."""
    form = form if isinstance(form, dict) else {}
    if form.get("enum"):
        return form["enum"][number % len(form["enum"])]
    kind = form.get("type")
    least, most = form.get("minimum"), form.get("maximum")
    if kind in ("integer", "number"):
        first = least if least is not None else most if most is not None else 0
        span = int(most - first) + 1 if most is not None and most >= first else 1
        return type(0.0 if kind == "number" else 0)(first + number % span)
    return {"boolean": number % 2 == 0, "array": [], "object": {}}.get(str(kind), "…")
