"""Whether labels can be believed: agreement with gold, with another labeler and among votes, refusals, drift."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import min_len

import forge
from forge_label import agreement
from forge_label.pictures import draw_confusion, draw_distribution
from forge_label.votes import VOTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import polars as pl

_LEAST = ("labelled", "agreement", "kappa", "agreement_other", "kappa_other", "alpha", "alpha_votes")
_MOST = ("refused", "failed", "skipped", "drift", "missed_risk")
_OF_ALL = ("labelled", "refused", "failed", "skipped", "missed_risk")
_NEEDS = {
    "agreement": "gold",
    "kappa": "gold",
    "agreement_other": "other",
    "kappa_other": "other",
    "missed_risk": "gold",
    "alpha": "gold` or `other",
    "alpha_votes": "label_votes",
}
DISTRIBUTIONS = "distributions.json"
BASELINE = "baseline"
"""The part of the artifact that the next build's labels are compared with."""


@attrs.frozen(kw_only=True)
class Labels:
    """Check labels: against gold and another labeler's, among votes, by what was refused, and for drift.

    ``from`` gives ``data``, and where there are such ``gold`` (rows that people labelled) and ``other`` (another
    model's labels of the same rows); rows are matched by the column ``id``, and only labelled ones are compared.
    ``require`` bounds figures, each of all ``labels`` (``kappa = 0.6``) or of one (``"kappa.risk_flag" = 0.8``):

    - at least: ``labelled`` (share of the rows), ``agreement`` (share equal to gold), ``kappa`` (Cohen's, with gold;
      of numbers with quadratic weights), ``agreement_other`` and ``kappa_other`` (with other), ``alpha``
      (Krippendorff's, of data, gold and other), ``alpha_votes`` (of votes);
    - at most: ``refused``, ``failed``, ``skipped`` (shares of the rows), ``missed_risk`` (share of the rows with a
      ``risk`` other than ``safe`` in gold that are called safe), ``drift`` (share of a label's distribution that moved
      since the last build that passed, or since ``before``, the ``distributions.json`` of any build of this check).

    A figure that is bounded and not defined fails. Confusion matrices and distributions are left as pictures.
    """

    labels: tuple[str, ...] = attrs.field(validator=min_len(1))
    id: str = "id"
    require: dict[str, float] = attrs.Factory(dict)
    before: forge.File | None = None
    risk: str | None = None
    safe: str = "none"

    def __attrs_post_init__(self) -> None:
        """Refuse a bound of a figure that there is none of."""
        known = {*_LEAST, *_MOST}
        for name in self.require:
            figure, _, label = name.partition(".")
            if figure not in known or (label and (figure in _OF_ALL or label not in self.labels)):
                raise ValueError(f"`require` knows no figure `{name}`: it may bound {', '.join(sorted(known))}")
        if "missed_risk" in self.require and self.risk is None:
            raise ValueError("`missed_risk` needs `risk`, the name of the label that says it")

    def check(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterator[forge.Finding]:
        """State every figure; leave pictures and distributions in *out*."""
        data = self._table(inputs["data"])
        yield from self._states(data)
        labelled = _labelled(data)
        others = {name: _labelled(self._table(inputs[name])) for name in ("gold", "other") if name in inputs}
        for name, table in others.items():
            yield from self._agreement(name, labelled, table, out)
        if others:
            yield from self._alphas(labelled, others)
        if VOTES in data.columns:
            yield from self._votes(data)
        yield from self._drift(labelled, inputs.get("previous"), out)
        missing = [figure for figure in _NEEDS if self._bounds(figure) and not self._has(figure, data, others)]
        if missing:
            raise forge.StepError(f"`{missing[0]}` is bounded, and there is no `{_NEEDS[missing[0]]}`")
        run.log(f"{labelled.height:,} of {data.height:,} rows are labelled")

    def _table(self, artifact: forge.Artifact) -> pl.DataFrame:
        table = artifact.rows().collect()
        missing = [name for name in (self.id, *self.labels) if name not in table.columns]
        if missing:
            raise forge.StepError(
                f"`{artifact.name}` has no column `{missing[0]}`",
                hint=f"it has {', '.join(f'`{name}`' for name in table.columns)}",
            )
        import polars as pl

        if table[self.id].n_unique() != table.height:
            raise forge.StepError(f"`{artifact.name}` holds a value of `{self.id}` twice: rows can't be matched by it")
        return table.with_columns(pl.col(self.id).cast(pl.String))

    def _states(self, data: pl.DataFrame) -> Iterator[forge.Finding]:
        if "label_state" not in data.columns:
            return
        counts = Counter(data["label_state"].to_list())
        for state in ("labelled", "refused", "failed", "skipped"):
            yield self._finding(state, counts[state] / data.height, f"{counts[state]:,} of {data.height:,} rows")

    def _agreement(self, name: str, data: pl.DataFrame, other: pl.DataFrame, out: Path) -> Iterator[forge.Finding]:
        joined = data.join(other, on=self.id, how="inner", suffix="_other", maintain_order="left")
        suffix = "" if name == "gold" else "_other"
        for label in self.labels:
            pairs = joined.select(label, f"{label}_other").drop_nulls()
            said, truth = pairs[label].to_list(), pairs[f"{label}_other"].to_list()
            detail = f"{len(said):,} rows, with {name}"
            yield self._finding(f"agreement{suffix}.{label}", agreement.share_equal(said, truth), detail)
            yield self._finding(f"kappa{suffix}.{label}", agreement.kappa(said, truth), detail)
            if name == "gold" and said:
                values, counts = agreement.confusion(truth, said)
                draw_confusion(out / f"confusion_{label}.png", label, values, counts, "labels")
            if name == "gold" and label == self.risk:
                called = [mine for mine, true in zip(said, truth, strict=True) if true != self.safe]
                missed = sum(value == self.safe for value in called)
                share = missed / len(called) if called else None
                yield self._finding("missed_risk", share, f"{missed:,} of {len(called):,} rows with a risk")

    def _alphas(self, data: pl.DataFrame, others: Mapping[str, pl.DataFrame]) -> Iterator[forge.Finding]:
        joined = data.select(self.id, *self.labels)
        for name, table in others.items():
            mine = table.select(self.id, *(table[label].alias(f"{label} {name}") for label in self.labels))
            joined = joined.join(mine, on=self.id, how="left", maintain_order="left")
        for label in self.labels:
            raters = [joined[label].to_list(), *(joined[f"{label} {name}"].to_list() for name in others)]
            yield self._finding(f"alpha.{label}", agreement.alpha(raters), f"labels, {', '.join(others)}")

    def _votes(self, data: pl.DataFrame) -> Iterator[forge.Finding]:
        rows = [[vote and json.loads(vote) for vote in votes] for votes in data[VOTES].to_list() if votes]
        most = max(map(len, rows), default=0)
        for label in self.labels:
            raters = [
                [row[place][label] if place < len(row) and row[place] else None for row in rows]
                for place in range(most)
            ]
            detail = f"{most} votes on {len(rows):,} rows"
            yield self._finding(f"alpha_votes.{label}", agreement.alpha(raters) if raters else None, detail)

    def _drift(self, data: pl.DataFrame, last: forge.Artifact | None, out: Path) -> Iterator[forge.Finding]:
        now = {label: _counts(data[label].to_list()) for label in self.labels}
        kept = out / BASELINE / DISTRIBUTIONS
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(now, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        before = self._read_before(last)
        since = "since the last build" if self.before is None else f"since `{self.before.name}`"
        for label in self.labels:
            draw_distribution(out / f"distribution_{label}.png", label, now[label], before.get(label))
            if label in before:
                yield self._finding(f"drift.{label}", agreement.distance(now[label], before[label]), since)
            else:
                nothing = "nothing to compare with: no earlier build of this check passed with this label"
                yield forge.Finding(f"drift.{label}", None, None, detail=nothing)

    def _read_before(self, last: forge.Artifact | None) -> dict[str, dict[str, int]]:
        """Return the distributions to compare with: of the file that is named, else of the last build."""
        if self.before is not None:
            name, path = self.before.name, self.before.path
        elif last is not None:
            name, path = DISTRIBUTIONS, last.path / DISTRIBUTIONS
        else:
            return {}
        try:
            found: dict[str, dict[str, int]] = json.loads(path.read_bytes())
            return {label: {str(value): int(n) for value, n in counts.items()} for label, counts in found.items()}
        except (ValueError, AttributeError, TypeError) as error:
            hint = f"it is the `{BASELINE}/{DISTRIBUTIONS}` that an earlier build of this check left"
            raise forge.StepError(f"can't read `{name}`: {error}", hint=hint) from error

    def _bounds(self, figure: str) -> bool:
        return any(name.partition(".")[0] == figure for name in self.require)

    def _has(self, figure: str, data: pl.DataFrame, others: Mapping[str, pl.DataFrame]) -> bool:
        if figure == "alpha":
            return bool(others)
        if figure == "alpha_votes":
            return VOTES in data.columns
        return _NEEDS[figure] in others

    def _finding(self, name: str, value: float | None, detail: str) -> forge.Finding:
        figure = name.partition(".")[0]
        bound = self.require.get(name, self.require.get(figure))
        if value is None:
            return forge.Finding(name, None, bound, bound is None, f"{detail}; not defined for one value alone")
        passed = bound is None or (value >= bound if figure in _LEAST else value <= bound)
        return forge.Finding(name, round(value, 6), bound, passed, detail)


def _labelled(table: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return table.filter(pl.col("label_state") == "labelled") if "label_state" in table.columns else table


def _counts(values: list[Any]) -> dict[str, int]:
    counts = Counter(str(value) for value in values if value is not None)
    return {str(value): counts[str(value)] for value in agreement.order(values)}
