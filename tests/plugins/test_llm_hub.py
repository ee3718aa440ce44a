"""Models from the hub: fetched once, by a step of its own, from a server on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
import pytest

import forge
from forge_llm.model import HubModel

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MOVED = "76543210fedcba9876543210fedcba9876543210"
TOKEN = "hf_the_secret_token"


@attrs.define
class Hub:
    """Serve one model as the hub does: what it is, its files' heads, its files."""

    files: dict[str, bytes]
    commit: str = COMMIT
    private: bool = False
    gated: bool = False
    lies: bool = False
    asked: list[tuple[str, str, str | None]] = attrs.Factory(list)
    server: ThreadingHTTPServer | None = None

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def start(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                hub.answer(self, with_body=False)

            def do_GET(self):
                hub.answer(self, with_body=True)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler, *, with_body):
        path = handler.path.partition("?")[0]
        token = handler.headers.get("Authorization")
        self.asked.append((handler.command, path, token))
        status, headers, body = self.found(path, token)
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if with_body:
            handler.wfile.write(body)

    def found(self, path, token):
        if self.private and token != f"Bearer {TOKEN}":
            return 401, {"X-Error-Code": "GatedRepo" if self.gated else "RepoNotFound"}, b"{}"
        if path.startswith("/api/models/someone/tiny/revision/"):
            if path.rpartition("/")[2] not in {"main", "v1", self.commit}:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
            return 200, {"Content-Type": "application/json"}, json.dumps(self.info()).encode()
        start = f"/someone/tiny/resolve/{self.commit}/"
        if path.startswith(start) and path.removeprefix(start) in self.files:
            body = self.files[path.removeprefix(start)]
            return 200, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": self.commit}, body
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"

    def info(self):
        siblings = []
        for name, body in self.files.items():
            entry = {"rfilename": name, "size": len(body), "blobId": hashlib.sha1(body).hexdigest()}
            if name.endswith(".safetensors"):
                told = hashlib.sha256(body + b"x" * self.lies).hexdigest()
                entry["lfs"] = {"sha256": told, "size": len(body), "pointerSize": 100}
            siblings.append(entry)
        return {"_id": "1", "id": "someone/tiny", "modelId": "someone/tiny", "sha": self.commit, "siblings": siblings}


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Return what serves a folder as `someone/tiny`; the environment points at it, and at a cache of the test's own."""
    started = []

    def start(folder, **options):
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        hub = Hub(files | {"README.md": b"# hi", "pytorch_model.bin": b"pickle", "onnx/model.safetensors": b"no"})
        for name, value in options.items():
            setattr(hub, name, value)
        hub.start()
        started.append(hub)
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        return hub

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    yield start
    for hub in started:
        hub.stop()


@pytest.fixture
def tiny(tmp_path, save_family):
    """Return the folder of a tiny Qwen2.5."""
    save_family(tmp_path / "tiny", "qwen2.5")
    return tmp_path / "tiny"


def fetch(tmp_path, **parameters):
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    run = forge.LocalRun(scratch=tmp_path / "scratch")
    HubModel(**{"id": "someone/tiny", **parameters}).fetch(out, run)
    return out, run


MANIFEST = """
    [sources.base]
    use = "model.hub"
    id = "someone/tiny"
    """


