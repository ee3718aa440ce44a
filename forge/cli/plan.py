"""`forge plan`: say what would run, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from forge.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from forge.cli.project import Project
    from forge.plan.forecast import Forecast
    from forge.run.estimate import Estimate
    from forge.run.slurm.planned import Planned

_WORDS = {"hit": "hit", "run": "run", "unknown": "run unless equal"}
_NUMBERS = ("rows in", "last rows", "requests", "tokens", "last seconds")


@click.command()
@options.manifest
@click.argument("steps", nargs=-1, metavar="[STEP]…")
@options.executor
@options.profile
@options.as_json
def command(
    *,
    manifest: str,
    steps: tuple[str, ...],
    sets: tuple[str, ...],
    store_path: str | None,
    executor: str | None,
    profile: str | None,
    as_json: bool,
) -> None:
    """Say what a build of MANIFEST would run, and why, without running it.

    For labelers it counts the requests that no reply is kept for, and estimates their tokens.
    """
    from forge.cli.render import console
    from forge.plan.forecast import forecast

    project = options.open_project(manifest, sets, store_path, steps, executor, profile)
    entries = forecast(project.graph, project.store)
    outdated = {name: files for name, entry in entries.items() if (files := _outdated(entry, project))}
    jobs: dict[str, Planned] = {}
    if project.profile is not None:
        from forge.run.slurm.planned import planned

        jobs = planned(entries, project.profile)
    estimates: dict[str, Estimate] = {}
    if any(e.step.verb == "request" for e in entries.values()):
        from forge.run.estimate import estimate

        found = {name: estimate(entry, entries, project.store) for name, entry in entries.items()}
        estimates = {name: each for name, each in found.items() if each is not None}
    if as_json:
        document = {
            "steps": [
                _json(e, estimates.get(name), outdated.get(name, []), jobs.get(name)) for name, e in entries.items()
            ]
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    _show(console(), entries, estimates, outdated, jobs)


def _outdated(entry: Forecast, project: Project) -> list[str]:
    """Return the files in the user's own tree that a build writes again though the step is a hit."""
    if entry.will != "hit" or entry.record is None or not entry.step.destination:
        return []
    from forge.run.deliver import Delivery
    from forge.store.signatures import Signatures, build_name

    manifest = project.graph.manifest
    signatures = Signatures.load(project.store, build_name(manifest.name, manifest.path))
    delivery = Delivery(entry.step, manifest.root, project.store, signatures)
    return delivery.outdated(project.store.tree(entry.record.tree))


def _json(entry: Forecast, estimate: Estimate | None, outdated: list[str], job: Planned | None) -> dict[str, Any]:
    import attrs

    last = entry.last
    return {
        "name": entry.step.name,
        "kind": entry.step.kind,
        "use": entry.step.use,
        "will": entry.will,
        "because": entry.because,
        "writes_again": outdated,
        "key": entry.key,
        "moved": list(entry.moved),
        "after": list(entry.pending),
        "rows_in": entry.rows_in,
        "rows_in_last": last.rows_in if last else None,
        "rows_last": last.rows_out if last else None,
        "seconds_last": last.seconds if last else None,
        "labels": attrs.asdict(estimate) | {"tokens": estimate.tokens} if estimate else None,
        "job": attrs.asdict(job) if job else None,
    }


def _show(
    out: Console,
    entries: Mapping[str, Forecast],
    estimates: Mapping[str, Estimate],
    outdated: Mapping[str, list[str]],
    jobs: Mapping[str, Planned],
) -> None:
    from forge.cli.render import STYLES, escape, grid

    asks = any(e.step.verb == "request" and e.will != "hit" for e in entries.values())
    columns = [c for c in ("step", "use", "will", "why", *_NUMBERS) if asks or c not in ("requests", "tokens")]
    columns += ["job"] if jobs else []
    table = grid(*columns, right=_NUMBERS)
    for name, entry in entries.items():
        last = entry.record or entry.last
        cells = {
            "step": escape(name),
            "use": escape(entry.step.use),
            "will": f"[{STYLES[entry.will]}]{_WORDS[entry.will]}[/]",
            "why": escape(entry.because),
            "rows in": _rows_in(entry),
            "last rows": "" if last is None or last.rows_out is None else f"{last.rows_out:,}",
            "requests": _requests(entry, estimates.get(name)),
            "tokens": f"≈ {estimates[name].tokens:,}" if name in estimates and estimates[name].requests else "",
            "last seconds": "" if last is None or entry.will == "hit" else f"{last.seconds:.1f}",
            "job": escape(str(jobs[name])) if name in jobs else "",
        }
        table.add_row(*(cells[column] for column in columns))
    out.print(table)
    for name, files in outdated.items():
        out.print(escape(f"\n`{name}` would be put again where it was changed or is missing: {', '.join(files)}"))
    run, unknown = (sum(e.will == will for e in entries.values()) for will in ("run", "unknown"))
    if not run + unknown:
        nothing = "no step to run" if outdated else "nothing to do"
        out.print(f"\n{nothing}: all {len(entries)} steps are hits")
        return
    more = f", {unknown} of them unless what comes in is equal" if unknown else ""
    out.print(f"\n{run + unknown} of {len(entries)} steps would run{more}")
    if jobs:
        from forge.run.slurm.planned import in_words

        out.print(in_words(jobs))
    for name, each in estimates.items():
        out.print(escape(_in_words(name, each)))


def _rows_in(entry: Forecast) -> str:
    """Return the rows that come in, or what came in the last time."""
    if entry.rows_in is not None:
        return f"{entry.rows_in:,}"
    last = entry.last.rows_in if entry.last is not None else None
    return "" if last is None else f"≈ {last:,}"


def _requests(entry: Forecast, estimate: Estimate | None) -> str:
    if estimate is not None:
        return f"{estimate.requests:,}"
    return "not known yet" if entry.step.verb == "request" and entry.will != "hit" else ""


def _in_words(name: str, each: Estimate) -> str:
    found = f"`{name}`: {each.requests:,} requests for {each.rows:,} rows"
    parts = [f"{each.known:,} replies are kept"] if each.known else []
    parts += [f"{each.skipped:,} rows are skipped"] if each.skipped else []
    if each.requests and each.by == "replies":
        parts.append(
            f"≈ {each.prompt_tokens:,} prompt and {each.completion_tokens:,} completion tokens, by the replies kept"
        )
    elif each.requests:
        parts.append(f"≈ {each.prompt_tokens:,} prompt tokens, estimated from characters")
    if each.requests and each.money is not None:
        parts.append(f"{'at most' if each.at_most else '≈'} {each.money:,.4f} by the step's `prices`")
    return "; ".join([found, *parts])
