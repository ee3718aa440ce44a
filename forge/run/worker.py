"""Run jobs: the process in which every step's work is done, here or on another machine.

Jobs come as lines of JSON on standard input, events go out as lines of JSON on what was standard output; the
step's own output goes to the action's log. When the input closes, whoever started the worker is gone: it ends at
once, with everything it started.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge.core.action import module_digests
from forge.core.artifact import Tree
from forge.core.errors import ForgeError, StepError, StoreError
from forge.core.files import Seen
from forge.core.record import Record
from forge.core.step import PREVIOUS
from forge.plugin.bytecode import distrust_bytecode
from forge.plugin.context import Artifact
from forge.plugin.discovery import Registry
from forge.plugin.fingerprint import describe, digest_data, fingerprint
from forge.plugin.parameters import files_of, structure
from forge.run.job import Job
from forge.run.ledger import Ledger
from forge.run.spawn import PREPARE
from forge.run.tracing import Leave, Trace
from forge.run.unmoved import Made, check_files, forget_pieces, signatures_of
from forge.run.verbs import Work, perform
from forge.store.actions import Actions
from forge.store.base import Store, StoredTree
from forge.store.disk import is_worth_syncing, named_errors, size_below
from forge.store.folders import folder_of
from forge.store.process import hostname
from forge.store.refusals import refusal
from forge.store.signatures import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from forge.plugin.registry import StepType


def main() -> None:
    """Serve jobs until the input closes."""
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    lock = threading.Lock()

    def send(event: dict[str, Any]) -> None:
        with lock:
            events.write(json.dumps(event) + "\n")

    worker = Worker(send)
    for line in iter(_lines().get, None):
        if line.startswith(PREPARE):
            with suppress(ImportError):  # the step that wants it finds better words
                for module in line.split()[1:]:
                    importlib.import_module(module)
            continue
        job = Job.load(line)
        try:
            with named_errors(Path(job.store)):
                redirect(Path(job.store) / "logs" / f"{job.key}.log")
        except StoreError as error:
            send(_failed(error.message, error.hint, None, error.exit_code))
        else:
            send(worker.run(job))


@attrs.define
class Worker:
    """Run jobs one after another; *send* takes events as JSON values.

    *checked* holds what the code of step types was read from when it was compared, by the module of their class;
    *leave* says when the step is to leave off, *job* what the record says of the job of a cluster that this is.
    *made* knows which artifacts need not be hashed again.
    """

    send: Callable[[dict[str, Any]], None]
    leave: Leave = attrs.Factory(Leave)
    job: Callable[[], Mapping[str, Any]] = dict
    registry: Registry = attrs.Factory(lambda: Registry({}))
    checked: dict[str, Sources] = attrs.Factory(dict)
    stores: dict[str, Actions] = attrs.Factory(dict)
    made: Made = attrs.Factory(Made)

    def run(self, job: Job) -> dict[str, Any]:
        """Run one job, or find that another process has done it meanwhile, and return the last event."""
        return self.guarded(job, lambda actions: self._run(job, actions))

    def _run(self, job: Job, actions: Actions) -> bool:
        def waits(holder: str) -> None:
            self.send({"event": "warning", "message": f"another build runs it: waiting for {holder}"})

        with actions.claim(job.key, waits) as heart:
            if actions.find(job.key) is not None:
                return False
            record, tree = self._perform(job, actions.store, actions, heart.beat)
            actions.publish(record, durable=is_worth_syncing(record.seconds, lambda: record.size))
            if tree is not None:
                self.made.note(actions.store, tree)
            if actions.scratch_path(job.key).exists():
                actions.clear(job.key)
            return True

    def guarded(self, job: Job, work: Callable[[Actions], bool]) -> dict[str, Any]:
        """Do *work* with the job's store and return the last event; *work* says whether there was anything to do."""
        try:
            if job.store not in self.stores:
                self.stores[job.store] = Actions(Store.open(Path(job.store)))
            ran = work(self.stores[job.store])
        except ForgeError as error:
            return _failed(error.message, error.hint, None, error.exit_code)
        except Exception as error:  # noqa: BLE001  # the boundary: a plugin's bug must not take the worker with it
            refused = refusal(error, Path(job.store))
            if refused is not None:
                return _failed(refused.message, refused.hint, None, refused.exit_code)
            return _failed(f"{type(error).__name__}: {error}", None, _plugin_traceback(error), 1)
        except BaseException as error:  # noqa: BLE001  # what ends a process in Python: `sys.exit`, KeyboardInterrupt
            said = f"the step raised `{type(error).__name__}{f': {error}' if str(error) else ''}`, which ends a process"
            hint = "a step that fails raises `forge.StepError` with what is wrong"
            return _failed(said, hint, _plugin_traceback(error), 1)
        return {"event": "done", "ran": ran}

    def instance(self, job: Job) -> tuple[StepType, Any]:
        """Return the job's step type, found and compared with what was planned, and an instance of its class."""
        if self.registry.modules != job.modules:
            self.registry = Registry(job.modules)
            distrust_bytecode(self.registry.packages)
        found = self.registry.find(job.use)
        self._check_code(found.cls, job)
        instance, complaints = structure(found.cls, job.spec, Path(job.root))
        if complaints:
            raise ForgeError("; ".join(c.message for c in complaints))
        return found, instance

    def ledger(self, job: Job, actions: Actions, beat: Callable[[], None]) -> Ledger:
        """Return what the step is given to report to."""
        seen = {path: Seen(digest, size, tuple(known)) for path, (digest, size, known) in job.seen.items()}
        return Ledger(lambda: actions.scratch(job.key), job.threads, self.send, beat, seen, leave=self.leave)

    def _perform(
        self, job: Job, store: Store, actions: Actions, beat: Callable[[], None]
    ) -> tuple[Record, Tree | None]:
        """Do the step's work and store the result; return its record, and its tree if it was hashed here as a whole."""
        begun, wall = time.monotonic(), time.time()
        started = datetime.now(UTC).isoformat(timespec="seconds")
        found, instance = self.instance(job)
        before = signatures_of(instance)
        ledger = self.ledger(job, actions, beat)
        with store.staging() as staging:
            self.send({"event": "staged", "folder": str(staging)})
            out = staging / "out"
            out.mkdir()
            if job.kind in ("check", "labeler"):
                _keep_files(instance, store)
            inputs, trees = inputs_of(store, job, self.made)
            work = Work(job, found, instance, inputs, trees, out, ledger, store)
            ledger.trace = Trace(job.step, store.root / "logs" / job.key, self.registry.metrics)
            try:
                rows = perform(work)
            except Exception as error:
                # asked while what filled the disk still lies there
                refused = refusal(error, store.root)
                if refused is None:
                    raise
                _print(_plugin_traceback(error))
                raise refused from error
            finally:
                self.leave.end()
            try:
                self._check_code(found.cls, job)
                unchanged = check_files(instance, job, store, ledger.seen, before)
            except StepError:
                if found.each_file or found.rowwise:
                    forget_pieces(store, wall)
                raise
            durable = is_worth_syncing(time.monotonic() - begun, lambda: size_below(out))
            tree = store.add_tree(out, durable=durable, known=ledger.kept | (ledger.brought if unchanged else {}))
            record = Record(
                key=job.key,
                step=job.step,
                kind=job.kind,
                use=job.use,
                action=dict(job.action),
                inputs={name: tree.digest for name, tree in trees.items() if name != PREVIOUS},
                tree=tree.digest,
                seconds=round(time.monotonic() - begun, 3),
                size=tree.size,
                rows_in=work.rows_in,
                rows_out=sum(rows.values()) if rows else None,
                rows=rows,
                drops=ledger.drops,
                tallies=ledger.tallies,
                examples=ledger.examples,
                warnings=ledger.warnings,
                measured=ledger.measured,
                code=job.code,
                started=started,
                host=hostname(),
                forge=forge.__version__,
                job={**job.cluster, **self.job()},
            )
        return record, None if ledger.brought else tree  # what was brought in was read elsewhere, by its name

    def _check_code(self, cls: type, job: Job) -> None:
        """Refuse to run other code than the key says, and to keep what may have been made by other code.

        A plugin may be edited between the plan and its import, or while the step runs: what a step imports in the
        middle of its work, and the data beside a plugin, are read then.
        """
        known = self.checked.get(cls.__module__) or Sources({p: tuple(s) for p, s in job.sources.items()})
        if known.stand() and getattr(sys.modules.get(cls.__module__), "__file__", None) in known.signatures:
            self.checked[cls.__module__] = known
            return
        sources = Sources()
        found = fingerprint(cls, self.registry.packages, sources.noting(describe), sources.noting(digest_data))
        if module_digests(found) != job.action["code"]:
            raise StepError(f"the code of `{job.use}` changed after the build was planned", hint="build again")
        self.checked[cls.__module__] = sources


