"""Requests gathered into a provider's batches, found again there, and handed out when they are answered."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import attrs
from blake3 import blake3

import forge
from forge_label.client import Connection, json_of
from forge_label.endpoint import body_of
from forge_label.errors import of_status, read_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_GATHER = 0.2  # seconds in which requests gather for one batch
_PATIENCE = 50  # looks in a row at a batch that may fail
_OPEN = frozenset({"validating", "in_progress", "finalizing", "completed"})
_DONE = frozenset({"completed", "expired", "cancelled", "failed"})

Waiting = dict[str, tuple[forge.Request, "asyncio.Future[forge.Reply]"]]


@attrs.define
class Desk:
    """Gather requests into batches, and hand the answers out."""

    connection: Connection
    window: str
    size: int
    poll: float
    waiting: Waiting = attrs.Factory(dict)
    earlier: dict[str, list[str]] | None = None  # the batches at the provider that hold a request, by its name
    serving: asyncio.Task[None] | None = None
    running: set[asyncio.Task[None]] = attrs.Factory(set)

    async def ask(self, request: forge.Request) -> forge.Reply:
        """Return the answer to *request*."""
        name = blake3(body_of(request)).hexdigest()
        if name not in self.waiting:
            self.waiting[name] = (request, asyncio.get_running_loop().create_future())
        future = self.waiting[name][1]
        if self.serving is None or self.serving.done():
            self.serving = asyncio.create_task(self._serve())
        return await future

    async def close(self) -> None:
        """Stop waiting; the batches go on without us."""
        tasks = [*self.running, *([self.serving] if self.serving else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.serving, self.earlier = None, None
        self.waiting.clear()
        await self.connection.close()

    async def _serve(self) -> None:
        """Share out what waits: to the batches that hold it already, the rest to new ones."""
        while self.waiting:
            await asyncio.sleep(_GATHER)
            taken, self.waiting = self.waiting, {}
            try:
                if self.earlier is None:
                    self.earlier = await self._listed()
            except forge.StepError as error:
                _fail(taken, error)
                continue
            fresh: Waiting = {}
            found: dict[str, Waiting] = {}
            for name, entry in taken.items():
                batches = self.earlier.get(name)
                group = found.setdefault(batches.pop(), {}) if batches else fresh
                group[name] = entry
            names = list(fresh)
            for first in range(0, len(names), self.size):
                self._start(None, {name: fresh[name] for name in names[first : first + self.size]})
            for batch, entries in found.items():
                self._start(batch, entries)

    def _start(self, batch: str | None, entries: Waiting) -> None:
        task = asyncio.create_task(self._run(batch, entries))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def _run(self, batch: str | None, entries: Waiting) -> None:
        """See one batch through and settle its requests."""
        try:
            state = await self._finished(batch or await self._submitted(entries))
            lines = [await self._lines(state.get(field)) for field in ("output_file_id", "error_file_id")]
        except forge.StepError as error:
            self.earlier = None  # a batch may have begun all the same: the next try looks for it
            _fail(entries, error)
            return
        for line in (line for part in lines for line in part):
            entry = entries.get(str(line.get("custom_id")))
            if entry is not None and not entry[1].done():
                self._settle(entry[1], line)
        _fail(entries, _unanswered(state))

    async def _submitted(self, entries: Waiting) -> str:
        """Send *entries* as one batch and return its name."""
        import aiohttp

        lines = [
            b'{"custom_id":"%s","method":"POST","url":"/v1/chat/completions","body":%s}\n'
            % (name.encode(), body_of(request))
            for name, (request, _) in entries.items()
        ]
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", b"".join(lines), filename="forge.jsonl", content_type="application/jsonl")
        file = json_of(await self.connection.send("POST", "files", data=form))
        asked = {
            "input_file_id": file["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": self.window,
            "metadata": {"made_by": "forge"},
        }
        batch: dict[str, Any] = await self.connection.post("batches", json.dumps(asked).encode())
        return str(batch["id"])

    async def _finished(self, name: str) -> Mapping[str, Any]:
        """Return the batch *name* once nothing more will come of it."""
        failures = 0
        while True:
            try:
                batch: dict[str, Any] = await self.connection.get(f"batches/{name}")
            except forge.ProviderBusy:
                failures += 1
                if failures >= _PATIENCE:
                    raise
            else:
                failures = 0
                if batch.get("status") in _DONE:
                    return batch
            await asyncio.sleep(self.poll)

    async def _listed(self) -> dict[str, list[str]]:
        """Return which of our batches at the provider hold a request, by the request's name, the latest last."""
        found: dict[str, list[str]] = {}
        after = ""
        while True:
            try:
                page: dict[str, Any] = await self.connection.get(f"batches?limit=100{after}")
            except forge.ProviderRefused as refusal:
                if not refusal.message.startswith(("404", "405", "501")):
                    raise
                return found  # a provider that keeps no list
            batches = [batch for batch in page.get("data") or () if (batch.get("metadata") or {}).get("made_by")]
            for batch in batches:
                if batch.get("status") in _OPEN and batch["metadata"]["made_by"] == "forge":
                    for line in await self._lines(batch.get("input_file_id")):
                        found.setdefault(str(line.get("custom_id")), []).insert(0, str(batch["id"]))
            if not page.get("has_more") or not page.get("data"):
                return found
            after = f"&after={page['data'][-1]['id']}"

    async def _lines(self, file: Any) -> list[dict[str, Any]]:
        if not file:
            return []
        body = await self.connection.send("GET", f"files/{file}/content")
        return [line for text in body.splitlines() if text.strip() and isinstance(line := json_of(text), dict)]

    def _settle(self, future: asyncio.Future[forge.Reply], line: Mapping[str, Any]) -> None:
        response, error = line.get("response") or {}, line.get("error") or {}
        status = response.get("status_code", 500 if error else 200)
        secret = self.connection.secret
        try:
            if status != 200:  # noqa: PLR2004
                body = json.dumps(response.get("body") or {"error": error}).encode()
                raise of_status(int(status), {}, body, secret, self.connection.key_env)
            future.set_result(read_answer(response.get("body"), secret))
        except forge.StepError as problem:
            future.set_exception(problem)


def _unanswered(state: Mapping[str, Any]) -> forge.StepError:
    """Return why a request of a batch has no answer."""
    problems: Iterable[Any] = (state.get("errors") or {}).get("data") or ()
    message = next((str(problem.get("message")) for problem in problems), "")
    if state.get("status") == "failed":
        return forge.ProviderRefused(f"the provider refused the batch: {message or 'it does not say why'}")
    return forge.ProviderBusy(f"the batch ended `{state.get('status')}` without an answer {message}".rstrip())


def _fail(entries: Waiting, error: forge.StepError) -> None:
    for _, future in entries.values():
        if not future.done():
            future.set_exception(error)
