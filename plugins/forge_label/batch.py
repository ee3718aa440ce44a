"""Labels through a provider's batches: half the price, hours later."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt

import forge
from forge_label.client import Connection
from forge_label.endpoint import Remote

if TYPE_CHECKING:
    from forge_label.desk import Desk


@attrs.frozen(kw_only=True)
class Batch(Remote):
    """Label rows through batches in OpenAI's form: files of requests, answered within a day.

    Parameters are those of `label.openai`; ``prices`` are the batch's own. ``size`` requests go into one batch,
    ``poll`` is how many seconds lie between two looks at it.
    A build may be stopped while batches run: the next one finds them in the provider's list, by what they ask, and
    pays for none twice. With a cap, a batch takes as many requests as can't break it, whatever their replies cost; the
    next one is made of what is left, by what the replies did cost.
    """

    window: str = "24h"
    concurrency: int = forge.setting(50_000, validator=ge(1))
    size: int = forge.setting(10_000, validator=ge(1))
    poll: float = forge.setting(30.0, validator=gt(0.0))

    @property
    def adaptive(self) -> bool:
        """Say that failures in a batch say nothing of the pace."""
        return False

    async def ask(self, request: forge.Request) -> forge.Reply:
        """Put *request* into the next batch and return what was answered."""
        return await self._desk.ask(request)

    async def close(self) -> None:
        """Leave the batches to the provider and close the connections."""
        await self._desk.close()

    @functools.cached_property
    def _desk(self) -> Desk:
        from forge_label.desk import Desk

        return Desk(Connection(self.address, self.provided.key_env, self.timeout), self.window, self.size, self.poll)
