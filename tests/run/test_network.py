"""Steps that do not declare the network don't have it."""

import socket

import pytest

from forge.core.errors import StepError
from forge.run.network import kept_off

PLUGIN = """
    import socket
    import attrs, forge

    @attrs.frozen
    class Reach:
        \"\"\"Open a connection.\"\"\"

        address: str

        def read(self, run):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                try:
                    out.connect((self.address, 9))  # UDP: nothing is sent
                except OSError:
                    pass
            yield [{"id": 1}]

    @forge.hookimpl
    def forge_register(register):
        register.source("quiet", Reach, version="1")
        register.source("open", Reach, version="1", network=True)
    """


def test_a_step_that_opens_a_connection_and_did_not_say_so_is_stopped_by_name(forge_project):
    forge_project.plugin("toy", PLUGIN)
    step = '[sources.{name}]\nuse = "toy.{kind}"\naddress = "{address}"\n'
    wanted = [("out", "quiet", "192.0.2.1"), ("said", "open", "192.0.2.1"), ("here", "quiet", "127.0.0.1")]
    forge_project.manifest("".join(step.format(name=n, kind=k, address=a) for n, k, a in wanted))
    built = forge_project.build()
    assert {"out": "failed", "said": "ran", "here": "ran"} == built.statuses
    assert "step `out` opened a connection to `192.0.2.1`" in built.steps["out"].error["message"]
    assert "`network=True`" in built.steps["out"].error["hint"]


def test_sockets_are_as_before_once_the_step_is_over(monkeypatch):
    before = socket.socket.connect
    named = r"step `s` opened a connection to `192\.0\.2\.1`"
    with socket.socket() as out, kept_off("s"), pytest.raises(StepError, match=named):
        out.connect_ex(("192.0.2.1", 9))
    assert before is socket.socket.connect
    assert "connect" not in vars(socket.socket)
    monkeypatch.setattr(socket.socket, "connect", mine := lambda *_: None)
    with kept_off("s"):
        assert mine is not socket.socket.connect
    assert mine is socket.socket.connect


def test_sockets_of_this_machine_stay_open(tmp_path):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client, kept_off("s"):
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))
