"""What a step's result depends on besides its inputs, its parameters and its code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forge.plugin.registry import StepType


def facts_of(found: StepType, instance: Any) -> dict[str, str]:
    """Return the versions and other facts that the step type declares its result to depend on."""
    facts = {name: _version_of(name) for name in found.facts}
    more = getattr(instance, "facts", None)
    return facts | (dict(more()) if callable(more) else {})


def _version_of(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # 20 ms, which most steps do without

    try:
        # a local version (`+cpu`) says how it was built, not what it computes
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return "not installed"
