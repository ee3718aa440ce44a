"""Sweeps: a step that is declared with several values becomes one step for each point, before plugins are asked.

``[trainers.lora.sweep]`` with ``r = [8, 16]`` makes `lora[r=8]` and `lora[r=16]`. A step that takes `lora[*]` follows:
it too becomes a step for each point. A step that takes `lora` gets the point whose figure is best, by an engine-made
step of that name, where the sweep says ``lowest`` or ``highest``.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import Problem
from forge.core.step import split_reference
from forge.core.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from forge.core.manifest import Manifest, StepTable

BEST = "sweep.best"
"""The step type that passes the best of several artifacts on."""
_POINTS, _LOWEST, _HIGHEST = "points", "lowest", "highest"
_EVERY = "*"
_PLAIN = re.compile(r"[A-Za-z0-9_.+:@-]+\Z")
"""Texts that stand in a step's name as they are; another value is named by its place."""

Axis = tuple[str, str]
"""What is swept: the step that declares it, and the parameter."""


@attrs.frozen
class Point:
    """Hold one point of a sweep: the step's name, and what is swept as it is shown, by the parameters' names."""

    step: str
    shown: Mapping[str, str]


@attrs.frozen
class Sweep:
    """Hold a swept step's points, and the figure by which the best is told, if any is."""

    name: str
    points: tuple[Point, ...]
    metric: str = ""
    lowest: bool = True

    def at(self, selector: str) -> list[str]:
        """Return the steps of the points that *selector* (``r=8,alpha=16``, or ``*``) picks."""
        if selector == _EVERY:
            return [point.step for point in self.points]
        wanted = [each.partition("=") for each in selector.split(",")]
        return [
            point.step
            for point in self.points
            if all(point.shown.get(name.strip()) in (value.strip(), _spelled(value)) for name, _, value in wanted)
        ]


def named(sweeps: Mapping[str, Sweep], target: str) -> list[str]:
    """Return the steps that *target* names; a sweep without a best is all its points."""
    step, selector = _parts(split_reference(target)[0])
    sweep = sweeps.get(step)
    if sweep is None:
        return [split_reference(target)[0]]
    if selector is not None:
        return sweep.at(selector)
    return [step] if sweep.metric else [point.step for point in sweep.points]


def expand(manifest: Manifest) -> tuple[Manifest, dict[str, Sweep], list[Problem]]:
    """Return *manifest* with a step for each point, the sweeps by their steps' names, and what is wrong with them."""
    swept = any("sweep" in table.values for table in manifest.steps)
    if not swept and not any("[" in each for table in manifest.steps for each in _references(table.values.get("from"))):
        return manifest, {}, []
    expander = _Expander(manifest, {table.name: table for table in manifest.steps})
    steps = tuple(step for table in manifest.steps for step in expander.steps_of(table))
    return attrs.evolve(manifest, steps=steps), expander.sweeps, expander.problems


@attrs.frozen
class _Spot:
    """Hold a point while it is made: the label on each axis, and the values of its own step's parameters."""

    labels: Mapping[Axis, str]
    values: Mapping[str, Any]


