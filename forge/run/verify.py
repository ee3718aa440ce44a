"""Repeat a check on a file that was checked before, from the file and its receipt alone."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.digest import digest_file
from forge.core.errors import ForgeError, StepError, UsageError
from forge.plugin.context import LocalRun
from forge.run.verbs import RECEIPT
from forge.store.actions import Actions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from forge.core.record import Record
    from forge.plugin.discovery import Registry
    from forge.store.base import Store


@attrs.frozen
class Proof:
    """Hold a receipt, the folder that it lies in with its evidence, and the name that it has for the file."""

    receipt: dict[str, Any]
    folder: Path
    member: str
    where: str


@attrs.frozen
class Verification:
    """Hold what a repeated check found beside what was recorded; ``measured`` is what it took on this machine."""

    proof: Proof
    receipt: dict[str, Any]
    measured: dict[str, float]
    notes: tuple[str, ...]
    far: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Say whether every bound holds, and every figure is what the receipt says."""
        return bool(self.receipt["passed"]) and not self.far

    @property
    def beyond(self) -> list[str]:
        """Return one phrase for each figure that is farther from the receipt's than another machine explains."""
        then, now = self.values
        return [f"`{name}`: the receipt has {then[name]}, here it is {now[name]}" for name in self.far]

    @property
    def differences(self) -> list[str]:
        """Return one phrase for each figure that is not what it was."""
        then, now = self.values
        return [f"{name}: {then[name]} → {now[name]}" for name in now if name in then and then[name] != now[name]]

    @property
    def unrepeated(self) -> list[str]:
        """Return the figures that can't be found again without the model that the file was made of: its own among them.

        Those of the other files that the receipt speaks of are none of this file's, and are left out.
        """
        then, now = self.values
        others = [Path(name).stem for name in self.proof.receipt["subjects"] if name != self.proof.member]

        def foreign(of: str) -> bool:
            return any(stem == of or stem.endswith(f"-{of}") for stem in others)

        kinds = {of for name in then if (of := name.rpartition(".")[0]) and not foreign(of)}
        return [
            name
            for name, value in then.items()
            if value is not None and now.get(name) is None and name.rpartition(".")[0] in kinds
        ]

    @property
    def repeated(self) -> int:
        """Return how many figures were found again."""
        then, now = self.values
        return sum(name in then for name in now)

    @property
    def values(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the figures that were recorded, and those that were found now."""
        recorded, found = self.proof.receipt["findings"], self.receipt["findings"]
        now = {each["name"]: each["value"] for each in found if each["value"] is not None}
        return {each["name"]: each["value"] for each in recorded}, now


def verify(proof: Proof, path: Path, digest: str, registry: Registry, threads: int) -> Verification:
    """Run the check that *proof* came from again, on these very bytes."""
    use = proof.receipt["check"]
    cls = registry.find(use).cls
    repeat = getattr(cls, "repeat", None)
    if repeat is None:
        raise UsageError(f"`{use}` can't be repeated from a file and its receipt")
    for name, recorded in proof.receipt.get("evidence", {}).items():
        file = proof.folder / name
        if file.is_file() and digest_file(file, file.stat().st_size) != recorded:
            raise StepError(
                f"`{name}` beside the receipt {proof.where} is not what the check left there",
                hint="take the receipt's folder from where the model came from once more",
            )
    run = LocalRun(proof.folder, threads)
    findings = list(repeat(path, proof.member, proof.folder, run))
    receipt = {
        "check": use,
        "passed": all(finding.passed for finding in findings),
        "findings": [attrs.asdict(finding) for finding in findings],
        "subjects": {proof.member: digest},
    }
    result = Verification(proof, receipt, run.measured, tuple(run.messages))
    then, now = result.values
    far = getattr(cls, "beyond", _other)(then, now)
    return attrs.evolve(result, far=tuple(far))


def _other(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return every figure that is another one: for a check that does not say how far it may be off."""
    return [name for name in now if name in then and then[name] != now[name]]


def digest_of(path: Path) -> str:
    """Return the digest of the file that is to be verified."""
    if not path.is_file():
        raise UsageError(f"there is no file `{path}`")
    return digest_file(path, path.stat().st_size)


@contextmanager
def proof_of(
    path: Path, digest: str, given: Path | None, store: Callable[[], Store | None], registry: Registry
) -> Iterator[Proof]:
    """Give the receipt of *path*: the one that was *given*, one that lies beside the file, or the store's newest.

    A receipt beside the file lies in its folder or in a folder there. The store is opened when it is needed.
    """
    places = _given(given) if given is not None else _beside(path)
    strangers = []
    for place in places:
        receipt = _read(place)
        found = _member(receipt, digest)
        if found is not None:
            yield Proof(receipt, place.parent, found, f"`{place}`")
            return
        names = receipt["subjects"].items()
        strangers.append(Stranger(receipt, place, next((n for n in names if Path(n[0]).name == path.name), None)))
    named = next((each for each in strangers if each.namesake), None)
    if named is not None and named.namesake is not None:
        raise StepError(
            f"`{path.name}` is not the file that was checked: its blake3 is {digest}, "
            f"the receipt has {named.namesake[1]} for `{named.namesake[0]}`{named.apart(path, registry)}",
            hint="it was changed, cut short or built anew after the check; one byte is enough",
        )
    if given is not None:
        [other] = strangers
        raise StepError(
            f"the receipt `{given}` does not speak of `{path.name}` (blake3 {digest}): it is of {other.subjects}"
            f"{other.apart(path, registry)}"
        )
    opened = store()
    kept = find_receipt(opened, digest) if opened is not None else None
    if opened is None or kept is None:
        beside = "".join(f"; `{each.place}` is of {each.subjects}{each.apart(path, registry)}" for each in strangers)
        where = f"the store `{opened.root}` has none" if opened is not None else "there is no store here"
        raise UsageError(
            f"no receipt of `{path.name}` (blake3 {digest[:16]}…) lies beside it, and {where}{beside}",
            hint="name its receipt with `--receipt`, or the store that it was built in with `--store`; "
            "a changed file is another file",
        )
    record, receipt = kept
    with opened.staging() as staging:
        opened.checkout(opened.tree(record.tree), staging / "receipt")
        yield Proof(receipt, staging / "receipt", str(_member(receipt, digest)), f"of {record.started}")


@attrs.frozen
class Stranger:
    """Hold a receipt that does not know the file; ``namesake`` is the name and the digest of one of the same name."""

    receipt: dict[str, Any]
    place: Path
    namesake: tuple[str, str] | None

    @property
    def subjects(self) -> str:
        """Return the files that it speaks of."""
        return ", ".join(f"`{Path(name).name}`" for name in self.receipt["subjects"]) or "no file"

    def apart(self, path: Path, registry: Registry) -> str:
        """Return, behind a semicolon, in what *path* differs from the file that was checked; nothing where unknown."""
        try:
            tell = getattr(registry.find(self.receipt["check"]).cls, "tell_apart", None)
            said = tell(path, self.namesake[0] if self.namesake else None, self.place.parent) if tell else ""
        except (ForgeError, KeyError, ValueError):  # a receipt of a check that is not here, or one that is damaged
            said = ""
        return f"; {said}" if said else ""


def _given(path: Path) -> list[Path]:
    place = path / RECEIPT if path.is_dir() else path
    if not place.is_file():
        raise UsageError(f"there is no receipt at `{path}`", hint=f"name a `{RECEIPT}`, or the folder that it lies in")
    return [place]


def _beside(path: Path) -> list[Path]:
    folder = path.absolute().parent
    return [place for place in (folder / RECEIPT, *sorted(folder.glob(f"*/{RECEIPT}"))) if place.is_file()]


def _read(place: Path) -> dict[str, Any]:
    try:
        receipt = json.loads(place.read_text(encoding="utf-8"))
    except ValueError:
        receipt = None
    if isinstance(receipt, dict) and {"check", "subjects", "findings"} <= receipt.keys():
        return receipt
    raise UsageError(f"`{place}` is no receipt", hint="`forge get MANIFEST STEP DEST` writes a check's")


def _member(receipt: dict[str, Any], digest: str) -> str | None:
    return next((name for name, known in receipt["subjects"].items() if known == digest), None)


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
    """Return a step's parameters as they were recorded, its files taken from the store."""
    spec = dict(record.action["params"])
    for parameter, digest in record.action["files"].items():
        files = [[name, str(store.object_path(m.digest))] for name, m in store.tree(digest).members.items()]
        lone = len(files) == 1 and files[0][0] == "file"
        spec[parameter] = {"file": files[0]} if lone else {"files": files, "pattern": parameter}
    return spec
