"""Count what a labeler would ask for before it asks: requests without a kept reply, their tokens and their price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge.core.errors import Refused
from forge.plugin.requests import ballots, price, request_key
from forge.run.asking import again, reply_of
from forge.run.limits import Limits, tokens_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from forge.plugin.protocols import Labeler, Reply, Request
    from forge.store.journal import Journal

Group = tuple[str, int]
"""Requests whose replies are alike: the model, and the stage."""


@attrs.frozen
class Survey:
    """State what a labeler would ask for.

    ``rows`` come in, ``skipped`` of them are asked nothing about; ``known`` of the different requests have a reply in
    the journal, ``requests`` have none. A reply that is refused is asked for again, which nobody knows before.
    ``by`` says where tokens come from: ``replies`` (the mean of the replies to this labeler's other requests, or else
    of all replies of its model), or ``characters`` of the prompts, where completions are not known.
    ``money`` is the price by the labeler's own table, None without one; where completions are not known it is what
    they cost at most (``at_most``).
    """

    rows: int
    skipped: int
    known: int
    requests: int
    prompt_tokens: int
    completion_tokens: int | None
    by: Literal["replies", "characters"]
    money: float | None = None
    at_most: bool = False

    @property
    def tokens(self) -> int:
        """Return prompt and completion tokens, as far as they are known."""
        return self.prompt_tokens + (self.completion_tokens or 0)


def survey(labeler: Labeler, rows: pl.DataFrame, journal: Journal) -> Survey:
    """Return what *labeler* would ask about *rows*; nothing is asked, nothing is written."""
    count = _Count(journal, Limits.of(labeler).attempts)
    voters = ballots(labeler)
    for row in rows.iter_rows(named=True):
        asked = [count.walk(stages, row) for stages in voters]
        count.skipped += not any(asked)
    return count.total(rows.height)


@attrs.define
class _Count:
    journal: Journal
    attempts: int
    skipped: int = 0
    known: set[str] = attrs.Factory(set)
    missing: dict[str, tuple[Labeler, Group, float]] = attrs.Factory(dict)  # the last: tokens by characters
    replies: dict[Group, list[Reply]] = attrs.Factory(dict)

    def walk(self, stages: Sequence[Labeler], row: dict[str, Any]) -> bool:
        """Walk a row as far as the journal goes; say whether it is asked about at all."""
        for place, stage in enumerate(stages):
            try:
                request = stage.request(row)
            except Refused:
                return place > 0
            key, group = request_key(request), (str(request.identity.get("model", "")), place)
            found = self._first_unanswered(stage, request, group)
            if not isinstance(found, dict):
                if found is not None:
                    size = tokens_of(found)
                    for later, follower in enumerate(stages[place:], start=place):
                        self.missing.setdefault(f"{key} {later}", (follower, (group[0], later), size))
                return True
            self.known.add(key)
            row = {**row, **found}
        return True

    def _first_unanswered(self, stage: Labeler, request: Request, group: Group) -> Request | dict[str, Any] | None:
        """Return the first of a row's attempts that would be sent, or the row's values, or None if all are refused."""
        for _ in range(max(1, self.attempts)):
            entry = self.journal.get(request_key(request))
            if entry is None:
                return request
            reply = reply_of(entry)
            self.replies.setdefault(group, []).append(reply)
            try:
                return dict(stage.parse(reply))
            except Refused as refusal:
                request = again(request, reply, refusal)
        return None

    def total(self, rows: int) -> Survey:
        """Add up what is missing."""
        groups: dict[Group, list[tuple[Labeler, float]]] = {}
        for stage, group, size in self.missing.values():
            groups.setdefault(group, []).append((stage, size))
        measured = {group: self._mean(group) for group in groups}
        prompts = completions = 0.0
        money: float | None = None
        for group, entries in groups.items():
            mean = measured[group]
            for stage, size in entries:
                prompt = size if mean is None else mean[0]
                completion = getattr(stage, "max_tokens", 0) if mean is None else mean[1]
                cost = price(stage, round(prompt), round(completion))
                money = money if cost is None else (money or 0.0) + cost
                prompts += prompt
                completions += 0.0 if mean is None else completion
        unknown = any(mean is None for mean in measured.values()) or not groups
        return Survey(
            rows,
            self.skipped,
            len(self.known),
            len(self.missing),
            round(prompts),
            None if unknown else round(completions),
            "characters" if unknown else "replies",
            money,
            money is not None and unknown,
        )

    def _mean(self, group: Group) -> tuple[float, float] | None:
        """Return the tokens of a request and of its reply, by the replies kept to others like it."""
        replies = [reply for reply in self.replies.get(group, ()) if reply.prompt_tokens]
        replies = replies or self._of_model(group[0])
        if not replies:
            return None
        count = len(replies)
        return sum(r.prompt_tokens for r in replies) / count, sum(r.completion_tokens for r in replies) / count

    def _of_model(self, model: str) -> list[Reply]:
        """Return the counted replies of *model* to whomever asked."""
        if not model:
            return []
        found = (reply_of(entry) for key in self.journal.keys() if (entry := self.journal.get(key)) is not None)  # noqa: SIM118
        return [reply for reply in found if reply.model == model and reply.prompt_tokens]
