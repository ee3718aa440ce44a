import asyncio
import os
import signal
import subprocess
import sys
import time

import attrs
import polars as pl
import pytest

import forge
from forge.run.labels import Incomplete, ask_rows, label_rows, request_key, shards
from forge.run.survey import survey
from forge.store.journal import Journal


@attrs.define
class Echo:
    """Answer with a level for each row; ``faults`` are raised or returned before that, by prompt."""

    faults: dict = attrs.Factory(dict)
    default: object = None
    asked: list = attrs.Factory(list)
    concurrency: int = 4
    attempts: int = 3
    retries: int = 3
    backoff: float = 0.001
    completeness: float = 1.0
    delay: float = 0.0
    inflight: int = 0
    peak: int = 0
    closed: int = 0

    def request(self, row):
        if not row["text"]:
            raise forge.Refused("`text` is empty")
        return forge.Request({"model": "echo"}, [{"role": "user", "content": row["text"]}])

    async def ask(self, request):
        self.asked.append(list(request.messages))
        self.inflight += 1
        self.peak = max(self.peak, self.inflight)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.inflight -= 1
        text = request.messages[0]["content"]
        fault = self.faults[text].pop(0) if self.faults.get(text) else self.default
        if isinstance(fault, Exception):
            raise fault
        return forge.Reply(fault or str(len(text)), "echo-1", 5, 2)

    def parse(self, reply):
        if not reply.text.isdigit():
            raise forge.Refused(f"`{reply.text}` is not a number")
        return {"level": int(reply.text)}

    async def close(self):
        self.closed += 1


@pytest.fixture
def run(tmp_path):
    return forge.LocalRun(scratch=tmp_path)


def label(labeler, texts, folder, run):
    return label_rows(labeler, pl.DataFrame({"text": texts}, schema={"text": pl.String}), Journal(folder / "j"), run)


def prompts(labeler):
    return [messages[0]["content"] for messages in labeler.asked]


def test_every_row_keeps_its_columns_and_gets_label_and_state(tmp_path, run):
    labeler = Echo()
    out = label(labeler, ["a", "bb", "ccc"], tmp_path, run)
    assert {
        "text": ["a", "bb", "ccc"],
        "level": [1, 2, 3],
        "label_state": ["labelled"] * 3,
        "label_reason": [None] * 3,
        "label_reply": [None] * 3,
        "label_source": ["echo"] * 3,
    } == out.to_dict(as_series=False)
    assert 1 == labeler.closed


def test_equal_requests_are_asked_once(tmp_path, run):
    labeler = Echo()
    out = label(labeler, ["a", "bb", "a", "a"], tmp_path, run)
    assert [1, 2, 1, 1] == out["level"].to_list()
    assert ["a", "bb"] == sorted(prompts(labeler))


def test_a_second_run_asks_nothing_and_an_edited_row_is_one_request(tmp_path, run):
    texts = ["x" * length for length in range(1, 50)]
    first = label(Echo(), texts, tmp_path, run)
    again = Echo()
    assert first.equals(label(again, texts, tmp_path, run))
    assert [] == again.asked
    edited = Echo()
    label(edited, [*texts[:10][::-1], "new", *texts[10:]], tmp_path, run)
    assert ["new"] == prompts(edited)


def test_the_key_is_of_what_is_sent_whatever_the_order_of_its_names():
    one = forge.Request({"model": "m", "seed": 1}, [{"role": "user", "content": "a"}])
    other = forge.Request({"seed": 1, "model": "m"}, [{"content": "a", "role": "user"}])
    changed = forge.Request({"seed": 2, "model": "m"}, [{"content": "a", "role": "user"}])
    assert request_key(one) == request_key(other)
    assert request_key(one) != request_key(changed)


def test_no_more_than_the_window_is_in_flight(tmp_path, run):
    labeler = Echo(concurrency=5, delay=0.005)
    label(labeler, [str(n) for n in range(40)], tmp_path, run)
    assert 5 == labeler.peak