def test_a_model_is_fetched_with_its_commit_and_without_what_no_model_needs(tmp_path, serve, tiny):
    hub = serve(tiny)
    out, run = fetch(tmp_path)
    assert {path.name for path in tiny.iterdir()} | {"hub.json"} == {path.name for path in out.iterdir()}
    assert {"id": "someone/tiny", "commit": COMMIT} == json.loads((out / "hub.json").read_text())
    assert (tiny / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert [f"`someone/tiny` at `main` is commit `{COMMIT}`: name it to stay with it"] == run.messages
    fetched = {path.rpartition("/")[2] for method, path, _ in hub.asked if method == "GET" and "/resolve/" in path}
    assert not {"README.md", "pytorch_model.bin"} & fetched
    assert {None} == {token for _, _, token in hub.asked}


def test_a_branch_and_the_commit_that_it_is_at_make_the_same_bytes(tmp_path, serve, tiny):
    serve(tiny)
    results = []
    for revision in ("v1", COMMIT):
        (tmp_path / revision).mkdir()
        out, run = fetch(tmp_path / revision, revision=revision)
        results.append({path.name: path.read_bytes() for path in out.iterdir()})
        assert (revision == "v1") == bool(run.messages)
    assert results[0] == results[1]


def test_a_build_fetches_once_and_a_second_one_asks_nobody(forge_project, serve, tiny):
    hub = serve(tiny)
    forge_project.manifest(MANIFEST)
    built = forge_project.build()
    assert {"base": "ran"} == built.statuses, built.stderr
    asked = len(hub.asked)
    assert {"base": "hit"} == forge_project.build().statuses
    assert {"base": "hit"} == forge_project.build("--offline").statuses
    assert asked == len(hub.asked)
    shown = forge_project.forge("show", "forge.toml", "base").stdout
    assert "hub.json" in shown
    assert COMMIT in shown


def test_a_step_that_fetches_is_refused_offline_with_what_to_do(forge_project, serve, tiny):
    hub = serve(tiny)
    forge_project.manifest(MANIFEST)
    built = forge_project.build("--offline")
    assert {"base": "failed"} == built.statuses
    assert "step `base` needs the network, which `--offline` forbids" in built.steps["base"].error["message"]
    assert "a local model" in built.steps["base"].error["hint"]
    assert [] == hub.asked


def test_a_private_model_takes_the_token_of_the_environment_and_keeps_it_nowhere(forge_project, serve, tiny):
    serve(tiny, private=True)
    forge_project.manifest(MANIFEST)
    built = forge_project.build()
    assert {"base": "failed"} == built.statuses
    assert "there is no model `someone/tiny` at" in built.steps["base"].error["message"]
    assert "a private one needs `HF_TOKEN`" == built.steps["base"].error["hint"]
    assert {"base": "ran"} == forge_project.build(HF_TOKEN=TOKEN).statuses
    everything = [path.read_bytes() for path in forge_project.root.rglob("*") if path.is_file()]
    assert [] == [content for content in everything if TOKEN.encode() in content]


def test_a_token_that_another_tool_left_in_a_file_is_not_sent(tmp_path, serve, tiny):
    hub = serve(tiny)
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_left_in_a_file")
    fetch(tmp_path)
    assert {None} == {token for _, _, token in hub.asked}


@pytest.mark.parametrize(
    ("options", "parameters", "message", "hint"),
    [
        ({"private": True, "gated": True}, {}, "model `someone/tiny` is gated", "agree to its licence"),
        ({}, {"revision": "v9"}, "model `someone/tiny` has no revision `v9`", "branches, tags and commits"),
        ({}, {"id": "someone/other"}, "there is no model `someone/other` at", "`HF_TOKEN`"),
        ({"lies": True}, {}, "`model.safetensors` came damaged", "build again"),
    ],
)
def test_what_the_hub_refuses_is_said_in_words(tmp_path, serve, tiny, options, parameters, message, hint):
    serve(tiny, **options)
    with pytest.raises(forge.StepError) as caught:
        fetch(tmp_path, **parameters)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_a_hub_that_is_not_there_is_named_with_the_ways_around_it(tmp_path, serve, tiny):
    hub = serve(tiny)
    address = hub.address
    hub.stop()
    with pytest.raises(forge.StepError, match=f"`{address}` can't be reached") as caught:
        fetch(tmp_path)
    assert "set `HF_ENDPOINT` to a mirror" in caught.value.hint


def test_pickled_weights_are_refused_before_anything_is_fetched(tmp_path, serve, tiny):
    hub = serve(tiny)
    del hub.files["model.safetensors"], hub.files["onnx/model.safetensors"]
    with pytest.raises(forge.StepError, match="only pickled weights"):
        fetch(tmp_path)
    assert [] == [path for _, path, _ in hub.asked if "/resolve/" in path]


def test_code_is_fetched_only_where_the_manifest_trusts_it(tmp_path, serve, tiny):
    (tiny / "modeling_tiny.py").write_text("raise SystemExit")
    serve(tiny)
    for trust in (False, True):
        (tmp_path / str(trust)).mkdir()
        out, _ = fetch(tmp_path / str(trust), trust_remote_code=trust)
        assert trust == (out / "modeling_tiny.py").exists()


def test_a_model_of_another_family_is_refused_before_its_weights_are_fetched(tmp_path, serve, tiny):
    hub = serve(tiny)
    with pytest.raises(forge.StepError, match="the model does not fit the preset `qwen3`"):
        fetch(tmp_path, preset="qwen3")
    assert [] == [path for _, path, _ in hub.asked if path.endswith(".safetensors")]


def test_what_was_fetched_before_a_crash_is_not_fetched_again(tmp_path, serve, tiny):
    hub = serve(tiny)
    hub.lies = True
    with pytest.raises(forge.StepError, match="came damaged"):
        fetch(tmp_path, revision=COMMIT)
    hub.lies, before = False, len(hub.asked)
    fetch(tmp_path, revision=COMMIT)
    again = {path.rpartition("/")[2] for method, path, _ in hub.asked[before:] if "/resolve/" in path}
    assert {"model.safetensors"} == again


def test_what_the_local_hub_cache_holds_is_not_fetched_again(tmp_path, serve, tiny):
    hub = serve(tiny)
    cached = tmp_path / "hf" / "hub" / "models--someone--tiny" / "snapshots" / COMMIT
    cached.mkdir(parents=True)
    shutil.copyfile(tiny / "model.safetensors", cached / "model.safetensors")
    out, _ = fetch(tmp_path)
    assert (tiny / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert [] == [path for method, path, _ in hub.asked if method == "GET" and path.endswith("/model.safetensors")]


def test_a_branch_that_has_moved_is_fetched_where_the_manifest_names_the_new_commit(forge_project, serve, tiny):
    hub = serve(tiny)
    forge_project.manifest(MANIFEST)
    first = forge_project.build().steps["base"]
    hub.commit = MOVED
    assert {"base": "hit"} == forge_project.build().statuses
    forge_project.manifest(MANIFEST + f'revision = "{MOVED}"\n')
    second = forge_project.build().steps["base"]
    assert ("ran", True) == (second.status, first.tree != second.tree)


DENY = """
    import sys

    def deny(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto") and isinstance(arguments[1], tuple):
            raise SystemExit(f"a connection was opened: {event} {arguments[1:]}")

    sys.addaudithook(deny)
    """


def denied(project, *arguments):
    """Run forge where no process can open a connection: no network at all where Linux allows it, and an audit hook."""
    site = project.root / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(textwrap.dedent(DENY))
    unshare = ["unshare", "-rn"]
    alone = shutil.which("unshare") and subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode
    words = [*(unshare if alone == 0 else ()), sys.executable, "-m", "forge", *arguments]
    environment = project._environment({"PYTHONPATH": str(site)}) | {"NO_COLOR": "1"}
    return subprocess.run(words, cwd=project.root, env=environment, capture_output=True, text=True, check=False)


def test_the_denial_that_these_tests_rely_on_denies(tmp_path, forge_project):
    denied(forge_project, "--help")
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    environment = {**os.environ, "PYTHONPATH": str(forge_project.root / "site")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "a connection was opened" in done.stderr


@pytest.mark.slow
def test_nothing_after_the_fetching_opens_a_connection(forge_project, serve, exported):
    pytest.importorskip("peft")
    hub = serve(exported / "base")
    rows = [{"id": str(n), "instruction": "Label.", "input": f"text {n}", "output": '{"a": 1}'} for n in range(4)]
    forge_project.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    forge_project.manifest(
        """
        [sources.base]
        use = "model.hub"
        id = "someone/tiny"

        [sources.rows]
        use = "files.jsonl"
        path = "rows.jsonl"

        [transforms.tokens]
        use = "train.tokens"
        from = { train = "rows", model = "base" }

        [trainers.lora]
        use = "train.lora"
        from = { data = "tokens.train", base = "base" }
        load_in_4bit = false
        max_steps = 1
        r = 2

        [exporters.merged]
        use = "export.merged"
        from = { adapter = "lora", base = "base" }

        [exporters.gguf]
        use = "export.gguf"
        from = { model = "merged" }
        types = ["f16"]
        name = "tiny"

        [checks.receipt]
        use = "check.gguf"
        from = { gguf = "gguf", reference = "merged", data = "rows" }
        types = ["f16"]
        rows = 2
        reference_rows = 1
        max_tokens = 4
        """
    )
    assert {"base": "ran"} == forge_project.build("base").statuses
    hub.stop()
    hub.start()  # another port: whoever asks now asks nobody
    asked = len(hub.asked)
    done = denied(forge_project, "build", "forge.toml", "--json")
    statuses = {step["name"]: step["status"] for step in json.loads(done.stdout)["steps"]}
    ran = dict.fromkeys(("rows", "tokens", "lora", "merged", "gguf", "receipt"), "ran")
    assert {"base": "hit", **ran} == statuses, done.stderr
    assert 0 == denied(forge_project, "check", "forge.toml").returncode
    assert asked == len(hub.asked)
