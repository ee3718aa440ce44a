"""What a build tells whoever watches it; tuples, since a class of another kind costs each start a millisecond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.core.record import Record

Status = Literal["hit", "ran", "failed", "skipped"]


class Failure(NamedTuple):
    """Say why a step failed, as its error said it; ``traceback`` only where it is a bug.

    ``tail`` is the end of the log, where that is all there is to go by.
    """

    message: str
    hint: str | None = None
    traceback: str | None = None
    log: str | None = None
    exit_code: int = 1
    tail: str = ""


class StepResult(NamedTuple):
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


class Started(NamedTuple):
    """A step began to run."""

    step: str
    because: str = ""


class Progressed(NamedTuple):
    """A running step got further."""

    step: str
    done: float
    total: float | None
    figures: Mapping[str, float | str]


class Warned(NamedTuple):
    """A running step has something to say."""

    step: str
    message: str


class Finished(NamedTuple):
    """A step ended: it was a hit, ran, failed, or was skipped."""

    result: StepResult


class LookedAhead(NamedTuple):
    """Before a heavy step starts, the build looks at *steps* that would follow."""

    step: str
    steps: int


Event = LookedAhead | Started | Progressed | Warned | Finished
