"""Hold the answers of held-out rows against the schema that replies are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from forge import StepError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forge_llm.check.labels import Labels

HINT = "no reply can be right then: name the schema that the answers were written by"


@attrs.frozen
class Wanted:
    """Count the answers that rows want, and those that the schema does not allow; ``first`` tells of the first."""

    answers: int
    refused: int
    first: str

    @property
    def hint(self) -> str:
        """Return what that means."""
        return HINT if self.hopeless else "no reply to such a row can be right"

    @property
    def hopeless(self) -> bool:
        """Say whether no answer is one that a reply can be."""
        return 0 < self.answers == self.refused

    def said(self, schema: str) -> str:
        """Return it in words."""
        return f"{self.refused:,} of {self.answers:,} held-out answers are not what `{schema}` allows: {self.first}"


def hold(answers: Iterable[tuple[int, str]], labels: Labels) -> Wanted:
    """Hold each row's answer against *labels*; a row without one wants nothing."""
    count = refused = 0
    first = ""
    for row, answer in answers:
        if not answer:
            continue
        count += 1
        reason = labels.objection(answer)
        refused += bool(reason)
        first = first or (f"row {row:,} {reason}" if reason else "")
    return Wanted(count, refused, first)


def require_some(answers: Iterable[tuple[int, str]], labels: Labels, schema: str) -> str:
    """Raise where *labels* allow no answer; return what is to be warned of where they don't allow some."""
    found = hold(answers, labels)
    if found.hopeless:
        raise StepError(found.said(schema), hint=HINT)
    return found.said(schema) if found.refused else ""
