"""Import data sets that LLaMA-Factory knows, as conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import min_len

import forge
from forge_llamafactory.registry import Entry, entry_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_FILE, _INDEX = "__file__", "__index__"
_PLACEHOLDER = r"\{\{(?:name|author)\}\}"


@attrs.frozen(kw_only=True)
class Dataset:
    """Read data sets by their names in LLaMA-Factory's ``dataset_info.json``.

    ``id, source, topic, system, conversation[role, text]``, ``source`` the name of the set. Formatting alpaca (with
    query, history and system) and sharegpt (with tags) is read as LLaMA-Factory does, from JSON, JSON Lines, CSV and
    Parquet beside the registry. Sets on a hub, for ranking or pre-training, with tools or media are refused by name.
    """

    info: forge.File
    dataset: tuple[str, ...] = attrs.field(validator=min_len(1))
    most_rejects: float = forge.most_rejects()

    @forge.foreseen
    def files(self) -> tuple[forge.File, ...]:
        """Return the files of the data sets; refuses those that can't be imported before anything runs."""
        folder = self.info.path.parent
        paths = dict.fromkeys(path for name in self.dataset for path in entry_of(self.info.path, name).paths)
        return tuple(forge.File(path.relative_to(folder).as_posix(), path) for path in paths)

    def read(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject]:
        """Yield the conversations of each set, after its rejects."""
        import polars as pl

        for done, name in enumerate(self.dataset, start=1):
            entry = entry_of(self.info.path, name)
            for item in self._raw(entry, run):
                if isinstance(item, forge.Reject):
                    yield item
                    continue
                marked = _dialogues(entry, item)
                refused = marked["__dropped__"].is_not_null()
                reasons = marked.filter(refused)["__dropped__"]
                for reason, row in zip(reasons, item.filter(refused).iter_rows(named=True), strict=True):
                    yield _reject(reason, row)
                rows = marked.filter(pl.col("__dropped__").is_null()).select(
                    "id", "source", "topic", "system", "conversation"
                )
                _warn_of_placeholders(rows, name, run)
                yield rows
            run.progress(done, len(self.dataset))

    def _raw(self, entry: Entry, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject]:
        from forge_files.csv_source import FilesCsv
        from forge_files.json_source import FilesJson, FilesJsonl
        from forge_files.parquet_source import FilesParquet

        kinds: dict[str, Any] = {".json": FilesJson, ".jsonl": FilesJsonl, ".csv": FilesCsv, ".parquet": FilesParquet}
        folder = self.info.path.parent
        for ending, kind in kinds.items():
            files = tuple(
                forge.File(path.relative_to(folder).as_posix(), path)
                for path in entry.paths
                if path.suffix.lower() == ending
            )
            if files:
                path = forge.Files(entry.name, files)
                yield from kind(path=path, file_column=_FILE, index_column=_INDEX).read(run)


def _dialogues(entry: Entry, table: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    from forge_text.dialogue import Dialogue

    system = entry.column("system") or "__system__"
    place = (_INDEX,) if len(entry.paths) == 1 else (_FILE, _INDEX)
    common: dict[str, Any] = {"source": entry.name, "id": place, "contained": "keep", "system": system}
    if entry.formatting == "sharegpt":
        column = _there(entry, table, "messages")
        tags = {entry.tag(f"{role}_tag"): role for role in ("user", "assistant", "system")}
        step = Dialogue(
            form="turns",
            column=column,
            role=entry.tag("role_tag"),
            text=entry.tag("content_tag"),
            roles=tags,
            repeated="drop",
            **common,
        )
    else:
        history = entry.column("history") or "history"
        response, prompt = entry.column("response") or "", _there(entry, table, "prompt")
        if response not in table.columns:
            raise forge.StepError(
                f"data set `{entry.name}` can't be imported: it has no answers in `{response}`, it is for pre-training",
                hint=f"a source of files reads it; its columns are {', '.join(f'`{c}`' for c in _own(table))}",
            )
        if history not in table.columns:
            table = table.with_columns(pl.lit(None).alias(history))
        step = Dialogue(
            form="history",
            column=history,
            instruction=prompt,
            input=entry.column("query") or "input",
            output=response,
            **common,
        )
    return step.transform(table.lazy()).collect()


def _reject(reason: str, row: dict[str, Any]) -> forge.Reject:
    from forge_files.reading import Broken

    record = {name: value for name, value in row.items() if name not in (_FILE, _INDEX)}
    return forge.Reject(row[_FILE], reason, row[_INDEX], Broken(reason, record).excerpt)


def _there(entry: Entry, table: pl.DataFrame, name: str) -> str:
    column = entry.column(name) or name
    if column not in table.columns:
        raise forge.StepError(
            f"data set `{entry.name}` has no column `{column}`, which `columns.{name}` names",
            hint=f"there is {', '.join(f'`{c}`' for c in _own(table))}",
        )
    return column


def _own(table: pl.DataFrame) -> list[str]:
    return [name for name in table.columns if name not in (_FILE, _INDEX)]


def _warn_of_placeholders(rows: pl.DataFrame, name: str, run: forge.Run) -> None:
    import polars as pl

    text = pl.element().struct.field("text").str.contains(_PLACEHOLDER)
    count = int(rows.select(pl.col("conversation").list.eval(text).list.any().sum()).item() or 0)
    if count:
        run.warn(f"{count} rows of `{name}` hold `{{{{name}}}}` or `{{{{author}}}}`, which nobody has filled in")
