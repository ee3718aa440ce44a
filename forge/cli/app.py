"""The command line: commands that are imported when they are called, and the one place where errors end."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from forge import __version__

if TYPE_CHECKING:
    from forge.run.spawn import Process

COMMANDS = {
    "build": "make what is missing",
    "plan": "say what would run, and why",
    "check": "find problems before anything runs",
    "explain": "say which part of a step's key moved",
    "accept": "keep a result whose code moved without a change of meaning",
    "show": "print a step's rows, statistics, drops, metrics or receipt",
    "report": "write one HTML page of all that the store has of a manifest",
    "diff": "compare two builds: steps, rows, labels, figures",
    "lineage": "say what a file was made of, or what was made of it",
    "get": "write a step's artifact as plain files",
    "lock": "write down what a build was made with and what it made",
    "rebuild": "make everything again elsewhere, and compare it with the lock",
    "verify": "repeat a GGUF file's receipt with local inference",
    "chat": "talk to a model",
    "eval": "score a model step on a table",
    "status": "say what runs on a cluster",
    "logs": "print what a step has printed",
    "cancel": "end the jobs of a cluster",
    "worker": "run one action, as a job of a cluster does",
    "plugins": "list step types and their parameters",
    "store": "check, measure, clear and share the store",
}


class LazyGroup(click.Group):
    """Import a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are explained."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"forge.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Suggest the closest command for one that does not exist."""
        if args and args[0] not in COMMANDS:
            from forge.core.errors import UsageError
            from forge.core.suggest import did_you_mean

            raise UsageError(f"there is no command `{args[0]}`", hint=did_you_mean(args[0], COMMANDS))
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="forge")
def app() -> None:
    """Build datasets and small models from a manifest."""


class Call:
    """Hold one call of `forge`: its words, and workers that were started before it was known whether there is work."""

    def __init__(self, arguments: list[str], spares: list[Process]) -> None:
        """Hold the words and the workers."""
        self.arguments = arguments
        self.spares = spares

    def spare(self, jobs: int) -> None:
        """Start one more worker where *jobs* can begin at once; one that is forked now shares what was imported."""
        if self.spares and len(self.spares) < jobs:
            from forge.run import spawn

            self.spares.append(spawn.fork(self.spares))


def run(arguments: list[str], spares: list[Process] | None = None) -> int:
    """Run one command line and return its exit code."""
    from forge.cli.boundary import guarded

    return guarded(lambda: _run(Call(arguments, [] if spares is None else spares))) or 0


def _run(call: Call) -> int | None:
    try:
        result = app.main(call.arguments, prog_name="forge", standalone_mode=False, obj=call)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        from forge.cli.render import show_error
        from forge.core.errors import ForgeError

        show_error(ForgeError(error.format_message().rstrip(".")))
        return error.exit_code if error.exit_code != 1 else 2
    except click.Abort as abort:  # click's word for what it was interrupted by
        raise abort.__cause__ or KeyboardInterrupt from None
    return result if isinstance(result, int) else 0
