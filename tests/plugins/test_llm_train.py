"""The LoRA trainer: its losses and gradients are peft's, and a killed run ends like one that was left alone.

Wrong resume (row 12 of what users of other tools report): the killed run, and the checkpoints that are refused.
Same seed, other result (row 15): the same inputs give the same bytes; what could differ is recorded.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import attrs
import polars as pl
import pytest

import forge
from forge_llm.train import LoraTrainer, Tokens, backend_peft, checkpoint, device
from forge_llm.train.samples import data_order, lay_flat, read_samples, shared_beginning, terms_of

SETTINGS = {"r": 4, "alpha": 8, "load_in_4bit": False, "precision": "fp32", "batch": 4, "accumulation": 2, "epochs": 4}
RUN = """
import json, sys
from pathlib import Path
import forge
from forge_llm.train import LoraTrainer
class Slow(forge.LocalRun):
    def progress(self, done, total=None, **figures):
        print(done, flush=True)
        import time
        time.sleep(float(sys.argv[3]))
folder = Path(sys.argv[1])
inputs = {name: forge.Artifact(name, Path(path)) for name, path in json.loads(sys.argv[2]).items()}
out = folder / "out"
out.mkdir(exist_ok=True)
LoraTrainer(**json.loads(sys.argv[4])).train(inputs, out, Slow(scratch=folder, threads=1))
"""


@pytest.fixture
def inputs(training_inputs):
    return dict(training_inputs)


def train(inputs, folder, **parameters):
    out = folder / "out"
    out.mkdir(parents=True)
    run = forge.LocalRun(scratch=folder, threads=1)
    LoraTrainer(**(SETTINGS | parameters)).train(inputs, out, run)
    return out


def opened(base, **parameters):
    import torch

    torch.manual_seed(3)
    step = LoraTrainer(**(SETTINGS | {"dropout": 0.0} | parameters))
    model = backend_peft.open_model(base, step, step.precision, "cpu")
    for name, parameter in model.model.named_parameters():
        if "lora_B" in name:  # zero at first, which would hide half of the gradients
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def peft_gradients(model, batch):
    """Compute the loss as peft and transformers do: each sample alone, logits at every position, eager attention."""
    import torch

    model.model.get_base_model().set_attn_implementation("eager")
    total = 0.0
    for sample in batch:
        ids = torch.tensor([sample.ids])
        labels = torch.full_like(ids, -100)
        labels[0, list(sample.learned)] = ids[0, list(sample.learned)]
        logits = model.model(input_ids=ids).logits[:, :-1].flatten(0, 1)
        total = total + torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), reduction="sum")
    loss = total / sum(len(sample.learned) for sample in batch)
    loss.backward()
    return loss.item(), gradients_of(model)


def gradients_of(model):
    return {name: p.grad.clone() for name, p in model.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("train_on", ["responses", "all"])
def test_loss_and_gradients_are_those_of_peft(inputs, tiny_model, train_on):
    batch = read_samples(inputs["data"], "data")[:6]
    if train_on == "all":
        batch = [attrs.evolve(sample, learned=tuple(range(1, len(sample.ids)))) for sample in batch]
    assert (shared_beginning(batch) > 10) == (train_on == "responses")
    model = opened(tiny_model)
    loss = model.loss(batch, sum(len(sample.learned) for sample in batch))
    loss.backward()
    expected_loss, expected = peft_gradients(plain(opened, tiny_model), batch)
    assert expected_loss == pytest.approx(loss.item(), abs=1e-5)
    found = gradients_of(model)
    assert expected.keys() == found.keys()
    assert max((expected[name] - found[name]).abs().max().item() for name in found) < 1e-5
    assert max(gradient.abs().max().item() for gradient in found.values()) > 1e-3


def plain(make, base):
    """Open the same model without anything of forge's in its layers."""
    model = make(base)
    for module in model.model.modules():
        vars(module).pop("forward", None)
    model.model.train()  # else bitsandbytes repacks what it is asked for without gradients
    return model


def test_a_padded_batch_gives_the_same_loss(inputs, tiny_model):
    batch = read_samples(inputs["data"], "data")[:5]
    flat = opened(tiny_model).loss(batch, 10).item()
    other = opened(tiny_model)
    other.model.get_base_model().set_attn_implementation("sdpa")
    assert flat == pytest.approx(attrs.evolve(other, attention=None).loss(batch, 10).item(), abs=1e-5)


