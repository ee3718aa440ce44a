"""What labelers share whose replies lie in files already: nothing is asked twice, and nothing written down again."""

from __future__ import annotations

import attrs

import forge
from forge_label.shaped import Shaped


@attrs.frozen(kw_only=True)
class Found(Shaped):
    """Label rows by replies that are there; a subclass says where."""

    prompt: str | None = forge.setting(None)  # of the labelers that ask: passed over, so that one may stand for another

    @property
    def attempts(self) -> int:
        """Ask once: what was said stays said."""
        return 1

    @property
    def journalled(self) -> bool:
        """Keep no second copy of what lies in the files."""
        return False
