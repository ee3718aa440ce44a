"""Answer a build in which nothing changed, without importing anything that it does not need.

After a build in which every step is there, a snapshot notes the signature of every file that the answer depends on:
manifests, data, the code of plugins and of forge, installed distributions, and the store's own files. While all of
them are as they were, the answer is what it was, with every step a hit. Where nothing but data differs, the build
goes on from the graph that was kept beside the snapshot (`forge.cli.incremental`). Anything else, and anything
unexpected, and the build takes the full way. Only built-in modules are imported here.

A snapshot is a text: a head, a line for each file, a line for each step, the answers, and a
seal with the build's name. `forge.cli.note` writes it. Of the environment it holds a digest: values may be secrets.
"""

from __future__ import annotations

import os
import sys
import time
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from forge.plan.frozen import Known

FORMAT = "forge snapshot 4"
FORMS = ("text", "terminal", "json")
FINISHED = "@@FINISHED@@"
_VARIABLES = (
    "CUDA", "FORGE", "HF_", "HIP", "HOME", "HUGGINGFACE", "LD_LIBRARY_PATH", "OMP", "PATH", "PYTHON", "ROCR",
    "VIRTUAL_ENV", "XDG",
)  # fmt: skip
"""What names of environment variables begin with that may decide which code runs, or what a fact is."""
_SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""What is in the names of variables whose values change no answer, such as `HF_TOKEN`."""
_JSON = "--json"
_ENOUGH = 1500
"""Files that are looked at sooner by two processes than by one; another process costs the time of 200."""
_DEVICES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd")


class Snapshot:
    """Hold what was noted after a build.

    ``fixed`` are signatures of all but data, ``data`` of what sources read and the folders they look into, ``made``
    of what lies in the store and was put into the user's tree; ``steps`` are lines ``name key tree``; ``answers`` are
    what the build would print, by form.
    """

    def __init__(self, lines: list[bytes]) -> None:
        """Read the lines of a snapshot: bytes, since paths are given to the system as they are."""
        counts = [int(word) for word in lines[2].split()]
        self.place = lines[1].decode()
        at = 3
        parts = []
        for count in counts:
            parts.append(lines[at : at + count])
            at += count
        self.fixed, self.data, self.made, self.steps, *answers = parts
        self._answers = {form: part for form, part in zip(FORMS, answers, strict=True) if part}
        self.changed: list[str] = []
        self._looking = 0
        self._known: dict[str, Known] = {}

    def holds(self, place: str) -> bool:
        """Say whether all but data is as it was; ``changed`` then names the data that is not.

        Where data changed, another process looks at what was made: `stands` has its answer.
        """
        if place != self.place or _changed(self.fixed):
            return False
        self.changed = [path.decode() for path in _changed(self.data)]
        if self.changed:
            self._looking = _child(self.made)
            return True
        return _all_hold(self.made)

    def stands(self) -> bool:
        """Say whether all that was made is as it was, once data was found changed."""
        return os.waitpid(self._looking, 0)[1] == 0

    def answer(self, form: str) -> str:
        """Return what the build would print."""
        return b"\n".join(self._answers[form]).decode()

    def known(self) -> dict[str, Known]:
        """Return what the steps were."""
        if not self._known:
            from forge.plan.frozen import Known

            words = (line.decode().split(" ") for line in self.steps)
            self._known = {name: Known(key, tree) for name, key, tree in words}
        return self._known


def answer(arguments: list[str]) -> int | Snapshot | None:
    """Print what `forge build` would print, if nothing changed since it last did.

    Return its exit code; or the snapshot, where data alone changed; or None.
    """
    if not arguments or arguments[0] != "build":
        return None
    try:
        snapshot = _read(path_of(arguments))
        if snapshot is None or not snapshot.holds(place_of(arguments)):
            return None
        if snapshot.changed:
            return snapshot
        form = "json" if _JSON in arguments else "terminal" if sys.stdout.isatty() else "text"
        said = snapshot.answer(form)
    except (OSError, ValueError, KeyError, IndexError):
        return None
    if form == "json":
        said = said.replace(FINISHED, time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    try:
        sys.stdout.write(said)
        sys.stdout.flush()
    except OSError:
        return None  # the full way meets it too, and finds the words
    try:  # noqa: SIM105  # contextlib costs a millisecond
        os.utime(path_of(arguments))  # a collection goes by which build of a manifest was the last
    except OSError:
        pass  # a store that can't be written can't be collected either
    return 0


def _read(path: str) -> Snapshot | None:
    with open(path, "rb", buffering=0) as file:
        text, _, seal = file.read().rpartition(b"\n")
    lines = text.split(b"\n")
    if lines[0] != FORMAT.encode() or seal.partition(b" ")[0].decode() != seal_of(text):
        return None
    return Snapshot(lines)


def seal_of(text: bytes) -> str:
    """Return what shows that a snapshot was damaged."""
    return f"{zlib.crc32(text):08x}"


def path_of(arguments: list[str]) -> str:
    """Return where the snapshot lies, by the rules that the full way finds the store with."""
    store = os.environ.get("FORGE_STORE")
    manifest = ""
    for index, argument in enumerate(arguments):
        if argument == "--store":
            store = arguments[index + 1]
        elif argument.startswith("--store="):
            store = argument.partition("=")[2]
        elif argument.endswith(".toml") and not manifest and arguments[index - 1] != "--profile":
            manifest = argument
    if store is None:
        folder = os.path.dirname(os.path.abspath(manifest))
        store = os.path.join(os.path.dirname(folder) if os.path.basename(folder) == "manifests" else folder, "store")
    name = f"{zlib.crc32(repr([os.getcwd(), _essential(arguments)]).encode('utf-8', 'surrogateescape')):08x}"
    return os.path.join(store, "builds", f"{name}.snapshot")


def place_of(arguments: list[str]) -> str:
    """Return the digest of all that the answer depends on besides files; any value in it may be a secret."""
    from _blake2 import blake2b  # hashlib takes ten times as long to import

    variables = sorted(
        pair
        for pair in os.environ.items()
        if pair[0].startswith(_VARIABLES) and not any(word in pair[0].upper() for word in _SECRETS)
    )
    devices = [os.path.exists(device) for device in _DEVICES]
    place = repr((_essential(arguments), os.getcwd(), sys.executable, sys.version, variables, devices))
    return blake2b(place.encode(), digest_size=32).hexdigest()


def _essential(arguments: list[str]) -> list[str]:
    """Leave out what changes the form of the answer alone."""
    return [argument for argument in arguments if argument != _JSON]


def _all_hold(lines: list[bytes]) -> bool:
    """Say whether all files are what *lines* say; where they are many, every processor looks at its part."""
    try:
        parts = min(len(lines) // _ENOUGH + 1, len(os.sched_getaffinity(0)))
    except AttributeError:
        parts = 1
    size = -(-len(lines) // parts)
    children = [_child(lines[part * size : (part + 1) * size]) for part in range(1, parts)]
    holds = not _changed(lines[:size])
    for child in children:
        holds = os.waitpid(child, 0)[1] == 0 and holds
    return holds


def _child(lines: list[bytes]) -> int:
    """Start a process that ends with 0 if all files are what *lines* say."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        status = 1 if _changed(lines) else 0
    finally:
        os._exit(status)  # nothing of the parent's is written out, or said, a second time


def _changed(lines: list[bytes]) -> list[bytes]:
    """Return the paths whose files are not what *lines* say."""
    stat = os.stat
    found = []
    for line in lines:
        path, _, signature = line.partition(b"\t")
        try:
            info = stat(path)
        except OSError:
            if signature != b"-":
                found.append(path)
        else:
            if signature != b"%d %d %d %d" % (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino):
                found.append(path)
    return found
