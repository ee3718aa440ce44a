"""Secrets are planted in the environment, and looked for in all that a build leaves and says."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

KEY = "sk-planted-0e81b7c4d2"
OTHER = "hunter2-planted-55aa71"

WORDS = """
    [sources.words]
    use = "faults.words"
    path = "data/a.txt"

    [transforms.environment]
    use = "run.command"
    from = "words"
    command = 'env > "$OUT/env"; env'

    [transforms.fails]
    use = "run.command"
    from = "words"
    command = 'env >&2; env; exit 3'
    """
LABELER = """
    [labelers.{how}]
    use = "label.openai"
    from = "words"
    column = "text"
    base_url = "{url}/{how}"
    model = "small"
    key_env = "PLANTED_KEY"
    schema = "schema.json"
    prompt_text = "{{{{ text }}}}"
    structured = "none"
    retries = 1
    backoff = 0.001
    attempts = 2
    """
SCHEMA = {
    "type": "object",
    "properties": {"level": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["level"],
    "additionalProperties": False,
}
FAILURES = {"refuses": 401, "breaks": 500, "busy": 429, "dislikes": 400}
HOWS = ["answers", "echoes", "garbles", *FAILURES]


class Provider:
    """Answer as the address says; every answer has the key in it, in one place or another."""

    def __init__(self):
        provider = self
        self.keys = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                key = self.headers["authorization"].removeprefix("Bearer ")
                provider.keys.append(key)
                status, data = answer(self.path.split("/")[1], key)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.send_header("x-request-id", key)
                self.end_headers()
                self.wfile.write(data)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


def answer(how, key):
    """Return a status and a body."""
    if how in FAILURES:
        error = {"error": {"message": f"the key {key} is bad", "code": key, "type": key}}
        return FAILURES[how], json.dumps(error).encode()
    if how == "garbles":
        return 200, f"<html>{key}".encode()
    text = {"answers": '{"level": 3}', "echoes": f"my key is {key}"}[how]
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = {"id": key, "object": "chat.completion", "created": 1, "model": f"small {key}", "choices": [choice]}
    return 200, json.dumps(body).encode()


@pytest.fixture
def provider():
    found = Provider()
    yield found
    found.close()


def leaks(folder, said):
    """Return every place that holds a secret, as it is or in base64."""
    secrets = [each.encode() for each in (KEY, OTHER)]
    secrets += [base64.b64encode(each)[:20] for each in secrets]
    texts = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()} | said
    names = [str(path) for path in folder.rglob("*")]
    return [place for place, text in texts.items() for each in secrets if each in text] + [
        name for name in names for each in secrets if each.decode() in name
    ]


def test_no_secret_reaches_the_store_or_the_screen(simple, provider):
    pytest.importorskip("openai", reason="needs `pip install forge[label]`")
    simple.write("schema.json", json.dumps(SCHEMA))
    simple.manifest(WORDS + "".join(LABELER.format(how=how, url=provider.url) for how in HOWS))
    secrets = {"PLANTED_KEY": KEY, "OTHER_SECRET": OTHER}
    results = [
        simple.forge(*command, **secrets)
        for command in (
            ("build", "forge.toml", "--jobs", "1"),
            ("build", "forge.toml", "--jobs", "1", "--json"),
            ("show", "forge.toml", "answers"),
        )
    ]
    said = {f"{stream} of command {number}": text.encode() for number, result in enumerate(results)
            for stream, text in (("stdout", result.stdout), ("stderr", result.stderr))}  # fmt: skip
    assert {KEY} == set(provider.keys)
    assert [] == leaks(simple.store, said)
    statuses = {step["name"]: step["status"] for step in json.loads(results[1].stdout)["steps"]}
    kept = dict.fromkeys(("words", "environment", "answers"), "hit")
    assert kept | dict.fromkeys((*HOWS[1:], "fails"), "failed") == statuses
    assert all(word in results[0].stderr for word in ("ended with status 3", "***", "401"))


def test_another_key_changes_no_action_key_and_asks_for_nothing_again(simple):
    simple.manifest(
        """
        [sources.words]
        use = "faults.words"
        path = "data/a.txt"

        [transforms.environment]
        use = "run.command"
        from = "words"
        environment = ["PLANTED_KEY"]
        command = 'test -n "$PLANTED_KEY" && printf %s "$PLANTED_KEY" | wc -c > "$OUT/length"'
        """
    )
    first = simple.build(PLANTED_KEY=KEY)
    second = simple.build(PLANTED_KEY=OTHER)
    assert (0, {"hit"}) == (second.exit_code, set(second.statuses.values()))
    assert {s.key for s in first.steps.values()} == {s.key for s in second.steps.values()}
    assert [] == leaks(simple.store, {})
