"""The row ledger of one step: what came in, what left and why, and a line to the build."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from forge.plugin.context import place
from forge.run.tracing import Leave, Trace
from forge.store.signatures import signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forge.core.files import File, Seen

_EXAMPLES = 3
_EXCERPT = 160
_EVERY = 0.1
"""Seconds between two progress events."""

_UNPRINTED = {number: f"\\x{number:02x}" for number in (*range(9), *range(11, 32), *range(127, 160))}
"""Characters that move a terminal's cursor or change its colours, and what a warning has in their place."""


@attrs.define
class Ledger:
    """Be the `forge.Run` of a step that runs in a worker.

    *make_scratch* makes the action's scratch folder, once it is asked for; *send* takes events as JSON values; *beat*
    shows that the worker is alive; *seen* is what the build found in files outside the store, by path. ``brought``
    holds digest and signature of files that were put into the artifact as they are, ``kept`` of those of an input;
    *leave* says when to leave off. What one that is a *part* warns of stands in the log once it is added to the whole.
    """

    make_scratch: Callable[[], Path]
    threads: int
    send: Callable[[dict[str, Any]], None]
    beat: Callable[[], None]
    seen: dict[str, Seen] = attrs.Factory(dict)
    brought: dict[str, tuple[str, tuple[int, ...]]] = attrs.Factory(dict)
    kept: dict[str, tuple[str, tuple[int, ...]]] = attrs.Factory(dict)
    drops: dict[str, int] = attrs.Factory(dict)
    tallies: dict[str, int] = attrs.Factory(dict)
    examples: dict[str, list[str]] = attrs.Factory(dict)
    warnings: list[str] = attrs.Factory(list)
    measured: dict[str, float] = attrs.Factory(dict)
    leave: Leave = attrs.Factory(Leave)
    sent_at: float = 0.0
    trace: Trace | None = None
    part: bool = False
    _scratch: Path | None = None

    @property
    def scratch(self) -> Path:
        """Return a folder of the action's own that outlives a crash."""
        if self._scratch is None:
            self._scratch = self.make_scratch()
        return self._scratch

    def progress(self, done: float, total: float | None = None, **figures: float | str) -> None:
        """Send progress, at most ten times a second and always at the end."""
        now = time.monotonic()
        self.beat()
        if now - self.sent_at >= _EVERY or done == total:
            self.sent_at = now
            self.send({"event": "progress", "done": done, "total": total, "figures": figures})

    @property
    def traces(self) -> Path:
        """Return the folder beside the log, made when it is first asked for."""
        folder = self.trace.folder if self.trace is not None else self.scratch / "traces"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def stopping(self) -> bool:
        """Say whether the step is to leave off; the first question makes signals wait."""
        return self.leave.ask()

    def point(self, step: float, **figures: float) -> None:
        """Write the point down and hand it on; whoever shows it may fail without harm to the step."""
        trace = self.trace or Trace("", self.traces)
        self.traces  # noqa: B018  # the folder is made
        fault = trace.take({"step": step, **figures})
        if fault is not None:
            self.warn(fault)

    def log(self, message: str) -> None:
        """Write a line to the log, which is the worker's standard output."""
        print(time.strftime("%H:%M:%S"), _sound(message), flush=True)  # noqa: T201

    def warn(self, message: str) -> None:
        """Write a line to the log, the record and the person's screen."""
        message = _sound(message).translate(_UNPRINTED)
        if not self.part:
            self.log(f"warning: {message}")
        if message not in self.warnings:
            self.warnings.append(message)
            self.send({"event": "warning", "message": message})

    def drop(self, reason: str, count: int = 1, example: str = "") -> None:
        """Count rows that leave, and keep the first examples."""
        if count:
            self.drops[reason] = self.drops.get(reason, 0) + count
            self._example(reason, example)

    def bring(self, file: File, target: Path, *, link: bool = False) -> None:
        """Put a file at *target*, and remember what it holds where the build has read it."""
        place(file.path, target, link=link)
        seen = self.seen.get(str(file.path))
        if seen is None:
            return
        info = os.stat(target)
        if info.st_nlink > 1 and is_same(seen.signature, info):
            self.seen[str(file.path)] = seen = attrs.evolve(seen, signature=signature(info))
        self.brought[str(target)] = seen.digest, signature(info)

    def forget(self) -> None:
        """Take back all that was counted; what was warned of has been shown."""
        self.drops.clear()
        self.tallies.clear()
        self.examples.clear()

    def keep(self, target: Path, digest: str) -> None:
        """Remember that *target* is a file of an input, of this *digest*."""
        self.kept[str(target)] = digest, signature(os.stat(target))

    def measure(self, **figures: float) -> None:
        """Keep for the record what differs from machine to machine."""
        self.measured |= figures

    def tally(self, reason: str, count: int) -> None:
        """Count what left inside of rows."""
        if count:
            self.tallies[reason] = self.tallies.get(reason, 0) + count

    def apart(self) -> Ledger:
        """Return a ledger for what one thread of many does, whose counts `add` brings here and which shows nothing."""
        return Ledger(self.make_scratch, 1, _nobody, self.beat, self.seen, self.brought, leave=self.leave, part=True)

    def counted(self) -> dict[str, Any]:
        """Return as JSON what left, and what was warned of."""
        return {
            "drops": self.drops,
            "tallies": self.tallies,
            "examples": self.examples,
            "warnings": self.warnings,
            "measured": self.measured,
        }

    def add(self, counted: Mapping[str, Any]) -> None:
        """Count what another ledger `counted`."""
        for reason, count in counted["drops"].items():
            self.drop(reason, count)
        for reason, count in counted["tallies"].items():
            self.tally(reason, count)
        for reason, examples in counted["examples"].items():
            for example in examples:
                self._example(reason, example)
        for message in counted["warnings"]:
            self.warn(message)
        self.measure(**counted["measured"])

    def _example(self, reason: str, example: str) -> None:
        kept = self.examples.setdefault(reason, [])
        if example and len(kept) < _EXAMPLES:
            kept.append(_sound(example)[:_EXCERPT])


def _nobody(_: Any) -> None:
    """Take an event that is shown later, or not at all."""


def _sound(text: object) -> str:
    """Return a text that can be written: halves of characters, as broken files give them, in their escaped form."""
    return str(text).encode(errors="backslashreplace").decode()


def is_same(known: tuple[int, ...], info: os.stat_result) -> bool:
    """Say whether a file that was *known* by its signature is as it was.

    A second name moves the time of change, which says nothing about the bytes.
    """
    found = signature(info)
    return known == found or (info.st_nlink > 1 and _but_for_links(known) == _but_for_links(found))


def _but_for_links(found: tuple[int, ...]) -> tuple[int, ...]:
    return found[:2] + found[3:]
