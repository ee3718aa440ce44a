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
from forge.core.artifact import Member, Tree, name_fault
from forge.core.digest import digest_file
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
from forge.run.ledger import Ledger, is_same
from forge.run.spawn import PREPARE
from forge.run.tracing import Leave, Trace
from forge.run.verbs import Work, perform
from forge.store.actions import Actions
from forge.store.base import Store, StoredTree
from forge.store.disk import is_worth_syncing, named_errors, names, size_below
from forge.store.folders import folder_of
from forge.store.process import hostname
from forge.store.refusals import refusal
from forge.store.signatures import signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from forge.plugin.registry import StepType

_GRAIN = 2_000_000_000
"""Nanoseconds in which a file may change twice and keep its times."""
_FEW = 32
"""Files of an artifact up to which they are remembered one by one."""


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
    *made* holds the signatures of the files of the artifacts that this process made, by their digests.
    """

    send: Callable[[dict[str, Any]], None]
    leave: Leave = attrs.Factory(Leave)
    job: Callable[[], Mapping[str, Any]] = dict
    registry: Registry = attrs.Factory(lambda: Registry({}))
    checked: dict[str, Sources] = attrs.Factory(dict)
    stores: dict[str, Actions] = attrs.Factory(dict)
    made: dict[str, dict[str, tuple[int, ...]]] = attrs.Factory(dict)

    def run(self, job: Job) -> dict[str, Any]:
        """Run one job, or find that another process has done it meanwhile, and return the last event."""
        return self.guarded(job, lambda actions: self._run(job, actions))

    def _run(self, job: Job, actions: Actions) -> bool:
        def waits(holder: str) -> None:
            self.send({"event": "warning", "message": f"another build runs it: waiting for {holder}"})

        with actions.claim(job.key, waits) as heart:
            if actions.find(job.key) is not None:
                return False
            self.send({"event": "started"})
            record = self._perform(job, actions.store, actions, heart.beat)
            actions.publish(record, durable=is_worth_syncing(record.seconds, lambda: record.size))
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

    def _perform(self, job: Job, store: Store, actions: Actions, beat: Callable[[], None]) -> Record:
        begun, wall = time.monotonic(), time.time()
        started = datetime.now(UTC).isoformat(timespec="seconds")
        found, instance = self.instance(job)
        before = _signatures(instance)
        ledger = self.ledger(job, actions, beat)
        with store.staging() as staging:
            self.send({"event": "staged", "folder": str(staging)})
            out = staging / "out"
            out.mkdir()
            if job.kind in ("check", "labeler"):
                _keep_files(instance, store)
            inputs, trees = inputs_of(store, job, lambda digest: self._is_as_made(store, digest))
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
                unchanged = _check_files(instance, job, store, ledger.seen, before)
            except StepError:
                if found.each_file or found.rowwise:
                    _forget_pieces(store, wall)
                raise
            durable = is_worth_syncing(time.monotonic() - begun, lambda: size_below(out))
            tree = store.add_tree(out, durable=durable, known=ledger.brought if unchanged else None)
            if len(tree.members) <= _FEW and not ledger.brought:  # what was brought in was read elsewhere, by its name
                self.made[tree.digest] = _as_published(store, tree)
            return Record(
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

    def _is_as_made(self, store: Store, digest: str) -> bool:
        """Say whether an artifact's files are as they were when this process hashed them."""
        known = self.made.get(digest)
        return bool(known) and known == _below(store.artifact_path(digest))

    def _check_code(self, cls: type, job: Job) -> None:
        """Refuse to run other code than the key says, and to keep what may have been made by other code.

        A plugin may be edited between the plan and its import, or while the step runs: what a step imports in the
        middle of its work, and the data beside a plugin, are read then.
        """
        known = self.checked.get(cls.__module__)
        if known is not None and known.stand():
            return
        sources = Sources()
        found = fingerprint(cls, self.registry.packages, sources.describe, sources.digest)
        if module_digests(found) != job.action["code"]:
            raise StepError(f"the code of `{job.use}` changed after the build was planned", hint="build again")
        self.checked[cls.__module__] = sources


