"""Say why an action has another key than the last time: which part of it moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.core.action import Action, Fingerprints
    from forge.core.record import Record

_LONG = 40


def reason_of(action: Action, last: Record | None) -> str:
    """Return the first part of the key that moved, in a few words."""
    if last is None:
        return "never built"
    moved = differences(action.to_json(), last.action)
    if moved:
        return moved[0] + (f" and {len(moved) - 1} more" if len(moved) > 1 else "")
    return "the result is no longer in the store"


def differences(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """Return one phrase for every part that moved."""
    found: list[str] = []
    heads = [part for part in ("engine", "use", "version") if new.get(part) != old.get(part)]
    found += [f"{part}: {_short(old.get(part))} → {_short(new.get(part))}" for part in heads]
    found += _moved("params", new.get("params", {}), old.get("params", {}))
    found += [p.partition(":")[0] + " changed" for p in _moved("file", new.get("files", {}), old.get("files", {}))]
    found += _inputs(new.get("inputs", []), old.get("inputs", []))
    found += [p.partition(":")[0] + " changed" for p in _moved("code", new.get("code", {}), old.get("code", {}))]
    found += _moved("fact", new.get("facts", {}), old.get("facts", {}))
    return found


def definitions(new: Fingerprints, old: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the definitions whose code moved (``forge_text/filters.py: keep``)."""
    found = []
    for module in sorted(new.keys() | old.keys()):
        here, there = new.get(module, {}), old.get(module, {})
        names = [n for n in sorted(here.keys() | there.keys()) if here.get(n) != there.get(n)]
        file = module if module.endswith("/*") else module.replace(".", "/") + ".py"
        found += [f"code {file}: {name or 'module level'}" for name in names]
    return found


def _moved(what: str, new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    found = []
    for name in sorted(new.keys() | old.keys()):
        if name not in old:
            found.append(f"{what} {name}: default → {_short(new[name])}" if what == "params" else f"{what} {name}: new")
        elif name not in new:
            found.append(
                f"{what} {name}: {_short(old[name])} → default" if what == "params" else f"{what} {name}: gone"
            )
        elif new[name] != old[name]:
            found.append(f"{what} {name}: {_short(old[name])} → {_short(new[name])}")
    return [phrase.replace("params ", "params.", 1) for phrase in found]


def _inputs(new: list[list[str]], old: list[list[str]]) -> list[str]:
    if [n for n, _ in new] != [n for n, _ in old]:
        return ["inputs: others than before"]
    return [f"input {a[0] or 'rows'} changed" for a, b in zip(new, old, strict=True) if a != b]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
