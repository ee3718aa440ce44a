"""Say what a labeler would ask for before it asks: requests that no reply is written down for, and their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge.core.errors import Refused
from forge.plugin.context import TABLE
from forge.run.labels import _again, _reply, request_key
from forge.store.journal import Journal

if TYPE_CHECKING:
    from forge.core.artifact import Member
    from forge.plan.forecast import Forecast
    from forge.plugin.protocols import Labeler, Reply, Request
    from forge.store.base import Store

_CHARACTERS_A_TOKEN = 4.0  # of Latin script, as tokenizers of today have it
_DENSE_CHARACTERS_A_TOKEN = 1.5  # of other scripts
_DENSE_FROM = 0x2E80  # the first code point of Chinese, Japanese and Korean
_ATTEMPTS = 3


@attrs.frozen
class Estimate:
    """State what a labeler would ask for.

    ``rows`` come in, ``skipped`` of them are asked nothing about, ``known`` of the different requests have a reply in
    the journal, ``requests`` have none. A reply that is refused is asked for again, which nobody knows before.
    ``by`` says where tokens come from: ``replies`` (the mean of the replies to this step's other requests, or else of
    all replies of its model), or ``characters`` of the prompts, where completions are not known.
    Prices are for whoever knows them: they multiply ``prompt_tokens`` and ``completion_tokens``.
    """

    rows: int
    skipped: int
    known: int
    requests: int
    prompt_tokens: int
    completion_tokens: int | None
    by: Literal["replies", "characters"]

    @property
    def tokens(self) -> int:
        """Return prompt and completion tokens, as far as they are known."""
        return self.prompt_tokens + (self.completion_tokens or 0)


def estimate(entry: Forecast, entries: dict[str, Forecast], store: Store) -> Estimate | None:
    """Return what the labeler of *entry* would ask for; None for other steps, and where its rows are not there yet."""
    if entry.step.verb != "request" or entry.will == "hit":
        return None
    joined = entry.step.inputs[0]
    record = entries[joined.step].record
    member = store.tree(record.tree).part(joined.part).members.get(TABLE) if record is not None else None
    return _count(entry.step.instance, member, store) if member is not None else None


def _count(labeler: Labeler, table: Member, store: Store) -> Estimate:
    import polars as pl

    journal = Journal(store.root / "journals")
    rows = pl.read_ipc(store.object_path(table.digest))
    missing: dict[str, Request] = {}
    known: set[str] = set()
    replies: list[Reply] = []
    skipped = 0
    for row in rows.iter_rows(named=True):
        try:
            request = labeler.request(row)
        except Refused:
            skipped += 1
            continue
        key = request_key(request)
        if key in known or key in missing:
            continue
        unanswered = _first_unanswered(labeler, request, journal, replies)
        if unanswered is None:
            known.add(key)
        else:
            missing[key] = unanswered
    sizes = [_tokens_of(request) for request in missing.values()]
    replies = [r for r in replies if r.prompt_tokens] or _replies_of_model(journal, missing)
    about: dict[str, Any] = {"rows": rows.height, "skipped": skipped, "known": len(known), "requests": len(missing)}
    if not replies:
        return Estimate(**about, prompt_tokens=round(sum(sizes)), completion_tokens=None, by="characters")
    prompts, completions = sum(r.prompt_tokens for r in replies), sum(r.completion_tokens for r in replies)
    return Estimate(
        **about,
        prompt_tokens=round(len(missing) * prompts / len(replies)),
        completion_tokens=round(len(missing) * completions / len(replies)),
        by="replies",
    )


def _first_unanswered(labeler: Labeler, request: Request, journal: Journal, replies: list[Reply]) -> Request | None:
    """Walk a row through its attempts as the engine does; return the first request that would be sent, if any is."""
    for _ in range(max(1, getattr(labeler, "attempts", _ATTEMPTS))):
        entry = journal.get(request_key(request))
        if entry is None:
            return request
        reply = _reply(entry)
        replies.append(reply)
        try:
            labeler.parse(reply)
        except Refused as refusal:
            request = _again(request, reply, refusal)
        else:
            return None
    return None


def _replies_of_model(journal: Journal, missing: dict[str, Request]) -> list[Reply]:
    """Return the counted replies of the model that would be asked."""
    models = {str(request.identity.get("model", "")) for request in missing.values()} - {""}
    found = [_reply(entry) for key in journal.keys() if (entry := journal.get(key)) is not None]  # noqa: SIM118
    return [reply for reply in found if reply.model in models and reply.prompt_tokens]


def _tokens_of(request: Request) -> float:
    text = "".join(message.get("content", "") for message in request.messages)
    dense = sum(ord(c) >= _DENSE_FROM for c in text)
    return dense / _DENSE_CHARACTERS_A_TOKEN + (len(text) - dense) / _CHARACTERS_A_TOKEN