def inputs_of(store: Store, job: Job, made: Made | None = None) -> tuple[dict[str, Artifact], dict[str, StoredTree]]:
    """Return a job's inputs as folders of verified files, and as trees.

    What the build has just found as it was when it was last verified is not read again, nor is what this process has
    *made* and nobody touched since. A part is published as a tree of its own, so that records can name it.
    """
    inputs, trees = {}, {}
    for name, digest, part, sound in job.inputs:
        known = sound or (made is not None and made.stands(store, digest))
        if known and not part and os.path.isdir(place := store.artifact_path(digest)):
            trees[name] = StoredTree(store, digest)
        else:
            whole = store.tree(digest)
            place = folder_of(store, whole, part)
            tree = store.publish_tree(whole.part(part), durable=False) if part else whole
            trees[name] = StoredTree(store, tree.digest, tree)
        inputs[name] = Artifact(name, place, trees[name].digest)
    return inputs, trees


def _keep_files(instance: Any, store: Store) -> None:
    """Store the files that a check or a labeler reads from outside, so that both can be looked into anywhere."""
    for files in files_of(instance).values():
        store.publish_tree(Tree({f.name: attrs.evolve(store.add_copy(f.path), executable=False) for f in files}))


def _lines() -> queue.Queue[str | None]:
    """Read standard input in a thread; its end while a job runs ends this process group."""
    lines: queue.Queue[str | None] = queue.Queue()
    busy_input = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)

    def read() -> None:
        with os.fdopen(busy_input, encoding="utf-8") as stream:
            for line in stream:
                lines.put(line)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return lines


def redirect(log: Path) -> None:
    """Send whatever a step prints, in Python or below it, to the action's log."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _failed(message: str, hint: str | None, trace: str | None, exit_code: int) -> dict[str, Any]:
    if trace:
        _print(trace)
    return {"event": "failed", "message": message, "hint": hint, "traceback": trace, "exit_code": exit_code}


def _print(text: str) -> None:
    """Write to the action's log, if its disk has room."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def _plugin_traceback(error: BaseException) -> str:
    """Return the traceback without the frames of forge's own machinery above the plugin's first."""
    home = str(Path(forge.__file__).parent)
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(home):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


if __name__ == "__main__":
    main()
