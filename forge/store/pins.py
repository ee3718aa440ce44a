"""Pins: names that people give to results which are to stay, one file a pin below ``pins/``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal

import attrs

from forge.core.errors import StoreError, UsageError
from forge.core.suggest import did_you_mean
from forge.store.disk import named_errors
from forge.store.used import touch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forge.store.base import Store

Kind = Literal["record", "tree", "object"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DIGEST = re.compile(r"[0-9a-f]{6,64}")


@attrs.frozen
class Pin:
    """Keep one thing: the result of an action by its key, an artifact or a file by its digest."""

    name: str
    kind: Kind
    digest: str


@attrs.frozen
class Pins:
    """Read and write pins."""

    store: Store

    def all(self) -> list[Pin]:
        """Return every pin by name; a damaged one is an error, for what it kept is not known."""
        found = []
        for path in sorted((self.store.root / "pins").glob("[!.]*.json")):
            try:
                value = json.loads(path.read_bytes())
                found.append(Pin(path.stem, value["kind"], str(value["digest"])))
            except (OSError, ValueError, KeyError, TypeError) as error:
                hint = f"pin again with `forge store pin {path.stem} KEY`, or `forge store unpin {path.stem}`"
                raise StoreError(f"the pin `{path.stem}` is damaged", hint=hint) from error
        return found

    def add(self, name: str, start: str) -> Pin:
        """Pin what *start*, the first six digits or more of a key or digest, names."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"`{name}` can't name a pin", hint="letters, digits, `.`, `_` and `-` can")
        if not _DIGEST.fullmatch(start):
            raise UsageError(
                f"`{start}` is no key and no digest",
                hint="give its first 6 hexadecimal digits or more; `forge show` prints keys and digests",
            )
        found = sorted(self._starting(start))
        if not found:
            raise UsageError(f"nothing in the store begins with `{start}`", hint="`forge show` prints keys and digests")
        if len(found) > 1:
            what = ", ".join(f"{kind} `{digest[:16]}…`" for kind, digest in found[:4])
            raise UsageError(f"`{start}` begins {len(found)} things: {what}", hint="give more digits")
        [(kind, digest)] = found
        pin = Pin(name, kind, digest)
        path = self._path(name)
        known = next((p for p in self.all() if p.name == name), None) if path.exists() else None
        if known is not None and known != pin:
            raise UsageError(
                f"the pin `{name}` keeps {known.kind} `{known.digest[:16]}…`", hint=f"`forge store unpin {name}` first"
            )
        self._touch(pin)
        self.store.write_json(path, {"kind": pin.kind, "digest": pin.digest})
        return pin

    def drop(self, name: str) -> None:
        """Take a pin away."""
        path = self._path(name) if _NAME.fullmatch(name) else None
        if path is None or not path.exists():
            names = [p.stem for p in (self.store.root / "pins").glob("[!.]*.json")]
            raise UsageError(f"there is no pin `{name}`", hint=did_you_mean(name, names))
        with named_errors(self.store.root):
            path.unlink()

    def _path(self, name: str) -> Path:
        return self.store.root / "pins" / f"{name}.json"

    def _starting(self, start: str) -> Iterator[tuple[Kind, str]]:
        root, head, tail = self.store.root, start[:2], start[2:]
        for path in (root / "actions" / head).glob(f"{tail}*.json"):
            yield "record", head + path.stem
        for path in (root / "trees" / head).glob(f"{tail}*.json"):
            yield "tree", head + path.stem
        for path in (root / "objects" / head).glob(f"{tail}*"):
            yield "object", head + path.name

    def _touch(self, pin: Pin) -> None:
        """Note that what is pinned is in use, so that a collection which runs now leaves it."""
        paths = {
            "record": self.store.root / "actions" / pin.digest[:2] / f"{pin.digest[2:]}.json",
            "tree": self.store.tree_path(pin.digest),
            "object": self.store.object_path(pin.digest),
        }
        touch(self.store.root, paths[pin.kind])
        if pin.kind == "tree":
            for member in self.store.tree(pin.digest).members.values():
                touch(self.store.root, self.store.object_path(member.digest))