WEIGHTS = (5.0, 1.0, 0.5, 1.0, 2.0, 5.0)


@pytest.mark.parametrize("flat", [True, False])
def test_weighted_loss_and_gradients_are_the_weighted_mean_of_peft(inputs, tiny_model, flat):
    import torch

    batch = read_samples(inputs["data"], "data")[: len(WEIGHTS)]
    batch = [attrs.evolve(sample, weight=weight) for sample, weight in zip(batch, WEIGHTS, strict=True)]
    model = opened(tiny_model)
    if not flat:
        model.model.get_base_model().set_attn_implementation("sdpa")
        model = attrs.evolve(model, attention=None)
    loss = model.loss(batch, terms_of(batch))
    loss.backward()
    found = gradients_of(model)

    alone = [peft_gradients(plain(opened, tiny_model), [sample]) for sample in batch]
    shares = [sample.weight * len(sample.learned) for sample in batch]
    shares = [share / sum(shares) for share in shares]
    expected_loss = sum(share * loss for share, (loss, _) in zip(shares, alone, strict=True))
    assert expected_loss == pytest.approx(loss.item(), abs=1e-5)
    for name, gradient in found.items():
        expected = sum(share * gradients[name] for share, (_, gradients) in zip(shares, alone, strict=True))
        assert torch.allclose(expected, gradient, atol=1e-5)
    unweighted = opened(tiny_model)
    same = [attrs.evolve(sample, weight=1.0) for sample in batch]
    unweighted.loss(same, terms_of(same)).backward()
    other = gradients_of(unweighted)
    assert max((other[name] - found[name]).abs().max().item() for name in found) > 1e-3


def test_a_weight_is_a_repetition_in_the_loss(inputs, tiny_model):
    batch = read_samples(inputs["data"], "data")[:3]
    model = opened(tiny_model)
    repeated = [batch[0]] * 5 + batch[1:]
    weighted = [attrs.evolve(batch[0], weight=5.0), *batch[1:]]
    expected = model.loss(repeated, terms_of(repeated)).item()
    assert expected == pytest.approx(model.loss(weighted, terms_of(weighted)).item(), abs=1e-5)


def test_unsloths_kernel_is_asked_for_each_weight_alone(inputs, tiny_model, monkeypatch):
    import torch

    from forge_llm.train import backend_unsloth

    batch = read_samples(inputs["data"], "data")[: len(WEIGHTS)]
    batch = [attrs.evolve(sample, weight=weight) for sample, weight in zip(batch, WEIGHTS, strict=True)]
    model = plain(opened, tiny_model)
    model.model.get_base_model().set_attn_implementation("sdpa")

    @attrs.frozen
    class Answer:
        loss: object

    def kernel(*, input_ids, attention_mask, labels, num_items_in_batch):
        logits = model.model(input_ids=input_ids, attention_mask=attention_mask).logits[:, :-1].flatten(0, 1)
        summed = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), reduction="sum")
        return Answer(summed / num_items_in_batch)

    expected = opened(tiny_model).loss(batch, terms_of(batch)).item()
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    found = backend_unsloth.UnslothModel(kernel).loss(batch, terms_of(batch)).item()
    assert expected == pytest.approx(found, abs=1e-5)


def with_weights(artifact, folder, weights):
    frame = artifact.rows().collect()
    column = [weights[place % len(weights)] for place in range(frame.height)]
    forge.write_rows(frame.with_columns(pl.Series("weight", column)), folder)
    return forge.Artifact("data", folder)


def test_weights_of_one_train_the_same_bytes_as_none(inputs, tmp_path):
    settings = {"epochs": 1}
    plain_out = train(inputs, tmp_path / "plain", **settings)
    ones = with_weights(inputs["data"], tmp_path / "ones", [1.0])
    out = train(inputs | {"data": ones}, tmp_path / "weighted", **settings)
    assert {p.name: p.read_bytes() for p in plain_out.iterdir()} == {p.name: p.read_bytes() for p in out.iterdir()}


