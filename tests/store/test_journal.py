import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from blake3 import blake3

from forge.core.errors import StoreError
from forge.store.journal import Journal


def key(number):
    return blake3(str(number).encode()).hexdigest()


def put(journal, *replies):
    async def all_at_once():
        await asyncio.gather(*(journal.put(key(number), reply) for number, reply in replies))

    asyncio.run(all_at_once())
    journal.close()


def files(folder):
    return sorted(folder.glob("*.jsonl"))


def test_a_reply_is_found_again_by_another_process_s_journal(tmp_path):
    reply = {"text": '抑郁 "1"\n第二行\ud83d', "model": "m", "prompt_tokens": 3}
    put(Journal(tmp_path), (1, reply))
    again = Journal(tmp_path)
    assert reply == again.get(key(1))
    assert again.get(key(2)) is None
    assert (1, 0, 0) == (len(again), again.damaged, again.cut)


def test_each_line_is_json_by_itself(tmp_path):
    put(Journal(tmp_path), (1, {"text": "一"}), (2, {"text": "二"}))
    (file,) = files(tmp_path)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [key(1), key(2)] == [line["key"] for line in lines]
    assert [{"text": "一"}, {"text": "二"}] == [line["reply"] for line in lines]


def test_every_writer_has_a_file_of_its_own(tmp_path):
    put(Journal(tmp_path), (1, {"text": "a"}))
    put(Journal(tmp_path), (2, {"text": "b"}))
    assert 2 == len(files(tmp_path))
    assert 2 == len(Journal(tmp_path))


def test_reading_alone_leaves_no_file(tmp_path):
    journal = Journal(tmp_path / "new")
    assert journal.get(key(1)) is None
    journal.close()
    assert not (tmp_path / "new").exists()


def test_a_last_line_cut_by_a_crash_is_skipped(tmp_path):
    put(Journal(tmp_path), (1, {"text": "a"}), (2, {"text": "b"}))
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:-7])
    journal = Journal(tmp_path)
    assert {"text": "a"} == journal.get(key(1))
    assert journal.get(key(2)) is None
    assert (0, 1) == (journal.damaged, journal.cut)


@pytest.mark.parametrize("place", [12, 90, 110])
def test_one_flipped_letter_costs_one_line_and_is_counted(tmp_path, place):
    put(Journal(tmp_path), (1, {"text": "aaaaaaaaaa"}), (2, {"text": "b"}))
    (file,) = files(tmp_path)
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    journal = Journal(tmp_path)
    assert journal.get(key(1)) is None
    assert {"text": "b"} == journal.get(key(2))
    assert (1, 0) == (journal.damaged, journal.cut)


def test_put_returns_only_after_fsync_and_replies_share_one(tmp_path, monkeypatch):
    events = []
    real = os.fsync

    def slow(descriptor):
        time.sleep(0.02)
        real(descriptor)
        events.append("synced")

    monkeypatch.setattr(os, "fsync", slow)
    journal = Journal(tmp_path)

    async def one(number):
        await journal.put(key(number), {"text": "x"})
        events.append("returned")

    async def every():
        await asyncio.gather(*(one(number) for number in range(50)))

    asyncio.run(every())
    journal.close()
    assert "synced" == events[0]
    assert 50 == events.count("returned")
    assert events.count("synced") <= 5


def test_a_write_that_fails_is_a_store_error_and_the_next_begins_a_new_file(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    real = os.fsync
    full = OSError(28, "No space left on device")

    def fail(descriptor):
        raise full

    async def twice():
        await journal.put(key(1), {"text": "a"})
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match="No space left"):
            await journal.put(key(2), {"text": "b"})
        monkeypatch.setattr(os, "fsync", real)
        await journal.put(key(3), {"text": "c"})

    asyncio.run(twice())
    journal.close()
    assert 2 == len(files(tmp_path))
    assert {"text": "c"} == Journal(tmp_path).get(key(3))


def test_a_put_that_is_cancelled_is_written_all_the_same(tmp_path):
    journal = Journal(tmp_path)

    async def cancelled():
        task = asyncio.create_task(journal.put(key(1), {"text": "paid"}))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await journal.settle()

    asyncio.run(cancelled())
    journal.close()
    assert {"text": "paid"} == Journal(tmp_path).get(key(1))


def test_what_put_returned_for_survives_kill_9(tmp_path):
    script = """
import asyncio, sys
from pathlib import Path
from blake3 import blake3
from forge.store.journal import Journal
journal = Journal(Path(sys.argv[1]))
async def main():
    for number in range(100_000):
        await journal.put(blake3(str(number).encode()).hexdigest(), {"text": "x" * 300})
        print(number, flush=True)
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with process:
        said = [process.stdout.readline() for _ in range(40)]
        process.kill()
        said += process.stdout.readlines()
    last = int([line for line in said if line.endswith("\n")][-1])
    journal = Journal(tmp_path)
    assert [] == [number for number in range(last + 1) if key(number) not in journal]
    assert 0 == journal.damaged


def test_19250_replies_load_in_half_a_second(tmp_path):
    text = '{"depression_level": 1, "anxiety_level": 2, "risk_flag": "none", "student_distress_score": 4}' * 3
    journal = Journal(Path(tmp_path))
    reply = json.dumps({"text": text, "model": "m", "prompt_tokens": 900, "completion_tokens": 40}).encode()
    journal.write([(key(number), reply) for number in range(19_250)])
    journal.close()
    started = time.perf_counter()
    again = Journal(tmp_path)
    assert 19_250 == len(again)
    assert time.perf_counter() - started < 0.5
    assert text == again.get(key(19_249))["text"]
