"""`forge get`: write a step's artifact as plain files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forge.cli import options
from forge.cli.whole import whole
from forge.core.errors import UsageError
from forge.core.step import split_reference
from forge.plugin.table import REJECTS, TABLE

if TYPE_CHECKING:
    import polars as pl

    from forge.core.artifact import Tree
    from forge.core.record import Record
    from forge.store.base import Store

MEASURED = "measured.json"
"""What a step took on the machine that it ran on, beside its artifact."""

ENDINGS = (".jsonl", ".json", ".csv", ".parquet")


@click.command()
@options.manifest
@click.argument("step", metavar="STEP[.PART]")
@click.argument("destination", metavar="DEST")
@click.option("--force", is_flag=True, help="Write over what is there.")
def command(
    *, manifest: str, step: str, destination: str, sets: tuple[str, ...], store_path: str | None, force: bool
) -> None:
    """Write the artifact of STEP to DEST.

    A table is written in the form that DEST's ending says: .jsonl, .json, .csv or .parquet.
    A DEST called `rejects` with such an ending gets the records that a source could not use.
    A DEST that names a file of the artifact gets that file; any other DEST is a folder for all files.
    """
    project = options.open_project(manifest, sets, store_path, (split_reference(step)[0],))
    record = project.record(step)
    tree = project.store.tree(record.tree).part(split_reference(step)[1])
    target = Path(destination)
    if not tree.members:
        parts = ", ".join(f"`{project.step(step)}.{part}`" for part in record.rows)
        whole = split_reference(step)[0]
        raise UsageError(f"there is no `{step}`", hint=f"there is {parts}" if parts else f"`{whole}` has no parts")
    if target.exists() and not force and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"`{destination}` is there already", hint="`--force` writes over it")
    try:
        _write(project, record, tree, step, target)
    except OSError as error:
        raise UsageError(f"`{destination}` can't be written: {error.strerror or error}") from None


def _write(project: options.Project, record: Record, tree: Tree, step: str, target: Path) -> None:
    """Write a table, one file or all files, as *target*'s ending says."""
    suffix = target.suffix.lower()
    same = [n for n in tree.members if Path(n).suffix.lower() == suffix]
    if suffix in ENDINGS and TABLE in tree.members and target.name not in tree.members:
        rows = _write_table(project.store, tree, target, REJECTS if target.stem == "rejects" else TABLE)
        click.echo(f"{rows:,} rows → {target}")
    elif suffix and len(same) >= 1 and not target.is_dir():
        name = target.name if target.name in tree.members else same[0] if len(same) == 1 else None
        if name is None:
            raise UsageError(f"`{step}` holds several `{suffix}` files", hint="name one of them: " + ", ".join(same))
        member = tree.members[name]
        project.store.check_object(member.digest)
        with whole(target) as fresh:
            shutil.copyfile(project.store.object_path(member.digest), fresh)
        click.echo(f"{name} → {target}")
    elif suffix in ENDINGS and record.rows:
        parts = ", ".join(f"`{project.step(step)}.{part}`" for part in record.rows if part)
        raise UsageError(f"`{step}` is not one table", hint=f"take one of its parts: {parts}")
    elif suffix and TABLE in tree.members:
        raise UsageError(f"a table can't be written as `{suffix}`", hint=f"the endings are {', '.join(ENDINGS)}")
    else:
        project.store.export(tree, target)
        if record.measured and tree.digest == record.tree:
            measured = json.dumps(dict(record.measured), indent=1) + "\n"
            (target / MEASURED).write_text(measured, encoding="utf-8")
        count = len(tree.members)
        click.echo(f"{count} file{'s' if count != 1 else ''} → {target}")


def _write_table(store: Store, tree: Tree, target: Path, table: str) -> int:
    import polars as pl

    if table not in tree.members:
        raise UsageError("the step rejected nothing", hint="its rows are written to any other file name")
    member = tree.members[table]
    store.check_object(member.digest)
    source = store.object_path(member.digest)
    frame = pl.read_ipc(source)
    with whole(target) as fresh:
        if target.suffix.lower() == ".parquet":
            frame.write_parquet(fresh)
        elif target.suffix.lower() == ".csv":
            flatten(frame).write_csv(fresh)
        elif target.suffix.lower() == ".json":
            frame.write_json(fresh)
        else:
            frame.write_ndjson(fresh)
    return frame.height


def flatten(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn columns that CSV can't hold, such as lists and structs, into JSON text."""
    import polars as pl

    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    return frame.with_columns(
        pl.Series(name, [json.dumps(v, ensure_ascii=False) for v in frame[name].to_list()]) for name in nested
    )