@attrs.define
class Sources:
    """Remember which files a fingerprint was taken from, and what they and their folders were just before.

    A file that may change again within the clock's grain is remembered as one that has moved.
    """

    signatures: dict[str, tuple[int, ...]] = attrs.Factory(dict)

    def describe(self, path: Path) -> Any:
        """Return what a source file says."""
        self._note(path)
        return describe(path)

    def digest(self, path: Path) -> str:
        """Return the digest of a data file."""
        self._note(path)
        return digest_data(path)

    def _note(self, path: Path) -> None:
        for place in (str(path.parent), str(path)):
            if place not in self.signatures:
                self.signatures[place] = _settled(os.stat(place))

    def stand(self) -> bool:
        """Say whether all of them are as they were; a file that came or went has moved its folder."""
        with suppress(OSError):
            return all(signature(os.stat(place)) == known for place, known in self.signatures.items())
        return False


def inputs_of(
    store: Store, job: Job, is_as_made: Callable[[str], bool] = lambda _: False
) -> tuple[dict[str, Artifact], dict[str, StoredTree]]:
    """Return a job's inputs as folders of verified files, and as trees.

    What the build has just found as it was when it was last verified is not read again, nor is what *is_as_made*.
    A part is published as a tree of its own, so that records can name it.
    """
    inputs, trees = {}, {}
    for name, digest, part, sound in job.inputs:
        if not part and (sound or is_as_made(digest)) and os.path.isdir(place := store.artifact_path(digest)):
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


def _forget_pieces(store: Store, since: float) -> None:
    """Forget what was kept in pieces *since* a time, for they may be of other code or bytes than their keys say."""
    for pointer in (store.root / "pieces").glob("*/*.json"):
        with suppress(FileNotFoundError):
            if pointer.stat().st_mtime >= since - _GRAIN / 1e9:
                pointer.unlink()


def _settled(info: os.stat_result) -> tuple[int, ...]:
    """Return a file's signature, or nothing where the next change may leave it as it is."""
    return signature(info) if time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns) > _GRAIN else ()


def _below(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the signatures of all files in *folder* and below it, none where one of them is gone."""
    try:
        return {name: signature(os.stat(os.path.join(folder, name))) for name in names(folder)}
    except OSError:
        return {}


def _as_published(store: Store, tree: Tree) -> dict[str, tuple[int, ...]]:
    """Return the signatures of a tree's files that were just hashed, none where its folder holds any other.

    Of equal trees the folder that lies there first stays, and what it holds may have been damaged since.
    """
    found = _below(store.artifact_path(tree.digest))
    try:
        hashed = {name: signature(os.stat(store.object_path(m.digest))) for name, m in tree.members.items()}
    except OSError:
        return {}
    return found if found == hashed else {}


def _signatures(instance: Any) -> dict[Path, tuple[int, ...]]:
    """Return the signatures of the files that a step reads from outside the store, as far as they are there."""
    found = {}
    for files in files_of(instance).values():
        for file in files:
            with suppress(OSError):  # the step that wants it finds better words
                found[file.path] = signature(os.stat(file.path))
    return found


def _check_files(
    instance: Any, job: Job, store: Store, seen: Mapping[str, Seen], before: Mapping[Path, tuple[int, ...]]
) -> bool:
    """Refuse a result that was read from other bytes than its key says; keep the names and digests for lineage.

    *before* are the files' signatures when the step began: one that was written to since may have held anything in
    between, whatever it holds now. Return whether all files are as the build saw them, so that none had to be read
    again.
    """
    unchanged = True
    for parameter, files in files_of(instance).items():
        members, written = {}, ""
        for file in files:
            info = os.stat(file.path)
            now = signature(info)
            known = seen.get(str(file.path))
            fits = known is not None and known.signature == now
            digest = known.digest if known is not None and fits else digest_file(file.path, info.st_size)
            members[file.name] = Member(digest, info.st_size)
            unchanged = unchanged and fits
            if not fits and not is_same(before.get(file.path, ()), info):
                written = written or os.path.relpath(file.path, job.root)
        tree = Tree(members)
        if tree.digest != job.action["files"][parameter]:
            raise StepError(f"the files of `{parameter}` changed while step `{job.step}` read them", hint="build again")
        if written:
            raise StepError(
                f"`{written}` of `{parameter}` was written to while step `{job.step}` read it, and holds again what it "
                "did: what was read can't be told",
                hint="build again",
            )
        if not any(name_fault(name) for name in tree.members):  # a tree with such a name would not be read again
            store.publish_tree(tree, durable=False)
    return unchanged


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