def test_weights_change_what_is_trained_and_are_in_the_figures(inputs, tmp_path):
    settings = {"epochs": 1}
    data = with_weights(inputs["data"], tmp_path / "data", [5.0, 1.0])
    metrics, runs = [], []
    for name, table in (("none", inputs["data"]), ("some", data)):
        out = train(inputs | {"data": table}, tmp_path / name, **settings)
        metrics.append(json.loads((out / "metrics.json").read_text()))
        runs.append(json.loads((out / "trainer.json").read_text())["run"]["data"])
    assert runs[0] != runs[1]
    assert metrics[0]["loss"] != metrics[1]["loss"]
    assert "weighted_tokens" not in metrics[0]
    assert metrics[0]["trained_tokens"] == metrics[1]["trained_tokens"]
    assert metrics[1]["weighted_tokens"] > 2 * metrics[1]["trained_tokens"]


def test_a_sliding_window_hides_what_lies_before_it(tiny_model):
    import torch

    from forge_llm.train.attention import FlatAttention
    from forge_llm.train.samples import Sample

    attention = FlatAttention()
    attention.lay(lay_flat([Sample("a", list(range(9)), (8,)), Sample("b", [0, 1, 2, 3, 9, 9], (5,))]))
    assert attention.flat.shared == 4
    query, key, value = torch.randn(3, 1, 2, 11, 8).unbind(0)
    found, _ = attention(None, query, key, value, None, sliding_window=3)
    rows = [0, 1, 2, 3, 9, 10]  # the second sample: the shared beginning, then its rest
    there = torch.arange(6)
    hidden = (there[None] > there[:, None]) | (there[None] <= there[:, None] - 3)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query[:, :, rows], key[:, :, rows], value[:, :, rows], attn_mask=~hidden
    )
    assert torch.allclose(expected.transpose(1, 2), found[:, rows], atol=1e-5)


def test_the_order_takes_each_sample_once_an_epoch(inputs):
    order = data_order(20, 2.5, seed=1)
    assert len(order) == 50
    assert sorted(order[:20]) == sorted(order[20:40]) == list(range(20))
    assert order[:20] != order[20:40]
    assert order != data_order(20, 2.5, seed=2)


def test_training_leaves_an_adapter_that_peft_loads_and_figures_that_fit(inputs, tmp_path, tiny_model):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    out = train(inputs, tmp_path, learning_rate=1e-2, epochs=8, eval_every=5)
    metrics = json.loads((out / "metrics.json").read_text())
    figures = forge.Artifact("lora", out).figures()
    assert {*LoraTrainer().figures(inputs)} == {*figures, "weighted_tokens"}  # what it names before it runs
    assert metrics["eval_loss"] < metrics["eval_loss_before"] - 0.2
    curve = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
    assert [point["step"] for point in curve] == list(range(21))
    assert [point["step"] for point in curve if "eval_loss" in point] == [0, 5, 10, 15, 20]
    assert (out / "loss.png").read_bytes()[:4] == b"\x89PNG"
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None
    assert str(tiny_model) not in "".join(path.read_text() for path in out.glob("*.json*"))
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads an attribute that transformers renames
        model = PeftModel.from_pretrained(base, out).eval()
    held_out = read_samples(inputs["eval"], "eval")
    with torch.no_grad():
        terms = sum(len(sample.learned) for sample in held_out)
        expected = backend_peft.PeftModel(model, None, "cpu").loss(held_out, terms).item()
    assert expected == pytest.approx(metrics["eval_loss"], abs=1e-4)


