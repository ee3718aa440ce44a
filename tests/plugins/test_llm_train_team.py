"""Several processes train what one would: each computes a part of a step, gradients are summed through accelerate."""

from __future__ import annotations

import json
import pickle
import queue

import pytest

import forge
from forge_llm.train import LoraTrainer, device
from forge_llm.train.team import _tell

SETTINGS = {
    "r": 4, "alpha": 8, "load_in_4bit": False, "precision": "fp32", "dropout": 0.0, "batch": 4, "accumulation": 2,
    "epochs": 2, "eval_every": 2, "learning_rate": 1e-3,
}  # fmt: skip


def train(inputs, folder, run=None, **parameters):
    out = folder / "out"
    out.mkdir(parents=True)
    run = run or forge.LocalRun(scratch=folder, threads=2)
    LoraTrainer(**(SETTINGS | parameters)).train(inputs, out, run)
    return out


@pytest.fixture(scope="module")
def two(training_inputs, tmp_path_factory):
    run = forge.LocalRun(scratch=tmp_path_factory.mktemp("two"), threads=2)
    return train(training_inputs, run.scratch, run, processes=2), run


@pytest.mark.slow
def test_two_processes_train_what_one_does(training_inputs, tmp_path, two):
    import torch
    from safetensors.torch import load_file

    outs = train(training_inputs, tmp_path / "alone"), two[0]
    weights = [load_file(out / "adapter_model.safetensors") for out in outs]
    assert weights[0].keys() == weights[1].keys()
    assert max((weights[0][name] - weights[1][name]).abs().max().item() for name in weights[0]) < 1e-5
    assert torch.count_nonzero(weights[1][next(name for name in weights[1] if "lora_B" in name)])
    curves = [[json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()] for out in outs]
    for name in ("loss", "eval_loss", "eval_accuracy", "tokens"):
        one, other = ([point[name] for point in curve if name in point] for curve in curves)
        assert one == pytest.approx(other, abs=1e-5)
    assert len({(out / "order.jsonl").read_bytes() for out in outs}) == 1
    assert [point["step"] for point in two[1].points] == [0, 1, 2, 3, 4, 5]
    assert {path.name for path in outs[0].iterdir()} == {path.name for path in outs[1].iterdir()}


@pytest.mark.slow
def test_processes_stop_together_and_go_on_together(training_inputs, tmp_path, two):
    with pytest.raises(forge.Interrupted, match="stopped as asked after step 1 of 5; 8 samples"):
        train(training_inputs, tmp_path, forge.LocalRun(tmp_path, threads=2, stopping=True), processes=2)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    (tmp_path / "out").rmdir()
    again = train(training_inputs, tmp_path, processes=2)
    assert (two[0] / "adapter_model.safetensors").read_bytes() == (again / "adapter_model.safetensors").read_bytes()


def test_what_a_process_refuses_is_said_as_it_said_it(tmp_path):
    news, run = queue.Queue(), forge.LocalRun(tmp_path)
    news.put(("log", ("a line",), {}))
    news.put(("raise", (pickle.dumps(forge.StepError("no such thing", hint="look there")),), {}))
    with pytest.raises(forge.StepError, match="no such thing") as caught:
        _tell(news, run)
    assert caught.value.hint == "look there"
    assert run.messages == ["a line"]


def test_more_processes_than_devices_are_refused(training_inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "device", lambda: "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(forge.StepError, match="`processes` is 4 and 2 CUDA devices are open to this process"):
        train(training_inputs, tmp_path, processes=4, backend="peft")


def test_unsloth_trains_in_one_process(training_inputs, tmp_path):
    with pytest.raises(forge.StepError, match="`processes` above 1 is for the peft backend"):
        train(training_inputs, tmp_path, processes=2, backend="unsloth")