def test_a_refused_reply_is_asked_for_again_with_the_error_shown(tmp_path, run):
    labeler = Echo(faults={"a": ["no number"]})
    out = label(labeler, ["a"], tmp_path, run)
    assert [1] == out["level"].to_list()
    first, second = labeler.asked
    assert first == second[:1]
    assert {"role": "assistant", "content": "no number"} == second[1]
    assert "user" == second[2]["role"]
    assert "`no number` is not a number" in second[2]["content"]


def test_a_row_refused_each_time_is_set_aside_with_reply_and_reason(tmp_path, run):
    labeler = Echo(faults={"a": ["one", "two", "three"]}, completeness=0.5)
    out = label(labeler, ["a", "bb"], tmp_path, run)
    assert [None, 2] == out["level"].to_list()
    assert ["refused", "labelled"] == out["label_state"].to_list()
    assert "`three` is not a number (attempt 3)" == out["label_reason"][0]
    assert "three" == out["label_reply"][0]
    again = Echo(completeness=0.5)
    label(again, ["a", "bb"], tmp_path, run)
    assert [] == again.asked


def test_a_better_parser_relabels_without_a_request(tmp_path, run):
    label(Echo(faults={"a": ["七"] * 3}, completeness=0.0), ["a"], tmp_path, run)

    class Better(Echo):
        def parse(self, reply):
            return {"level": {"七": 7}.get(reply.text)}

    better = Better()
    assert [7] == label(better, ["a"], tmp_path, run)["level"].to_list()
    assert [] == better.asked


@pytest.mark.parametrize("fault", [forge.ProviderBusy("429"), TimeoutError("slow"), ConnectionResetError("reset")])
def test_what_may_pass_is_tried_again(tmp_path, run, fault):
    labeler = Echo(faults={"a": [fault, fault, fault]})
    assert [1] == label(labeler, ["a"], tmp_path, run)["level"].to_list()
    assert 4 == len(labeler.asked)


def test_retry_after_is_waited_for_by_everybody(tmp_path, run):
    labeler = Echo(faults={"a": [forge.ProviderBusy("429", retry_after=0.3)]}, concurrency=1)
    started = time.monotonic()
    label(labeler, ["a", "bb"], tmp_path, run)
    assert time.monotonic() - started >= 0.3
    assert ["a", "a", "bb"] == sorted(prompts(labeler))


def test_a_row_whose_retries_are_used_up_fails_and_the_next_run_asks_it_alone(tmp_path, run):
    labeler = Echo(faults={"a": [forge.ProviderBusy("503 down")] * 4}, completeness=0.5)
    out = label(labeler, ["a", "bb"], tmp_path, run)
    assert ["failed", "labelled"] == out["label_state"].to_list()
    assert "503 down" == out["label_reason"][0]
    again = Echo()
    label(again, ["a", "bb"], tmp_path, run)
    assert ["a"] == prompts(again)


def test_too_few_labelled_rows_fail_the_step_with_the_states(tmp_path, run):
    faults = {"a": ["x", "x", "x"], "bb": [forge.ProviderBusy("503")] * 4}
    with pytest.raises(forge.StepError) as caught:
        label(Echo(faults=faults, completeness=0.9), ["a", "bb", "ccc", ""], tmp_path, run)
    assert 1 == caught.value.exit_code
    assert "25.00% of 4 rows are labelled (1 failed, 1 labelled, 1 refused, 1 skipped)" in caught.value.message
    assert "`completeness` wants 90.00%" in caught.value.message
    assert "kept" in caught.value.hint


def test_a_row_with_nothing_to_label_is_skipped(tmp_path, run):
    out = label(Echo(completeness=0.5), ["a", ""], tmp_path, run)
    assert ["labelled", "skipped"] == out["label_state"].to_list()
    assert [None, "`text` is empty"] == out["label_reason"].to_list()


