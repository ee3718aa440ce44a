"""Note what a build's answer is while nothing changes, for `forge.cli.snapshot` to give."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge.cli.answer import document, json_text, summary
from forge.cli.snapshot import FINISHED, FORMAT, FORMS, path_of, place_of, seal_of
from forge.core.errors import StoreError
from forge.core.files import fixed_part
from forge.plan.frozen import freeze, refrozen
from forge.plan.place import package_of
from forge.store.actions import Actions

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from forge.cli.project import Project
    from forge.cli.snapshot import Snapshot
    from forge.core.files import Files
    from forge.core.step import Step
    from forge.plan.frozen import Known
    from forge.plan.keys import Keys
    from forge.run.build import Build, Outcome

_NAMED = "files()"
"""What stands for a parameter's name where a class named files by its method."""
_GRAIN = 50_000_000
"""Nanoseconds: a file that is younger than the build's beginning by less could change again unseen."""


def take(  # what a build was given, what it made, and when
    arguments: list[str], project: Project, build: Build, outcome: Outcome, begun: float, options: Mapping[str, Any]
) -> None:
    """Note the answer to *arguments* after a whole build that began to read at *begun*, and the graph beside it.

    Nothing is noted where a step's class must be asked again what its result depends on.
    """
    if not all(map(_foreseen, project.graph.steps.values())):
        return
    watched = {name: _watched(step.files, project) for name, step in project.graph.steps.items()}
    data = dict.fromkeys(path for paths in watched.values() for path in paths)
    fixed = dict.fromkeys(path for path in _fixed(project, build.keys) if path not in data)
    read = _read(project.graph.steps.values())
    lines = [_read_lines(paths, begun, read) for paths in (fixed, data)]
    hits = _hits(outcome)
    answers = _answers(project, hits)
    answers["json"] = json_text(document(project, hits) | {"finished": FINISHED})
    known = build.known_now()
    made = [_line(path) for path in (*build.delivered, *_made(project, known))]
    if lines[0] is not None and lines[1] is not None:
        _write_snapshot(arguments, project, place_of(arguments), [lines[0], lines[1], made], known, answers, build.name)
        frozen = freeze(build.keys) | {"watched": watched, "options": dict(options)}
        _write_graph(project, arguments, frozen)


def retake(  # the same, and what was noted before
    arguments: list[str], project: Project, build: Build, outcome: Outcome, begun: float, old: Snapshot,
    frozen: dict[str, Any],
) -> None:  # fmt: skip
    """Note the answer anew after a build of what follows from changed data; as JSON the full way will note it.

    Lines of files that were not looked at again are kept; so are those of objects that an earlier result had and
    another step may share.
    """
    known = old.known()
    gone = {
        path
        for name in project.graph.steps
        for path in (_record_path(project, known[name]), str(project.store.tree_path(known[name].tree)))
    }
    now = build.known_now()
    known = known | now
    watched: dict[str, list[str]] = frozen["watched"]
    fresh = {name: _watched(project.graph.steps[name].files, project) for name in build.changed}
    moved = {path for name in build.changed for path in (*watched[name], *fresh[name])}
    kept = {path: line for line in map(bytes.decode, old.data) if (path := line.partition("\t")[0]) not in moved}
    read = _read(project.graph.steps[name] for name in build.changed)
    lines = _read_lines(dict.fromkeys(path for paths in fresh.values() for path in paths), begun, read)
    made = {path: line for line in map(bytes.decode, old.made) if (path := line.partition("\t")[0]) not in gone}
    made |= {path: _line(path) for path in (*build.delivered, *_made(project, now))}
    if lines is None:
        return
    parts = [[line.decode() for line in old.fixed], [*kept.values(), *lines], list(made.values())]
    _write_snapshot(arguments, project, old.place, parts, known, _answers(project, _hits(outcome)), build.name)
    if refrozen(frozen, {name: project.graph.steps[name] for name in build.changed}) or fresh != {
        name: watched[name] for name in fresh
    }:
        frozen["watched"] |= fresh
        _write_graph(project, arguments, frozen)


def graph_path(arguments: list[str]) -> str:
    """Return where the graph lies that belongs to a snapshot."""
    return path_of(arguments).removesuffix(".snapshot") + ".graph"


def _write_snapshot(  # the parts of the text, in their order
    arguments: list[str],
    project: Project,
    place: str,
    files: list[list[str]],
    known: Mapping[str, Known],
    answers: Mapping[str, str],
    name: str,
) -> None:
    steps = [f"{step} {each.key} {each.tree}" for step, each in known.items()]
    parts = [*files, steps, *(answers[form].split("\n") if answers.get(form) else [] for form in FORMS)]
    lines = [line for part in parts for line in part]
    if not any("\n" in line for line in (place, *lines)):  # a path with a line end can't be told from two
        text = "\n".join([FORMAT, place, " ".join(str(len(p)) for p in parts), *lines])
        with suppress(UnicodeEncodeError):  # what can't be read again is not worth noting
            _write(project, path_of(arguments), f"{text}\n{seal_of(text.encode())} {name}")


def _write_graph(project: Project, arguments: list[str], frozen: Mapping[str, Any]) -> None:
    text = json.dumps(frozen, separators=(",", ":"))
    _write(project, graph_path(arguments), f"{text}\n{seal_of(text.encode())}")


def read_graph(path: str) -> dict[str, Any]:
    """Read the graph that lies at *path*; a damaged one is a `ValueError`."""
    with open(path, "rb") as file:
        text, _, seal = file.read().rpartition(b"\n")
    if seal.decode() != seal_of(text):
        raise ValueError(path)
    frozen: dict[str, Any] = json.loads(text)
    return frozen