@attrs.define
class _Expander:
    manifest: Manifest
    tables: Mapping[str, StepTable]
    sweeps: dict[str, Sweep] = attrs.Factory(dict)
    problems: list[Problem] = attrs.Factory(list)
    _spots: dict[str, list[_Spot]] = attrs.Factory(dict)

    def problem(self, table: StepTable, key: str, message: str, hint: str | None = None) -> None:
        place = table.place_of(key)
        self.problems.append(Problem(message, place.file, place.line, table.name, hint))

    # ---------------------------------------------------------------- points

    def spots(self, name: str, trail: tuple[str, ...] = ()) -> list[_Spot]:
        """Return the points of a step, none where it is not swept; those that it follows come first."""
        if name in self._spots:
            return self._spots[name]
        if name in trail:
            return []  # steps that wait for each other are told of elsewhere
        table = self.tables[name]
        contexts: list[Mapping[Axis, str]] = [{}]
        follows = False
        for reference in _references(table.values.get("from")):
            step, selector = _parts(split_reference(reference)[0])
            if selector == _EVERY and step in self.tables and (leading := self.spots(step, (*trail, name))):
                contexts, follows = _joined(contexts, [spot.labels for spot in leading]), True
        own = self._own(table) if "sweep" in table.values else []
        if own or follows:
            made = [
                _Spot({**context, **spot.labels}, spot.values)
                for context in contexts
                for spot in own or [_Spot({}, {})]
            ]
            self._spots[name] = made
            metric, lowest = self._best(table)
            self.sweeps[name] = Sweep(name, tuple(_points(name, made)), metric, lowest)
            doubled = [step for step, count in Counter(p.step for p in self.sweeps[name].points).items() if count > 1]
            if doubled:
                self.problem(table, "sweep", f"the point `{doubled[0]}` is there twice")
        else:
            self._spots[name] = []
            if "sweep" in table.values and not any(problem.step == name for problem in self.problems):
                self.problem(table, "sweep", "`sweep` names no parameter", "list its values, such as `r = [8, 16]`")
        return self._spots[name]

    def _own(self, table: StepTable) -> list[_Spot]:
        """Return what the step's own `sweep` declares: a grid of lists, points, or both."""
        swept = table.values["sweep"]
        if not isinstance(swept, dict):
            self.problem(table, "sweep", f"`sweep` must be a table, got `{swept!r}`")
            return []
        grid = {name: values for name, values in swept.items() if name not in (_POINTS, _LOWEST, _HIGHEST)}
        for name, values in grid.items():
            if not isinstance(values, list) or not values:
                self.problem(table, "sweep", f"`{name}` must be a list of values, got `{values!r}`")
                return []
        points = swept.get(_POINTS, [{}])
        if not isinstance(points, list) or not points or not all(isinstance(point, dict) for point in points):
            self.problem(table, "sweep", f"`points` must be a list of tables, got `{points!r}`")
            return []
        found = [
            {**point, **dict(zip(grid, values, strict=True))}
            for point in points
            for values in itertools.product(*grid.values())
        ]
        taken = {name for values in found for name in values} & {"use", "sweep"}
        if taken:
            self.problem(table, "sweep", f"`{min(taken)}` can't be swept")
            return []
        labels = {name: _labels([v[name] for v in found if name in v]) for name in {n: 0 for v in found for n in v}}
        spots = [_Spot({(table.name, n): labels[n][_place(value)] for n, value in v.items()}, v) for v in found]
        return [spot for spot in spots if spot.values]

    def _best(self, table: StepTable) -> tuple[str, bool]:
        """Return the figure by which the best point is told, and whether low is good."""
        swept = table.values.get("sweep")
        swept = swept if isinstance(swept, dict) else {}
        said = {key: swept[key] for key in (_LOWEST, _HIGHEST) if key in swept}
        if len(said) > 1:
            self.problem(table, "sweep", "give one of `lowest` and `highest`")
        for key, metric in said.items():
            if isinstance(metric, str) and metric:
                return metric, key == _LOWEST
            self.problem(table, "sweep", f"`{key}` must name a figure, got `{metric!r}`")
        return "", True

    # ---------------------------------------------------------------- steps

    def steps_of(self, table: StepTable) -> Iterator[StepTable]:
        """Yield the steps that *table* becomes."""
        values = {key: value for key, value in table.values.items() if key != "sweep"}
        spots = self.spots(table.name)
        if not spots:
            yield attrs.evolve(table, values=self._with_inputs(table, values, {}))
            return
        sweep = self.sweeps[table.name]
        swept = {name: table.place_of("sweep") for spot in spots for name in spot.values}
        for name in swept:
            if table.place_of(name).file.startswith("--set ") and name in table.places:
                message = f"`--set {table.name}.{name}` changes nothing: `{name}` is swept"
                self.problem(table, name, message, f"set `{table.name}.sweep.{name}`")
        for spot, point in zip(spots, sweep.points, strict=True):
            own = self._with_inputs(table, {**values, **spot.values}, spot.labels)
            yield attrs.evolve(table, name=point.step, values=own, places={**table.places, **swept})
        if sweep.metric:
            inputs = {point.step[len(table.name) + 1 : -1]: point.step for point in sweep.points}
            best = {"from": inputs, "metric": sweep.metric, "lowest": sweep.lowest}
            place = {"from": table.place_of("sweep"), "metric": table.place_of("sweep")}
            yield attrs.evolve(table, kind="exporter", use=BEST, values=best, places=place)

    def _with_inputs(
        self, table: StepTable, values: Mapping[str, Any], labels: Mapping[Axis, str]
    ) -> Mapping[str, Any]:
        """Return *values* with every reference to a sweep replaced by the step that it means at *labels*."""
        given = values.get("from")
        if isinstance(given, str):
            return {**values, "from": self._meant(table, given, labels)}
        if isinstance(given, list):
            return {**values, "from": [self._meant(table, each, labels) for each in given]}
        if isinstance(given, dict):
            return {**values, "from": {name: self._meant(table, each, labels) for name, each in given.items()}}
        return values

    def _meant(self, table: StepTable, reference: Any, labels: Mapping[Axis, str]) -> Any:
        if not isinstance(reference, str):
            return reference
        whole, part = split_reference(reference)
        step, selector = _parts(whole)
        if step not in self.tables:
            return reference
        spots = self.spots(step)
        behind = f".{part}" if part else ""
        if not spots:
            if selector is not None:
                self.problem(table, "from", f"`{step}` is no sweep", f"name `{step}{behind}`")
            return step + behind
        sweep = self.sweeps[step]
        if selector is None and sweep.metric:
            return reference
        if selector == _EVERY:
            fits = zip(spots, sweep.points, strict=True)
            steps = [p.step for s, p in fits if all(labels.get(axis) == label for axis, label in s.labels.items())]
        else:
            steps = sweep.at(selector) if selector is not None else []
        if len(steps) != 1:
            self._ambiguous(table, reference, sweep, steps, behind)
        return (steps or [sweep.points[0].step])[0] + behind

    def _ambiguous(self, table: StepTable, reference: str, sweep: Sweep, steps: Sequence[str], behind: str) -> None:
        count = len(sweep.points)
        first = (steps or [sweep.points[0].step])[0] + behind
        if "[" not in reference:
            hint = (
                f'say which is best by `lowest = "…"` in its `sweep`, name one as `{first}`, or all as '
                f"`{sweep.name}[*]{behind}`"
            )
            self.problem(table, "from", f"`{sweep.name}` is a sweep of {count} points", hint)
        elif steps:
            self.problem(
                table, "from", f"`{reference}` names {len(steps)} points of `{sweep.name}`", f"such as `{first}`"
            )
        else:
            hint = did_you_mean(reference, [p.step for p in sweep.points]) or f"there is `{first}`"
            self.problem(table, "from", f"`{reference}` names no point of `{sweep.name}`", hint)


