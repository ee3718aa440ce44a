"""Take nothing from a remote that does not fit its own name; where a key is shared, nothing that it did not sign.

Objects and trees prove themselves: their name is the digest of what they hold. A record says what an action made,
which no digest can prove, so whoever can write to a remote decides what a build takes from it, unless records are
signed: `FORGE_REMOTE_KEY`, a secret that all who share a remote have, signs them on push and is asked for on pull
(docs/decisions/0007-remote.md).
"""

from __future__ import annotations

import hmac
import json
import os
import re
from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge.core.artifact import Tree, name_fault
from forge.core.digest import canonical, digest_value
from forge.core.errors import StoreError, UsageError
from forge.core.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

VARIABLE = "FORGE_REMOTE_KEY"
MOST = 256 << 20
"""Bytes of the largest tree or record that is read: two million files."""

_SHORTEST = 16
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Unfit(Exception):
    """Say why something from a remote is refused."""


class Absent(Unfit):
    """Say that a remote does not hold something."""


@attrs.frozen
class Refusal:
    """Name one thing that a remote holds and that was not taken, why, and the steps that need it."""

    kind: Literal["record", "tree", "object"]
    digest: str
    reason: str
    steps: Sequence[str] = ()

    def error(self, remote: str) -> StoreError:
        """Return the refusal as an error that names the remote and says what to do."""
        of = f" of {', '.join(f'`{step}`' for step in self.steps)}" if self.steps else ""
        return StoreError(
            f"refused from the remote `{remote}`: the {self.kind} `{self.digest}`{of} {self.reason}",
            hint="nothing of it was taken; mend the remote with `forge store push --verify` from a store that is "
            "whole, or build here",
        )


def read_secret() -> bytes | None:
    """Return the key that signs records, or None where none is set; raise UsageError for one that is easily guessed."""
    text = os.environ.get(VARIABLE, "")
    if text and len(text) < _SHORTEST:
        raise UsageError(
            f"`{VARIABLE}` has {len(text)} characters, at least {_SHORTEST} are needed",
            hint="make one with `python -c 'import secrets; print(secrets.token_hex(32))'`",
        )
    return text.encode() or None


def sealed(record: Record, secret: bytes | None) -> bytes:
    """Return a record as a remote holds it: under its seal, signed where there is a key."""
    value = json.loads(canonical(record.to_json()))
    whole = {"record": value, "seal": digest_value("record", value)}
    if secret is not None:
        whole["signature"] = _signature(value, secret)
    return json.dumps(whole, ensure_ascii=False, indent=1).encode()


def record_of(data: bytes, key: str, secret: bytes | None) -> Record:
    """Return the record that *data* holds for *key*; raise Unfit if it is damaged, another's, or not signed."""
    value = _parsed(data)
    if not isinstance(value, dict) or not isinstance(value.get("record"), dict):
        raise Unfit("is damaged: it is no record")
    body = value["record"]
    if _digest("record", body) != value.get("seal"):
        raise Unfit("is damaged: it does not fit its seal")
    if secret is not None:
        _check_signature(value.get("signature"), body, secret)
    try:
        record = Record.from_json(body)
    except StoreError as error:
        raise Unfit("is damaged: fields are missing") from error
    for name, fits in _SHAPES.items():
        if name in body and not fits(body[name]):
            raise Unfit(f"is damaged: its field `{name}` holds something else")
    if record.key != key:
        raise Unfit(f"is the record of another action, `{record.key}`")
    if digest_value("action", dict(record.action)) != key:
        raise Unfit("does not fit its key: the action that it names has another")
    if not set(record.inputs.values()) <= {digest for _, digest in record.action["inputs"]}:
        raise Unfit("does not fit its key: it names other inputs")
    return record


def tree_of(data: bytes, digest: str) -> Tree:
    """Return the tree that *data* holds; raise Unfit if it is not the one of *digest*, or would leave its folder."""
    value = _parsed(data)
    if _digest("tree", value) != digest:
        raise Unfit("is damaged: it does not fit its digest")
    for name, entry in value.items() if isinstance(value, dict) else ():
        if name_fault(name) is not None or not _stays(name):
            raise Unfit(f"names a file outside its folder: `{name!r}`")
        if isinstance(entry, list) and entry and not is_digest(entry[0]):
            raise Unfit(f"is no tree of digests: `{name!r}`")
    try:
        tree = Tree.from_json(value)
    except StoreError as error:
        raise Unfit("is damaged: it is no tree") from error
    if tree.digest != digest:
        raise Unfit("is damaged: it is no tree")
    for name, member in tree.members.items():
        if any(parent in tree.members for parent in _parents(name)):
            raise Unfit(f"names a file below another file: `{name!r}`")
        if member.size < 0:
            raise Unfit(f"is no tree of digests: `{name!r}`")
    return tree


def is_digest(value: Any) -> bool:
    """Say whether *value* is a digest, and so can name a file of the store."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _check_signature(signature: Any, body: Any, secret: bytes) -> None:
    if not isinstance(signature, str):
        raise Unfit(f"is not signed, and `{VARIABLE}` is set")
    if not hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), _signature(body, secret).encode()):
        raise Unfit(f"is signed with another key than `{VARIABLE}`")


def _signature(value: Any, secret: bytes) -> str:
    return hmac.new(secret, b"forge record\0" + canonical(value), "sha256").hexdigest()


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unfit("is damaged: it is no JSON") from error


def _digest(domain: str, value: Any) -> str:
    try:
        return digest_value(domain, value)
    except (ValueError, RecursionError) as error:  # an infinite number, a nest without end
        raise Unfit("is damaged: it is no canonical JSON") from error


def _stays(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return "\0" not in name and not {"", ".", ".."}.intersection(name.split("/"))


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _text(value: Any) -> bool:
    return isinstance(value, str) and (value.isprintable() or not value)


def _count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _maps(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(fits(entry) for entry in value.values())


def _lists(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _action(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("inputs"), list)
        and all(
            isinstance(p, list) and [_text(p[0]), is_digest(p[-1]), len(p)] == [True, True, 2] for p in value["inputs"]
        )
        and _maps(value.get("files"), is_digest)
    )


_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("step", "kind", "use", "started", "host", "forge"), _text),
    **dict.fromkeys(("key", "tree"), is_digest),
    **dict.fromkeys(("seconds", "size"), _count),
    **dict.fromkeys(("rows_in", "rows_out"), lambda value: value is None or _count(value)),
    **dict.fromkeys(("rows", "drops", "tallies"), lambda value: _maps(value, _count)),
    "action": _action,
    "inputs": lambda value: _maps(value, is_digest),
    "examples": lambda value: _maps(value, _lists),
    "warnings": _lists,
    "code": lambda value: _maps(value, lambda entry: _maps(entry, lambda text: isinstance(text, str))),
    "accepted": lambda value: isinstance(value, dict),
}
"""What each field of a record may hold: one that arrives is shown, joined into paths and trusted to be counted."""
