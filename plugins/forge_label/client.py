"""One provider's connections: plain HTTP, so that a request costs a quarter of a millisecond (decision 8)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge_label import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp


@attrs.define
class Connection:
    """Hold the connections to one address while a run lasts; they belong to one event loop."""

    base_url: str
    key_env: str | None
    timeout: float
    session: aiohttp.ClientSession | None = None
    secret: str | None = None

    async def post(self, path: str, body: bytes) -> Any:
        """Send JSON and return the JSON that comes back."""
        return json_of(await self.send("POST", path, data=body, headers={"Content-Type": "application/json"}))

    async def get(self, path: str) -> Any:
        """Return the JSON at *path*."""
        return json_of(await self.send("GET", path))

    async def send(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **content: Any) -> bytes:
        """Return the body of a successful answer, or raise what the failure means to the engine."""
        session = self._open()
        sent = dict(headers or {})
        if self.secret:
            sent["Authorization"] = f"Bearer {self.secret}"
        address = f"{self.base_url.rstrip('/')}/{path}"
        try:
            async with session.request(method, address, headers=sent, allow_redirects=False, **content) as answer:
                body = await answer.read()
        except Exception as error:
            known = errors.translated(error, self.secret)
            if known is None:
                raise
            raise known from None
        if not answer.ok or answer.status >= errors.REDIRECTS:
            raise errors.of_status(answer.status, answer.headers, body, self.secret, self.key_env)
        return body

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        session, self.session, self.secret = self.session, None, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self.session is None:
            import aiohttp

            self.secret = errors.read_key(self.key_env)
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # the engine's window is the limit
                timeout=aiohttp.ClientTimeout(total=self.timeout),
                proxy=_proxy(self.base_url),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self.session


def _proxy(address: str) -> str | None:
    """Return the proxy that the environment names for *address*, as clusters have them.

    aiohttp's own ``trust_env`` also looks for a netrc before every request, and would send what it finds.
    """
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(address)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def json_of(body: bytes) -> Any:
    """Return *body* as JSON; one that is none counts as no answer."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise forge.ProviderBusy(f"an answer that can't be read ({type(error).__name__})") from None
