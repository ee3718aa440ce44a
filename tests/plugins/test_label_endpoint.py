"""`label.openai` against a real server on the loopback, with planned faults."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import polars as pl
import pytest

import forge
from forge.run.labels import label_rows
from forge.store.journal import Journal
from forge_label.endpoint import OpenAI

SCHEMA = Path(__file__).parents[2] / "manifests/schemas/student.json"
PROMPT = Path(__file__).parents[2] / "manifests/prompts/student.md"
GOOD = {"depression_level": 1, "anxiety_level": 2, "risk_flag": "none", "student_distress_score": 4}
KEY = "sk-planted-7f3a91c2"


class Quiet(ThreadingHTTPServer):
    """Say nothing about clients that hang up, as killed ones do."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Server:
    """Speak /v1/chat/completions; ``plan`` gives by prompt what happens before the good answer."""

    def __init__(self):
        self.plan = {}
        self.default = json.dumps(GOOD)
        self.delay = 0.0
        self.bodies = []
        self.headers = []
        self.answered = Counter()
        self.lock = threading.Lock()
        self.http = Quiet(("127.0.0.1", 0), self.handler())
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                prompt = body["messages"][0]["content"]
                with server.lock:
                    server.bodies.append(body)
                    server.headers.append({name.lower(): value for name, value in self.headers.items()})
                    planned = server.plan.get(prompt)
                    fault = planned.pop(0) if planned else server.default
                time.sleep(server.delay)
                if callable(fault):
                    fault(self)
                elif isinstance(fault, tuple):
                    self.answer(*fault)
                else:
                    message = {"role": "assistant", "content": fault}
                    choice = {"index": 0, "message": message, "finish_reason": "stop"}
                    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
                    kind = {"id": "1", "object": "chat.completion", "created": 0, "model": "fake"}
                    self.answer(200, {**kind, "choices": [choice], "usage": usage})
                    with server.lock:
                        server.answered[prompt] += 1

            def answer(self, status, body, headers=()):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        return Handler


def reset(handler):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def half_a_body(handler):
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"id": "1", "choi')
    handler.close_connection = True


def no_json(handler):
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "6")
    handler.end_headers()
    handler.wfile.write(b"<html>")


def stall(handler):
    time.sleep(1.0)
    handler.close_connection = True


def refused(status, message="no", **error):
    return status, {"error": {"message": message, **error}}


@pytest.fixture
def server():
    with contextlib.closing(Server()) as server:
        yield server


@pytest.fixture
def run(tmp_path):
    return forge.LocalRun(scratch=tmp_path)


def labeler(server, **parameters):
    parameters = {"prompt_text": "{{ text }}", "column": "text", "backoff": 0.005, "model": "fake", **parameters}
    return OpenAI(base_url=server.url, schema=forge.File("student.json", SCHEMA), **parameters)


def label(labeler, texts, tmp_path, run):
    return label_rows(labeler, pl.DataFrame({"text": texts}), Journal(tmp_path / "journal"), run)


def test_rows_get_the_four_labels(server, tmp_path, run):
    out = label(labeler(server), ["一", "二"], tmp_path, run)
    assert ["text", *GOOD, "label_state", "label_reason", "label_reply", "label_source"] == out.columns
    assert [GOOD, GOOD] == out.select(*GOOD).to_dicts()
    assert ["fake", "fake"] == out["label_source"].to_list()


def test_what_is_sent_has_ranges_as_enumerations(server, tmp_path, run):
    label(labeler(server, system="你是助理", seed=42, temperature=0.5, max_tokens=99), ["一"], tmp_path, run)
    (body,) = server.bodies
    assert [{"role": "system", "content": "你是助理"}, {"role": "user", "content": "一"}] == body["messages"]
    assert ("fake", 0.5, 99, 42) == (body["model"], body["temperature"], body["max_tokens"], body["seed"])
    form = body["response_format"]
    assert ("json_schema", True) == (form["type"], form["json_schema"]["strict"])
    properties = form["json_schema"]["schema"]["properties"]
    assert {"type": "integer", "enum": [0, 1, 2, 3]} == properties["depression_level"]
    assert {"type": "integer", "enum": list(range(10))} == properties["student_distress_score"]


