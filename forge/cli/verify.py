"""`forge verify`: repeat a file's receipt with local inference."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forge.cli import options
from forge.core.errors import StoreError

if TYPE_CHECKING:
    from forge.run.verify import Verification
    from forge.store.base import Store

_FEW = 8


@click.command()
@click.argument("file", metavar="FILE.gguf")
@click.option("--receipt", "receipt_path", metavar="PATH", help="A receipt.json, or its folder; else one beside FILE.")
@options.store
@options.as_json
def command(*, file: str, receipt_path: str | None, store_path: str | None, as_json: bool) -> int:
    """Run the check that FILE's receipt came from again, on this machine and these very bytes.

    The receipt is looked for beside FILE (in its folder, or a folder there), then in the store. With the rows that lie
    beside a receipt no project, store or other model is needed. It fails where a bound is broken, or a figure is
    farther from the receipt's than another machine explains.
    """
    import json

    from forge.plugin.discovery import Registry
    from forge.run.spawn import ENVIRONMENT
    from forge.run.verify import digest_of, proof_of, verify

    os.environ.update(ENVIRONMENT)
    registry = Registry()
    path = Path(file)
    digest = digest_of(path)

    def store() -> Store | None:
        try:
            return options.open_store(store_path, Path(), made=True)
        except StoreError:
            if store_path is not None:
                raise
            return None

    given = Path(receipt_path) if receipt_path is not None else None
    with proof_of(path, digest, given, store, registry) as proof:
        result = verify(proof, path, digest, registry, os.cpu_count() or 1)
    if as_json:
        document = {
            "receipt": result.receipt,
            "passed": result.passed,
            "differences": result.differences,
            "beyond": result.beyond,
            "unrepeated": result.unrepeated,
            "measured": result.measured,
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        _show(result, path)
    return 0 if result.passed else 1


def _show(result: Verification, path: Path) -> None:
    from forge.cli.render import console, escape, show_receipt

    out = console()
    show_receipt(result.receipt, path.name, out, result.measured)
    for note in result.notes:
        out.print(f"[yellow]{escape(note)}[/]")
    if result.differences:
        out.print(f"\nother than in the receipt {escape(result.proof.where)}:")
        for difference in result.differences:
            out.print(f"  {escape(difference)}")
    else:
        out.print(f"\nall {result.repeated} figures as in the receipt {escape(result.proof.where)}")
    if result.beyond:
        out.print("\n[bold red]farther from the receipt than another machine explains:[/]")
        for figure in result.beyond:
            out.print(f"  {escape(figure)}")
    if result.unrepeated:
        more = len(result.unrepeated) - _FEW
        names = ", ".join(f"`{name}`" for name in result.unrepeated[:_FEW]) + (f" and {more} more" if more > 0 else "")
        out.print(f"[dim]not repeated here: {escape(names)}[/]")
