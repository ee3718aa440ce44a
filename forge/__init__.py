"""Build datasets and small models from a manifest.

These are the names that a plugin's author imports; all else is forge's own and may change.
"""

from __future__ import annotations

TYPE_CHECKING = False

__version__ = "0.1.0"

_HOMES = {
    "ahead": "forge.core.ahead",
    "CheckFailed": "forge.core.errors",
    "ForgeError": "forge.core.errors",
    "Interrupted": "forge.core.errors",
    "ProviderBusy": "forge.core.errors",
    "ProviderRefused": "forge.core.errors",
    "Refused": "forge.core.errors",
    "StepError": "forge.core.errors",
    "File": "forge.core.files",
    "Files": "forge.core.files",
    "read_between": "forge.core.files",
    "Artifact": "forge.plugin.context",
    "LocalRun": "forge.plugin.context",
    "Run": "forge.plugin.context",
    "drop": "forge.plugin.context",
    "kept": "forge.plugin.context",
    "tally": "forge.plugin.context",
    "write_rows": "forge.plugin.table",
    "hookimpl": "forge.plugin.hookspecs",
    "Chat": "forge.plugin.protocols",
    "Evaluation": "forge.plugin.protocols",
    "Finding": "forge.plugin.protocols",
    "Notice": "forge.plugin.protocols",
    "Reject": "forge.plugin.protocols",
    "Reply": "forge.plugin.protocols",
    "Request": "forge.plugin.protocols",
    "Restart": "forge.plugin.protocols",
    "Register": "forge.plugin.registry",
    "foreseen": "forge.plugin.registry",
    "most_rejects": "forge.plugin.registry",
    "setting": "forge.plugin.registry",
}

__all__ = [
    "Artifact",
    "Chat",
    "CheckFailed",
    "Evaluation",
    "File",
    "Files",
    "Finding",
    "ForgeError",
    "Interrupted",
    "LocalRun",
    "Notice",
    "ProviderBusy",
    "ProviderRefused",
    "Refused",
    "Register",
    "Reject",
    "Reply",
    "Request",
    "Restart",
    "Run",
    "StepError",
    "__version__",
    "ahead",
    "drop",
    "foreseen",
    "hookimpl",
    "kept",
    "most_rejects",
    "read_between",
    "setting",
    "tally",
    "write_rows",
]

if TYPE_CHECKING:
    from forge.core.ahead import ahead
    from forge.core.errors import (
        CheckFailed,
        ForgeError,
        Interrupted,
        ProviderBusy,
        ProviderRefused,
        Refused,
        StepError,
    )
    from forge.core.files import File, Files, read_between
    from forge.plugin.context import Artifact, LocalRun, Run, drop, kept, tally
    from forge.plugin.hookspecs import hookimpl
    from forge.plugin.protocols import Chat, Evaluation, Finding, Notice, Reject, Reply, Request, Restart
    from forge.plugin.registry import Register, foreseen, most_rejects, setting
    from forge.plugin.table import write_rows


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that a no-op build imports none of them."""
    from importlib import import_module

    if name not in _HOMES:
        message = f"module `forge` has no attribute `{name}`"
        raise AttributeError(message)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
