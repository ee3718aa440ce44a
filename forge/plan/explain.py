"""Say why an action has another key than the last time: which part of it moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from forge.plugin.fingerprint import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forge.core.action import Action, Fingerprints
    from forge.core.artifact import Member, Tree
    from forge.core.record import Record

_LONG = 40
_FEW = 3
"""Files of one tree that are named; the others are counted."""


def reason_of(action: Action, last: Record | None) -> str:
    """Return the first part of the key that moved, in a few words."""
    if last is None:
        return "never built"
    return shortened(differences(action.to_json(), last.action)) or "the result is no longer in the store"


def shortened(moved: Sequence[str]) -> str:
    """Return the first of the parts that moved, and how many more there are."""
    return (moved[0] + (f" and {len(moved) - 1} more" if len(moved) > 1 else "")) if moved else ""


@attrs.frozen
class Names:
    """Hold what lets the parts of a key be named more closely than by themselves.

    ``tree`` finds an artifact or a tree of files by its digest, or None; ``step`` is the step's name where it is a
    source; ``inputs`` are the names of its inputs in the order of ``from``; ``files`` maps the parameters that hold
    one file to its name; ``code`` and ``old_code`` are fingerprints then and now.
    """

    tree: Callable[[str], Tree | None] = lambda _: None
    step: str = ""
    inputs: Sequence[str] = ()
    files: Mapping[str, str] = attrs.Factory(dict)
    code: Mapping[str, Mapping[str, str]] = attrs.Factory(dict)
    old_code: Mapping[str, Mapping[str, str]] = attrs.Factory(dict)


def differences(new: Mapping[str, Any], old: Mapping[str, Any], names: Names | None = None) -> list[str]:
    """Return one phrase for every part that moved (``params.least: 1 → 2``)."""
    names = names or Names()
    found = own_differences(new, old, names)
    place = next((i for i, phrase in enumerate(found) if phrase.startswith(("code ", "fact "))), len(found))
    return found[:place] + _inputs(new.get("inputs", []), old.get("inputs", []), names) + found[place:]


def own_differences(new: Mapping[str, Any], old: Mapping[str, Any], names: Names) -> list[str]:
    """Return one phrase for every part that moved and that comes from no other step."""
    heads = [part for part in ("engine", "use", "version") if new.get(part) != old.get(part)]
    found = [f"{part}: {_short(old.get(part))} → {_short(new.get(part))}" for part in heads]
    found += _moved("params", new.get("params", {}), old.get("params", {}))
    found += _files(new.get("files", {}), old.get("files", {}), names)
    found += _code(new.get("code", {}), old.get("code", {}), names)
    return found + _moved("fact", new.get("facts", {}), old.get("facts", {}))


def definitions(new: Fingerprints, old: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the definitions whose code moved (``code forge_text/filters.py: function keep``)."""
    found = []
    for module in sorted(new.keys() | old.keys()):
        here, there = new.get(module, {}), old.get(module, {})
        for definition in sorted(here.keys() | there.keys()):
            if here.get(definition) != there.get(definition):
                gone = " is gone" if definition not in here else ""
                found.append(f"code {name_of(module, definition)}{gone}")
    return found


def member_differences(new: Mapping[str, Member], old: Mapping[str, Member]) -> str:
    """Return which files came, went and changed (``a.json changed, b.txt added``); long lists end in counts."""
    words = {n: "changed" for n in new.keys() & old.keys() if new[n].digest != old[n].digest}
    words |= dict.fromkeys(new.keys() - old.keys(), "added") | dict.fromkeys(old.keys() - new.keys(), "removed")
    if not words and new.keys() == old.keys():
        words = {n: "may be executed" if new[n].executable else "may not be executed" for n in new if new[n] != old[n]}
    listed = [f"{name} {words[name]}" for name in sorted(words)]
    rest = [words[name] for name in sorted(words)[_FEW:]]
    counts = ", ".join(f"{rest.count(word):,} {word}" for word in dict.fromkeys(rest))
    return ", ".join(listed[:_FEW]) + (f" and {len(rest):,} more ({counts})" if rest else "")


def _files(new: Mapping[str, str], old: Mapping[str, str], names: Names) -> list[str]:
    found = []
    for parameter in sorted(new.keys() | old.keys()):
        if new.get(parameter) == old.get(parameter):
            continue
        what = f"input {names.step}" if names.step else f"file {parameter}"
        if parameter not in old or parameter not in new:
            found.append(f"{what}: new" if parameter in new else f"{what}: gone")
            continue
        here, there = names.tree(new[parameter]), names.tree(old[parameter])
        detail = member_differences(here.members, there.members) if here and there else ""
        if here and list(here.members) == ["file"]:
            # a lone file is known by its bytes: only the manifest knows its name
            detail = f"{names.files[parameter]} changed" if parameter in names.files else ""
        found.append(f"{what}: {detail}" if detail else f"{what} changed")
    return found


def _inputs(new: Sequence[Sequence[str]], old: Sequence[Sequence[str]], names: Names) -> list[str]:
    if [n for n, _ in new] != [n for n, _ in old]:
        return [f"inputs: {len(old)} → {len(new)}" if len(new) != len(old) else "inputs: others than before"]
    found = []
    for index, (now, then) in enumerate(zip(new, old, strict=True)):
        if list(now) == list(then):
            continue
        called = names.inputs[index] if index < len(names.inputs) else now[0] or "rows"
        here, there = names.tree(now[1]), names.tree(then[1])
        detail = member_differences(here.members, there.members) if here and there else ""
        found.append(f"input {called}: {detail}" if detail else f"input {called} changed")
    return found


def _code(new: Mapping[str, str], old: Mapping[str, str], names: Names) -> list[str]:
    if new == old:
        return []
    named = definitions({m: dict(d) for m, d in names.code.items()}, names.old_code) if names.old_code else []
    return named or [phrase.partition(":")[0] + " changed" for phrase in _moved("code", new, old)]


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


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
