"""Structure values strictly: the hooks that take cattrs' leniency away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, ClassValidationError, IterableValidationError
from cattrs.gen import make_dict_structure_fn

from forge.core.fence import Fence
from forge.core.files import File, Files
from forge.plugin.complaints import is_literal, is_sequence, is_table, is_union, toml_text, type_name

_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


@lru_cache(maxsize=8)
def strict_converter(root: Path, fence: Fence | None = None) -> cattrs.Converter:
    """Return a converter that looks files up below *root* and takes nothing for what it is not.

    With a *fence* values come out of a manifest: paths must stay inside, and files come by their paths alone.
    """
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)

    def primitive(wanted: type) -> Any:
        def hook(value: Any, _: Any) -> Any:
            fits = isinstance(value, wanted) or (wanted is float and isinstance(value, int))
            if not fits or (isinstance(value, bool) and wanted is not bool):
                raise TypeError(f"must be {_WORDS[wanted]}, got `{toml_text(value)}`")
            return wanted(value)

        return hook

    for wanted in _WORDS:
        converter.register_structure_hook(wanted, primitive(wanted))
    converter.register_structure_hook(File, lambda value, _: _file(value, root, fence))
    converter.register_structure_hook(Files, lambda value, _: _files(value, root, fence))
    converter.register_structure_hook_func(is_literal, _literal)
    converter.register_structure_hook_factory(is_union, lambda t: _union(t, converter))
    converter.register_structure_hook_factory(is_sequence, lambda t: _sequence(t, converter))
    converter.register_structure_hook_factory(is_table, lambda t: _table(t, converter))
    return converter


def _table(wanted: Any, converter: cattrs.Converter) -> Any:
    """Structure a nested class or a table of values; cattrs' own way does not name a value that is neither."""
    inner = make_dict_structure_fn(wanted, converter, _cattrs_forbid_extra_keys=True) if attrs.has(wanted) else None

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"must be a table, got `{toml_text(value)}`")
        if inner is not None:
            return inner(value, wanted)
        return dict(zip(map(str, value), _each(value.items(), get_args(wanted)[1], converter, wanted), strict=True))

    return hook


def _each(entries: Iterable[tuple[Any, Any]], element: Any, converter: cattrs.Converter, wanted: Any) -> list[Any]:
    """Structure every entry, or raise all their errors, each noting its key."""
    done, errors = [], []
    for key, entry in entries:
        try:
            done.append(converter.structure(entry, element))
        except (ValueError, TypeError, IterableValidationError, ClassValidationError) as error:
            error.add_note(AttributeValidationNote("", str(key), element))
            errors.append(error)
    if errors:
        raise ClassValidationError("while structuring entries", errors, wanted)
    return done


def _literal(value: Any, wanted: Any) -> Any:
    choices = get_args(wanted)
    if any(value == choice and type(value) is type(choice) for choice in choices):
        return value
    raise ValueError(f"must be one of {', '.join(f'`{toml_text(c)}`' for c in choices)}, got `{toml_text(value)}`")


def _union(wanted: Any, converter: cattrs.Converter) -> Any:
    def hook(value: Any, _: Any) -> Any:
        if value is None and type(None) in get_args(wanted):
            return None
        problems = []
        for choice in get_args(wanted):
            if choice is type(None):
                continue
            try:
                return converter.structure(value, choice)
            except (ValueError, TypeError, IterableValidationError, ClassValidationError) as error:
                problems.append(error)
        told = [problem for problem in problems if not isinstance(problem, TypeError)]
        if len(problems) == 1 or (len(told) == 1 and (isinstance(value, Mapping) or File in get_args(wanted))):
            raise (told or problems)[0]  # of a file or a table it is known what is wrong inside
        raise TypeError(f"must be {type_name(wanted)}, got `{toml_text(value)}`")

    return hook


def _sequence(wanted: Any, converter: cattrs.Converter) -> Any:
    arguments = [a for a in get_args(wanted) if a is not Ellipsis]
    kind = get_origin(wanted) or wanted

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise TypeError(f"must be a list, got `{toml_text(value)}`")
        return kind(_each(enumerate(value), arguments[0] if arguments else Any, converter, wanted))

    return hook


def _file(value: Any, root: Path, fence: Fence | None) -> File:
    if fence is None and isinstance(value, Mapping) and set(value) == {"file"}:
        return File(value["file"][0], Path(value["file"][1]))
    if not isinstance(value, str):
        raise TypeError(f"must be the path of a file, got `{toml_text(value)}`")
    if fence is not None:
        fence.check(value)
    path = root / value
    if not path.is_file():
        raise ValueError(f"there is no file `{value}` below `{root}`")
    return File(path.name, path)


def _files(value: Any, root: Path, fence: Fence | None) -> Files:
    if fence is None and isinstance(value, Mapping) and set(value) == {"files", "pattern"}:
        return Files(value["pattern"], tuple(File(name, Path(path)) for name, path in value["files"]))
    if not isinstance(value, str):
        raise TypeError(f"must be a path or a glob, got `{toml_text(value)}`")
    if not value.strip():
        raise ValueError("must be a path or a glob, got an empty string")
    if fence is not None:
        fence.check(value)
    files = Files.match(value, root)
    if not files:
        raise ValueError(f"no file matches `{value}` below `{root}`")
    if fence is not None:
        fence.check_links(files)
    return files
