"""`forge status`: say what runs on a cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from forge.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forge.run.slurm.overview import Entry
    from forge.store.base import Store


@click.command()
@click.argument("manifest", metavar="[MANIFEST]", required=False)
@options.store
@options.as_json
def command(*, manifest: str | None, store_path: str | None, as_json: bool) -> None:
    """Say how the jobs of MANIFEST do, or of every manifest of the store that is here."""
    import attrs

    from forge.run.slurm.client import Slurm
    from forge.run.slurm.overview import entries

    store, path = store_of(manifest, store_path)
    found = entries(store, Slurm.of(store), str(path) if path is not None else "")
    behind = list(_in_background(store, path))
    if as_json:
        document = {"jobs": [attrs.asdict(entry) for entry in found], "background": behind}
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    for line in behind:
        click.echo(line)
    _show(found)


def _in_background(store: Store, manifest: Path | None) -> Iterator[str]:
    """Say of each manifest's last build that was detached whether it runs, and what it said last."""
    from forge.plan.load import load
    from forge.store.process import lives

    name = load(str(manifest)).name if manifest is not None else None
    newest: dict[str, Path] = {}
    for path in sorted((store.root / "builds").glob("*.*.*-*.log"), key=lambda path: path.stat().st_mtime):
        newest[path.name.rsplit(".", 3)[0]] = path
    for each, path in newest.items():
        if name is not None and each != name:
            continue
        process, _, born = path.name.rsplit(".", 2)[1].partition("-")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing yet")
        state = "runs" if lives(int(process), born) else "has ended"
        what = f"the build of {each} in the background, process {process}, {state}"
        yield f"{what}; it last said: {said}\n  its log: {path}"


def store_of(manifest: str | None, store_path: str | None) -> tuple[Store, Path | None]:
    """Return the store that is meant, and the manifest's absolute path where one is named."""
    from pathlib import Path

    from forge.plan.load import load

    if manifest is None:
        return options.open_store(store_path, Path.cwd(), made=True), None
    loaded = load(manifest)
    return options.open_store(store_path, loaded.root, made=True), loaded.path.absolute()


def _show(found: list[Entry]) -> None:
    from forge.cli.render import console, escape, grid

    out = console()
    if not found:
        out.print("no step was ever a job here")
        return
    table = grid("step", "job", "state", "time", "")
    for entry in found:
        cells = (entry.step, entry.job, entry.state, entry.time, entry.detail)
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)
    alive = sum(entry.alive for entry in found)
    out.print(f"\n{alive} job{'s' if alive != 1 else ''} in the queue")
