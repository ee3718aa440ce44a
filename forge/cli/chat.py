"""`forge chat`: talk to a model."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forge.cli import options
from forge.core.errors import UsageError
from forge.core.step import split_reference

if TYPE_CHECKING:
    from forge.plugin.discovery import Registry
    from forge.plugin.protocols import Chat


@click.command()
@click.argument("model", metavar="FILE.gguf|MANIFEST")
@click.argument("step", required=False)
@options.sets
@options.store
@click.option("--system", help="Tell the model who it is.")
@click.option("--message", "-m", help="Send one message, print the reply and end.")
def command(
    *,
    model: str,
    step: str | None,
    sets: tuple[str, ...],
    store_path: str | None,
    system: str | None,
    message: str | None,
) -> None:
    """Talk to a GGUF file, or to the model that STEP of MANIFEST made.

    Each line that you type is a message; an empty line or Ctrl-D ends the talk.
    """
    from forge.plugin.discovery import Registry
    from forge.run.spawn import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    registry = Registry()
    if step is None:
        path = Path(model)
        if not path.is_file():
            raise UsageError(f"there is no file `{model}`", hint="name a GGUF file, or a manifest and a step")
        if path.suffix == ".toml":
            raise UsageError("which step of the manifest is the model?", hint=f"forge chat {model} STEP")
        _talk(_open(registry, path, model, system), message)
        return
    project = options.open_project(model, sets, store_path)
    tree = project.store.tree(project.record(step).tree).part(split_reference(step)[1])
    with project.store.staging() as staging:
        project.store.checkout(tree, staging / "model")
        _talk(_open(registry, staging / "model", f"{model} {step}", system), message)


def _open(registry: Registry, path: Path, named: str, system: str | None) -> Chat:
    chat = registry.chat(path, system)
    if chat is None:
        raise UsageError(f"no plugin can talk to `{named}`", hint="a GGUF file and a merged model can be talked to")
    return chat


def _talk(chat: Chat, message: str | None) -> None:
    history: list[dict[str, str]] = []
    while True:
        text = message if message is not None else _ask()
        if not text:
            return
        history.append({"role": "user", "content": text})
        reply = ""
        for piece in chat.stream(history):
            reply += piece
            click.echo(piece, nl=False)
        click.echo()
        history.append({"role": "assistant", "content": reply})
        if message is not None:
            return


def _ask() -> str:
    if sys.stdin.isatty():
        click.echo(click.style("you: ", bold=True), nl=False, err=True)
    return sys.stdin.readline().strip()
