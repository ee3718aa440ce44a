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

SAME = ("template_equal", "tokenizer_equal", "token_ids_equal", "end_token_equal", "weights_equal")
"""What is either so or not, of a file beside the model that it was made of."""

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
    "accuracy_free",
    "macro_f1",
    "macro_f1_free",
    "accuracy_of_commonest",
    "agreement",
)
"""Shares from 0 to 1: more is better."""

POSITIONS = ("ends", "answer_top1", "top1", "top1_answers")
"""Shares of positions: where the wanted answer ends the end is likeliest; its tokens are; both models say the same."""

LOSSES = ("answer_loss", "perplexity", "kl", "kl_answers")
"""Nats of a wanted token and their exponential, nats from the other model: less is better."""

MEASURED = ("tokens_per_second", "prompt_tokens_per_second", "seconds_per_row", "load_seconds", "peak_memory_mb")
"""What differs from machine to machine: it lies in the run record, not in the receipt."""

ROWS = "rows"
COMMONEST = "accuracy_of_commonest"
"""What a model reaches that always says the commonest labels."""
BELOW = "below what always saying the commonest answer reaches"
DISTINCT = "distinct_replies"
"""How many different labellings were said: 1 is a model that says the same to everybody."""
ACCURACY, F1, MAE = "_accuracy", "_f1", "_mae"
"""Endings of the figures of single labels: shares, and a mean distance of integers (less is better)."""
DISTANCES = ("mae", "mae_free")
"""Mean distances over all integer labels."""
_OF_LABELS = ("json_valid", "keys_exact", "label_in_range", "accuracy", "macro_f1", "mae")


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


def names(labels: Labels | None) -> tuple[str, ...]:
    """Return every figure's name, in the order of the report; without labels, of replies that are plain text."""
    if labels is None:
        plain = [name for name in SHARES if not name.startswith(_OF_LABELS) and not name.endswith("_free")]
        return (ROWS, DISTINCT, *SAME, *plain, *POSITIONS, *LOSSES)
    single = [field.name + ACCURACY for field in labels.fields]
    single += [field.name + F1 for field in labels.fields if field.few]
    single += [field.name + MAE for field in labels.fields if field.kind == "integer"]
    return (ROWS, DISTINCT, *SAME, *SHARES, *DISTANCES, *single, *POSITIONS, *LOSSES)


def is_share(name: str) -> bool:
    """Say whether a figure lies between 0 and 1, more being better."""
    return name in (*SHARES, *POSITIONS) or name.endswith((ACCURACY, F1))


def _of_labels(name: str) -> bool:
    """Say whether a figure is there only where replies are labels."""
    return name.startswith(_OF_LABELS) or name.endswith(("_free", ACCURACY, F1, MAE))


def check_bounds(require: Mapping[str, Bound], labels: Labels | None) -> None:
    """Raise `ValueError` for a bound on nothing, and for one that no figure can be compared with.

    ``Q4_K_M.accuracy`` is the figure of one file, ``reference.accuracy`` that of the model that it was made of.
    """
    known = names(labels)
    for full, bound in require.items():
        name = full.rpartition(".")[2]
        if labels is None and name not in known and _of_labels(name):
            raise ValueError(
                f"`{full}` is a figure of labels, and no `schema` says what they are; "
                "name the JSON Schema of the answers, or leave the bound out: without a schema replies are text"
            )
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"there is {', '.join(f'`{k}`' for k in known)}"
            if name in MEASURED:
                hint = "how fast a machine is, and how much it holds, is measured and can't be required"
            raise ValueError(f"there is no figure `{name}`; {hint}")
        if isinstance(bound, bool) is not (name in SAME):
            wanted = "true or false" if name in SAME else "a number"
            raise ValueError(f"the bound of `{name}` must be {wanted}, got `{str(bound).lower()}`")
        if bound < 0 or (is_share(name) and bound > 1):
            raise ValueError(
                f"the bound of `{name}` must be {'from 0 to 1' if is_share(name) else '>= 0'}, got `{bound}`"
            )


