"""Steps: the nodes of a manifest, resolved and checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge, optional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.core.files import Files


PREVIOUS = "previous"
"""The input by which a step that asks for it is given a part of what it made last."""


@attrs.frozen
class Input:
    """Join a step's input *name* to another step's artifact, or to one *part* of it."""

    name: str
    step: str
    part: str = ""

    @property
    def reference(self) -> str:
        """Return it as a manifest writes it."""
        return f"{self.step}.{self.part}" if self.part else self.step


def split_reference(reference: str) -> tuple[str, str]:
    """Return the step and the part that a reference names; dots in the brackets of a sweep's point part nothing."""
    start = reference.find("]") + 1 if "[" in reference.partition(".")[0] else 0
    step, _, part = reference[start:].partition(".")
    return reference[:start] + step, part


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MEMORY = r"(?i)(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?"  # compiled when it is first asked: most steps state none


def bytes_of(text: str) -> int:
    """Return the bytes that ``32G`` or ``512 MiB`` means; units are powers of 1024, as Slurm takes them."""
    found = re.fullmatch(_MEMORY, text.strip())
    if found is None:
        raise ValueError(f'must be a size such as "32G", got `{text}`')
    return int(float(found[1]) * _UNITS[found[2].upper()])


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = r"(?i)(\d+(?:\.\d+)?)\s*([smhd])"
_CLOCK = r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?"


def seconds_of(text: str) -> int:
    """Return the seconds that ``6h``, ``90m``, ``2d`` or Slurm's ``1-12:00:00`` means; ``6:00`` is six hours."""
    if span := re.fullmatch(_SPAN, text.strip()):
        return int(float(span[1]) * _SECONDS[span[2].lower()])
    if clock := re.fullmatch(_CLOCK, text.strip()):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + seconds
    raise ValueError(f'must be a time such as "6h", "90m" or "1-12:00:00", got `{text}`')


def _time(_instance: object, _attribute: object, value: str | None) -> None:
    if value is not None:
        seconds_of(value)


def _size(_instance: object, _attribute: object, value: str | None) -> None:
    if value is not None:
        bytes_of(value)


_OPTION = r"-(?:-(?P<long>[a-z][a-z-]*)|(?P<short>[A-Za-z]))(?:[= ].*)?"
_LONG = (
    *("job-name", "comment", "array", "output", "error", "chdir", "signal", "requeue", "no-requeue"),
    *("open-mode", "wrap", "parsable", "wait", "test-only", "export"),
)
_SHORT = "JaoeDW"
"""Options of `sbatch` by which jobs are found again, told of their end, and read."""


def _options(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    for option in value:
        found = re.fullmatch(_OPTION, option)
        if found is None:
            raise ValueError(f'must be options of `sbatch` such as "--exclusive", got `{option}`')
        if found["long"] in _LONG or (found["short"] and found["short"] in _SHORT):
            raise ValueError(f"`{option}` is forge's own: by it jobs are found again, or read")


@attrs.frozen
class Resources:
    """Say what a step needs of the machine that runs it; never part of a key.

    ``extra`` are further options of Slurm's `sbatch`, one a line.
    """

    cpus: int | None = attrs.field(default=None, validator=optional(ge(1)))
    gpus: int = attrs.field(default=0, validator=ge(0))
    memory: str | None = attrs.field(default=None, validator=_size)
    time: str | None = attrs.field(default=None, validator=_time)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    extra: tuple[str, ...] = attrs.field(default=(), converter=tuple, validator=_options)


@attrs.frozen
class Step:
    """Hold one resolved step.

    ``instance`` is the plugin's class with its parameters; ``params`` are the same as canonical JSON values,
    without defaults, settings and files; ``files`` are the files it reads from outside the store; ``destination``
    is where in the user's own tree its artifact is put, relative to the project.
    A step that is known from an earlier build has no ``instance``. ``previous`` names the part of its last result that
    it is given, as the input `PREVIOUS`, to compare with.
    """

    name: str
    kind: str
    use: str
    version: str
    verb: str
    instance: Any
    params: Mapping[str, Any]
    spec: Mapping[str, Any]
    inputs: tuple[Input, ...] = ()
    files: Mapping[str, Files] = attrs.Factory(dict)
    facts: Mapping[str, str] = attrs.Factory(dict)
    resources: Resources = Resources()
    heavy: bool = False
    network: bool = False
    destination: str | None = None
    previous: str = ""

    @property
    def dear(self) -> bool:
        """Say whether it costs enough to be looked ahead at first: it trains, or wants a GPU."""
        return self.kind == "trainer" or self.resources.gpus > 0

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the names of the steps that come before, each once."""
        return tuple(dict.fromkeys(i.step for i in self.inputs))
