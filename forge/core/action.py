"""Actions: a step joined to its input digests. Their digest is the action key (docs/decisions/0003-action-key.md)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.digest import digest_value

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGINE = 1
"""Raised when the engine's own part in making artifacts changes their meaning."""


Fingerprints = dict[str, dict[str, str]]
"""For each module: a fingerprint for each top-level definition, and ``""`` for what stands outside of any."""


def module_digests(fingerprints: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return one digest a module, for the action key."""
    return {module: digest_value("code", parts) for module, parts in sorted(fingerprints.items())}


@attrs.frozen
class Action:
    """Hold all that a result depends on, and nothing else: no path, date, host, worker count or step name.

    ``inputs`` are pairs of input name and artifact digest in the order of ``from``; ``files`` maps parameters to
    digests of the files they name; ``code`` maps modules to fingerprints; ``facts`` maps names to values; ``previous``
    is the digest of what the step's last result left for it to compare with, where it asks for that.
    """

    use: str
    version: str
    params: Mapping[str, Any]
    inputs: tuple[tuple[str, str], ...]
    files: Mapping[str, str]
    code: Mapping[str, str]
    facts: Mapping[str, str]
    previous: str = ""

    @cached_property
    def key(self) -> str:
        """Return the action key."""
        return digest_value("action", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the parts of the key as canonical JSON values."""
        value = {
            "engine": ENGINE,
            "use": self.use,
            "version": self.version,
            "params": dict(self.params),
            "inputs": [list(pair) for pair in self.inputs],
            "files": dict(self.files),
            "code": dict(self.code),
            "facts": dict(self.facts),
        }
        return value | {"previous": self.previous} if self.previous else value
