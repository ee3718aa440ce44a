"""Answer a build in which nothing changed, without importing anything that it does not need.

After a build in which every step is there, a snapshot notes the signature of every file that the answer depends on:
manifests, data, the code of plugins and of forge, installed distributions, and the store's own files. While all of
them are as they were, the answer is what it was, with every step a hit. One that differs, or anything unexpected,
and the build takes the full way. Only the standard library is imported here, and little of it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from forge.cli.options import Project
    from forge.core.files import Files
    from forge.plan.keys import Keys
    from forge.run.build import Build, Outcome

_GRAIN = 50_000_000
"""Nanoseconds: a file that is younger than the build's beginning by less could change again unseen."""

_VARIABLES = ("FORGE_STORE", "CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_CACHE", "PYTHONPATH", "PATH")
_JSON = "--json"
_DEVICES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd")


def answer(arguments: list[str]) -> int | None:
    """Print what `forge build` would print, if nothing changed since it last did; else return None."""
    if not arguments or arguments[0] != "build":
        return None
    try:
        with open(_path(arguments), encoding="utf-8") as file:
            snapshot = json.load(file)
        if snapshot["place"] != _place(arguments) or not _holds(snapshot["files"]):
            return None
        form = "json" if _JSON in arguments else "terminal" if sys.stdout.isatty() else "text"
        text = snapshot[form]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    text = text.replace("@@FINISHED@@", time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    sys.stdout.write(text)
    return 0


def take(arguments: list[str], project: Project, build: Build, outcome: Outcome, begun: float) -> None:
    """Note what the answer to *arguments* is while nothing changes; *begun* is when the build read its first file."""
    from contextlib import suppress

    from forge.core.errors import StoreError
    from forge.store.actions import Actions

    files: dict[str, list[int] | None] = {}
    newest = int(begun * 1e9) - _GRAIN
    for path in _inputs(project, build.keys):
        files[path] = signature = _signature(path)
        if signature is None or max(signature[1], signature[2]) >= newest:
            return
    files |= {path: _signature(path) for path in build.delivered}
    for result in outcome.results:
        if result.record is None:
            return
        paths = [Actions(project.store).record_path(result.record.key), project.store.tree_path(result.record.tree)]
        tree = project.store.tree(result.record.tree)
        paths += [project.store.object_path(member.digest) for member in tree.members.values()]
        files |= {str(path): _signature(str(path)) for path in paths}
    snapshot = {
        "place": _place(arguments),
        "files": files,
        "text": _rendered(project, outcome, terminal=False),
        "terminal": _rendered(project, outcome, terminal=True),
        "json": _document(project, outcome),
    }
    with suppress(StoreError):  # hits may come from a store that can't be written
        project.store.write(
            project.store.root / "builds" / _name(arguments), json.dumps(snapshot).encode(), durable=False
        )


def _path(arguments: list[str]) -> str:
    """Return where the snapshot lies, by the rules that the full way finds the store with."""
    store = os.environ.get("FORGE_STORE")
    manifest = ""
    for index, argument in enumerate(arguments):
        if argument == "--store":
            store = arguments[index + 1]
        elif argument.startswith("--store="):
            store = argument.partition("=")[2]
        elif argument.endswith(".toml") and not manifest:
            manifest = argument
    if store is None:
        folder = os.path.dirname(os.path.abspath(manifest))
        store = os.path.join(os.path.dirname(folder) if os.path.basename(folder) == "manifests" else folder, "store")
    return os.path.join(store, "builds", _name(arguments))


def _name(arguments: list[str]) -> str:
    return f"{zlib.crc32(json.dumps([os.getcwd(), _essential(arguments)]).encode()):08x}.snapshot"


def _essential(arguments: list[str]) -> list[str]:
    """Leave out what changes the form of the answer alone."""
    return [argument for argument in arguments if argument != _JSON]


def _place(arguments: list[str]) -> dict[str, Any]:
    """Return all that the answer depends on besides files."""
    return {
        "arguments": _essential(arguments),
        "folder": os.getcwd(),
        "python": [sys.executable, sys.version],
        "variables": {name: os.environ.get(name) for name in _VARIABLES},
        "devices": [os.path.exists(device) for device in _DEVICES],
    }


def _holds(files: dict[str, list[int] | None]) -> bool:
    return all(_signature(path) == signature for path, signature in files.items())


def _signature(path: str) -> list[int] | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return [info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino]


# ---------------------------------------------------------------- taking one; here imports don't matter


def _inputs(project: Project, keys: Keys) -> Iterator[str]:
    """Yield every file and folder outside the store that the answer depends on."""
    import forge

    yield from (str(path.absolute()) for path in project.graph.manifest.files)
    for step in project.graph.steps.values():
        for files in step.files.values():
            yield from (str(file.path) for file in files)
            yield from _folders(files, str(project.graph.manifest.root))
    yield from keys.sources()
    yield from _below(os.path.dirname(str(forge.__file__)), ".py")
    # a distribution that comes, goes or changes its version renames its folder in one of these
    yield from (path for path in sys.path if os.path.isdir(path))


def _folders(files: Files, root: str) -> Iterable[str]:
    """Return the folders in which a new file could match the glob."""
    from forge.core.files import fixed_part

    fixed, wild = fixed_part(files.pattern)
    base = os.path.join(root, fixed)
    if not os.path.isdir(base):
        return
    depth = sys.maxsize if "**" in wild or not wild else wild.count("/")
    for folder, folders, _ in os.walk(base):
        yield folder
        if os.path.relpath(folder, base).count("/") + (folder != base) >= depth:
            folders.clear()


def _below(folder: str, suffix: str) -> Iterator[str]:
    for base, _, names in os.walk(folder):
        yield from (os.path.join(base, name) for name in names if name.endswith(suffix))


def _hits(outcome: Outcome) -> Outcome:
    """Return the outcome of the same build when nothing changed."""
    import attrs

    hits = tuple(attrs.evolve(r, status="hit", seconds=0.0, because="") for r in outcome.results)
    return attrs.evolve(outcome, results=hits, seconds=0.0)


def _document(project: Project, outcome: Outcome) -> str:
    """Return what a build of hits prints with `--json`."""
    from forge.cli.render import json_document

    document = json_document(project, _hits(outcome)) | {"finished": "@@FINISHED@@"}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _rendered(project: Project, outcome: Outcome, *, terminal: bool) -> str:
    """Return what a build of hits prints."""
    import io

    from rich.console import Console

    from forge.cli.render import BuildView, console

    stream = io.StringIO()
    width = console().width
    out = Console(file=stream, highlight=False, force_terminal=terminal, width=width, soft_wrap=not terminal)
    BuildView(project.graph).summary(project, _hits(outcome), out)
    return stream.getvalue()
