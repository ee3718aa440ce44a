"""Find before anything heavy runs why it would fail: looks at the machine, and a rehearsal in a process of its own."""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.digest import digest_value
from forge.plan.forecast import forecast
from forge.plan.keys import Keys
from forge.plan.preflight import Look, disk_space, joined, unfit_packages
from forge.plugin.protocols import Notice
from forge.run import spawn
from forge.run.rehearsal import Part, Task
from forge.run.room import Need, Room
from forge.store.signatures import Signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from forge.core.step import Step
    from forge.plan.graph import Graph
    from forge.store.base import Store

SECONDS = 60.0
"""How long a look ahead may take."""
SAMPLE = 256
"""Rows of each source that steps are tried on at first."""
LATE = "time"
MADE = "store"
"""What notices are called of steps that there was no time for, and of those that the store has already."""
_STARTS = 4
"""Processes that may be brought down, by one step each."""


@attrs.frozen
class Outlook:
    """Hold what was seen of every step and of the machine, and how long that took."""

    looks: tuple[Look, ...]
    seconds: float

    @property
    def notices(self) -> list[tuple[str, Notice]]:
        """Return all notices, each with its step's name."""
        return [(look.step, notice) for look in self.looks for notice in look.notices]

    def count(self, state: str) -> int:
        """Return how many notices are in a state."""
        return sum(notice.state == state for _, notice in self.notices)


def look_ahead(
    graph: Graph,
    store: Store,
    *,
    seconds: float = SECONDS,
    lookers: Sequence[Callable[[Graph, Sequence[Step]], Iterable[Look]]] = (),
    sample: int = SAMPLE,
    elsewhere: bool = False,
) -> Outlook:
    """Return what can be known of *graph*'s steps before they run.

    *lookers* see the steps that would run, without rows: packages, devices, a cluster's limits. *elsewhere* says
    that steps run on another machine, so that what is found of this one means nothing.
    """
    began = time.monotonic()
    entries = forecast(graph, store)
    trees = {name: e.record.tree for name, e in entries.items() if e.will == "hit" and e.record is not None}
    ahead = [step for name, step in graph.steps.items() if name not in trees]
    looks = [look for looker in lookers for look in looker(graph, ahead)]
    if ahead:
        rehearsed = _rehearsed(graph, store, trees, sample, began + seconds)
        looks = [*(_of_elsewhere(look) if elsewhere else look for look in rehearsed), *looks]
        looks.append(disk_space(looks, ahead, store.root))
    else:
        looks = [Look(name, (Notice(MADE, message="made already"),)) for name in trees]
    order = {name: place for place, name in enumerate([*graph.steps, ""])}
    return Outlook(tuple(sorted(joined(looks), key=lambda look: order[look.step])), time.monotonic() - began)


def _of_elsewhere(look: Look) -> Look:
    """Return a look without what it says of this machine."""
    unseen = "not looked at: the step runs on another machine"
    notices = (attrs.evolve(n, state="unseen", message=unseen, hint=None) if n.here else n for n in look.notices)
    return Look(look.step, tuple(notices))


def this_machine(graph: Graph, steps: Sequence[Step]) -> Iterator[Look]:
    """Look at what the steps ask of the machine that would run them, where that is this one."""
    yield from unfit_packages(graph, steps)
    room = Room.here(1)
    for step in steps:
        need = Need.of(step)
        notices = []
        if need.gpus > room.gpus:
            said = f"it asks for {_gpus(need.gpus)}, this machine has {_gpus(room.gpus)}"
            hint = "a cluster's node may have them; here the step runs on what there is, if it can"
            notices.append(Notice("device", "doubtful", said, hint))
        if need.memory > room.memory:
            said = f"it asks for {step.resources.memory} of memory, this machine has {room.memory / (1 << 30):.0f}G"
            notices.append(Notice("memory", "doubtful", said))
        if notices:
            yield Look(step.name, tuple(notices))


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count or 'no'} GPU{'s' if count else ''}"


