"""`forge worker`: run one action, as a job of a cluster does."""

from __future__ import annotations

import click


@click.command()
@click.argument("folder", metavar="FOLDER")
@click.option("--attempt", required=True, metavar="DIR", help="Put events and the result here.")
@click.option("--notice", default="120", show_default=True, help="Seconds between USR1 and the time limit.")
def command(*, folder: str, attempt: str, notice: str) -> int:
    """Run the action whose `job.json` lies in FOLDER of a store. The script of a Slurm job calls it."""
    from forge.run.slurm.task import main

    return main(folder, attempt, notice)