def test_the_same_inputs_give_the_same_bytes(inputs, tmp_path):
    contents = []
    for name in ("one", "two"):
        out = train(inputs, tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert contents[0] == contents[1]


def test_batches_of_another_size_train_the_same(inputs, tmp_path):
    import torch
    from safetensors.torch import load_file

    whole = load_file(train(inputs, tmp_path / "a", dropout=0.0, batch=8, accumulation=1) / "adapter_model.safetensors")
    parts = load_file(train(inputs, tmp_path / "b", dropout=0.0, batch=2, accumulation=4) / "adapter_model.safetensors")
    assert all(torch.allclose(whole[name], parts[name], atol=1e-4) for name in whole)


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_bytes(inputs, tmp_path):
    names = {name: str(artifact.path) for name, artifact in inputs.items()}
    settings = json.dumps(SETTINGS | {"save_every": 2})

    def start(folder, delay):
        folder.mkdir(exist_ok=True)
        words = [sys.executable, "-c", RUN, str(folder), json.dumps(names), str(delay), settings]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    alone = start(tmp_path / "alone", 0)
    assert [str(step) for step in range(1, 11)] == alone.communicate(timeout=120)[0].split()
    killed = start(tmp_path / "killed", 0.3)
    for line in killed.stdout:
        if int(line) == 5:
            os.kill(killed.pid, signal.SIGKILL)
            break
    killed.communicate(timeout=60)
    assert not list((tmp_path / "killed" / "out").iterdir())
    resumed = start(tmp_path / "killed", 0)
    assert [str(step) for step in range(5, 11)] == resumed.communicate(timeout=120)[0].split()
    files = [{p.name: p.read_bytes() for p in (tmp_path / name / "out").iterdir()} for name in ("alone", "killed")]
    assert files[0] == files[1]


def test_a_checkpoint_of_other_data_is_refused_by_name(inputs, tmp_path):
    train(inputs, tmp_path / "a", save_every=2)
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "checkpoints").rename(tmp_path / "b" / "checkpoints")
    with pytest.raises(forge.StepError, match="`step-00000008` belongs to another run: `settings` differ"):
        train(inputs, tmp_path / "b", learning_rate=2e-4)
    fewer = {name: artifact for name, artifact in inputs.items() if name != "eval"}
    fewer["data"] = inputs["eval"]
    (tmp_path / "c").mkdir()
    (tmp_path / "b" / "checkpoints").rename(tmp_path / "c" / "checkpoints")
    with pytest.raises(forge.StepError, match="belongs to another run: `data` differ"):
        train(fewer, tmp_path / "c")


def test_a_checkpoint_cut_short_is_never_seen(tmp_path, monkeypatch):
    import torch

    state = checkpoint.Checkpoint(1, 8, [], {"w": torch.ones(2)}, {"w/step": torch.ones(())})
    checkpoint.save(tmp_path, state, {"data": "x"})

    def dies(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "_sync", dies)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, attrs.evolve(state, step=2), {"data": "x"})
    assert checkpoint.newest(tmp_path, {"data": "x"}).step == 1


def test_a_loss_that_is_not_finite_names_the_step(inputs, tmp_path):
    with pytest.raises(forge.StepError, match="the loss is not finite at step") as caught:
        train(inputs, tmp_path, learning_rate=1e30, schedule="constant", warmup_ratio=0.0)
    assert "lower `learning_rate`" in str(caught.value.hint)


def test_data_without_a_token_to_learn_is_refused(inputs, tmp_path):
    rows = inputs["data"].rows().with_columns(pl.col("loss_mask").list.eval(pl.element() & False)).collect()
    forge.write_rows(rows, tmp_path / "masked")
    with pytest.raises(forge.StepError, match="input `data` has no token to learn"):
        train(inputs | {"data": forge.Artifact("data", tmp_path / "masked")}, tmp_path)


def test_a_table_that_holds_no_token_ids_is_refused_by_its_columns(inputs, tmp_path):
    forge.write_rows(pl.DataFrame({"id": ["a"], "text": ["x"]}), tmp_path / "rows")
    with pytest.raises(forge.StepError, match="input `data` has no column `input_ids`, `loss_mask`"):
        train(inputs | {"data": forge.Artifact("data", tmp_path / "rows")}, tmp_path)


