"""What a labeler wrote down before using it: every reply, fsynced, by the digest of its request.

A journal is a folder of files of lines, one file a writer, so that several machines write into one folder
without a lock. A line is ``{"key":"<64 hex>","sum":"<16 hex>","reply":{…}}`` in exactly this layout; ``sum``
is the start of blake3 over key and reply, so a flipped bit is found without parsing, and lines are parsed
when they are asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs
from blake3 import blake3

from forge.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_GATHER = 0.01  # seconds in which replies gather for one sync: nobody waits for it but the rows themselves
_HEAD = b'{"key":"'
_SUM = b'","sum":"'
_REPLY = b'","reply":'
_KEY_END = len(_HEAD) + 64
_SUM_START = _KEY_END + len(_SUM)
_SUM_END = _SUM_START + 16
_REPLY_START = _SUM_END + len(_REPLY)


@attrs.define
class Journal:
    """Keep replies in *folder*, and find them again.

    What lies there is read once, when something is first asked for; what other writers add later is not seen.
    ``damaged`` counts lines that were skipped, ``cut`` files whose last line a crash left unfinished; ``unsynced``
    replies are handed in and not on the disk yet.
    """

    folder: Path
    damaged: int = attrs.field(default=0, init=False)
    cut: int = attrs.field(default=0, init=False)
    unsynced: int = attrs.field(default=0, init=False)
    _lines: dict[str, bytes] | None = attrs.field(default=None, init=False)
    _file: BinaryIO | None = attrs.field(default=None, init=False)
    _waiting: list[tuple[str, bytes, asyncio.Future[None]]] = attrs.field(factory=list, init=False)
    _writer: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    def __len__(self) -> int:
        """Return how many replies can be found."""
        return len(self._loaded())

    def __contains__(self, key: object) -> bool:
        """Say whether a reply is written down for *key*."""
        return key in self._loaded()

    def keys(self) -> list[str]:
        """Return the keys of all replies."""
        return list(self._loaded())

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the reply that is written down for *key*."""
        line = self._loaded().get(key)
        if line is None:
            return None
        reply: dict[str, Any] = json.loads(line)
        return reply

    async def put(self, key: str, reply: Mapping[str, Any]) -> None:
        """Write *reply* down and return once it is on the disk.

        Replies that arrive while others are being synced share the next sync.
        A caller that is cancelled meanwhile leaves its reply to `close`.
        """
        await asyncio.shield(self.hand_in(key, reply))

    def hand_in(self, key: str, reply: Mapping[str, Any]) -> asyncio.Future[None]:
        """Take *reply* to be written down, and return what is done once it is on the disk; shield it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((key, _encode(reply), done))
        self.unsynced += 1
        if self._writer is None or self._writer.done():
            self._writer = loop.create_task(self._drain())
        return done

    def write(self, entries: Sequence[tuple[str, bytes]]) -> None:
        """Append encoded *entries* to this writer's own file and sync it."""
        lines = self._loaded()
        data = b"".join(_line(key, reply) for key, reply in entries)
        try:
            file = self._open()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            self._abandon()
            message = f"can't write to the journal `{self.folder.name}`: {error.strerror or error}"
            raise StoreError(message, hint="the replies written before are kept; make room and build again") from error
        lines.update(entries)

    async def settle(self) -> None:
        """Wait until everything handed to `put` is on the disk."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    def close(self) -> None:
        """Write what is still waiting and close this writer's file."""
        waiting, self._waiting = self._waiting, []
        try:
            if waiting:
                self.write([(key, reply) for key, reply, _ in waiting])
        finally:
            self._abandon()

    async def _drain(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER)
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self.write, [(key, reply) for key, reply, _ in batch])
            except StoreError as error:
                for _, _, done in batch:
                    _settle(done, error)
            else:
                for _, _, done in batch:
                    _settle(done, None)
            finally:
                self.unsynced -= len(batch)

    def _open(self) -> BinaryIO:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"{time.time_ns():x}-{os.getpid():x}-{secrets.token_hex(4)}.jsonl"
            self._file = (self.folder / name).open("xb")
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return self._file

    def _abandon(self) -> None:
        """Leave the file: after a failed write its end is unknown, and the next line begins a new one."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _loaded(self) -> dict[str, bytes]:
        if self._lines is None:
            lines: dict[str, bytes] = {}
            for path in sorted(self.folder.glob("*.jsonl")):
                self._read(path, lines)
            self._lines = lines
        return self._lines

    def _read(self, path: Path, lines: dict[str, bytes]) -> None:
        try:
            *whole, rest = path.read_bytes().split(b"\n")
        except OSError as error:
            message = f"can't read the journal file `{path.name}`: {error.strerror or error}"
            raise StoreError(message) from error
        self.cut += bool(rest)
        for line in whole:
            key, reply = line[len(_HEAD) : _KEY_END], line[_REPLY_START:-1]
            if line == _frame(key, line[_SUM_START:_SUM_END], reply) and line[_SUM_START:_SUM_END] == _sum(key, reply):
                lines[key.decode("ascii")] = reply
            else:
                self.damaged += 1


def _encode(reply: Mapping[str, Any]) -> bytes:
    # A provider's text may hold half of a surrogate pair, which strict UTF-8 refuses and json reads back.
    return json.dumps(dict(reply), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _sum(key: bytes, reply: bytes) -> bytes:
    return blake3(key + reply).hexdigest(8).encode("ascii")


def _frame(key: bytes, check: bytes, reply: bytes) -> bytes:
    return b"".join((_HEAD, key, _SUM, check, _REPLY, reply, b"}"))


def _line(key: str, reply: bytes) -> bytes:
    name = key.encode("ascii")
    return _frame(name, _sum(name, reply), reply) + b"\n"


def _settle(done: asyncio.Future[None], error: StoreError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
