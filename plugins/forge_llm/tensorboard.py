"""Show the curves of running steps in TensorBoard: FORGE_METRICS=tensorboard, and `tensorboard --logdir store/logs`.

FORGE_TENSORBOARD names another folder for the event files. Neither is part of any key.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACES = ("step", "at", "samples")
"""Figures that say where a point is; they are no curve."""


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register no step type: this plugin only listens."""


@forge.hookimpl
def forge_metrics(step: str, folder: Path, point: Mapping[str, float]) -> None:
    """Write the point's figures to the step's event file."""
    place = os.environ.get("FORGE_TENSORBOARD")
    events = Path(place) / f"{step}-{folder.name[:12]}" if place else folder / "tensorboard"
    at = int(point["step"])
    writer = _writer(events, at)
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import scalar

    for name, value in point.items():
        if name not in _PLACES:
            writer.write_event(Event(wall_time=time.time(), step=at, summary=scalar(name, value)))
    writer.flush()  # so that the curve is there while the step runs


@lru_cache(maxsize=1)
def _held(folder: Path) -> list[Any]:
    """Return the place of the one event file that is open; a worker runs one step at a time."""
    del folder
    return []


def _writer(folder: Path, first: int) -> Any:
    """Return the folder's writer; a run that goes on takes back what was shown from step *first* on."""
    held = _held(folder)
    if not held:
        try:
            from tensorboardX.event_file_writer import EventsWriter  # the one that writes in this thread
        except ImportError as error:
            raise forge.StepError("`tensorboardX` is not installed", hint='pip install "forge[tensorboard]"') from error
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        writer = EventsWriter(str(folder / "events"))
        start = SessionLog(status=SessionLog.START)
        writer.write_event(Event(wall_time=time.time(), step=first, session_log=start))
        held.append(writer)
    return held[0]
