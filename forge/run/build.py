"""Walk the graph: compute keys as inputs finish, take what the store has, run what it has not."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import ForgeError, StepError, StoreError
from forge.plan.explain import reason_of
from forge.plan.keys import Keys
from forge.run.deliver import Delivery
from forge.run.events import Event, Failure, Finished, Progressed, Started, StepResult, Warned
from forge.run.job import Job
from forge.store.actions import Actions
from forge.store.signatures import Signatures, build_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from forge.core.action import Action
    from forge.core.artifact import Tree
    from forge.core.record import Record
    from forge.core.step import Step
    from forge.plan.resolve import Graph
    from forge.run.executor import Executor
    from forge.store.base import Store


@attrs.frozen
class Outcome:
    """Hold what became of all steps, in the order of the graph."""

    results: tuple[StepResult, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """Return 0 if every step is there, else the gravest of what failed."""
        return max((r.failure.exit_code for r in self.results if r.failure is not None), default=0)


@attrs.define
class Build:
    """Build a graph into a store; *listener* hears of everything as it happens."""

    graph: Graph
    store: Store
    executor: Callable[[], Executor]
    listener: Callable[[Event], None] = lambda _: None
    offline: bool = False
    actions: Actions = attrs.field(init=False)
    results: dict[str, StepResult] = attrs.field(factory=dict, init=False)
    trees: dict[str, Tree] = attrs.field(factory=dict, init=False)
    running: dict[str, tuple[list[Step], Action, float]] = attrs.field(factory=dict, init=False)
    reasons: dict[str, str] = attrs.field(factory=dict, init=False)
    keys: Keys = attrs.field(init=False)
    name: str = attrs.field(init=False)
    signatures: Signatures = attrs.field(init=False)
    delivered: list[str] = attrs.field(factory=list, init=False)
    _last: dict[str, str] = attrs.field(factory=dict, init=False)
    started: Executor | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Open what is remembered of earlier builds."""
        self.name = build_name(self.graph.manifest.name, self.graph.manifest.path)
        self.signatures = Signatures.load(self.store, self.name)
        self.actions = Actions(self.store)
        self.keys = Keys(self.graph, self.signatures)
        self._last = self.actions.last(self.name)

    def run(self) -> Outcome:
        """Build everything; a failed step stops only what needs it."""
        begun = time.monotonic()
        waiting = dict(self.graph.steps)
        try:
            while waiting or self.running:
                moved = self._advance(waiting)
                if self.running and not moved:
                    self._wait()
        finally:
            if self.started is not None:
                self.started.close()
            keys = {n: r.key for n, r in self.results.items() if r.key is not None and r.record is not None}
            # what is remembered only makes the next build quicker and its reasons better: a store that can't be
            # written is good enough for hits, and has failed every step that had to run
            with suppress(StoreError):
                self.actions.remember(self.name, keys)
                self.signatures.save()
        ordered = tuple(self.results[n] for n in self.graph.steps)
        return Outcome(ordered, time.monotonic() - begun)

    def _advance(self, waiting: dict[str, Step]) -> bool:
        """Settle or start every step whose inputs are known; say whether anything moved."""
        moved = False
        for name, step in list(waiting.items()):
            blocked = [n for n in step.needs if n in self.results and self.results[n].status in ("failed", "skipped")]
            if blocked:
                because = f"`{blocked[0]}` {self.results[blocked[0]].status}"
                self._finish(StepResult(name, step.kind, step.use, "skipped", because=because))
            elif any(n not in self.trees for n in step.needs) or not self._take_or_start(step):
                continue
            del waiting[name]
            moved = True
        return moved

    def _take_or_start(self, step: Step) -> bool:
        """Settle a step from the store, or start it if there is room; say whether it left the queue."""
        try:
            action = self.keys.action(step, self.trees)
        except (ForgeError, OSError) as error:
            self._fail(step, None, _failure(error))
            return True
        if action.key in self.running:
            self.running[action.key][0].append(step)
            return True
        record = self.actions.find(action.key)
        if record is not None:
            self._settle(step, action.key, record, "hit", 0.0)
            return True
        if self.offline and step.network:
            hint = "build without `--offline`, or take a provider that runs here"
            refused = StepError(f"step `{step.name}` needs the network, which `--offline` forbids", hint=hint)
            self._fail(step, action.key, _failure(refused))
            return True
        if self.started is None:
            self.started = self.executor()
        if not self.started.has_room(heavy=step.heavy):
            return False
        previous = self._last.get(step.name)
        because = reason_of(action, self.actions.read(previous) if previous else None)
        self.reasons[step.name] = because
        trees = {i.step: self.trees[i.step].digest for i in step.inputs}
        manifest, code = self.graph.manifest, self.keys.fingerprints(step)
        job = Job.of(
            step,
            action,
            trees=trees,
            code=code,
            root=str(manifest.root.absolute()),
            store=str(self.store.root),
            threads=os.cpu_count() or 1,
        )
        self.started.submit(job, heavy=step.heavy)
        self.running[action.key] = ([step], action, time.monotonic())
        self.listener(Started(step.name, because))
        return True

    def _wait(self) -> None:
        assert self.started is not None  # noqa: S101  # something is running
        for key, event in self.started.wait():
            if key in self.running:
                self._hear(key, event)

    def _hear(self, key: str, event: dict[str, Any]) -> None:
        steps, _, begun = self.running[key]
        first = steps[0]
        if event["event"] == "progress":
            self.listener(Progressed(first.name, event["done"], event["total"], event["figures"]))
        elif event["event"] == "warning":
            self.listener(Warned(first.name, event["message"]))
        elif event["event"] == "failed":
            del self.running[key]
            log = str(self.store.root / "logs" / f"{key}.log")
            failure = Failure(event["message"], event["hint"], event["traceback"], log, event["exit_code"])
            for step in steps:
                self._fail(step, key, failure, time.monotonic() - begun)
        elif event["event"] == "done":
            del self.running[key]
            record = self.actions.find(key)
            for index, step in enumerate(steps):
                if record is None:
                    self._fail(step, key, Failure(f"the result of step `{step.name}` is not in the store", exit_code=4))
                else:
                    fresh = event["ran"] and index == 0
                    self._settle(
                        step, key, record, "ran" if fresh else "hit", time.monotonic() - begun if fresh else 0.0
                    )

    def _settle(self, step: Step, key: str, record: Record, status: Any, seconds: float) -> None:
        self.trees[step.name] = tree = self.store.tree(record.tree)
        because = self.reasons.get(step.name, "")
        if callable(getattr(step.instance, "destination", None)):
            try:
                self._deliver(step, tree)
            except (ForgeError, OSError) as error:
                self._fail(step, key, _failure(error), seconds)
                return
        self._finish(StepResult(step.name, step.kind, step.use, status, key, round(seconds, 3), record, None, because))

    def _deliver(self, step: Step, tree: Tree) -> None:
        """Put the artifact where its step wants it in the user's own tree."""
        previous = self.actions.read(self._last[step.name]) if step.name in self._last else None
        last = self.store.complete(previous.tree) if previous is not None else None
        delivery = Delivery(step, self.graph.manifest.root, self.store, self.signatures)
        self.delivered += [str(path) for path in delivery.paths(tree)]
        delivery.make(tree, last, lambda message: self.listener(Warned(step.name, message)))

    def _fail(self, step: Step, key: str | None, failure: Failure, seconds: float = 0.0) -> None:
        self._finish(StepResult(step.name, step.kind, step.use, "failed", key, round(seconds, 3), None, failure))

    def _finish(self, result: StepResult) -> None:
        self.results[result.name] = result
        self.listener(Finished(result))


def _failure(error: Exception) -> Failure:
    if isinstance(error, StoreError | ForgeError):
        return Failure(error.message, error.hint, exit_code=error.exit_code)
    return Failure(str(error), exit_code=1)
