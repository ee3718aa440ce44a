"""Step types by name, and the object through which plugins register them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from forge.core.errors import PluginError
from forge.plugin import protocols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Kind = Literal["source", "transform", "labeler", "trainer", "exporter", "check"]

VERBS: dict[Kind, tuple[tuple[str, type], ...]] = {
    "source": (("read", protocols.Source), ("fetch", protocols.FileSource)),
    "transform": (
        ("transform", protocols.Transform),
        ("merge", protocols.Merge),
        ("split", protocols.Split),
        ("make", protocols.Make),
    ),
    "labeler": (("request", protocols.Labeler), ("label", protocols.LocalLabeler)),
    "trainer": (("train", protocols.Trainer),),
    "exporter": (("export", protocols.Exporter),),
    "check": (("check", protocols.Check),),
}
"""The methods by which a class of each kind does its work; it has one of them."""

UNKEYED = "forge.unkeyed"

Method = TypeVar("Method", bound="Callable[..., Any]")

MOST_REJECTS = 0.01
"""The share of its records that a source may reject, where neither its class nor the manifest says otherwise."""


@attrs.frozen
class StepType:
    """Describe one registered step type.

    ``inputs`` names what ``from`` must give (a trailing ``?`` makes one optional); None takes any number.
    ``requires`` are modules that the step imports while it runs, ``extra`` what brings them; a class's own method
    ``spares()`` returns those that its parameters do without.
    ``facts`` are distributions whose version the result depends on.
    ``each_file`` promises of a source that its rows are those of its files, one after the other, each read for itself;
    ``rowwise`` of a transform that it makes one row of each, whatever the others are: what was done is not done again;
    ``in_parts`` that rows never look at one another, so that a large table is given to it a part at a time, and that
    of several tables it takes each by itself.
    ``previous`` names a part of the step's own result (a folder of it) that the next run is given as the input
    ``previous``, where the last build of the manifest left one; what it holds is in the key.
    ``heavy`` steps get the machine for themselves; ``network`` ones are refused by ``--offline``.
    """

    namespace: str
    name: str
    kind: Kind
    cls: type
    version: str
    verb: str
    inputs: tuple[str, ...] | None = None
    requires: tuple[str, ...] = ()
    extra: str = ""
    facts: tuple[str, ...] = ()
    heavy: bool = False
    network: bool = False
    each_file: bool = False
    rowwise: bool = False
    in_parts: bool = False
    previous: str = ""

    @property
    def use(self) -> str:
        """Return the name by which a manifest asks for it."""
        return f"{self.namespace}.{self.name}"

    @property
    def summary(self) -> str:
        """Return the first line of the class's docstring."""
        return (self.cls.__doc__ or "").strip().partition("\n")[0]


@attrs.define
class Register:
    """Collect the step types of one plugin; every hook gets one."""

    namespace: str
    types: dict[str, StepType] = attrs.Factory(dict)

    def source(self, name: str, cls: type, *, version: str, **options: Any) -> None:
        """Register a class with ``read`` or ``fetch``."""
        self._add("source", name, cls, version, options)

    def transform(self, name: str, cls: type, *, version: str, **options: Any) -> None:
        """Register a class with ``transform``, ``merge``, ``split`` or ``make``."""
        self._add("transform", name, cls, version, options)

    def labeler(self, name: str, cls: type, *, version: str, **options: Any) -> None:
        """Register a class with ``request``, ``ask`` and ``parse``, or with ``label``."""
        self._add("labeler", name, cls, version, options)

    def trainer(self, name: str, cls: type, *, version: str, **options: Any) -> None:
        """Register a class with ``train``."""
        self._add("trainer", name, cls, version, options)

    def exporter(self, name: str, cls: type, *, version: str, **options: Any) -> None:
        """Register a class with ``export``."""
        self._add("exporter", name, cls, version, options)

    def check(self, name: str, cls: type, *, version: str, **options: Any) -> None:
        """Register a class with ``check``."""
        self._add("check", name, cls, version, options)

    def _add(self, kind: Kind, name: str, cls: type, version: str, options: dict[str, Any]) -> None:
        use = f"{self.namespace}.{name}"
        if name in self.types:
            message = f"plugin `{self.namespace}` registers `{use}` twice"
            raise PluginError(message)
        if not attrs.has(cls):
            message = f"the class of `{use}` is not an attrs class"
            raise PluginError(message, hint=f"decorate `{cls.__name__}` with `@attrs.frozen`")
        verbs = [verb for verb, _ in VERBS[kind] if callable(getattr(cls, verb, None))]
        if len(verbs) != 1:
            wanted = ", ".join(f"`{verb}`" for verb, _ in VERBS[kind])
            message = f"the class of {kind} `{use}` must have one of the methods {wanted}, it has {len(verbs)}"
            raise PluginError(message)
        protocol = dict(VERBS[kind])[verbs[0]]
        if not _offers(cls, protocol):
            message = f"the class of `{use}` does not offer all methods of `{protocol.__name__}`"
            raise PluginError(message, hint=str(protocol.__doc__))
        if options.get("rowwise") and options.get("in_parts"):
            message = f"`{use}` is registered with both `rowwise` and `in_parts`"
            raise PluginError(
                message, hint="`rowwise` keeps what each row gave, and looks at all rows for it: take one"
            )
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        self.types[name] = StepType(self.namespace, name, kind, cls, version, verbs[0], **options)


def _offers(cls: type, protocol: type) -> bool:
    methods: Iterable[str] = (n for n, v in vars(protocol).items() if callable(v) and not n.startswith("_"))
    return all(callable(getattr(cls, name, None)) for name in methods)


def foreseen(method: Method) -> Method:
    """Mark a class's `facts` or `files` whose answer depends on devices and on the files that it names alone.

    A build in which nothing changed is then answered without asking it; any other is asked in every build.
    """
    method.foreseen = True  # type: ignore[attr-defined]
    return method


def setting(default: Any, *, validator: Callable[..., Any] | None = None) -> Any:
    """Declare a parameter that never changes a result, so it is in no action key (a worker count, a log interval)."""
    if isinstance(default, (list, dict)):
        return attrs.field(factory=default.copy, validator=validator, metadata={UNKEYED: True})
    return attrs.field(default=default, validator=validator, metadata={UNKEYED: True})


def most_rejects() -> Any:
    """Declare a source's parameter ``most_rejects: float``: the share of its records that it may reject.

    The engine holds every source that reads rows to it, to 1 % where the class does not declare it; one reject alone
    fails a step only if the share is 0.
    """
    bounds = attrs.validators.and_(attrs.validators.ge(0.0), attrs.validators.le(1.0))
    return attrs.field(default=MOST_REJECTS, kw_only=True, validator=bounds)
