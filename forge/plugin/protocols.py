"""What a step type's class offers: the method it has says what it does.

A step type is an attrs class: its fields are the manifest's parameters, one of the methods below is the work.
No class needs to inherit from these protocols; they state the promise.
polars is imported inside methods, never at module level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from forge.core.files import File
    from forge.plugin.context import Artifact, Run


@attrs.frozen
class Reject:
    """Name one record that a source can't use; the source goes on with the next.

    ``where`` is the file's name, ``index`` the line or record in it (from 1), ``reason`` a short fixed phrase
    that counts well, ``excerpt`` at most a line of the record.
    """

    where: str
    reason: str
    index: int | None = None
    excerpt: str = ""


@attrs.frozen
class Restart:
    """Take back all that a source yielded and counted so far: what it yields next are its rows from the first on.

    So a source can give rows while it reads on, and begin again, more carefully, where a later record shows that a
    column is of another type, or a file in another encoding, than the first ones told. ``reason`` stands in the log.
    """

    reason: str


@attrs.frozen
class Finding:
    """State one figure of a check beside its bound.

    ``bound`` is None for a figure that is only reported; ``passed`` is then True.
    """

    name: str
    value: float | int | bool | str | None
    bound: float | int | bool | str | None = None
    passed: bool = True
    detail: str = ""


@attrs.frozen(kw_only=True)
class Evaluation:
    """Say how a model is scored: on how many rows, drawn by *seed*, and how replies are made and judged."""

    rows: int = 100
    max_tokens: int = 96
    context: int = 4096
    system: str | None = None
    schema: File | None = None
    grammar: bool = False
    type: str | None = None
    seed: int = 42


@attrs.frozen
class Notice:
    """State one thing that was looked at before anything heavy runs.

    ``what`` names it in a word or two ("masks"). ``state`` is ``good``; ``bad``, where the step would fail or make
    something that nobody wants; ``doubtful``, where a person should know; ``unseen``, where it could not be looked at.
    ``message`` says what was seen, or why nothing could be, ``hint`` what to do. ``disk`` are the bytes that the step
    will add to the store. ``here`` says that it speaks of this machine, and so not of a cluster's node.
    """

    what: str
    state: Literal["good", "bad", "doubtful", "unseen"] = "good"
    message: str = ""
    hint: str | None = None
    disk: int = 0
    here: bool = False


@attrs.frozen
class Request:
    """Ask a labeling provider about one row.

    Every field is part of the row's key in the journal, so nothing that may change without changing the reply
    belongs here. ``identity`` names provider, model and its revision, sampling and schema.
    """

    identity: Mapping[str, Any]
    messages: Sequence[Mapping[str, str]]


@attrs.frozen
class Reply:
    """Hold what a provider answered, before anything is read out of it.

    ``finish`` is why it stopped (``stop``, ``length``, ``content_filter``), where the provider says so.
    """

    text: str
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: str = ""


@runtime_checkable
class Source(Protocol):
    """Read raw files into a table.

    Yields data frames, lists of dicts, a `Reject` for each record that can't be used, or a `Restart` that takes back
    all before it.
    One bad record never ends a run; the engine keeps all rejects in a table beside the rows, and fails the step
    where their share is beyond the instance's ``most_rejects`` (see `forge.most_rejects`), 1 % without one.
    """

    def read(self, run: Run) -> Iterable[pl.DataFrame | list[dict[str, Any]] | Reject | Restart]: ...


@runtime_checkable
class FileSource(Protocol):
    """Bring files into *out*, which becomes the artifact."""

    def fetch(self, out: Path, run: Run) -> None: ...


@runtime_checkable
class Transform(Protocol):
    """Turn rows into rows, lazily; several inputs arrive joined by `merge` instead.

    Rows that leave are marked by `forge.drop`, so that the ledger has their reasons;
    rows that a plain filter takes away are counted under the step type's name.
    """

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame: ...


@runtime_checkable
class Merge(Protocol):
    """Turn several tables, by the names in ``from``, into one."""

    def merge(self, tables: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame: ...


@runtime_checkable
class Split(Protocol):
    """Turn rows into several tables; ``parts`` names them before anything runs."""

    def parts(self) -> Sequence[str]: ...

    def split(self, rows: pl.LazyFrame) -> Mapping[str, pl.LazyFrame]: ...


@runtime_checkable
class Make(Protocol):
    """Turn artifacts into the files of *out* (transforms that aren't rows to rows)."""

    def make(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> None: ...


@runtime_checkable
class LocalLabeler(Protocol):
    """Label rows in process, without a journal: for rules and lexicons that cost nothing."""

    def label(self, rows: pl.LazyFrame) -> pl.LazyFrame: ...


@runtime_checkable
class Labeler(Protocol):
    """Label rows through a provider.

    The shared engine keys each request, looks it up in the journal, asks what is missing, and writes every
    reply down, fsynced, before `parse` sees it.
    `parse` returns the labels as columns, or raises `forge.Refused`; so does `request` for a row to be skipped.
    `ask` raises `forge.ProviderBusy` where asking again may help, `forge.ProviderRefused` where it won't, and
    an ``async close()``, where the class has one, is awaited at the end of the run.
    ``secrets()``, where the class has it, names environment variables that must be set before anything runs.
    `forge.run.labels` lists what else a class may have: pace, caps, stages, voters.
    """

    def request(self, row: Mapping[str, Any]) -> Request: ...

    async def ask(self, request: Request) -> Reply: ...

    def parse(self, reply: Reply) -> Mapping[str, Any]: ...


@runtime_checkable
class Trainer(Protocol):
    """Fit a model on its inputs and leave it, with metrics and curves, in *out*.

    Checkpoints go below ``run.scratch``, which outlives a crash and is handed to the next attempt of the same action.
    """

    def train(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> None: ...


@runtime_checkable
class Exporter(Protocol):
    """Turn artifacts into a form that other tools load."""

    def export(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> None: ...


@runtime_checkable
class Check(Protocol):
    """Look at artifacts and state figures; one that is not ``passed`` fails the build.

    Files left in *out* become part of the artifact, beside the receipt that the engine writes.
    A class whose check can be repeated from one file and what it left in *out* has a static method
    ``repeat(file, member, evidence, run)``: `forge verify` calls it with a file whose digest the receipt holds under
    the name *member*, and the folder of the receipt; it returns findings as `check` does, of that file alone.
    """

    def check(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> Iterable[Finding]: ...


@runtime_checkable
class Preflight(Protocol):
    """Look ahead, beside the method that does the work: find within seconds, on a CPU, why the work would fail.

    *inputs* are what the steps before it would make, or small stand-ins for it: tables hold the first rows alone, a
    model its config and tokenizer without weights. What is left in *out* stands in for the step's own artifact when
    the steps after it are looked at; without it they can't be. A `forge.StepError` is a finding like a ``bad`` notice.
    The method is in no key: what it does never changes a result, and editing it rebuilds nothing.
    """

    def preflight(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> Iterable[Notice]: ...


@runtime_checkable
class Statistics(Protocol):
    """Describe the table a step made; the result is stored beside it as ``stats.json``."""

    def statistics(self, rows: pl.LazyFrame) -> Mapping[str, Any]: ...


@runtime_checkable
class Figures(Protocol):
    """Name, before the work is done, every figure that the step may leave (see `Artifact.figures`).

    *inputs* are the names under ``from``. A sweep that tells its best by another figure is refused with the manifest.
    """

    def figures(self, inputs: Collection[str]) -> Iterable[str]: ...


@runtime_checkable
class Chat(Protocol):
    """Answer one message after another; *history* is OpenAI-style messages, the reply comes in pieces."""

    def stream(self, history: Sequence[Mapping[str, str]]) -> Iterable[str]: ...