def _references(given: Any) -> Iterator[str]:
    several: Iterable[Any] = (
        given.values() if isinstance(given, dict) else given if isinstance(given, list) else [given]
    )
    yield from (each for each in several if isinstance(each, str))


def _parts(step: str) -> tuple[str, str | None]:
    """Return a step's name and what stands in brackets behind it."""
    name, bracket, selector = step.partition("[")
    return (name, selector.removesuffix("]")) if bracket else (name, None)


def _joined(contexts: Sequence[Mapping[Axis, str]], others: Sequence[Mapping[Axis, str]]) -> list[Mapping[Axis, str]]:
    """Return each context with each of the others that has the same labels on the axes that both have."""
    found = [
        {**context, **other}
        for context in contexts
        for other in others
        if all(context.get(axis, label) == label for axis, label in other.items())
    ]
    return list({tuple(each.items()): each for each in found}.values())


def _points(name: str, spots: Sequence[_Spot]) -> Iterator[Point]:
    axes = list(dict.fromkeys(axis for spot in spots for axis in spot.labels))
    shared = Counter(parameter for _, parameter in axes)
    called = {axis: axis[1] if shared[axis[1]] == 1 else f"{axis[0]}:{axis[1]}" for axis in axes}
    for spot in spots:
        shown = {called[axis]: label for axis, label in spot.labels.items()}
        yield Point(f"{name}[{','.join(f'{n}={label}' for n, label in shown.items())}]", shown)


def _labels(values: Sequence[Any]) -> dict[str, str]:
    """Return how each of an axis's values is called, by `_place`."""
    different = {_place(value): value for value in values}
    called = {place: _text(value) for place, value in different.items()}
    twice = Counter(called.values())
    return {
        place: text if text and twice[text] == 1 else f"#{number}"
        for number, (place, text) in enumerate(called.items(), start=1)
    }


def _place(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"


def _text(value: Any) -> str:
    """Return a value as it stands in a step's name; empty for one that can't."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    last = value.rpartition("/")[2] if isinstance(value, str) else ""
    return last if _PLAIN.match(last) else ""


def _spelled(value: str) -> str:
    """Return a selector's value as a label spells it: ``1e-4`` is ``0.0001``."""
    import tomllib

    try:
        return _text(tomllib.loads(f"value = {value}")["value"])
    except tomllib.TOMLDecodeError:
        return value.strip()