def _rehearsed(graph: Graph, store: Store, trees: Mapping[str, str], sample: int, deadline: float) -> list[Look]:
    """Try the steps in processes of their own; one that brings its process down is left out of the next."""
    parts = [_part(step, trees.get(name)) for name, step in graph.steps.items()]
    fallen: dict[str, Notice] = {}
    looks: list[Look] = []
    with store.staging() as scratch:
        for attempt in range(_STARTS):
            folder = scratch / str(attempt)
            folder.mkdir()
            root = str(graph.manifest.root.absolute())
            task = Task(parts, dict(graph.modules), root, str(store.root.absolute()), str(folder), sample, list(fallen))
            looks, step, notice = _run(task, deadline, folder)
            if notice is None or step is None or step in fallen:
                break
            fallen[step] = notice
            if time.monotonic() >= deadline:
                break
    seen = {look.step for look in looks if look.notices}
    looks = [look for look in looks if look.notices]
    looks += [Look(name, (notice,)) for name, notice in fallen.items() if name not in seen]
    late = Notice(LATE, "unseen", "the time for looking was over", "give it more: `forge check --within 300`")
    seen |= fallen.keys()
    return [*looks, *(Look(name, (late,)) for name in graph.steps if name not in seen)]


def _part(step: Step, tree: str | None) -> Part:
    inputs = [(i.name, i.step, i.part) for i in step.inputs]
    costly = step.heavy or step.network or step.resources.gpus > 0
    return Part(step.name, step.use, step.kind, step.verb, dict(step.spec), inputs, tree, costly)


def _run(task: Task, deadline: float, scratch: Path) -> tuple[list[Look], str | None, Notice | None]:
    """Return what one process found and, where it ended too early, the step that it was at, and how it ended."""
    process = spawn.start(("-m", "forge.run.rehearsal"))
    looks: list[Look] = []
    at: str | None = None
    try:
        _give(process.to, task)
        for event in _events(process.out, deadline):
            if event["event"] == "begins":
                at = event["step"]
            elif event["event"] == "looked":
                looks.append(Look(event["step"], tuple(Notice(**n) for n in event["notices"])))
            elif event["event"] == "stopped":
                return looks, at, Notice("store", "unseen", event["message"], event["hint"])
            else:
                return looks, None, None
        if time.monotonic() >= deadline:
            return looks, None, None
        code = process.wait(1.0)
        return looks, at, _ended(code, scratch)
    finally:
        process.signal(signal.SIGKILL)
        process.wait()
        process.close()


def _give(to: int, task: Task) -> None:
    line = memoryview(task.dump().encode() + b"\n")
    try:
        while line:
            line = line[os.write(to, line) :]
    except BrokenPipeError:
        return  # its closed output says so


def _events(out: int, deadline: float) -> Iterator[dict[str, Any]]:
    """Yield a process's events until it closes its output, or the time is over."""
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(out, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                return
            data = os.read(out, 1 << 16)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            yield from (json.loads(line) for line in lines)


def _ended(code: int | None, scratch: Path) -> Notice:
    """Say how a process ended that tried a step; memory that ran out is no fault of the step."""
    if code is not None and code < 0 and code != -signal.SIGKILL:
        message = f"trying it ended in {signal.Signals(-code).name}{_last_words(scratch)}"
        return Notice("crash", "bad", message, "a library can't do this on this machine; a build would end the same")
    how = "was killed: memory may have run out" if code == -signal.SIGKILL else f"ended with status {code}"
    return Notice("crash", "doubtful", f"the process that tried it {how}{_last_words(scratch)}")


def _last_words(scratch: Path) -> str:
    try:
        lines = (scratch / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f": {lines[-1][:200]}" if lines else ""


def outlook_key(graph: Graph, store: Store, name: str) -> str:
    """Return a digest of all that a look ahead at *graph* depends on: the steps' keys as far as they are known."""
    entries = forecast(graph, store)
    keys = Keys(graph, Signatures.load(store, name))
    parts = []
    for step in graph.steps.values():
        action = keys.own(step, tuple((i.name, i.reference) for i in step.inputs))
        known = entries[step.name]
        parts.append([action.key, known.key, known.will == "hit", step.resources.gpus, _lookers_code(keys, step)])
    return digest_value("preflight", [sys.version, parts])


def _lookers_code(keys: Keys, step: Step) -> Any:
    """Return digests of the package that looks ahead for a step; they are in no action key."""
    if not callable(getattr(step.instance, "preflight", None)):
        return None
    from pathlib import Path

    file = getattr(sys.modules.get(type(step.instance).__module__.partition(".")[0]), "__file__", None)
    home = Path(file).parent if file else None
    if home is None:
        return None
    return [keys.files.digest(path) for path in sorted([*home.glob("preflight*.py"), *home.glob("preflight/*.py")])]