def test_nf4_on_a_cpu_is_four_bits_and_trains(inputs, tmp_path, tiny_model):
    import bitsandbytes
    import torch

    model = opened(tiny_model, load_in_4bit=True)
    layers = [m for m in model.model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14
    assert {layer.weight.dtype for layer in layers} == {torch.uint8}
    assert {layer.weight.quant_state.quant_type for layer in layers} == {"nf4"}
    packed = layers[0].weight
    assert packed.numel() * 2 == packed.quant_state.shape.numel()
    out = train(inputs, tmp_path, load_in_4bit=True, learning_rate=1e-2)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["eval_loss"] < metrics["eval_loss_before"]


def test_gradients_over_nf4_are_those_of_peft(inputs, tiny_model):
    batch = read_samples(inputs["data"], "data")[:4]
    model = opened(tiny_model, load_in_4bit=True)
    loss = model.loss(batch, sum(len(sample.learned) for sample in batch))
    loss.backward()
    expected_loss, expected = peft_gradients(plain(lambda base: opened(base, load_in_4bit=True), tiny_model), batch)
    assert expected_loss == pytest.approx(loss.item(), abs=1e-5)
    assert max((expected[name] - p).abs().max().item() for name, p in gradients_of(model).items()) < 1e-5


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj",)])
def test_evaluating_over_nf4_does_not_cut_the_gradients_off(inputs, tiny_model, targets):
    import torch

    batch = read_samples(inputs["data"], "data")[:4]
    found = []
    for evaluates in (False, True):
        model = opened(tiny_model, load_in_4bit=True, precision="bf16", targets=targets)
        if evaluates:
            model.model.eval()
            with torch.no_grad():
                model.loss(batch, 10)
        model.model.train()
        model.loss(batch, 10).backward()
        found.append(gradients_of(model))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert all(gradient.abs().max() > 0 for gradient in found[1].values())


def test_dropout_hides_the_share_that_was_asked_for_and_keeps_the_mean():
    import torch

    from forge_llm.train.adapted_linear import _hidden, _mask

    torch.manual_seed(1)
    for dtype in (torch.float32, torch.bfloat16):
        ones = torch.ones(2000, 501, dtype=dtype)
        for p in (0.05, 0.5, 0.9):
            seen = _hidden(ones, _mask(ones, p))
            assert set(seen.unique().tolist()) == {0.0, 1.0}
            assert 1 - p == pytest.approx(seen.float().mean().item(), abs=0.002)


def test_dropout_takes_part_in_the_gradient(inputs, tiny_model):
    import torch

    batch = read_samples(inputs["data"], "data")[:4]
    model = opened(tiny_model, dropout=0.3)
    model.model.train()
    name, weight = next((n, p) for n, p in model.model.named_parameters() if "layers.0.mlp.up_proj.lora_A" in n)

    def loss():
        torch.manual_seed(5)
        return model.loss(batch, 10)

    loss().backward()
    direction = torch.randn_like(weight)
    with torch.no_grad():
        weight += 1e-2 * direction
        above = loss().item()
        weight -= 2e-2 * direction
        below = loss().item()
    expected = (weight.grad * direction).sum().item()
    assert expected == pytest.approx((above - below) / 2e-2, rel=0.02), name


def test_auto_is_peft_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    facts = LoraTrainer().facts()
    assert facts["backend"] == "peft"
    assert facts["device"] == "cpu"
    assert facts["precision"] in {"bf16", "fp32"}
    assert LoraTrainer(backend="unsloth", precision="fp32").facts() == {
        "backend": "unsloth",
        "device": "cpu",
        "precision": "fp32",
    }


def test_facts_do_not_import_torch():
    code = "import sys; from forge_llm.train import LoraTrainer; LoraTrainer().facts(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_bf16_comes_from_what_the_processor_says(monkeypatch):
    monkeypatch.setattr(device, "device", lambda: "cpu")
    monkeypatch.setattr(device, "_processor_flags", lambda: {"avx2"})
    assert device.precision("auto") == "fp32"
    monkeypatch.setattr(device, "_processor_flags", lambda: {"avx512_bf16"})
    assert device.precision("auto") == "bf16"


@pytest.mark.slow
def test_smollm2_learns_in_a_few_steps(smollm2, tmp_path):
    rows = [
        {"instruction": "Answer in JSON.", "input": f"今天 {i}", "output": f'{{"mood": {i % 3}}}'} for i in range(8)
    ]
    forge.write_rows(pl.DataFrame(rows), tmp_path / "rows")
    (tmp_path / "tokens").mkdir()
    run = forge.LocalRun(scratch=tmp_path)
    base = forge.Artifact("base", smollm2)
    table = forge.Artifact("train", tmp_path / "rows")
    Tokens().make({"model": base, "train": table}, tmp_path / "tokens", run)
    (tmp_path / "out").mkdir()
    began = time.monotonic()
    data = forge.Artifact("data", tmp_path / "tokens" / "train")
    step = LoraTrainer(batch=4, accumulation=1, epochs=3, learning_rate=1e-3, warmup_ratio=0)
    step.train({"data": data, "base": base}, tmp_path / "out", run)
    curve = [json.loads(line) for line in (tmp_path / "out" / "curve.jsonl").read_text().splitlines()]
    assert curve[-1]["loss"] < curve[0]["loss"] / 2, f"after {time.monotonic() - began:.0f} s"