@pytest.mark.parametrize(
    ("structured", "expected"),
    [("json_object", {"type"}), ("llama_cpp", {"type", "schema"}), ("none", None)],
)
def test_the_other_forms_of_structured_output(server, tmp_path, run, structured, expected):
    label(labeler(server, structured=structured), ["一"], tmp_path, run)
    form = server.bodies[0].get("response_format")
    assert expected == (None if form is None else set(form))
    assert form is None or form["type"] == "json_object"


FAULTS = {
    "429": refused(429, "slow down"),
    "500": refused(500, "oops"),
    "503": refused(503, "overloaded"),
    "reset": reset,
    "half a body": half_a_body,
    "no json": no_json,
    "no completion": (200, {"object": "list"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_costs_no_row(server, tmp_path, run, fault):
    server.plan["一"] = [FAULTS[fault], FAULTS[fault]]
    assert ["labelled"] == label(labeler(server), ["一"], tmp_path, run)["label_state"].to_list()
    assert (3, 1) == (len(server.bodies), server.answered["一"])


def test_a_stall_ends_at_the_time_out(server, tmp_path, run):
    server.plan["一"] = [stall]
    assert ["labelled"] == label(labeler(server, timeout=0.2), ["一"], tmp_path, run)["label_state"].to_list()
    assert ["the provider did not answer: no answer in time"] == run.messages[:1]


def test_retry_after_is_obeyed(server, tmp_path, run):
    server.plan["一"] = [(429, {"error": {"message": "slow down"}}, {"retry-after": "1"})]
    started = time.monotonic()
    label(labeler(server), ["一"], tmp_path, run)
    assert 1.0 <= time.monotonic() - started < 20.0


def test_gemini_s_own_wait_in_a_list_is_obeyed(server, tmp_path, run):
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.4s"}]
    server.plan["一"] = [(429, [{"error": {"code": 429, "message": "quota", "details": details}}])]
    started = time.monotonic()
    label(labeler(server), ["一"], tmp_path, run)
    assert 0.4 <= time.monotonic() - started < 20.0
    assert ["the provider did not answer: 429 quota"] == run.messages[:1]


def test_an_answer_that_sends_elsewhere_is_not_followed(server, tmp_path, run):
    server.default = (307, {}, {"location": "http://example.invalid/v1/chat/completions"})
    with pytest.raises(forge.StepError, match="stopped after 0 of 1 rows: 307"):
        label(labeler(server), ["一"], tmp_path, run)


def test_a_login_in_netrc_is_not_sent(server, tmp_path, run, monkeypatch):
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {KEY}\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    label(labeler(server), ["一"], tmp_path, run)
    assert "authorization" not in server.headers[0]


def test_a_proxy_that_the_environment_names_is_used(server, tmp_path, run, monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    far = attrs.evolve(labeler(server), base_url="http://provider.invalid/v1")
    assert ["labelled"] == label(far, ["一"], tmp_path, run)["label_state"].to_list()
    assert "provider.invalid" == server.headers[0]["host"]


def test_what_a_provider_serves_under_one_name_is_told_apart_by_its_revision(server, tmp_path, run):
    label(labeler(server, revision="may"), ["一"], tmp_path, run)
    label(labeler(server, revision="june"), ["一"], tmp_path, run)
    label(labeler(server, revision="june", provider="fake"), ["一"], tmp_path, run)
    assert 3 == len(server.bodies)
    assert "revision" not in server.bodies[0]
    moved = attrs.evolve(labeler(server, revision="june", provider="fake"), base_url="http://moved.invalid/v1")
    assert ["labelled"] == label(moved, ["一"], tmp_path, run)["label_state"].to_list()


def test_options_of_a_provider_s_own_are_sent_as_they_stand(server, tmp_path, run):
    label(labeler(server, extra={"reasoning_effort": "low"}), ["一"], tmp_path, run)
    assert "low" == server.bodies[0]["reasoning_effort"]


BAD = {
    "chat": "我不能评估。",
    "cut": '{"depression_level": 1, "anxiety_le',
    "out of range": json.dumps({**GOOD, "depression_level": 12}),
    "a string": json.dumps({**GOOD, "anxiety_level": "2"}),
    "a float": json.dumps({**GOOD, "anxiety_level": 2.0}),
    "true": json.dumps({**GOOD, "anxiety_level": True}),
    "another risk": json.dumps({**GOOD, "risk_flag": "nonee"}),
    "no risk": json.dumps({**GOOD, "risk_flag": None}),
    "a key too many": json.dumps({**GOOD, "reason": "x"}),
    "a key too few": json.dumps({key: value for key, value in GOOD.items() if key != "risk_flag"}),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_reply_that_may_not_be_used_is_asked_for_again(server, tmp_path, run, bad):
    server.plan["一"] = [BAD[bad]]
    assert [GOOD] == label(labeler(server), ["一"], tmp_path, run).select(*GOOD).to_dicts()
    _, second = server.bodies
    assert BAD[bad] == second["messages"][1]["content"]
    assert "can't be used" in second["messages"][2]["content"]


def test_a_damaged_risk_never_becomes_none(server, tmp_path, run):
    server.default = json.dumps({**GOOD, "risk_flag": "unknown"})
    server.plan["好"] = [json.dumps(GOOD)]
    out = label(labeler(server, completeness=0.5), ["一", "好"], tmp_path, run)
    assert [(None, "refused"), ("none", "labelled")] == out.select("risk_flag", "label_state").rows()
    assert "`risk_flag`: 'unknown' is not one of" in out["label_reason"][0]


def test_a_key_that_is_refused_stops_the_run_at_once(server, tmp_path, run, monkeypatch):
    monkeypatch.setenv("PLANTED_KEY", KEY)
    server.default = refused(401, f"Incorrect API key provided: {KEY}")
    with pytest.raises(forge.StepError, match="401") as caught:
        label(labeler(server, key_env="PLANTED_KEY"), [str(n) for n in range(100)], tmp_path, run)
    assert len(server.bodies) <= 8
    assert "PLANTED_KEY" in caught.value.hint
    assert KEY not in f"{caught.value.message}{caught.value.hint}{run.messages}"


@pytest.mark.parametrize(
    "fault",
    [refused(404, "no such model"), refused(400, "API key not valid"), refused(429, "", code="insufficient_quota")],
)
def test_what_no_retry_helps_stops_the_run_at_once(server, tmp_path, run, fault):
    server.default = fault
    with pytest.raises(forge.StepError, match="stopped after 0 of 50"):
        label(labeler(server), [str(n) for n in range(50)], tmp_path, run)
    assert len(server.bodies) <= 8


def test_a_filtered_row_fails_alone(server, tmp_path, run):
    server.plan["一"] = [refused(400, "content filtered")]
    out = label(labeler(server, completeness=0.5), ["一", "二"], tmp_path, run)
    assert ["failed", "labelled"] == out["label_state"].to_list()
    assert "content filtered" in out["label_reason"][0]


def test_a_server_that_is_not_there_is_said(tmp_path, run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    lost = OpenAI(
        base_url=f"http://127.0.0.1:{port}/v1",
        model="m",
        schema=forge.File("student.json", SCHEMA),
        prompt_text="{{ text }}",
        column="text",
        backoff=0.001,
    )
    with pytest.raises(forge.StepError, match="no connection"):
        label(lost, [str(n) for n in range(30)], tmp_path, run)


def test_the_key_goes_to_the_provider_and_nowhere_else(server, tmp_path, run, monkeypatch):
    monkeypatch.setenv("PLANTED_KEY", KEY)
    server.plan["一"] = [refused(500, f"your key {KEY} broke me"), f"a reply with {KEY} in it"]
    mine = labeler(server, key_env="PLANTED_KEY")
    out = label(mine, ["一", "二"], tmp_path, run)
    assert {f"Bearer {KEY}"} == {headers["authorization"] for headers in server.headers}
    assert KEY not in repr(mine)
    assert KEY not in out.write_json()
    assert KEY not in repr(run.messages)
    assert KEY not in repr(mine.request({"text": "一"}))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [] == [path.name for path in files if KEY.encode() in path.read_bytes()]
    assert 1 == len(files)


def test_another_provider_s_key_is_not_sent(server, tmp_path, run, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    label(labeler(server), ["一"], tmp_path, run)
    assert KEY not in repr(server.headers)
    assert "authorization" not in server.headers[0]


def test_a_missing_key_is_named_before_a_request(server, tmp_path, run, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(forge.StepError, match="`NO_SUCH_KEY` is not set"):
        label(labeler(server, key_env="NO_SUCH_KEY"), ["一"], tmp_path, run)
    assert [] == server.bodies


def test_what_is_journalled_needs_no_key_and_no_server(server, tmp_path, run, monkeypatch):
    monkeypatch.setenv("PLANTED_KEY", KEY)
    mine = labeler(server, key_env="PLANTED_KEY")
    first = label(mine, ["一", "二"], tmp_path, run)
    monkeypatch.delenv("PLANTED_KEY")
    assert first.equals(label(mine, ["一", "二"], tmp_path, run))
    assert 2 == len(server.bodies)


@pytest.mark.parametrize(
    "address", ["ftp://a/v1", "http://", "https://user:pass@host/v1", "https://host/v1?key=abc", "host/v1"]
)
def test_an_address_with_a_secret_or_without_a_host_is_refused(address):
    with pytest.raises(ValueError, match="`base_url` must"):
        OpenAI(base_url=address, model="m", schema=forge.File("s", SCHEMA), prompt_text="x")


@pytest.mark.parametrize("prompts", [{}, {"prompt": forge.File("p", PROMPT), "prompt_text": "x"}])
def test_exactly_one_prompt_is_wanted(prompts):
    with pytest.raises(ValueError, match="give one of `prompt`"):
        OpenAI(base_url="http://host/v1", model="m", schema=forge.File("s", SCHEMA), **prompts)


def student(**parameters):
    files = {"schema": forge.File("student.json", SCHEMA), "prompt": forge.File("student.md", PROMPT)}
    return OpenAI(base_url="http://host/v1", model="m", **files, **parameters)


def test_the_student_prompt_shows_the_dialogue_and_asks_for_the_schema_s_keys():
    turns = [{"role": "user", "text": "我{{睡}}不着"}, {"role": "assistant", "text": "多久了？"}]
    prompt = student().request({"id": "1", "conversation": turns}).messages[0]["content"]
    assert "<dialogue>\n来访者：我{{睡}}不着\n咨询师：多久了？\n</dialogue>" in prompt
    assert all(f'"{name}"' in prompt for name in GOOD)


@pytest.mark.parametrize("empty", [None, [], [{"role": "user", "text": " "}]])
def test_an_empty_conversation_is_nothing_to_label(empty):
    with pytest.raises(forge.Refused, match="`conversation` is empty"):
        student().request({"conversation": empty})


def test_a_missing_column_is_named_with_those_there_are():
    with pytest.raises(forge.StepError, match="no column `conversation`") as caught:
        student().request({"id": "1", "text": "x"})
    assert "they have `id`, `text`" == caught.value.hint


def test_a_prompt_that_names_no_column_is_a_step_error():
    mine = OpenAI(
        base_url="http://host/v1",
        model="m",
        schema=forge.File("s", SCHEMA),
        prompt_text="{{ txet }}",
        column="text",
    )
    with pytest.raises(forge.StepError, match="'txet' is undefined"):
        mine.request({"text": "x"})


def test_a_broken_template_is_named_with_its_line(tmp_path):
    (tmp_path / "p.md").write_text("one\n{% if %}", encoding="utf-8")
    mine = attrs.evolve(student(), prompt=forge.File("p.md", tmp_path / "p.md"))
    with pytest.raises(forge.StepError, match=r"the prompt `p\.md`, line 2"):
        mine.request({"conversation": [{"role": "user", "text": "x"}]})


def test_statistics_count_states_and_labels(server, tmp_path, run):
    server.plan["坏"] = ["x"] * 3
    mine = labeler(server, completeness=0.5)
    out = label(mine, ["一", "二", "坏"], tmp_path, run)
    assert {
        "rows": 3,
        "labelled_share": 0.666667,
        "states": {"labelled": 2, "refused": 1},
        "labels": {
            "depression_level": {"1": 2},
            "anxiety_level": {"2": 2},
            "risk_flag": {"none": 2},
            "student_distress_score": {"4": 2},
        },
    } == mine.statistics(out.lazy())


def test_many_rows_with_many_faults_are_paid_once_each(server, tmp_path, run):
    texts = [f"row {n}" for n in range(200)]
    faults = [FAULTS["429"], FAULTS["500"], reset, half_a_body, (429, {"error": {}}, {"retry-after": "0"})]
    server.plan = {text: [faults[n % 5]] * (n % 3) for n, text in enumerate(texts)}
    out = label(labeler(server, concurrency=16), texts, tmp_path, run)
    assert {"labelled"} == set(out["label_state"])
    assert dict.fromkeys(texts, 1) == dict(server.answered)


def test_the_plugin_registers_its_step_types_and_imports_nothing_heavy():
    script = """
import json, sys
import forge_label
from forge.plugin.registry import Register
register = Register("label")
forge_label.forge_register(register)
print(json.dumps([(kind.use, kind.verb, kind.network) for kind in register.types.values()]))
heavy = {"polars", "aiohttp", "jinja2", "jsonschema", "asyncio", "llama_cpp", "sklearn", "numpy", "matplotlib"}
print(*sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    kinds, heavy = done.stdout.split("\n")[:2]
    assert "" == heavy
    assert [
        ["label.openai", "request", True],
        ["label.batch", "request", True],
        ["label.gguf", "request", False],
        ["label.replay", "request", False],
        ["label.human", "request", False],
        ["label.sheet", "export", False],
        ["label.lexicon", "label", False],
        ["label.pick", "transform", False],
    ] == json.loads(kinds)


SCRIPT = """
import sys
from pathlib import Path
import polars as pl
import forge
from forge.run.labels import label_rows
from forge.store.journal import Journal
from forge_label.endpoint import OpenAI

url, schema, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
labeler = OpenAI(base_url=url, model="fake", schema=forge.File("s", schema), prompt_text="{{ text }}", column="text")
rows = pl.DataFrame({"text": [f"row {n}" for n in range(300)]})
out = label_rows(labeler, rows, Journal(folder), forge.LocalRun(scratch=folder))
print(out.select("text", "risk_flag", "label_state").write_json())
"""


@pytest.mark.slow
def test_a_run_killed_again_and_again_repeats_no_journalled_request(server, tmp_path):
    server.delay = 0.01
    command = [sys.executable, "-c", SCRIPT, server.url, str(SCHEMA), str(tmp_path)]
    journalled = 0
    for kill in range(1, 4):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            before = len(server.bodies)
            while len(server.bodies) < before + 60:
                time.sleep(0.002)
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.1)  # requests that are still in the server's hands
        kept = len(Journal(tmp_path))
        assert kept > journalled
        # Not journalled are at most the eight requests in flight at each kill, and as many on their way to the disk.
        assert len(server.bodies) - kept <= 16 * kill
        journalled = kept
    before = len(server.bodies)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert 300 - journalled == len(server.bodies) - before
    rows = json.loads(done.stdout)
    assert 300 == len(rows)
    assert {("none", "labelled")} == {(row["risk_flag"], row["label_state"]) for row in rows}
    assert 0 == Journal(tmp_path).damaged
