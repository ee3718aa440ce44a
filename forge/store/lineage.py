"""Follow bytes through run records: back to the raw files they were made of, and on to everything made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

import attrs

from forge.core.errors import StoreError, UsageError
from forge.store.actions import Actions

if TYPE_CHECKING:
    from forge.core.artifact import Member, Tree
    from forge.core.record import Record
    from forge.store.base import Store

_SHORTEST = 8
_LONGEST = 64
_FEW = 5
_HEX = frozenset("0123456789abcdef")


@attrs.frozen
class Target:
    """Name what is followed: the digest of a file's bytes or of an artifact, or an action key."""

    kind: Literal["file", "tree", "action"]
    digest: str


@attrs.frozen
class Made:
    """Say that an action made an artifact, as a whole (``""``) or as a part of its own."""

    key: str
    part: str


@attrs.frozen
class Link:
    """Hold one action of a lineage.

    ``files`` maps parameters to the files they named, or to None where a record is older than the names;
    ``inputs`` maps input names to what made them, or to None where that is no longer known;
    ``equals`` are other actions that made the same artifact.
    """

    record: Record
    files: Mapping[str, Mapping[str, Member] | None]
    inputs: Mapping[str, Made | None]
    equals: tuple[str, ...] = ()


@attrs.frozen
class Lineage:
    """Answer where bytes come from and go to, from every record of a store.

    ``trees`` holds artifacts, ``files`` trees of files that lie outside, ``made`` what made each artifact or part,
    ``taken`` the actions that have a tree as an input.
    """

    store: Store
    records: Mapping[str, Record]
    trees: Mapping[str, Tree]
    files: Mapping[str, Tree]
    made: Mapping[str, list[Made]]
    taken: Mapping[str, list[str]]

    @classmethod
    def read(cls, store: Store) -> Lineage:
        """Read all records, and the trees that they name; damaged ones are passed over."""
        records = {record.key: record for record in Actions(store).all()}
        inputs = {digest for record in records.values() for digest in record.inputs.values()}
        trees = _read_trees(store, {r.tree for r in records.values()} | inputs)
        files = _read_trees(store, {d for r in records.values() for d in r.action.get("files", {}).values()})
        made: dict[str, list[Made]] = {}
        taken: dict[str, list[str]] = {}
        for record in records.values():
            made.setdefault(record.tree, []).append(Made(record.key, ""))
            for digest in dict.fromkeys(record.inputs.values()):
                taken.setdefault(digest, []).append(record.key)
        if inputs - made.keys():
            for record in records.values():
                for part, digest in _parts(trees[record.tree]) if record.tree in trees else ():
                    if digest in inputs:
                        made.setdefault(digest, []).append(Made(record.key, part))
        return cls(store, records, trees, files, made, taken)

    # ---------------------------------------------------------------- targets

    def target(self, digest: str) -> Target:
        """Return what a digest, or a prefix of one, stands for; raise UsageError if that is nothing or several."""
        text = digest.lower()
        if not set(text) <= _HEX or not _SHORTEST <= len(text) <= _LONGEST:
            raise UsageError(
                f"there is no file `{digest}`, and it is no digest",
                hint=f"name a file, or {_SHORTEST} to {_LONGEST} hex digits of a digest or an action key",
            )
        found = [target for target in self._targets() if target.digest.startswith(text)]
        if not found:
            raise UsageError(
                f"no record of the store `{self.store.root}` names anything with the digest `{_short(text)}`",
                hint="name the store it was built in with `--store`; a changed file is another file, and a table that "
                "`forge get` converted has other bytes than the artifact: `forge show` prints an artifact's digests",
            )
        if len(found) > 1:
            listed = ", ".join(f"{t.digest[: len(text) + 8]} ({t.kind})" for t in found[:_FEW])
            more = f" and {len(found) - _FEW} more" if len(found) > _FEW else ""
            raise UsageError(f"`{digest}` is the start of {len(found)} digests", hint=f"it could be {listed}{more}")
        return found[0]

    def names(self, target: Target) -> list[str]:
        """Return the names that records give to the bytes of a file."""
        trees = [*self.trees.values(), *self.files.values()] if target.kind == "file" else []
        return sorted({n for tree in trees for n, m in tree.members.items() if m.digest == target.digest})

    def readers(self, target: Target) -> list[Record]:
        """Return the actions that read the file, or a file of this tree, from outside the store."""
        hit = {digest for digest, tree in self.files.items() if _holds(tree, target)}
        return [r for r in self.records.values() if hit.intersection(r.action.get("files", {}).values())]

    def makers(self, target: Target) -> list[Record]:
        """Return the actions whose artifact is or holds the target and that were not given it, the newest first."""
        if target.kind == "action":
            return [self.records[target.digest]]
        hit = {digest for digest, tree in self.trees.items() if _holds(tree, target)}
        keys = {made.key for digest in hit for made in self.made.get(digest, ())}
        found = [self.records[key] for key in keys]
        own = [record for record in found if not hit.intersection(record.inputs.values())]
        return sorted(own or found, key=lambda r: (r.started, r.key), reverse=True)

    # ---------------------------------------------------------------- ways

    def backward(self, target: Target) -> list[Link]:
        """Return the action that made the target and all that it stands on, each before its inputs' makers."""
        makers = self.makers(target)
        links: dict[str, Link] = {}

        def follow(record: Record, path: frozenset[str]) -> Iterator[tuple[Record, frozenset[str]]]:
            inputs = {}
            for name, digest in record.inputs.items():
                candidates = self.candidates(digest, record, path | {record.key})
                inputs[name] = candidates[0] if candidates else None
                if candidates:
                    yield self.records[candidates[0].key], path | {record.key}
            equals = tuple(made.key for made in self.made[record.tree] if not made.part and made.key != record.key)
            links[record.key] = Link(record, self._files(record), inputs, equals)

        return [links[key] for key in _ordered(makers[:1], follow)]

    def forward(self, target: Target) -> list[Link]:
        """Return all actions whose artifacts were made of the target, each before those that took its artifact."""
        if target.kind == "action":
            record = self.records[target.digest]
            first = self._takers(record)
        else:
            hit = [digest for digest, tree in self.trees.items() if _holds(tree, target)]
            if target.kind == "tree":
                hit += [digest for each in hit for _, digest in _parts(self.trees[each])]
            taken = [key for digest in hit for key in self._of(digest)]
            first = [self.records[key] for key in dict.fromkeys(taken)]
            first += [r for r in self.readers(target) if r.key not in taken]

        def follow(record: Record, path: frozenset[str]) -> Iterator[tuple[Record, frozenset[str]]]:
            for taker in self._takers(record):
                yield taker, path

        found = _ordered(first, follow)
        links = []
        for key in found:
            record = self.records[key]
            candidates = {n: self.candidates(d, record, frozenset((key,))) for n, d in record.inputs.items()}
            # what was followed is named before an equal that is no part of this way
            inputs = {
                name: next((made for made in several if made.key in found), several[0]) if several else None
                for name, several in candidates.items()
            }
            links.append(Link(record, self._files(record), inputs))
        return links

    def last_builds(self) -> dict[str, list[str]]:
        """Return for each action key the manifests whose last build has it."""
        found: dict[str, list[str]] = {}
        for path in sorted((self.store.root / "builds").glob("*.json")):
            for key in dict.fromkeys(Actions(self.store).last(path.stem).values()):
                if isinstance(key, str):
                    found.setdefault(key, []).append(path.stem.rpartition("-")[0])
        return found

    def candidates(self, digest: str, taker: Record, path: frozenset[str]) -> list[Made]:
        """Return what may have made an input, the most likely first: the newest that was there when it was taken."""
        found = [m for m in self.made.get(digest, ()) if m.key not in path]
        own = [m for m in found if digest not in self.records[m.key].inputs.values()] or found
        newest = sorted(own, key=lambda m: (self.records[m.key].started, m.key), reverse=True)
        return sorted(newest, key=lambda m: self.records[m.key].started > taker.started)

    # ---------------------------------------------------------------- inner

    def _targets(self) -> list[Target]:
        trees = [*self.trees.values(), *self.files.values()]
        files = {member.digest for tree in trees for member in tree.members.values()}
        return [
            *(Target("action", key) for key in sorted(self.records)),
            *(Target("tree", digest) for digest in sorted(self.trees.keys() | self.files.keys())),
            *(Target("file", digest) for digest in sorted(files)),
        ]

    def _takers(self, record: Record) -> list[Record]:
        """Return the actions that took the artifact of *record* or a part of it."""
        tree = self.trees.get(record.tree)
        digests = [record.tree, *(digest for _, digest in _parts(tree))] if tree is not None else [record.tree]
        return [self.records[key] for digest in dict.fromkeys(digests) for key in self._of(digest) if key != record.key]

    def _of(self, digest: str) -> list[str]:
        return self.taken.get(digest, [])

    def _files(self, record: Record) -> dict[str, Mapping[str, Member] | None]:
        return {
            parameter: self.files[digest].members if digest in self.files else None
            for parameter, digest in record.action.get("files", {}).items()
        }