def judge(name: str, value: Any, require: Mapping[str, Bound], detail: str = "") -> Finding:
    """Set a figure beside its bound: equal for what is so or not, at most for distances, at least for the rest."""
    if name not in require:
        return Finding(name, value, detail=detail)
    bound = require[name]
    if value is None:
        return Finding(name, value, bound, passed=False, detail=detail or "nothing to measure it on")
    less = name in (*DISTANCES, *LOSSES) or name.endswith(MAE)
    passed = value == bound if name in SAME else value <= bound if less else value >= bound
    return Finding(name, value, bound, passed=bool(passed), detail=detail)


def figures(replies: Sequence[Reply], labels: Labels | None) -> dict[str, float | None]:
    """Return every share and distance by name; None where there is nothing to measure it on.

    Without *labels* the replies are plain text, and ``agreement`` is the share that the reference says word by word.
    """
    found: dict[str, float | None] = {"stopped": _share(reply.stopped for reply in replies)}
    if labels is None:
        found[DISTINCT] = len({reply.text for reply in replies})
        found["agreement"] = _share(r.text == r.reference for r in replies if r.reference is not None)
        return {name: None if value is None else round(value, 6) for name, value in found.items()}
    held = [parse_reply(reply.text) for reply in replies]
    free = [parse_reply(reply.free) for reply in replies]
    wanted = [parse_reply(reply.expected) for reply in replies]
    compared = [(parse_reply(reply.reference), said) for reply, said in zip(replies, held, strict=True)
                if reply.reference is not None]  # fmt: skip
    for ending, parsed in (("", held), ("_free", free)):
        pairs = list(zip(wanted, parsed, strict=True))
        found["json_valid" + ending] = _share(each is not None for each in parsed)
        found["keys_exact" + ending] = _share(each is not None and labels.keys_exact(each) for each in parsed)
        found["label_in_range" + ending] = _share(each is not None and labels.in_range(each) for each in parsed)
        found["accuracy" + ending] = _equal(pairs, labels.names)
        found["macro_f1" + ending] = _mean(macro_f1(pairs, field.name) for field in labels.fields if field.few)
        found["mae" + ending] = _mean(
            _distance(pairs, field.name) for field in labels.fields if field.kind == "integer"
        )
    found["stopped_free"] = _share(reply.free_stopped for reply in replies)
    found[COMMONEST] = _equal([(each, _commonest(wanted, labels.names)) for each in wanted], labels.names)
    found["agreement"] = _equal(compared, labels.names)
    found[DISTINCT] = len({json.dumps(each, sort_keys=True) for each in held})
    pairs = list(zip(wanted, held, strict=True))
    for field in labels.fields:
        found[field.name + ACCURACY] = _equal(pairs, (field.name,))
        if field.few:
            found[field.name + F1] = macro_f1(pairs, field.name)
        if field.kind == "integer":
            found[field.name + MAE] = _distance(pairs, field.name)
    return {name: None if value is None else round(value, 6) for name, value in found.items()}


def below_commonest(values: Mapping[str, Any]) -> list[str]:
    """Return whose accuracy (``Q4_K_M``, ``reference``) is below what always saying the commonest answer reaches."""
    least = values.get(COMMONEST)
    whose = {name.removesuffix(".accuracy"): value for name, value in values.items() if name.endswith(".accuracy")}
    return [of for of, value in whose.items() if least is not None and value is not None and value < least]


def macro_f1(pairs: Sequence[tuple[dict[str, Any] | None, dict[str, Any] | None]], key: str) -> float | None:
    """Return the mean F1 of one label over the values that were wanted or said, each counting the same.

    The F1 of a value is twice the rows where it was both, by the rows where it was wanted plus those where it was said.
    """
    both: Counter[str] = Counter()
    either: Counter[str] = Counter()
    for wanted, said in pairs:
        if wanted is None or key not in wanted:
            continue
        right, given = json.dumps(wanted[key]), None if said is None or key not in said else json.dumps(said[key])
        either[right] += 1
        if given is not None:
            either[given] += 1
            both[right] += right == given
    return _mean(2 * both[value] / count for value, count in either.items())


def _commonest(wanted: Sequence[dict[str, Any] | None], keys: Sequence[str]) -> dict[str, Any]:
    """Return the labels of a model that knows nothing but what is said most often."""
    counts = {key: Counter(each[key] for each in wanted if each is not None and key in each) for key in keys}
    return {key: max(count, key=lambda value: (count[value], str(value))) for key, count in counts.items() if count}


def _share(hits: Iterable[bool]) -> float | None:
    values = list(hits)
    return sum(values) / len(values) if values else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


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
