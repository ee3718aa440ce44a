"""Figures of replies against a schema, the wanted answers and a reference's replies."""

from __future__ import annotations

import json
from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import attrs

from forge import Finding
from forge_llm.check.labels import Labels, parse_reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Bound = float | bool

SAME = ("token_ids_equal", "template_equal", "end_token_equal")
"""What is either so or not."""

SHARES = (
    "json_valid",
    "keys_exact",
    "label_in_range",
    "stopped",
    "json_valid_free",
    "keys_exact_free",
    "label_in_range_free",
    "stopped_free",
    "accuracy",
    "accuracy_of_commonest",
    "agreement",
)
"""Shares from 0 to 1: more is better."""

ROWS = "rows"
DISTINCT = "distinct_replies"
"""How many different labellings were said: 1 is a model that says the same to everybody."""
ACCURACY, MAE = "_accuracy", "_mae"
"""Endings of the figures of single labels: a share, and a mean distance of integers (less is better)."""


@attrs.frozen
class Reply:
    """Hold what was said to one row: held by the grammar (if there is one), free, and by the reference."""

    row: int
    prompt: str
    expected: str
    text: str
    stopped: bool
    free: str
    free_stopped: bool
    reference: str | None = None


def names(labels: Labels) -> tuple[str, ...]:
    """Return every figure's name, in the order of the report."""
    single = [field.name + ACCURACY for field in labels.fields]
    single += [field.name + MAE for field in labels.fields if field.kind == "integer"]
    return (ROWS, DISTINCT, *SAME, *SHARES, *single)


def check_bounds(require: Mapping[str, Bound], labels: Labels) -> None:
    """Raise `ValueError` for a bound on nothing, and for one that no figure can be compared with."""
    known = names(labels)
    for name, bound in require.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"there is {', '.join(f'`{k}`' for k in known)}"
            raise ValueError(f"there is no figure `{name}`; {hint}")
        if isinstance(bound, bool) is not (name in SAME):
            wanted = "true or false" if name in SAME else "a number"
            raise ValueError(f"the bound of `{name}` must be {wanted}, got `{str(bound).lower()}`")
        share = name in SHARES or name.endswith(ACCURACY)
        if bound < 0 or (share and bound > 1):
            raise ValueError(f"the bound of `{name}` must be {'from 0 to 1' if share else '>= 0'}, got `{bound}`")


def judge(name: str, value: Any, require: Mapping[str, Bound], detail: str = "") -> Finding:
    """Set a figure beside its bound: equal for what is so or not, at most for distances, at least for the rest."""
    if name not in require:
        return Finding(name, value, detail=detail)
    bound = require[name]
    if value is None:
        return Finding(name, value, bound, passed=False, detail=detail or "nothing to measure it on")
    passed = value == bound if name in SAME else value <= bound if name.endswith(MAE) else value >= bound
    return Finding(name, value, bound, passed=bool(passed), detail=detail)


def figures(replies: Sequence[Reply], labels: Labels) -> dict[str, float | None]:
    """Return every share and distance by name; None where there is nothing to measure it on."""
    held = [parse_reply(reply.text) for reply in replies]
    free = [parse_reply(reply.free) for reply in replies]
    wanted = [parse_reply(reply.expected) for reply in replies]
    compared = [(parse_reply(reply.reference), said) for reply, said in zip(replies, held, strict=True)
                if reply.reference is not None]  # fmt: skip
    found: dict[str, float | None] = {}
    for ending, parsed in (("", held), ("_free", free)):
        found["json_valid" + ending] = _share(each is not None for each in parsed)
        found["keys_exact" + ending] = _share(each is not None and labels.keys_exact(each) for each in parsed)
        found["label_in_range" + ending] = _share(each is not None and labels.in_range(each) for each in parsed)
    found["stopped"] = _share(reply.stopped for reply in replies)
    found["stopped_free"] = _share(reply.free_stopped for reply in replies)
    pairs = list(zip(wanted, held, strict=True))
    found["accuracy"] = _equal(pairs, labels.names)
    found["accuracy_of_commonest"] = _equal([(each, _commonest(wanted, labels.names)) for each in wanted], labels.names)
    found["agreement"] = _equal(compared, labels.names)
    found[DISTINCT] = len({json.dumps(each, sort_keys=True) for each in held})
    for name in labels.names:
        found[name + ACCURACY] = _equal(pairs, (name,))
    for field in labels.fields:
        if field.kind == "integer":
            found[field.name + MAE] = _distance(pairs, field.name)
    return {name: None if value is None else round(value, 6) for name, value in found.items()}


def _commonest(wanted: Sequence[dict[str, Any] | None], keys: Sequence[str]) -> dict[str, Any]:
    """Return the labels of a model that knows nothing but what is said most often."""
    counts = {key: Counter(each[key] for each in wanted if each is not None and key in each) for key in keys}
    return {key: max(count, key=lambda value: (count[value], str(value))) for key, count in counts.items() if count}


def _share(hits: Iterable[bool]) -> float | None:
    values = list(hits)
    return sum(values) / len(values) if values else None


def _equal(pairs: Iterable[tuple[dict[str, Any] | None, dict[str, Any] | None]], keys: Sequence[str]) -> float | None:
    """Return the share of labels that are the same; a label that the wanted side does not have counts for nothing.

    Where the wanted side is no JSON at all, every label of that row counts as missed: nothing can agree with it.
    """
    hits: list[bool] = []
    for wanted, said in pairs:
        for key in keys:
            if wanted is None:
                hits.append(False)
            elif key in wanted:
                hits.append(said is not None and key in said and _same(wanted[key], said[key]))
    return _share(hits)


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


def _distance(pairs: Iterable[tuple[dict[str, Any] | None, dict[str, Any] | None]], key: str) -> float | None:
    """Return the mean distance of an integer label over the rows where both sides have one."""
    distances = [
        abs(wanted[key] - said[key])
        for wanted, said in pairs
        if wanted and said and type(wanted.get(key)) is int and type(said.get(key)) is int
    ]
    return sum(distances) / len(distances) if distances else None
