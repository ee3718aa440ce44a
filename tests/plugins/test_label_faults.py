"""`label.openai` and a provider in a process of its own that fails in every planned way."""

import hashlib
import json
import multiprocessing
import random
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import polars as pl
import pytest

import forge
from forge.run.labels import label_rows, request_key
from forge.store.journal import Journal
from forge_label.endpoint import OpenAI, body_of

PROVIDER = Path(__file__).with_name("provider.py")
SCHEMA = Path(__file__).parents[2] / "manifests/schemas/student.json"
LABELS = ["depression_level", "anxiety_level", "risk_flag", "student_distress_score"]


@pytest.fixture
def provider():
    """Return a function that starts a provider and returns its port."""
    started = []

    def start(*arguments):
        command = [sys.executable, str(PROVIDER), *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return int(started[-1].stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def log(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/log") as answer:
        return json.load(answer)


def labeler(port, **parameters):
    parameters = {"backoff": 0.02, "timeout": 0.6, "concurrency": 64, "provider": "fake", **parameters}
    return OpenAI(
        base_url=f"http://127.0.0.1:{port}/v1",
        model="fake",
        schema=forge.File("student.json", SCHEMA),
        prompt_text="{{ text }}",
        column="text",
        **parameters,
    )


def table(rows):
    return pl.DataFrame({"text": [f"row {number}" for number in range(rows)]})


def label(mine, rows, folder):
    return label_rows(mine, rows, Journal(folder), forge.LocalRun(scratch=folder))


def test_rows_with_every_fault_end_complete_each_paid_once(provider, tmp_path):
    # so long that on a busy machine too only what stalls is given up: what comes too late is paid twice, and rightly
    port = provider("--faults", 0.3, "--stall", 6)
    out = label(labeler(port, timeout=5), table(1_000), tmp_path / "journal")
    said = log(port)
    kinds = {"429", "429 after", "500", "reset", "stall", "half", "html", "wrong schema", "cut", "chatty", "empty"}
    assert kinds | {"none"} == set(said["faults"])
    assert {"labelled"} == set(out["label_state"])
    assert {1} == set(said["answered"].values())
    plain = label(labeler(provider()), table(1_000), tmp_path / "plain")
    assert plain.select("text", *LABELS).equals(out.select("text", *LABELS))


def child(port, folder, rows):
    label(labeler(port, concurrency=16), table(rows), Path(folder))


def lines(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl"))


def paid(folder):
    """Return the keys of all replies that were written down."""
    return set(Journal(folder)._loaded())


@pytest.mark.slow
def test_a_hundred_kills_repeat_no_request_whose_reply_was_written_down(provider, tmp_path):
    rows, folder = 2_000, tmp_path / "journal"
    port = provider("--faults", 0.2, "--delay", 0.01, "--stall", 0.1)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["polars", "aiohttp", "jinja2", "jsonschema", "forge_label.endpoint", __name__])
    chance = random.Random(42)
    kept = set()
    bodies = {}  # of the first request of each row, by its key
    for row in table(rows).iter_rows(named=True):
        request = labeler(port).request(row)
        bodies[request_key(request)] = hashlib.sha256(body_of(request)).hexdigest()
    answered_before = {}
    for _ in range(100):
        process = context.Process(target=child, args=(port, str(folder), rows))
        process.start()
        goal = min(len(kept) + 1 + chance.randrange(30), rows - 1)
        begun = time.monotonic()
        while lines(folder) < goal and process.is_alive() and time.monotonic() - begun < 10:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.03)
        process.kill()
        process.join()
        time.sleep(0.02)  # what is still in the provider's hands
        answered = log(port)["answered"]
        repeated = [key for key in kept if key in bodies and answered[bodies[key]] > answered_before[bodies[key]]]
        assert [] == repeated
        now = paid(folder)
        assert kept <= now
        kept, answered_before = now, answered
    out = label(labeler(port), table(rows), folder)
    plain = label(labeler(provider()), table(rows), tmp_path / "plain")
    assert plain.select("text", *LABELS).equals(out.select("text", *LABELS))
    assert 0 == Journal(folder).damaged
    lost = sum(count - 1 for count in log(port)["answered"].values())
    # at most the window of 16 in flight at a kill, and as many on their way to the disk, is answered and lost
    assert lost <= 2 * 16 * 100