def test_a_provider_that_refuses_everything_stops_the_run_at_once(tmp_path, run):
    labeler = Echo(default=forge.ProviderRefused("401 bad key", hint="look at it"), concurrency=2)
    with pytest.raises(forge.StepError, match="stopped after 0 of 100 rows: 401 bad key") as caught:
        label(labeler, ["x" * n for n in range(1, 101)], tmp_path, run)
    assert len(labeler.asked) <= 2
    assert caught.value.hint.startswith("look at it; every reply so far is kept")
    assert 1 == labeler.closed


def test_one_refused_row_fails_alone(tmp_path, run):
    labeler = Echo(faults={"a": [forge.ProviderRefused("400 filtered", every=False)]}, completeness=0.5)
    out = label(labeler, ["a", "bb"], tmp_path, run)
    assert ["failed", "labelled"] == out["label_state"].to_list()


def test_a_provider_that_refuses_row_after_row_stops_the_run(tmp_path, run):
    labeler = Echo(default=forge.ProviderRefused("400 no such option", every=False))
    with pytest.raises(forge.StepError, match="the provider refused all 20 requests"):
        label(labeler, ["x" * n for n in range(1, 101)], tmp_path, run)


def test_rows_that_are_always_refused_do_not_stop_a_resumed_run(tmp_path, run):
    bad = ["x" * n for n in range(1, 31)]
    faults = {text: [forge.ProviderRefused("400", every=False)] for text in bad}
    good = ["y" * n for n in range(40, 100)]
    label(Echo(faults={k: list(v) for k, v in faults.items()}, completeness=0.5), [*good, *bad], tmp_path, run)
    out = label(Echo(faults=faults, completeness=0.5), [*bad, *good], tmp_path, run)
    assert {"failed": 30, "labelled": 60} == dict(out["label_state"].value_counts().iter_rows())


def test_a_provider_that_is_down_stops_the_run_and_the_next_one_goes_on(tmp_path, run):
    texts = ["x" * n for n in range(1, 101)]
    down = Echo(faults={text: [forge.ProviderBusy("503")] * 999 for text in texts[30:]}, retries=100, backoff=0.0005)
    with pytest.raises(forge.StepError, match="tries in a row without an answer, the last: 503") as caught:
        label(down, texts, tmp_path, run)
    assert "go on from here" in caught.value.hint
    again = Echo()
    assert list(range(1, 101)) == label(again, texts, tmp_path, run)["level"].to_list()
    assert sorted(texts[30:]) == sorted(prompts(again))


def test_a_bug_in_a_labeler_is_not_dressed_up(tmp_path, run):
    labeler = Echo(faults={"a": [KeyError("bug")]})
    with pytest.raises(KeyError, match="bug"):
        label(labeler, ["a"], tmp_path, run)
    assert 1 == labeler.closed


def test_columns_that_are_there_already_are_named(tmp_path, run):
    rows = pl.DataFrame({"text": ["a"], "level": [1]})
    with pytest.raises(forge.StepError, match="the rows have the columns `level` already"):
        label_rows(Echo(), rows, Journal(tmp_path / "j"), run)


def test_no_rows_are_no_error(tmp_path, run):
    assert 0 == label(Echo(), [], tmp_path, run).height


def test_numbers_of_one_column_become_one_type(tmp_path, run):
    class Halves(Echo):
        def parse(self, reply):
            return {"level": 2.5 if reply.text == "2" else int(reply.text)}

    assert [1.0, 2.5] == label(Halves(), ["a", "bb"], tmp_path, run)["level"].to_list()


