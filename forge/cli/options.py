"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from forge.cli.project import Project, open_project, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Project", "as_json", "executor", "manifest", "open_project", "open_store", "profile", "sets", "store"]

sets = click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set a parameter, or STEP.PARAMETER.")
store = click.option(
    "--store", "store_path", metavar="DIR", help="Keep results here instead of in the project's store/."
)
executor = click.option(
    "--executor", type=click.Choice(["local", "slurm"]), help="Where steps run (default: what the manifest says)."
)
profile = click.option("--profile", metavar="NAME", help="Profile of the cluster: slurm/NAME.toml, or a path.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def manifest(function: Callable[..., Any]) -> Callable[..., Any]:
    """Take the manifest, `--set` and `--store`."""
    return click.argument("manifest", metavar="MANIFEST")(sets(store(function)))
