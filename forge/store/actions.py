"""Run records by action key, what each manifest's steps were last, and who is running what now."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs

from forge.core.digest import canonical, digest_text, digest_value
from forge.core.errors import StoreError
from forge.core.record import Record
from forge.store.disk import named_errors, remove
from forge.store.process import birth, hostname, lives
from forge.store.used import alone, touch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from forge.store.base import Store

_STALE = 60.0
"""Seconds without a heartbeat after which a claim of another machine is taken to be dead."""
_BEAT = _STALE / 6
_WAIT = 0.25
"""Seconds between looks at a claim that another holds, at most."""
_PATIENCE = 2.0
"""Seconds after which a person wants to know why nothing happens."""


@attrs.frozen
class Actions:
    """Read and write run records."""

    store: Store
    pulse: Pulse = attrs.field(factory=lambda: Pulse(), eq=False, repr=False)  # noqa: PLW0108  # it is defined below

    def find(self, key: str) -> Record | None:
        """Return the record of a finished action if its artifact is whole, else None; what is found is in use."""
        touch(self.store.root, self.record_path(key))
        record = self.read(key)
        return record if record is not None and self.store.complete(record.tree) is not None else None

    def read(self, key: str) -> Record | None:
        """Return the record of a finished action; a damaged one counts as none, for the action can run again."""
        try:
            sealed = json.loads(self.record_path(key).read_bytes())
            if digest_value("record", sealed["record"]) != sealed["seal"]:
                return None
            record = Record.from_json(sealed["record"])
        except (OSError, ValueError, KeyError, TypeError, StoreError):
            return None
        return record if record.key == key else None

    def publish(self, record: Record, *, durable: bool = True) -> None:
        """Write a record whose tree is published, under a seal that shows damage."""
        text = canonical(json.loads(canonical(record.to_json())))  # as it will be read: keys as text, in their order
        sealed = b'{"record":%b,"seal":"%b"}' % (text, digest_text("record", text).encode())
        self.store.write(self.record_path(record.key), sealed, durable=durable)

    def all(self) -> Iterator[Record]:
        """Yield every readable record."""
        for path in sorted((self.store.root / "actions").glob("*/*.json")):
            record = self.read(path.parent.name + path.stem)
            if record is not None:
                yield record

    def record_path(self, key: str) -> Path:
        """Return where the record of *key* lies."""
        return self.store.root.joinpath("actions", key[:2], f"{key[2:]}.json")

    # ---------------------------------------------------------------- builds

    def last(self, manifest: str) -> dict[str, str]:
        """Return the action keys of a manifest's steps as they last were."""
        try:
            found = json.loads(self._build_path(manifest).read_bytes())
        except (OSError, ValueError):
            return {}
        return {n: k for n, k in found.items() if isinstance(k, str)} if isinstance(found, dict) else {}

    def remember(self, manifest: str, keys: Mapping[str, str]) -> None:
        """Note the action keys of a manifest's steps, over what was noted before."""
        known = self.last(manifest)
        if any(known.get(step) != key for step, key in keys.items()):
            self.store.write_json(self._build_path(manifest), known | dict(keys), durable=False)

    def _build_path(self, manifest: str) -> Path:
        return self.store.root / "builds" / f"{manifest}.json"

    # ---------------------------------------------------------------- claims

    def scratch(self, key: str) -> Path:
        """Return the folder that an unfinished action keeps between attempts."""
        folder = self.scratch_path(key)
        with named_errors(self.store.root):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def scratch_path(self, key: str) -> Path:
        """Return where that folder lies, if there is one."""
        return self.store.root / "scratch" / key

    def clear(self, key: str) -> None:
        """Remove an action's scratch folder."""
        remove(self.scratch_path(key))

    def claimed(self) -> dict[str, float]:
        """Return the keys of actions that run now, and since when, in seconds since 1970."""
        found = {}
        for path in sorted((self.store.root / "claims").glob("[!.]*")):
            with suppress(OSError, ValueError):
                if not Heart(path, "")._dead():  # noqa: SLF001  # one module
                    found[path.name] = int(path.read_text().split()[2]) / 1e9
        return found

    @contextmanager
    def claim(self, key: str, waits: Callable[[str], None] = lambda _: None) -> Iterator[Heart]:
        """Hold an action for this process while it runs; wait while another holds it, and tell *waits* for whom.

        A claim is a file that is made by linking, so that one of many wins also over NFS.
        One whose process is gone, or that has not been touched for a minute from another machine, is broken;
        `Pulse` touches it, for a step may work for hours without a word.
        """
        with self.hold(self.store.root / "claims" / key, waits) as heart:
            yield heart

    @contextmanager
    def hold(self, path: Path, waits: Callable[[str], None] = lambda _: None) -> Iterator[Heart]:
        """Hold *path*, in a folder of the store, as a claim is held."""
        heart = Heart(path, f"{hostname()} {os.getpid()} {time.time_ns()} {birth(os.getpid())}")
        with named_errors(self.store.root):
            heart.take(waits)
        self.pulse.join(heart)
        try:
            yield heart
        finally:
            self.pulse.leave(heart)
            heart.release()