def _ordered(
    first: list[Record], follow: Callable[[Record, frozenset[str]], Iterator[tuple[Record, frozenset[str]]]]
) -> list[str]:
    """Return the keys of all that can be reached, each before what follows it."""
    seen: set[str] = set()
    left: list[str] = []
    for start in reversed(first):
        if start.key in seen:
            continue
        seen.add(start.key)
        stack = [(start.key, follow(start, frozenset()))]
        while stack:
            key, nexts = stack[-1]
            following = next(nexts, None)
            if following is None:
                left.append(key)
                stack.pop()
            elif following[0].key not in seen:
                seen.add(following[0].key)
                stack.append((following[0].key, follow(*following)))
    return left[::-1]


def _holds(tree: Tree, target: Target) -> bool:
    if target.kind == "file":
        return any(member.digest == target.digest for member in tree.members.values())
    return tree.digest == target.digest


def _parts(tree: Tree) -> list[tuple[str, str]]:
    """Return the parts that a tree may have been given in: each of its folders, with the digest of what is below."""
    folders = {"/".join(n.split("/")[:depth]) for n in tree.members for depth in range(1, n.count("/") + 1)}
    return [(folder, tree.part(folder).digest) for folder in sorted(folders)]


def _read_trees(store: Store, digests: set[str]) -> dict[str, Tree]:
    found = {}
    for digest in sorted(digests):
        try:
            found[digest] = store.tree(digest)
        except StoreError:
            continue
    return found


def _short(digest: str) -> str:
    return digest if len(digest) <= 2 * _SHORTEST else digest[: 2 * _SHORTEST] + "…"
