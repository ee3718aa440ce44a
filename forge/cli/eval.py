"""`forge eval`: score a model step on a table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forge.cli import options
from forge.core.errors import UsageError
from forge.core.step import split_reference

if TYPE_CHECKING:
    from forge.core.files import File
    from forge.plugin.context import Artifact

_READERS = {".jsonl": "read_ndjson", ".json": "read_json", ".csv": "read_csv", ".parquet": "read_parquet"}


@click.command()
@options.manifest
@click.argument("step", metavar="STEP[.PART]")
@click.option("--data", required=True, metavar="STEP[.PART]|FILE", help="The table to ask about: a step's, or a file.")
@click.option("--rows", "count", type=click.IntRange(min=1), default=100, show_default=True, help="Ask so many rows.")
@click.option(
    "--schema", type=click.Path(exists=True, dir_okay=False), help="Judge replies by this JSON Schema, not the checks'."
)
@click.option("--system", help="Tell the model who it is, as training did.")
@click.option("--type", "kind", metavar="TYPE", help="Take this GGUF file of several, such as Q4_K_M.")
@click.option("--grammar", is_flag=True, help="Hold replies to the schema by a grammar (GGUF files alone).")
@click.option("--max-tokens", type=click.IntRange(min=1), default=96, show_default=True, help="Bound a reply.")
@options.as_json
def command(  # each is an option
    *, manifest: str, step: str, data: str, count: int, schema: str | None, system: str | None, kind: str | None,
    grammar: bool, max_tokens: int, sets: tuple[str, ...], store_path: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Score the model that STEP made on any table: a base, an adapter, a merged model or a GGUF file.

    Replies are greedy, and judged by the figures of `check.gguf`: by SCHEMA, else by the one that the manifest's checks
    name, and as text where there is none. Nothing is built, and nothing is kept.
    """
    from forge.cli.render import console, figure, grid
    from forge.plugin.context import LocalRun
    from forge.plugin.discovery import Registry
    from forge.plugin.protocols import Evaluation
    from forge.run.spawn import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    project = options.open_project(manifest, sets, store_path)
    judged = _schema(project, schema)
    how = Evaluation(
        rows=count,
        max_tokens=max_tokens,
        system=system,
        schema=judged,
        grammar=grammar,
        type=kind,
    )
    with project.store.staging() as staging:
        (staging / "scratch").mkdir()
        run = LocalRun(staging / "scratch", os.cpu_count() or 1)
        model = _artifact(project, step, staging / "model")
        table = _table(project, data, staging / "data")
        found = Registry().evaluate(model, _inputs(project, step, staging), table, how, run)
    if found is None:
        hint = "a base, an adapter, a merged model and a GGUF file can be scored"
        raise UsageError(f"no plugin can score what `{step}` made", hint=hint)
    for message in run.messages:
        click.echo(message, err=True)
    if as_json:
        document = {
            "step": project.step(step),
            "data": data,
            "schema": judged.name if judged is not None else None,
            "figures": found,
            "dropped": run.drops,
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    rows = grid("figure", "value", right=("value",))
    for name, value in found.items():
        rows.add_row(name, "" if value is None else figure(value))
    console().print(rows)
    for reason, number in run.drops.items():
        console().print(f"[dim]{number:,} rows not asked: {reason}[/]")


def _schema(project: options.Project, given: str | None) -> File | None:
    """Return the schema that was *given*, else the one that the manifest's checks name where it is one; and say so."""
    from forge.core.files import File

    if given is not None:
        return File(Path(given).name, Path(given))
    found = {
        schema.path: (step.name, schema)
        for step in project.graph.steps.values()
        if step.kind == "check" and isinstance(schema := getattr(step.instance, "schema", None), File)
    }
    if len(found) != 1:
        there = f": the checks name {len(found)}" if found else ""
        click.echo(f"replies are judged as text, by no schema{there}; `--schema` names one", err=True)
        return None
    [(name, schema)] = found.values()
    click.echo(f"replies are judged by `{schema.name}`, the schema of `{name}`", err=True)
    return schema


def _artifact(project: options.Project, reference: str, place: Path) -> Artifact:
    from forge.plugin.context import Artifact

    tree = project.store.tree(project.record(reference).tree).part(split_reference(reference)[1])
    if not tree.members:
        raise UsageError(f"there is no `{reference}`")
    project.store.checkout(tree, place)
    return Artifact(reference, place, tree.digest)


def _inputs(project: options.Project, reference: str, staging: Path) -> dict[str, Artifact]:
    """Return what the model was made of; of the best of a sweep, what its points were made of."""
    from forge.plan.sweep import BEST

    step = project.graph.steps[project.step(reference)]
    while step.use == BEST:
        step = project.graph.steps[step.inputs[0].step]
    return {
        each.name: _artifact(project, each.reference, staging / f"input{number}")
        for number, each in enumerate(step.inputs)
    }


def _table(project: options.Project, data: str, place: Path) -> Artifact:
    """Return the table of a step, or of a file."""
    from forge.plan.sweep import named
    from forge.plugin.context import Artifact
    from forge.plugin.table import write_rows

    path = Path(data)
    known = any(name in project.graph.steps for name in named(project.graph.sweeps, split_reference(data)[0]))
    if known and not path.is_file():
        found = _artifact(project, data, place)
        if not found.is_table:
            raise UsageError(f"`{data}` is not a table", hint=f"it holds {', '.join(list(found.files())[:5])}")
        return found
    if not path.is_file():
        raise UsageError(f"there is neither a step nor a file `{data}`")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"a table can't be read from `{data}`", hint=f"the endings are {', '.join(_READERS)}")
    import polars as pl

    options_of: dict[str, Any] = {"infer_schema_length": None} if reader != "read_parquet" else {}
    try:
        write_rows(getattr(pl, reader)(path, **options_of), place)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(f"`{data}` can't be read: {error}") from None
    return Artifact(data, place)
