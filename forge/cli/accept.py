"""`forge accept`: keep a result where code moved without a change of meaning."""

from __future__ import annotations

import click

from forge.cli import options


@click.command()
@options.manifest
@click.argument("step", metavar="STEP")
@click.option("--why", default="", metavar="TEXT", help="Say why it still means the same, for the record.")
def command(*, manifest: str, step: str, sets: tuple[str, ...], store_path: str | None, why: str) -> None:
    """Keep the last result of STEP under its new key: its code moved, and you say that it still means the same.

    Nothing else may have moved: parameters, inputs, files and facts are as they were. The record says what was
    accepted, and `forge show` prints it.
    """
    from forge.plan.accept import accept

    project = options.open_project(manifest, sets, store_path)
    record = accept(project.graph, project.store, project.step(step), who=_person(), why=why)
    click.echo(f"`{record.step}` keeps the result of key {record.accepted['from'][:16]}… under key {record.key}")
    for phrase in record.accepted["moved"]:
        click.echo(f"  {phrase}")


def _person() -> str:
    """Return who is logged in, or nothing where the machine does not know."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
