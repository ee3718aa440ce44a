"""`forge plugins`: list step types and their parameters."""

from __future__ import annotations

import inspect
import json

import click

from forge.cli import options


@click.group()
def command() -> None:
    """List step types and their parameters."""


@command.command("list")
@options.as_json
def list_types(*, as_json: bool) -> None:
    """List the step types of all installed plugins."""
    from forge.cli.render import console, escape, grid
    from forge.plugin.discovery import Registry

    types = Registry().all()
    if as_json:
        found = [{"use": t.use, "kind": t.kind, "version": t.version, "summary": t.summary} for t in types.values()]
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    table = grid("step type", "kind", "extra", "does")
    for each in types.values():
        table.add_row(escape(each.use), each.kind, escape(each.extra), escape(each.summary))
    console().print(table)


@command.command("show")
@click.argument("use", metavar="PLUGIN.STEP-TYPE")
def show_type(*, use: str) -> None:
    """Print what a step type does, its inputs and its parameters."""
    from forge.cli.render import console, escape, grid
    from forge.core.errors import UsageError
    from forge.core.suggest import did_you_mean
    from forge.plugin.discovery import Registry
    from forge.plugin.parameters import describe

    registry = Registry()
    namespace, _, name = use.partition(".")
    if namespace not in registry.namespaces:
        hint = did_you_mean(namespace, registry.namespaces)
        raise UsageError(f"no plugin called `{namespace}` is installed", hint=hint)
    types = registry.plugin(namespace).types
    if name not in types:
        raise UsageError(f"plugin `{namespace}` has no step type `{name}`", hint=did_you_mean(name, types))
    found = types[name]
    out = console()
    out.print(f"[bold]{escape(found.use)}[/]  {found.kind}, version {escape(found.version)}\n")
    out.print(escape(inspect.cleandoc(found.cls.__doc__ or "")) + "\n")
    if found.kind != "source":
        wanted = (
            "any number of steps"
            if found.inputs is None
            else ", ".join(f"{n.rstrip('?')}{' (optional)' if n.endswith('?') else ''}" for n in found.inputs)
        )
        out.print(f"inputs: {escape(wanted)}\n")
    table = grid("parameter", "type", "default", "in the key")
    for parameter, kind, default, is_keyed in describe(found.cls):
        table.add_row(
            escape(parameter), escape(kind), escape(default) or "[bold]required[/]", "yes" if is_keyed else "no"
        )
    out.print(table)
    offered = getattr(found.cls, "presets", None)
    if callable(offered):
        table = grid("preset", "for")
        for preset, summary in offered().items():
            table.add_row(escape(preset), escape(summary))
        out.print()
        out.print(table)
