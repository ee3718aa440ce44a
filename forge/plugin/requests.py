"""What the engine asks of a labeler beside the protocol: keys of requests, stages, voters and prices."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from blake3 import blake3

from forge.core.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forge.plugin.protocols import Labeler, Request


def request_key(request: Request) -> str:
    """Return the digest by which the journal knows *request*: of what is sent, not of code or the row's place."""
    sent = {"identity": request.identity, "messages": [dict(message) for message in request.messages]}
    text = json.dumps(sent, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_plain)
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest()


def ballots(labeler: Labeler) -> tuple[tuple[Labeler, ...], ...]:
    """Return the stages that a row walks through, for each of the labeler's voters; a plain labeler is both."""
    voters: Sequence[Labeler] = getattr(labeler, "voters", None) or (labeler,)
    return tuple(tuple(getattr(voter, "stages", None) or (voter,)) for voter in voters)


def price(labeler: Labeler, prompt_tokens: int, completion_tokens: int) -> float | None:
    """Return what a request of so many tokens costs by the labeler's price table, or None where it has none."""
    cost = getattr(labeler, "cost", None)
    if cost is None:
        return None
    money: float | None = cost(prompt_tokens, completion_tokens)
    return money


def _plain(value: object) -> object:
    """Give json what a request's mapping may hold beside its own types."""
    from collections.abc import Mapping

    if isinstance(value, Mapping):
        return dict(value)
    message = f"a request holds `{type(value).__name__}`, which is not JSON"
    raise StepError(message)
