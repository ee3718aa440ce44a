"""`forge chat`: talk to a model."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from forge.cli import options
from forge.core.errors import StepError, UsageError
from forge.core.step import split_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.plugin.protocols import Chat

COMMANDS = {
    "/reset": "begin anew, the system prompt stays",
    "/system TEXT": "tell the model who it is, and begin anew; without TEXT, show what it was told",
    "/undo": "take back the last message and its reply",
    "/help": "show this",
    "/quit": "end (also Ctrl-D)",
}


@click.command()
@click.argument("model", metavar="FILE.gguf|FOLDER|MANIFEST")
@click.argument("step", required=False)
@options.sets
@options.store
@click.option("--system", metavar="TEXT|@FILE", help="Tell the model who it is.")
@click.option(
    "--message", "-m", metavar="TEXT|-", help="Send one message (`-` for all of stdin), print the reply, end."
)
@click.option(
    "--type", "kind", metavar="TYPE", help="Of several GGUF files take this one, like Q4_K_M; else the smallest."
)
@click.option("--base", metavar="FOLDER", help="The model that an adapter in FOLDER was trained for.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, help="0 is greedy, as the receipt was.")
@click.option("--json", "as_json", is_flag=True, help="Print each turn as one line of JSON.")
def command(
    *,
    model: str,
    step: str | None,
    sets: tuple[str, ...],
    store_path: str | None,
    system: str | None,
    message: str | None,
    kind: str | None,
    base: str | None,
    temperature: float,
    as_json: bool,
) -> None:
    """Talk to a GGUF file, to a model's folder, or to the model that STEP of MANIFEST made: adapter, merged or GGUF.

    Each line is a message, from a terminal or a pipe; a line that ends with a backslash goes on in the next.
    """
    from forge.plugin.discovery import Registry
    from forge.run.spawn import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    with ExitStack() as stack:
        inputs = {} if base is None else {"base": _folder(base)}
        if step is None:
            path, named = _path(model), model
        else:
            project = options.open_project(model, sets, store_path)
            record = project.record(step)
            staging = stack.enter_context(project.store.staging())
            for name, tree in record.inputs.items():
                if name not in inputs:
                    project.store.checkout(project.store.tree(tree), staging / "inputs" / name)
                    inputs[name] = staging / "inputs" / name
            path, named = staging / "model", f"{model} {step}"
            project.store.checkout(project.store.tree(record.tree).part(split_reference(step)[1]), path)
        if kind is not None:
            path = _of_type(path, kind, named)
        chat = Registry().chat(path, None, inputs, temperature)
        if chat is None:
            raise UsageError(f"no plugin can talk to `{named}`", hint="a GGUF file, a model or an adapter can talk")
        talk = Talk(chat, named, _text(system), as_json=as_json)
        if message is not None:
            talk.say(sys.stdin.read().strip() if message == "-" else message)
        else:
            talk.go_on()


@attrs.define
class Talk:
    """Hold one talk: what was said so far, and who the model was told to be."""

    chat: Chat
    named: str
    system: str | None = None
    as_json: bool = False
    history: list[dict[str, str]] = attrs.Factory(list)

    def go_on(self) -> None:
        """Talk until the input ends; commands begin with a slash."""
        live = sys.stdin.isatty()
        if live:
            import readline  # noqa: F401 - lines can be edited and called back

            _aside(f"{self.named}: a line is a message, /help shows what else there is")
        while (text := self._ask(live=live)) is not None:
            if text.startswith("/"):
                if not self.command(text):
                    return
            elif text:
                try:
                    self.say(text)
                except StepError as error:  # a context that is full ends no talk
                    if not live:
                        raise
                    _aside(f"{error.message}{f'; {error.hint}' if error.hint else ''}", colour="red")

    def say(self, text: str) -> None:
        """Send one message and print the reply as it comes."""
        asked = [*self.history, {"role": "user", "content": text}]
        begun, reply, pieces = time.monotonic(), "", 0
        if sys.stdout.isatty() and not self.as_json:
            click.echo(click.style("model › ", fg="green", bold=True), nl=False)
        opening = [{"role": "system", "content": self.system}] if self.system else []
        try:
            for piece in self.chat.stream([*opening, *asked]):
                reply, pieces = reply + piece, pieces + 1
                if not self.as_json:
                    click.echo(piece, nl=False)
                    sys.stdout.flush()
        except KeyboardInterrupt:  # ends the reply, not the talk
            if not sys.stdin.isatty():
                raise
        seconds = time.monotonic() - begun
        self.history = [*asked, {"role": "assistant", "content": reply}]
        if self.as_json:
            turn = {"message": text, "reply": reply, "seconds": round(seconds, 3), "turn": len(self.history) // 2}
            click.echo(json.dumps(turn, ensure_ascii=False))
            return
        click.echo()
        if sys.stdout.isatty():
            _aside(f"{pieces / max(seconds, 1e-9):.0f} pieces a second, {seconds:.1f} s")

    def command(self, text: str) -> bool:
        """Do what a line that begins with a slash says; False ends the talk."""
        word, _, rest = text.partition(" ")
        if word in ("/quit", "/exit", "/q"):
            return False
        if word in ("/reset", "/new"):
            self.history = []
            _aside("begun anew")
        elif word == "/system" and not rest.strip():
            _aside(self.system or "it was told nothing")
        elif word == "/system":
            self.system, self.history = _text(rest.strip()), []
            _aside("begun anew with this system prompt")
        elif word == "/undo":
            self.history = self.history[:-2]
            _aside(f"{len(self.history) // 2} turns are left")
        elif word == "/help":
            _aside("\n".join(f"{name:14}{does}" for name, does in COMMANDS.items()))
        else:
            known = [name.partition(" ")[0] for name in COMMANDS]
            close = get_close_matches(word, known, n=1)
            _aside(
                f"there is no `{word}`; {f'did you mean `{close[0]}`?' if close else '/help shows all'}", colour="red"
            )
        return True

    def _ask(self, *, live: bool) -> str | None:
        """Return the next message, or None at the end of the input."""
        lines: list[str] = []
        while True:
            try:
                line = input(_prompt(more=bool(lines))) if live else _line()
            except (EOFError, KeyboardInterrupt):
                if live:
                    click.echo(err=True)
                return "\n".join(lines).strip() if lines else None
            lines.append(line.removesuffix("\\"))
            if not line.endswith("\\"):
                return "\n".join(lines).strip()


def _line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _prompt(*, more: bool) -> str:
    # readline counts columns: what is between \1 and \2 takes none
    return "    … " if more else "\1\x1b[1;36m\2you ›\1\x1b[0m\2 "


def _aside(text: str, *, colour: str | None = None) -> None:
    click.echo(click.style(text, dim=colour is None, fg=colour), err=True)


def _text(given: str | None) -> str | None:
    """Return the text itself, or that of the file behind an `@`."""
    if given is None or not given.startswith("@"):
        return given
    path = Path(given[1:])
    if not path.is_file():
        raise UsageError(f"there is no file `{path}`", hint="`--system @FILE` reads the system prompt from FILE")
    return path.read_text(encoding="utf-8").strip()


def _path(model: str) -> Path:
    path = Path(model)
    if not path.exists():
        raise UsageError(f"there is no file `{model}`", hint="name a GGUF file, a folder, or a manifest and a step")
    if path.suffix == ".toml":
        raise UsageError("which step of the manifest is the model?", hint=f"forge chat {model} STEP")
    return path


def _folder(path: str) -> Path:
    if not Path(path).is_dir():
        raise UsageError(f"there is no folder `{path}`")
    return Path(path)


def _of_type(path: Path, kind: str, named: str) -> Path:
    found: Mapping[str, Path] = {file.stem.rpartition("-")[2].lower(): file for file in sorted(path.rglob("*.gguf"))}
    if kind.lower() in found:
        return found[kind.lower()]
    close = get_close_matches(kind.lower(), found, n=1)
    hint = f"did you mean `{found[close[0]].stem.rpartition('-')[2]}`?" if close else None
    raise UsageError(f"`{named}` has no GGUF file of the type `{kind}`", hint=hint)