@attrs.define(eq=False)
class Pulse:
    """Touch the claims that this process holds, in one thread that starts with the first of them."""

    _hearts: list[Heart] = attrs.Factory(list)
    _thread: threading.Thread | None = None

    def join(self, heart: Heart) -> None:
        """Touch a claim from now on."""
        self._hearts.append(heart)
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, daemon=True)
            self._thread.start()

    def leave(self, heart: Heart) -> None:
        """Touch a claim no more."""
        self._hearts = [each for each in self._hearts if each is not heart]

    def _keep(self) -> None:
        while True:
            time.sleep(_BEAT)
            for heart in self._hearts:
                heart.beat()


@attrs.define
class Heart:
    """Keep a claim alive; ``seen`` is the last beat of another's, and when this process first saw it."""

    path: Path
    text: str
    beat_at: float = 0.0
    seen: tuple[float, float] = (0.0, 0.0)

    def take(self, waits: Callable[[str], None] = lambda _: None) -> None:
        """Wait until the claim is ours; where that takes some seconds, *waits* hears once who holds it."""
        own = self.path.with_name(f".{self.path.name}.{os.getpid()}.{time.time_ns()}")
        own.write_text(self.text)
        wait, since, told = 0.05, time.monotonic(), False
        try:
            while True:
                try:
                    os.link(own, self.path)
                except FileExistsError:
                    if self._dead(own):
                        self._break()
                    else:
                        if not told and time.monotonic() - since > _PATIENCE:
                            told = True
                            waits(self._holder())
                        time.sleep(wait)
                        wait = min(wait * 1.2, _WAIT)
                else:
                    return
        finally:
            with suppress(OSError):
                own.unlink()

    def _holder(self) -> str:
        """Return who holds the claim, in words."""
        try:
            host, pid, *_ = self.path.read_text().split()
        except (OSError, ValueError):
            return "another process"
        return f"process {pid}" + ("" if host == hostname() else f" on {host}")

    def beat(self) -> None:
        """Show that the holder is alive."""
        now = time.monotonic()
        if now - self.beat_at >= _BEAT:
            self.beat_at = now
            with suppress(OSError):
                os.utime(self.path)

    def release(self) -> None:
        """Give the claim up, if it is still ours."""
        # one that can't be removed any more is dead as soon as this process is
        with suppress(OSError):
            if self.path.read_text() == self.text:
                self.path.unlink()

    def _dead(self, own: Path | None = None) -> bool:
        """Say whether the holder is gone; *own* is a file beside the claim, by whose clock a beat's age is told."""
        try:
            # reading first: opening a file makes NFS ask the server, so that the time is not one it remembers
            host, pid, _, *born = self.path.read_text().split()
            beat = self.path.stat().st_mtime
            if host == hostname():
                return not lives(int(pid), "".join(born))
        except FileNotFoundError:
            return False
        except ValueError:
            return True
        now = time.monotonic()
        if beat != self.seen[0]:
            self.seen = (beat, now)
        # by the clock, or, where one of the two clocks was moved, by what was seen of it
        return _clock(own) - beat > _STALE or now - self.seen[1] > _STALE

    def _break(self) -> None:
        """Remove a dead claim; whoever was first may have made the next one, which is left alone."""
        try:
            with alone(self.path.parent.parent):
                if self._dead():
                    self.path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                raise
            # no locks here: of those who rename it one wins, and what was made since is put back
            grave = self.path.with_name(f".{self.path.name}.dead.{os.getpid()}.{time.time_ns()}")
            with suppress(FileNotFoundError):
                self.path.rename(grave)
                if not attrs.evolve(self, path=grave)._dead():  # noqa: SLF001  # one module
                    with suppress(FileExistsError):
                        os.link(grave, self.path)
                grave.unlink()


def _clock(own: Path | None) -> float:
    """Return the time by the file system's clock, which two machines share where their own differ."""
    if own is None:
        return time.time()
    os.utime(own)
    return own.stat().st_mtime
