"""Run records: what happened when an action ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@attrs.frozen
class Record:
    """State one finished run of an action.

    ``action`` holds the parts of the key, ``inputs`` maps input names to digests of trees, ``tree`` is the digest of
    the artifact, ``rows`` counts the rows of each part, ``drops`` counts what left by reason, ``examples`` shows some
    of it, ``measured`` is what differs from machine to machine, ``seconds`` is wall time, ``accepted`` says whence a
    result came that `forge accept` took over, ``job`` which job of a cluster made it, and what that took.
    """

    key: str
    step: str
    kind: str
    use: str
    action: Mapping[str, Any]
    inputs: Mapping[str, str]
    tree: str
    seconds: float
    size: int = 0
    rows_in: int | None = None
    rows_out: int | None = None
    rows: Mapping[str, int] = attrs.Factory(dict)
    drops: Mapping[str, int] = attrs.Factory(dict)
    tallies: Mapping[str, int] = attrs.Factory(dict)
    examples: Mapping[str, Sequence[str]] = attrs.Factory(dict)
    warnings: Sequence[str] = ()
    measured: Mapping[str, float] = attrs.Factory(dict)
    code: Mapping[str, Mapping[str, str]] = attrs.Factory(dict)
    started: str = ""
    host: str = ""
    forge: str = ""
    accepted: Mapping[str, Any] = attrs.Factory(dict)
    job: Mapping[str, Any] = attrs.Factory(dict)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}

    @classmethod
    def from_json(cls, value: Any) -> Record:
        """Read what `to_json` returned; fields of a newer forge are passed over."""
        known = {field.name for field in attrs.fields(cls)}
        try:
            return cls(**{name: entry for name, entry in value.items() if name in known})
        except (AttributeError, TypeError) as error:
            raise StoreError("a run record in the store is damaged", hint="run `forge store verify`") from error
