"""Repeat a check on a file that was checked before, from what the store keeps of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.digest import digest_file
from forge.core.errors import StoreError, UsageError
from forge.plugin.context import Artifact, LocalRun
from forge.plugin.parameters import structure
from forge.run.verbs import RECEIPT, receipt_of
from forge.store.actions import Actions

if TYPE_CHECKING:
    from forge.core.record import Record
    from forge.plugin.discovery import Registry
    from forge.store.base import Store


@attrs.frozen
class Verification:
    """Hold a repeated receipt beside the recorded one."""

    record: Record
    receipt: dict[str, Any]
    recorded: dict[str, Any]

    @property
    def differences(self) -> list[str]:
        """Return one phrase for each figure that is not what it was."""
        then = {f["name"]: f["value"] for f in self.recorded["findings"]}
        now = {f["name"]: f["value"] for f in self.receipt["findings"]}
        return [
            f"{n}: {then.get(n)} → {now.get(n)}" for n in sorted(then.keys() | now.keys()) if then.get(n) != now.get(n)
        ]


def verify(path: Path, store: Store, registry: Registry, threads: int) -> Verification:
    """Run the check that made the receipt of *path* again, on these very bytes."""
    if not path.is_file():
        raise UsageError(f"there is no file `{path}`")
    digest = digest_file(path, path.stat().st_size)
    found = find_receipt(store, digest)
    if found is None:
        raise UsageError(
            f"the store `{store.root}` has no receipt for `{path}` (blake3 {digest[:16]}…): "
            "no check that passed judged these bytes",
            hint="name the store it was built in with `--store`; a changed file is another file",
        )
    record, recorded = found
    step_type = registry.find(record.use)
    instance, complaints = structure(step_type.cls, _spec(record, store), store.root)
    if complaints:
        raise StoreError(f"the parameters of `{record.step}` no longer fit `{record.use}`: {complaints[0].message}")
    with store.staging() as staging:
        out = staging / "out"
        out.mkdir()
        (staging / "scratch").mkdir()
        trees = {name: store.tree(tree) for name, tree in record.inputs.items()}
        inputs = {}
        for index, (name, tree) in enumerate(trees.items()):
            store.checkout(tree, staging / f"in{index}")
            inputs[name] = Artifact(name, staging / f"in{index}", tree.digest)
            for member, entry in tree.members.items():
                if entry.digest == digest:
                    link = staging / f"in{index}" / member
                    link.unlink()
                    link.symlink_to(path.absolute())
        run = LocalRun(staging / "scratch", threads)
        findings = list(instance.check(inputs, out, run))
        receipt = receipt_of(record.use, instance, findings, inputs, trees)
    return Verification(record, receipt, recorded)


def find_receipt(store: Store, digest: str) -> tuple[Record, dict[str, Any]] | None:
    """Return the newest check that passed and looked at a file of this digest, with its receipt."""
    best: tuple[Record, dict[str, Any]] | None = None
    for record in Actions(store).all():
        if record.kind != "check" or (best is not None and record.started <= best[0].started):
            continue
        tree = store.complete(record.tree)
        if tree is None or RECEIPT not in tree.members:
            continue
        receipt = json.loads(store.read_object(tree.members[RECEIPT]))
        if digest in receipt["subjects"].values():
            best = (record, receipt)
    return best


def _spec(record: Record, store: Store) -> dict[str, Any]:
    """Return the check's parameters, its files taken from the store."""
    spec = dict(record.action["params"])
    for parameter, digest in record.action["files"].items():
        files = [[name, str(store.object_path(m.digest))] for name, m in store.tree(digest).members.items()]
        lone = len(files) == 1 and files[0][0] == "file"
        spec[parameter] = {"file": files[0]} if lone else {"files": files, "pattern": parameter}
    return spec