def _write(project: Project, path: str, text: str) -> None:
    with suppress(StoreError):  # hits may come from a store that can't be written
        target = project.store.root / "builds" / os.path.basename(path)
        project.store.write(target, text.encode("utf-8", "surrogateescape"), durable=False)


# ---------------------------------------------------------------- what an answer depends on


def _fixed(project: Project, keys: Keys) -> Iterator[str]:
    """Yield every file and folder besides data and store that the answer depends on."""
    yield from (str(path.absolute()) for path in project.graph.manifest.files)
    yield from keys.sources()
    for base, _, names in os.walk(os.path.dirname(str(forge.__file__))):
        yield from (os.path.join(base, name) for name in names if name.endswith(".py"))
    # a distribution that comes, goes or changes its version renames its folder in one of these
    yield from (path for path in sys.path if os.path.isdir(path))


def _foreseen(step: Step) -> bool:
    """Say whether all that a step's class looks at by itself is noted; nobody knows what another's `facts` asks for."""
    asked = (getattr(step.instance, name, None) for name in ("facts", "files"))
    return all(getattr(each, "foreseen", False) for each in asked if callable(each))


def _watched(files: Mapping[str, Files], project: Project) -> list[str]:
    """Return the files, the folders in which a new file could match, and the links there that lead nowhere yet."""
    found = [str(file.path) for each in files.values() for file in each]
    for name, each in files.items():
        found += _beside(each) if name == _NAMED else _folders(each, str(project.graph.manifest.root))
    return found


def _folders(files: Files, root: str) -> Iterator[str]:
    """Yield the folders that the glob of *files* looks into, through links as it does, and links to nothing."""
    fixed, wild = fixed_part(files.pattern)
    base = os.path.join(root, fixed)
    depth = sys.maxsize if "**" in wild or not wild else wild.count("/")
    hidden = any(part.startswith(".") for part in wild.split("/"))
    seen: set[tuple[int, int]] = set()
    level = [base] if os.path.isdir(base) else []
    while level:
        below: list[str] = []
        for folder in level:
            yield folder
            with suppress(OSError):  # what has gone by now is found when it is noted
                info = os.stat(folder)
                if (info.st_dev, info.st_ino) in seen:
                    continue  # links may go round in circles
                seen.add((info.st_dev, info.st_ino))
            folders, loose = _inside(folder, hidden=hidden)
            below += folders
            yield from loose
        level = below if depth else []
        depth -= 1


def _inside(folder: str, *, hidden: bool = True) -> tuple[list[str], list[str]]:
    """Return the folders in a folder, and the links to nothing, as git-annex leaves them until a file is fetched."""
    folders, loose = [], []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not hidden and entry.name.startswith("."):
                continue  # which no wildcard matches
            if entry.is_dir():
                folders.append(entry.path)
            elif entry.is_symlink() and not os.path.exists(entry.path):
                loose.append(entry.path)
    return folders, loose


def _beside(files: Files) -> Iterator[str]:
    """Yield where files of the same kind could come to lie that a class named by itself.

    That is beside them and, where they are of an installed package, anywhere in it; a model in the cache of the hub
    is another one when its name (``refs/main``) comes to mean another revision.
    """
    for folder in dict.fromkeys(str(file.path.parent) for file in files):
        yield folder
        yield from _inside(folder)[1]
        package = package_of(folder)
        model, _, revision = folder.rpartition("/snapshots/")
        if package is not None:
            yield from (base for base, _, _ in os.walk(package))
        elif revision:
            for base, _, names in os.walk(os.path.join(model, "refs")):
                yield from (base, *(os.path.join(base, name) for name in names))


def _made(project: Project, known: Mapping[str, Known]) -> Iterator[str]:
    """Yield the files of the store that hold what steps made: records, trees, objects."""
    store = project.store
    for each in known.values():
        yield _record_path(project, each)
        yield str(store.tree_path(each.tree))
        yield from (str(store.object_path(member.digest)) for member in store.tree(each.tree).members.values())


def _record_path(project: Project, known: Known) -> str:
    return str(Actions(project.store).record_path(known.key))


def _read(steps: Iterable[Step]) -> set[str]:
    """Return the files that *steps* read."""
    return {str(file.path) for step in steps for files in step.files.values() for file in files}


def _read_lines(paths: Iterable[str], begun: float, read: Container[str]) -> list[str] | None:
    """Return the lines of *paths*, or None where one is gone or may have been read half written.

    A link that is not among what was *read* may lead nowhere; it is noted as such.
    """
    lines = []
    for path in paths:
        try:
            info = os.stat(path)
        except OSError:
            if path in read or not os.path.islink(path):
                return None
            lines.append(f"{path}\t-")
            continue
        if max(info.st_mtime_ns, info.st_ctime_ns) >= int(begun * 1e9) - _GRAIN:
            return None
        lines.append(_signed(path, info))
    return lines


def _line(path: str) -> str:
    try:
        return _signed(path, os.stat(path))
    except OSError:
        return f"{path}\t-"


def _signed(path: str, info: os.stat_result) -> str:
    return f"{path}\t{info.st_size} {info.st_mtime_ns} {info.st_ctime_ns} {info.st_ino}"


# ---------------------------------------------------------------- the answer


def _hits(outcome: Outcome) -> Outcome:
    """Return the outcome of the same build when nothing changed."""
    hits = tuple(
        r if r.status == "hit" and not r.because else r._replace(status="hit", seconds=0.0, because="")
        for r in outcome.results
    )
    return attrs.evolve(outcome, results=hits, seconds=0.0)


def _answers(project: Project, hits: Outcome) -> dict[str, str]:
    return {form: summary(project, hits, terminal=form == "terminal") for form in ("text", "terminal")}
