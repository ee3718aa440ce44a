"""Keep a step from the network, unless its type says that it needs it."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from forge.core.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Iterator

_METHODS = ("connect", "connect_ex")
_HERE = ("", "localhost", "::1")


@contextmanager
def kept_off(step: str) -> Iterator[None]:
    """Let no socket of this process connect beyond this machine while *step* works.

    A step that fetches on the quiet works today, and fails on the node that has no network.
    """
    before = {name: vars(socket.socket).get(name) for name in _METHODS}
    for name in _METHODS:
        setattr(socket.socket, name, _watched(step, getattr(socket.socket, name)))
    try:
        yield
    finally:
        for name, method in before.items():
            if method is None:
                delattr(socket.socket, name)
            else:
                setattr(socket.socket, name, method)


def _watched(step: str, connect: Any) -> Any:
    def watched(self: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple) and _leads_out(str(address[0])):
            raise StepError(
                f"step `{step}` opened a connection to `{address[0]}`; its type does not say that it needs the network",
                hint="a plugin says so where it registers the step type: `network=True`",
            )
        return connect(self, address)

    return watched


def _leads_out(host: str) -> bool:
    return host not in _HERE and not host.startswith("127.")