def test_ctrl_c_keeps_every_reply_that_came(tmp_path):
    script = """
import asyncio, sys
from pathlib import Path
import attrs, polars as pl
import forge
from forge.run.labels import label_rows
from forge.store.journal import Journal

class Slow:
    concurrency = 4
    def request(self, row):
        return forge.Request({}, [{"role": "user", "content": row["text"]}])
    async def ask(self, request):
        await asyncio.sleep(0.01)
        print(request.messages[0]["content"], flush=True)
        return forge.Reply("1")
    def parse(self, reply):
        return {"level": 1}

folder = Path(sys.argv[1])
rows = pl.DataFrame({"text": [str(n) for n in range(5000)]})
label_rows(Slow(), rows, Journal(folder / "j"), forge.LocalRun(scratch=folder))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        said = [process.stdout.readline() for _ in range(30)]
        os.kill(process.pid, signal.SIGINT)
        rest, error = process.communicate()
    said = [int(line) for line in [*said, *rest.splitlines()]]
    assert error.rstrip().endswith("KeyboardInterrupt")
    journal = Journal(tmp_path / "j")
    missing = [n for n in said if request_key(forge.Request({}, [{"role": "user", "content": str(n)}])) not in journal]
    assert [] == missing
    assert (0, 0) == (journal.damaged, journal.cut)


def test_the_log_names_each_row_that_is_not_labelled(tmp_path):
    run = forge.LocalRun(tmp_path / "scratch")
    label(Echo(faults={"a": ["七"] * 3}, completeness=0.0), ["a", "bb"], tmp_path, run)
    [line] = [message for message in run.messages if message.startswith("row ")]
    assert line.startswith("row 1 refused: ")
    assert line.endswith("reply: 七")


def test_a_row_that_waits_for_the_disk_or_a_retry_holds_no_request_up(tmp_path, run, monkeypatch):
    syncs = []

    def sync(descriptor):
        syncs.append(descriptor)
        time.sleep(0.2)

    monkeypatch.setattr(os, "fsync", sync)
    label(Echo(concurrency=2, delay=0.005), [str(n) for n in range(40)], tmp_path, run)
    assert len(syncs) < 20  # two at a time behind the disk would take 20


def test_shards_on_other_machines_share_one_folder_and_their_size_changes_nothing(tmp_path, run):
    rows = pl.DataFrame({"text": ["x" * (n % 37 + 1) for n in range(1_000)]})
    whole = label_rows(Echo(), rows, Journal(tmp_path / "whole"), run)
    for size in (300, 7):
        folder = tmp_path / str(size)
        for first, length in shards(rows.height, size):
            ask_rows(Echo(), rows[first : first + length], Journal(folder), run)
        last = Echo()
        assert whole.equals(label_rows(last, rows, Journal(folder), run))
        assert [] == last.asked


@attrs.define
class Priced(Echo):
    most_tokens: int | None = None
    most_money: float | None = None
    max_tokens: int = 0

    def cost(self, prompt_tokens, completion_tokens):
        return (prompt_tokens + completion_tokens) * 0.01


@pytest.mark.parametrize(("cap", "said"), [({"most_tokens": 70}, "70 tokens"), ({"most_money": 0.7}, "0.7")])
def test_a_cap_stops_the_run_cleanly_and_the_next_one_goes_on(tmp_path, run, cap, said):
    texts = ["x" * n for n in range(1, 101)]
    capped = Priced(concurrency=8, delay=0.001, **cap)
    with pytest.raises(forge.StepError, match=f"the cap of {said}") as caught:
        label(capped, texts, tmp_path, run)
    assert "raise the cap to go on" in caught.value.hint
    assert len(capped.asked) <= 10  # of 7 tokens each
    assert len(capped.asked) == len(Journal(tmp_path / "j"))
    again = Echo()
    label(again, texts, tmp_path, run)
    assert 100 == len(again.asked) + len(capped.asked)
    assert f"stopped after {len(capped.asked)} of 100 rows" in caught.value.message  # with those that were in flight


def test_a_cap_holds_also_for_what_is_in_flight_and_is_used_up(tmp_path, run):
    texts = [f"x{n}" for n in range(200)]
    # 64 at a time, each of which may cost 80 tokens and costs 7
    capped = Priced(concurrency=64, delay=0.001, most_tokens=700, max_tokens=20)
    with pytest.raises(forge.StepError, match="stopped after 100 of 200 rows"):
        label(capped, texts, tmp_path, run)
    assert 100 == len(capped.asked)
    # what replies cost is known from the journal: the next build asks as many as fit at once
    more = Priced(concurrency=64, delay=0.001, most_tokens=140, max_tokens=100)
    with pytest.raises(forge.StepError, match="stopped after 120 of 200 rows"):
        label(more, texts, tmp_path, run)
    assert 20 == more.peak


def test_a_first_request_is_sent_whatever_it_may_cost(tmp_path, run):
    capped = Priced(most_tokens=10, max_tokens=1000)
    with pytest.raises(forge.StepError, match="stopped after 1 of 3 rows: the cap of 10 tokens"):
        label(capped, ["a", "b", "c"], tmp_path, run)
    assert 1 == len(capped.asked)


def test_a_run_whose_replies_are_all_refused_stops_with_an_example_and_goes_on_when_they_can_be_read(tmp_path, run):
    texts = [f"x{n}" for n in range(300)]
    labeler = Echo(default="no", attempts=1)
    with pytest.raises(
        Incomplete, match=r"all 50 replies so far are refused, as row \d+: `no` is not a number"
    ) as caught:
        label(labeler, texts, tmp_path, run)
    assert 50 <= len(labeler.asked) < 60  # and those that were in flight
    assert {"refused": len(labeler.asked)} == caught.value.report["states"]
    assert "mend the prompt or the schema" in caught.value.hint

    class Better(Echo):
        def parse(self, reply):
            return {"level": 0 if reply.text == "no" else int(reply.text)}

    better = Better()
    assert 300 == label(better, texts, tmp_path, run).height
    assert 300 == len(better.asked) + len(labeler.asked)


def test_refused_rows_stop_no_run_that_labelled_one(tmp_path, run):
    labeler = Echo({"x0": ["7"]}, default="no", attempts=1, completeness=0.0, concurrency=1)
    out = label(labeler, [f"x{n}" for n in range(90)], tmp_path, run)
    assert {"labelled": 1, "refused": 89} == dict(out["label_state"].value_counts().iter_rows())


def test_progress_shows_rate_tokens_cost_errors_and_time_left(tmp_path):
    shown = []

    class Watched(forge.LocalRun):
        def progress(self, done, total=None, **figures):
            shown.append((done, total, figures))

    faults = {"x": [forge.ProviderBusy("503")]}
    label(
        Priced(faults=faults, delay=0.02, concurrency=1), ["x" * n for n in range(1, 31)], tmp_path, Watched(tmp_path)
    )
    done, total, figures = shown[-1]
    assert (30, 30) == (done, total)
    assert {"asked": 30, "tokens": 210, "cost": "2.1000", "errors": 1} == {
        name: value for name, value in figures.items() if name != "rate"
    }
    assert "left" in shown[0][2]


def test_a_survey_counts_what_would_be_asked_and_what_it_costs(tmp_path, run):
    rows = pl.DataFrame({"text": ["a", "bb", "bb", "", "ccc"]})
    fresh = survey(Priced(), rows, Journal(tmp_path / "j"))
    assert (5, 1, 0, 3) == (fresh.rows, fresh.skipped, fresh.known, fresh.requests)
    assert ("characters", None, True) == (fresh.by, fresh.completion_tokens, fresh.at_most)
    label(Echo(faults={"a": ["no"]}), ["a", "bb"], tmp_path, run)
    partly = survey(Priced(), rows, Journal(tmp_path / "j"))
    assert (2, 1, "replies") == (partly.known, partly.requests, partly.by)
    assert (5, 2, 0.07, False) == (partly.prompt_tokens, partly.completion_tokens, partly.money, partly.at_most)
    assert 0 == survey(Priced(), rows[:2], Journal(tmp_path / "j")).requests


def test_a_row_that_several_rows_share_is_asked_for_once_while_it_is_under_way(tmp_path, run):
    labeler = Echo(concurrency=8, delay=0.02, faults={"a": ["no", "no", "no"]}, completeness=0.0)
    out = label(labeler, ["a"] * 8, tmp_path, run)
    assert ["refused"] * 8 == out["label_state"].to_list()
    assert 3 == len(labeler.asked)
