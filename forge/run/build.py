"""Walk the graph: compute keys as inputs finish, take what the store has, run what it has not."""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import ForgeError, StepError, StoreError
from forge.plan.explain import reason_of
from forge.plan.frozen import Known
from forge.plan.keys import Keys, last_results
from forge.run.deliver import Delivery
from forge.run.events import Event, Failure, Finished, Progressed, Started, StepResult, Warned
from forge.run.job import Job
from forge.run.room import Need
from forge.run.schedule import Schedule
from forge.store.actions import Actions
from forge.store.base import StoredTree
from forge.store.signatures import Signatures, build_name
from forge.store.used import lease

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forge.core.action import Action, Fingerprints
    from forge.core.artifact import Tree
    from forge.core.record import Record
    from forge.core.step import Step
    from forge.plan.graph import Graph
    from forge.plan.keys import Recall
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
    """Build a graph into a store; *listener* hears of everything as it happens.

    *known* says what steps were when last everything was there, and *changed* which of them are no longer that; a
    step that is not among them and whose inputs are as they were is the hit that it was, and nothing is looked up;
    *code* is what is known of step types' code; *recall* finds the last results of steps elsewhere than in the store.
    *gate* is asked before a step is started that trains or wants a GPU; it says why the step should not be.
    ``same`` maps the keys of actions that are queued or running to the steps that wait for them, ``running`` to when
    they began; ``coming`` holds steps whose code is looked at while others run.
    """

    graph: Graph
    store: Store
    executor: Callable[[], Executor]
    listener: Callable[[Event], None] = lambda _: None
    offline: bool = False
    known: Mapping[str, Known] = attrs.field(factory=dict)
    changed: frozenset[str] = frozenset()
    code: dict[str, Fingerprints] = attrs.field(factory=dict)
    gate: Callable[[Step, Callable[[Event], None]], Failure | None] | None = None
    recall: Recall | None = None
    actions: Actions = attrs.field(init=False)
    results: dict[str, StepResult] = attrs.field(factory=dict, init=False)
    trees: dict[str, StoredTree] = attrs.field(factory=dict, init=False)
    schedule: Schedule = attrs.field(init=False)
    same: dict[str, list[Step]] = attrs.field(factory=dict, init=False)
    queue: deque[Action] = attrs.field(factory=deque, init=False)
    running: dict[str, float] = attrs.field(factory=dict, init=False)
    coming: list[Step] = attrs.field(factory=list, init=False)
    reasons: dict[str, str] = attrs.field(factory=dict, init=False)
    keys: Keys = attrs.field(init=False)
    name: str = attrs.field(init=False)
    signatures: Signatures = attrs.field(init=False)
    delivered: list[str] = attrs.field(factory=list, init=False)
    moved: set[str] = attrs.field(factory=set, init=False)
    sound: set[str] = attrs.field(factory=set, init=False)
    _last: dict[str, str] = attrs.field(factory=dict, init=False)
    started: Executor | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Open what is remembered of earlier builds."""
        self.name = build_name(self.graph.manifest.name, self.graph.manifest.path)
        self.signatures = Signatures.load(self.store, self.name, partly=bool(self.known))
        self.actions = Actions(self.store)
        self.keys = Keys(
            self.graph, self.signatures, self.code, recall=self.recall or last_results(self.store, self.name)
        )
        self._last = self.actions.last(self.name)
        self.schedule = Schedule.of(self.graph.steps)
        for step in self.graph.steps.values():
            for name in step.needs:
                if name not in self.graph.steps:
                    self.trees[name] = StoredTree(self.store, self.known[name].tree)
                    self.sound.add(name)

    def run(self) -> Outcome:
        """Build everything; a failed step stops only what needs it."""
        with lease(self.store.root):
            return self._run()

    def known_now(self) -> dict[str, Known]:
        """Return what the steps are now, once all are there."""
        return {n: Known(str(r.key), self.trees[n].digest) for n, r in self.results.items()}

    def _run(self) -> Outcome:
        begun = time.monotonic()
        try:
            while self.schedule.ready or self.queue or self.running:
                while self.schedule.ready:
                    self._take_or_queue(self.graph.steps[self.schedule.ready.popleft()])
                    if self.started is None or not self.started.is_full():
                        self._start_what_fits()  # the next one's files may take long to be read
                self._start_what_fits()
                if self.running:
                    self._wait()
        finally:
            if self.started is not None:
                self.started.close()
            keys = {n: r.key for n, r in self.results.items() if r.key and r.status in ("hit", "ran")}
            # what is remembered only makes the next build quicker and its reasons better: a store that can't be
            # written is good enough for hits, and has failed every step that had to run
            with suppress(StoreError):
                self.actions.remember(self.name, keys)
                self.signatures.save()
        ordered = tuple(self.results[n] for n in self.graph.steps)
        return Outcome(ordered, time.monotonic() - begun)

    def _take_or_queue(self, step: Step) -> None:
        """Settle a step from the store, or queue it to run."""
        known = self.known.get(step.name)
        if known is not None and step.name not in self.changed and self.moved.isdisjoint(step.needs):
            self._keep(step, known)
            return
        try:
            action = self.keys.action(step, self.trees)
        except (ForgeError, OSError) as error:
            self._fail(step, None, _failure(error))
            return
        if known is not None and action.key == known.key:
            self._keep(step, known)
            return
        if action.key in self.same:
            self.same[action.key].append(step)
            return
        record = self.actions.find(action.key)
        if record is not None:
            self._settle(step, action.key, record, "hit", 0.0)
        elif self.offline and step.network:
            hint = "build it without `--offline`, or take what is on this machine: a local provider, a local model"
            refused = StepError(f"step `{step.name}` needs the network, which `--offline` forbids", hint=hint)
            self._fail(step, action.key, _failure(refused))
        else:
            self.same[action.key] = [step]
            self.queue.append(action)

    def _start_what_fits(self) -> None:
        """Start queued actions while there is room for them; a heavy one that must wait holds up no light one."""
        if self.queue and self.started is None:
            self.started = self.executor()
        waiting: deque[Action] = deque()
        while self.queue and self.started is not None:
            action = self.queue.popleft()
            step = self.same[action.key][0]
            if self.started.has_room(Need.of(step)):
                held = self.gate(step, self.listener) if self.gate is not None and step.dear else None
                if held is None:
                    self._start(self.started, step, action)
                    continue
                for each in self.same.pop(action.key):
                    self._fail(each, action.key, held)
            else:
                waiting.append(action)
                if self.started.is_full():
                    break
        waiting.extend(self.queue)
        self.queue = waiting

    def _start(self, executor: Executor, step: Step, action: Action) -> None:
        previous = self._last.get(step.name)
        self.reasons[step.name] = because = reason_of(action, self.actions.read(previous) if previous else None)
        job = Job.of(
            step,
            action,
            trees={i.step: self.trees[i.step].digest for i in step.inputs},
            sound=self.sound,
            code=self.keys.fingerprints(step),
            modules=self.graph.modules,
            seen=self.keys.seen,
            sources=self.keys.sources_of(step),
            root=str(self.graph.manifest.root.absolute()),
            store=str(self.store.root),
            threads=os.cpu_count() or 1,
            previous=self._previous(step, action),
        )
        executor.submit(job, Need.of(step, self._rows_in(step)))
        self.running[action.key] = time.monotonic()
        self.listener(Started(step.name, because))
        following = map(self.graph.steps.__getitem__, self.schedule.dependants(step.name))
        self.coming += (each for each in following if each.use not in self.keys.code)

    def _previous(self, step: Step, action: Action) -> str:
        """Return the digest of what the step is given to compare with, as a tree that a worker can read."""
        recalled = self.keys.recall(step.name) if action.previous else None
        if recalled is not None and recalled[1] is not None:
            left = recalled[1].part(step.previous)
            if left.digest == action.previous:
                self.store.publish_tree(left)
        return action.previous

    def _rows_in(self, step: Step) -> int | None:
        """Return how many rows a labeler is given, by the record of what it labels."""
        if step.verb != "request":
            return None
        joined = step.inputs[0]
        result = self.results.get(joined.step)
        key = result.key if result is not None else self.known[joined.step].key
        record = self.actions.read(key) if key is not None else None
        return record.rows.get(joined.part) if record is not None else None

    def _wait(self) -> None:
        assert self.started is not None  # noqa: S101  # something is running
        if self.coming:
            with suppress(ForgeError, OSError, SyntaxError):  # they will fail when it is their turn
                self.keys.fingerprints(self.coming.pop())
        for key, event in self.started.wait():
            if key in self.running:
                self._hear(key, event)

    def _hear(self, key: str, event: dict[str, Any]) -> None:
        first = self.same[key][0]
        if event["event"] == "progress":
            self.listener(Progressed(first.name, event["done"], event["total"], event["figures"]))
        elif event["event"] == "warning":
            self.listener(Warned(first.name, event["message"]))
        elif event["event"] == "failed":
            begun = self.running.pop(key)
            log = self.store.root / "logs" / f"{key}.log"
            named = str(log) if log.exists() else None  # a store that can't be written has none
            failure = Failure(
                event["message"], event["hint"], event["traceback"], named, event["exit_code"], event.get("tail", "")
            )
            for step in self.same.pop(key):
                self._fail(step, key, failure, time.monotonic() - begun)
        elif event["event"] == "done":
            begun = self.running.pop(key)
            record = self.actions.find(key)
            for index, step in enumerate(self.same.pop(key)):
                if record is None:
                    self._fail(step, key, Failure(f"the result of step `{step.name}` is not in the store", exit_code=4))
                else:
                    fresh = event["ran"] and index == 0
                    self._settle(
                        step, key, record, "ran" if fresh else "hit", time.monotonic() - begun if fresh else 0.0
                    )

    def _keep(self, step: Step, known: Known) -> None:
        """Settle a step as the hit that it was; whoever knows of it has seen that its files are there."""
        self.trees[step.name] = StoredTree(self.store, known.tree)
        self.sound.add(step.name)
        self._finish(StepResult(step.name, step.kind, step.use, "hit", known.key))

    def _settle(self, step: Step, key: str, record: Record, status: Any, seconds: float) -> None:
        self.trees[step.name] = stored = StoredTree(self.store, record.tree)
        because = self.reasons.get(step.name, "")
        known = self.known.get(step.name)
        if known is None or known.tree != record.tree:
            self.moved.add(step.name)
        if step.destination is not None:
            try:
                self._deliver(step, stored.tree)
            except (ForgeError, OSError) as error:
                self._fail(step, key, _failure(error), seconds)
                return
        self._finish(StepResult(step.name, step.kind, step.use, status, key, round(seconds, 3), record, None, because))

    def _deliver(self, step: Step, tree: Tree) -> None:
        """Put the artifact where its step wants it in the user's own tree."""
        previous = self.actions.read(self._last[step.name]) if step.name in self._last else None
        # with another `to` it wrote elsewhere: what lies at the new place is somebody else's
        same = previous is not None and previous.action.get("params") == dict(step.params)
        last = self.store.complete(previous.tree) if previous is not None and same else None
        read = {str(path.absolute()) for path in self.graph.manifest.files}
        read |= {str(f.path.absolute()) for s in self.graph.steps.values() for files in s.files.values() for f in files}
        delivery = Delivery(
            step,
            self.graph.manifest.root,
            self.store,
            self.signatures,
            frozenset(read),
            lambda digest: self._was_made(step, digest),
        )
        self.delivered += [str(path) for path in delivery.paths(tree)]
        delivery.make(tree, last, lambda message: self.listener(Warned(step.name, message)))

    def _was_made(self, step: Step, digest: str) -> bool:
        """Say whether a step of the same type and parameters made a file, so that the store has it still."""
        for record in self.actions.all():
            if record.use == step.use and record.action.get("params") == dict(step.params):
                tree = self.store.complete(record.tree)
                if tree is not None and any(member.digest == digest for member in tree.members.values()):
                    return True
        return False

    def _fail(self, step: Step, key: str | None, failure: Failure, seconds: float = 0.0) -> None:
        self._finish(StepResult(step.name, step.kind, step.use, "failed", key, round(seconds, 3), None, failure))

    def _finish(self, result: StepResult) -> None:
        self.results[result.name] = result
        self.listener(Finished(result))
        if result.status in ("hit", "ran"):
            self.schedule.settled(result.name)
            return
        for name, needed in self.schedule.stopped(result.name):
            step, because = self.graph.steps[name], f"`{needed}` {self.results[needed].status}"
            self.results[name] = skipped = StepResult(name, step.kind, step.use, "skipped", because=because)
            self.listener(Finished(skipped))


def _failure(error: Exception) -> Failure:
    if isinstance(error, StoreError | ForgeError):
        return Failure(error.message, error.hint, exit_code=error.exit_code)
    return Failure(str(error), exit_code=1)
