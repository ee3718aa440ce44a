"""What a long step leaves beside its log while it runs, and the signals that ask it to end early."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Tell = Callable[[list[str], str, Path, Mapping[str, float]], None]

METRICS = "FORGE_METRICS"
"""The variable that names the plugins whose `forge_metrics` is called, separated by commas; it is in no key."""

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@attrs.define
class Trace:
    """Keep the curve of *step* as lines in `metrics.jsonl` below *folder*, and *tell* it to plugins."""

    step: str
    folder: Path
    tell: Tell | None = None
    names: list[str] = attrs.Factory(lambda: [name for name in os.environ.get(METRICS, "").split(",") if name])
    began: float = attrs.Factory(time.monotonic)

    def take(self, point: Mapping[str, float]) -> str | None:
        """Write one point down, and return what a plugin failed with; it is not asked again."""
        line = {"step": point["step"], "at": round(time.monotonic() - self.began, 3), **point}
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.tell is None or not self.names:
            return None
        try:
            self.tell(self.names, self.step, self.folder, line)
        except Exception as error:  # noqa: BLE001  # a plugin that shows curves must not end what they are curves of
            names, self.names = self.names, []
            return f"no curve goes to {', '.join(f'`{name}`' for name in names)} ({METRICS}) any more: {error}"
        return None


@attrs.define
class Leave:
    """Say whether a step is to leave off *now*, and whether it has ever *asked*.

    The first question catches SIGTERM and SIGUSR1 until `end`, unless somebody else does already (*caught*).
    """

    now: bool = False
    asked: bool = False
    caught: bool = False
    before: dict[int, Any] = attrs.Factory(dict)

    def ask(self) -> bool:
        """Return whether the step is to leave off; elsewhere than in the main thread Python catches no signal."""
        if not self.asked and not self.caught and threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        self.asked = True
        return self.now

    def _hear(self, *_: object) -> None:
        self.now = True

    def end(self) -> None:
        """Let the signals do again what they did before, for the next step."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if not self.caught:
            self.now, self.asked, self.before = False, False, {}
