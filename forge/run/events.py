"""What a build tells whoever watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.core.record import Record

Status = Literal["hit", "ran", "failed", "skipped"]


@attrs.frozen
class Failure:
    """Say why a step failed, as its error said it; ``traceback`` only where it is a bug.

    ``tail`` is the end of the log, where that is all there is to go by.
    """

    message: str
    hint: str | None = None
    traceback: str | None = None
    log: str | None = None
    exit_code: int = 1
    tail: str = ""


@attrs.frozen
class StepResult:
    """State what became of one step."""

    name: str
    kind: str
    use: str
    status: Status
    key: str | None = None
    seconds: float = 0.0
    record: Record | None = None
    failure: Failure | None = None
    because: str = ""


@attrs.frozen
class Started:
    """A step began to run."""

    step: str
    because: str = ""


@attrs.frozen
class Progressed:
    """A running step got further."""

    step: str
    done: float
    total: float | None
    figures: Mapping[str, float | str]


@attrs.frozen
class Warned:
    """A running step has something to say."""

    step: str
    message: str


@attrs.frozen
class Finished:
    """A step ended: it was a hit, ran, failed, or was skipped."""

    result: StepResult


@attrs.frozen
class LookedAhead:
    """Before a heavy step starts, the build looks at *steps* that would follow."""

    step: str
    steps: int


Event = LookedAhead | Started | Progressed | Warned | Finished
