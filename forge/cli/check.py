"""`forge check`: find problems before anything runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from forge.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forge.cli.project import Project
    from forge.core.errors import ManifestError
    from forge.plan.preflight import Look
    from forge.plugin.protocols import Notice
    from forge.run.preflight import Outlook

_SIGNS = {"good": "[green]✓[/]", "bad": "[bold red]✗[/]", "doubtful": "[yellow]![/]", "unseen": "[dim]—[/]"}

_MACHINE = "machine"


@click.command()
@options.manifest
@click.argument("steps", nargs=-1, metavar="[STEP]…")
@click.option(
    "--within", type=click.FloatRange(min=1), default=60.0, show_default=True, metavar="SECONDS", help="End after this."
)
@options.executor
@options.profile
@click.option("--wait", default=120, show_default=True, help="Seconds that a probe job may wait for its turn.")
@options.as_json
def command(
    *,
    manifest: str,
    steps: tuple[str, ...],
    sets: tuple[str, ...],
    store_path: str | None,
    within: float,
    executor: str | None,
    profile: str | None,
    wait: int,
    as_json: bool,
) -> int:
    """Look ahead at MANIFEST, or at the named STEPs and all they need: what would fail, before anything runs.

    Step types, parameters, inputs, files, keys in the environment and packages; the steps that turn rows into rows,
    on the first rows; chat template, loss masks, lengths, devices, disk, and whether the model converts. Nothing
    is built, no request is sent. ✓ is well, ✗ would fail, ! is worth a thought, — could not be looked at.

    With a cluster, also what its partitions would refuse, and by a probe job in each what differs on its nodes.
    """
    from forge.cli.render import show_error
    from forge.plan.preflight import unfit_packages
    from forge.run.preflight import look_ahead, this_machine

    project = options.open_project(manifest, sets, store_path, steps, executor, profile)
    unset = _unset_keys(project)
    there = project.profile is not None
    lookers = (unfit_packages if there else this_machine, lambda *_: _keys_as_looks(unset))
    outlook = look_ahead(project.graph, project.store, seconds=within, lookers=lookers, elsewhere=there)
    document = _document(project, outlook)
    if not as_json:
        _show(project, outlook)
    if project.profile is not None:
        from forge.cli.cluster import check_cluster

        document["cluster"] = check_cluster(project, project.profile, wait)
        if not as_json:
            click.echo("\n".join(document["cluster"]))
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
    if unset is not None:
        show_error(unset)
        return unset.exit_code
    return 1 if outlook.count("bad") else 0


def _unset_keys(project: Project) -> ManifestError | None:
    """Return what is wrong with the environment, to be told after all else."""
    from forge.core.errors import ManifestError
    from forge.plan.secrets import require_secrets

    try:
        require_secrets(project.graph)
    except ManifestError as error:
        return error
    return None


def _keys_as_looks(unset: ManifestError | None) -> Iterator[Look]:
    from forge.plan.preflight import Look
    from forge.plugin.protocols import Notice

    for problem in unset.problems if unset is not None else ():
        yield Look(problem.step or "", (Notice("key", "bad", problem.message, problem.hint),))


def _document(project: Project, outlook: Outlook) -> dict[str, Any]:
    return {
        "manifest": str(project.graph.manifest.path),
        "passed": not outlook.count("bad"),
        "seconds": round(outlook.seconds, 3),
        "looks": [look.to_json() for look in outlook.looks],
    }


def _show(project: Project, outlook: Outlook) -> None:
    from forge.cli.render import console

    out = console()
    width = max(len(look.step or _MACHINE) for look in outlook.looks)
    for look in outlook.looks:
        for line in _lines(look, width):
            out.print(line)
    steps = project.graph.steps
    files = sum(len(found) for step in steps.values() for found in step.files.values())
    counted = [
        f"{count} {word if count == 1 else words}"
        for count, word, words in (
            (outlook.count("bad"), "problem", "problems"),
            (outlook.count("doubtful"), "doubt", "doubts"),
        )
        if count
    ]
    said = ", ".join(counted) if counted else "no problem found"
    out.print(f"\n{len(steps)} steps, {files:,} files: {said}")


def _lines(look: Look, width: int) -> Iterator[str]:
    """Yield a step's lines: one for a step of which one thing was seen, else one for each thing."""
    from forge.cli.render import escape

    name = look.step or _MACHINE
    if len(look.notices) == 1:
        yield f"{_SIGNS[look.state]} {escape(name):<{width}}  {_words(look.notices[0])}"
        yield from _hint(look.notices[0], width + 4)
        return
    yield f"{_SIGNS[look.state]} {escape(name)}"
    longest = max(len(n.what) for n in look.notices)
    for notice in look.notices:
        yield f"    {_SIGNS[notice.state]} {escape(notice.what):<{longest}}  {escape(notice.message)}"
        yield from _hint(notice, longest + 8)


def _words(notice: Notice) -> str:
    from forge.cli.render import escape

    return escape(notice.message) if notice.what in ("rows", "work", "inputs") else escape(_labelled(notice))


def _labelled(notice: Notice) -> str:
    return f"{notice.what}: {notice.message}" if notice.message else notice.what


def _hint(notice: Notice, indent: int) -> Iterator[str]:
    from forge.cli.render import escape

    if notice.hint and notice.state != "good":
        yield f"{' ' * indent}[cyan]hint[/]: {escape(notice.hint)}"
