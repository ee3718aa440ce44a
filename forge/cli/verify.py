"""`forge verify`: repeat a file's receipt with local inference."""

from __future__ import annotations

import os
from pathlib import Path

import click

from forge.cli import options


@click.command()
@click.argument("file", metavar="FILE.gguf")
@options.store
@options.as_json
def command(*, file: str, store_path: str | None, as_json: bool) -> int:
    """Run the check that FILE's receipt came from again, on this machine and these very bytes."""
    import json

    from forge.cli.render import console, show_receipt
    from forge.plugin.discovery import Registry
    from forge.run.spawn import ENVIRONMENT
    from forge.run.verify import verify

    os.environ.update(ENVIRONMENT)
    store = options.open_store(store_path, Path(), made=True)
    result = verify(Path(file), store, Registry(), os.cpu_count() or 1)
    if as_json:
        document = {"receipt": result.receipt, "differences": result.differences}
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        out = console()
        show_receipt(result.receipt, result.record.step, out)
        same = (
            f"other than recorded: {'; '.join(result.differences)}"
            if result.differences
            else "every figure as recorded"
        )
        out.print(f"\n{same} on {result.record.started}")
    return 0 if result.receipt["passed"] else 1
