"""What a LoRA run can be told: kinds of adapter, schedules, batches, the best evaluation, an adapter to go on from."""

from __future__ import annotations

import json
import warnings

import pytest

import forge
from forge_llm.train import LoraTrainer, backend_peft, checkpoint
from forge_llm.train.curve import best_of, has_stalled
from forge_llm.train.samples import Sample, cut, read_samples, terms_of
from forge_llm.train.schedule import share_of, warming

SETTINGS = {"r": 4, "alpha": 8, "load_in_4bit": False, "precision": "fp32", "batch": 4, "accumulation": 2, "epochs": 4}


def train(inputs, folder, run=None, **parameters):
    out = folder / "out"
    out.mkdir(parents=True)
    run = run or forge.LocalRun(scratch=folder, threads=1)
    LoraTrainer(**(SETTINGS | parameters)).train(inputs, out, run)
    return out


def opened(base, **parameters):
    """Open a model whose adapter is not zero, so that no gradient hides."""
    import torch

    torch.manual_seed(3)
    step = LoraTrainer(**(SETTINGS | {"dropout": 0.0} | parameters))
    model = backend_peft.open_model(base, step, step.precision, "cpu")
    for name, parameter in model.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.model.train()
    return model


def gradients(model, batch):
    loss = model.loss(batch, terms_of(batch))
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.model.named_parameters() if p.requires_grad}


def curve_of(out):
    return [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]


def figures_of(out):
    return json.loads((out / "metrics.json").read_text())


def loaded(base, out):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads an attribute that transformers renames
        return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out).eval()


@pytest.mark.parametrize("four_bits", [False, True])
@pytest.mark.parametrize("kind", [{"dora": True}, {"rslora": True}, {"dora": True, "rslora": True}, {}])
def test_every_kind_of_adapter_has_the_gradients_of_peft(training_inputs, tiny_model, kind, four_bits):
    batch = read_samples(training_inputs["data"], "data")[:4]
    found_loss, found = gradients(opened(tiny_model, load_in_4bit=four_bits, **kind), batch)
    plain = opened(tiny_model, load_in_4bit=four_bits, **kind)
    for module in plain.model.modules():
        vars(module).pop("forward", None)
    plain.model.get_base_model().set_attn_implementation("eager")
    expected_loss, expected = gradients(backend_peft.PeftModel(plain.model, None, "cpu"), batch)
    assert expected_loss == pytest.approx(found_loss, abs=1e-5)
    assert expected.keys() == found.keys()
    assert max((expected[name] - found[name]).abs().max().item() for name in found) < 1e-5
    assert all(gradient.abs().max() > 0 for gradient in found.values())
    assert any("magnitude" in name for name in found) == kind.get("dora", False)


def test_kinds_of_adapter_are_in_what_peft_loads(training_inputs, tmp_path, tiny_model):
    import torch

    out = train(training_inputs, tmp_path, dora=True, rslora=True, epochs=1)
    config = json.loads((out / "adapter_config.json").read_text())
    assert (config["use_dora"], config["use_rslora"]) == (True, True)
    model = loaded(tiny_model, out)
    held_out = read_samples(training_inputs["eval"], "eval")
    with torch.no_grad():
        expected = backend_peft.PeftModel(model, None, "cpu").loss(held_out, terms_of(held_out)).item()
    assert expected == pytest.approx(figures_of(out)["eval_loss"], abs=1e-4)


def test_gradient_checkpointing_changes_no_gradient(training_inputs, tiny_model):
    import torch

    batch = read_samples(training_inputs["data"], "data")[:6]
    found = []
    for recompute in (False, True):
        model = opened(tiny_model, recompute=recompute, dropout=0.2)
        torch.manual_seed(8)
        found.append(gradients(model, batch))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[0][1])


def test_targets_are_taken_by_name(training_inputs, tmp_path):
    out = train(training_inputs, tmp_path, targets=("q_proj", "v_proj"), epochs=1)
    assert json.loads((out / "adapter_config.json").read_text())["target_modules"] == ["q_proj", "v_proj"]


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        ("linear", "linear", {}),
        ("cosine", "cosine", {}),
        ("cosine-restarts", "cosine_with_restarts", {"num_cycles": 3}),
        ("constant", "constant_with_warmup", {}),
        ("inverse-sqrt", "inverse_sqrt", {}),
    ],
)
@pytest.mark.parametrize("warm", [5, 0])
def test_schedules_are_those_of_transformers_with_a_warm_up_that_begins_above_zero(ours, theirs, options, warm):
    import torch
    from transformers import get_scheduler

    if theirs == "inverse_sqrt" and not warm:
        options = {"timescale": 1}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    peer = get_scheduler(theirs, optimizer, warm, 40, scheduler_specific_kwargs=options).lr_lambdas[0]
    found = [share_of(ours, step, 40, warm, restarts=3) for step in range(1, 41)]
    assert [(step + 1) / 5 for step in range(warm)] == found[:warm]
    assert [peer(step) for step in range(warm, 40)] == pytest.approx(found[warm:])


def test_warm_up_stable_decay_falls_in_its_last_steps_alone():
    found = [share_of("wsd", step, 20, 4, decay=0.25) for step in range(1, 21)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0] + [1.0] * 12 + [0.8, 0.6, 0.4, 0.2], abs=0.21)
    assert found[15] == 1.0
    assert found[-1] == pytest.approx(0.2)
    assert sorted(found[15:], reverse=True) == found[15:]


def test_a_number_of_warm_up_steps_goes_before_a_ratio(training_inputs, tmp_path):
    assert warming(100, 0.03, None) == 3
    assert warming(100, 0.03, 10) == 10
    assert warming(5, 0.03, 10) == 5
    out = train(training_inputs, tmp_path, warmup_steps=4, learning_rate=1e-3, epochs=2, schedule="linear")
    rates = [point["learning_rate"] for point in curve_of(out)[1:]]
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3])


def test_batches_hold_like_lengths_and_no_more_than_was_said():
    samples = [Sample(str(length), [0] * length, (1,)) for length in (9, 3, 5, 30, 4, 8)]
    lengths = [[len(sample.ids) for sample in batch] for batch in cut(samples, 3, 13)]
    assert lengths == [[3, 4, 5], [8], [9], [30]]
    assert [[len(s.ids) for s in batch] for batch in cut(samples, 4)] == [[3, 4, 5, 8], [9, 30]]


def test_a_budget_of_tokens_cuts_batches_and_changes_no_loss(training_inputs, tmp_path):
    import torch
    from safetensors.torch import load_file

    whole = train(training_inputs, tmp_path / "a", dropout=0.0, epochs=1, batch=8, accumulation=1)
    parts = train(training_inputs, tmp_path / "b", dropout=0.0, epochs=1, batch=8, accumulation=1, batch_tokens=150)
    a, b = (load_file(out / "adapter_model.safetensors") for out in (whole, parts))
    assert all(torch.allclose(a[name], b[name], atol=1e-4) for name in a)
    assert [p["loss"] for p in curve_of(whole)[1:]] == pytest.approx([p["loss"] for p in curve_of(parts)[1:]], abs=1e-4)
    assert (whole / "adapter_model.safetensors").read_bytes() != (parts / "adapter_model.safetensors").read_bytes()


def points(*losses):
    return [{"step": 0, "eval_loss": 0.0}] + [{"step": i, "loss": 1.0, "eval_loss": x} for i, x in enumerate(losses, 1)]


def test_a_run_has_stalled_when_the_last_evaluations_were_no_better():
    assert not has_stalled(points(3, 2, 1), "eval_loss", 1)
    assert has_stalled(points(3, 2, 2), "eval_loss", 1)
    assert not has_stalled(points(3, 2, 2), "eval_loss", 2)
    assert has_stalled(points(3, 2, 2, 2.5), "eval_loss", 2)
    assert not has_stalled([*points(3, 2, 2, 2.5), {"step": 5, "loss": 1.0}], "eval_loss", 2)
    assert best_of(points(3, 2, 2, 2.5), "eval_loss") == 2
    rising = [{"step": step, "loss": 1.0, "eval_accuracy": x} for step, x in enumerate((0.5, 0.7, 0.6), 1)]
    assert best_of(rising, "eval_accuracy") == 2


STALLS = {
    "learning_rate": 0.5, "schedule": "constant", "warmup_ratio": 0.0, "epochs": 12, "eval_every": 1,
    "metric": "eval_accuracy",
}  # fmt: skip
"""Steps far too long: the share of right tokens is soon what it stays."""


def test_a_run_ends_early_and_leaves_its_best_adapter(training_inputs, tmp_path, tiny_model):
    import torch

    run = forge.LocalRun(scratch=tmp_path, threads=1)
    out = train(training_inputs, tmp_path, run, keep="best", patience=2, **STALLS)
    figures, curve = figures_of(out), curve_of(out)
    evaluated = {p["step"]: p["eval_accuracy"] for p in curve if "eval_accuracy" in p and p["step"]}
    best = max(evaluated, key=evaluated.get)
    assert figures["ended_early"]
    assert figures["steps"] == best + 2 == curve[-1]["step"] < 30
    assert figures["kept_step"] == best
    assert figures["eval_accuracy"] == evaluated[best]
    assert figures["eval_loss"] == curve[best]["eval_loss"] != curve[-1]["eval_loss"]
    held_out = read_samples(training_inputs["eval"], "eval")
    with torch.no_grad():
        loss, hits = backend_peft.PeftModel(loaded(tiny_model, out), None, "cpu").score(held_out)
    assert loss / terms_of(held_out) == pytest.approx(curve[best]["eval_loss"], abs=1e-3)
    assert hits / terms_of(held_out) == pytest.approx(evaluated[best], abs=1e-6)
    assert any("ends early after step" in message for message in run.messages)
    assert len((out / "order.jsonl").read_text().splitlines()) == figures["steps"]


class Dies(Exception):
    pass


def test_a_killed_run_remembers_its_best_adapter_and_its_patience(training_inputs, tmp_path):
    class Dying(forge.LocalRun):
        def progress(self, done, total=None, **figures):
            if done == ends - 1:
                raise Dies

    settings = STALLS | {"keep": "best", "patience": 3, "save_every": 1, "dora": True}
    alone = train(training_inputs, tmp_path / "alone", **settings)
    ends = figures_of(alone)["steps"]
    assert figures_of(alone)["kept_step"] < ends - 1
    with pytest.raises(Dies):
        train(training_inputs, tmp_path / "killed", Dying(scratch=tmp_path / "killed", threads=1), **settings)
    (tmp_path / "killed" / "out").rmdir()
    again = train(training_inputs, tmp_path / "killed", **settings)
    assert {p.name: p.read_bytes() for p in alone.iterdir()} == {p.name: p.read_bytes() for p in again.iterdir()}


def test_settings_that_need_evaluations_say_so(training_inputs, tmp_path):
    without = {name: artifact for name, artifact in training_inputs.items() if name != "eval"}
    with pytest.raises(forge.StepError, match="`patience` needs held-out rows"):
        train(without, tmp_path / "a", patience=2, eval_every=2)
    with pytest.raises(forge.StepError, match='`keep = "best"` needs evaluations on the way') as caught:
        train(training_inputs, tmp_path / "b", keep="best")
    assert caught.value.hint == "eval_every = 50"


def test_token_ids_beyond_the_base_s_vocabulary_and_rows_beyond_its_positions_are_refused(
    training_inputs, tmp_path, tiny_model
):
    for name, changes, said in (
        ("few", {"vocab_size": 200}, r"the rows hold the token id \d+, the base `base` has 200"),
        ("short", {"model_type": "gpt2", "n_positions": 9, "max_position_embeddings": None}, "has learned 9 positions"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        config = json.loads((tiny_model / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(forge.StepError, match=said):
            train(dict(training_inputs) | {"base": forge.Artifact("base", folder)}, tmp_path / f"{name}-out")


def test_what_was_surely_meant_otherwise_is_warned_of_by_the_run_itself(training_inputs, tmp_path):
    run = forge.LocalRun(scratch=tmp_path, threads=1)
    train(training_inputs, tmp_path, run, max_steps=1, warmup_steps=1, batch_tokens=2)
    warned = [message[:25] for message in run.messages if message.startswith("`")]
    assert ["`warmup_steps` 1 of 1 ste", "`batch_tokens` 2 is less "] == warned


def test_an_adapter_is_trained_further(training_inputs, tmp_path, tiny_model):
    first = train(training_inputs, tmp_path / "first", learning_rate=1e-2)
    further = dict(training_inputs) | {"adapter": forge.Artifact("adapter", first, "some digest")}
    out = train(further, tmp_path / "second", epochs=1, learning_rate=1e-3)
    assert figures_of(out)["eval_loss_before"] == pytest.approx(figures_of(first)["eval_loss"], abs=1e-5)
    assert figures_of(out)["eval_loss"] != figures_of(first)["eval_loss"]
    assert json.loads((out / "trainer.json").read_text())["run"]["adapter"] == "some digest"
    assert loaded(tiny_model, out)


def test_an_adapter_of_another_shape_is_refused_by_name(training_inputs, tmp_path):
    first = train(training_inputs, tmp_path / "first", epochs=1, targets=("q_proj",))
    further = dict(training_inputs) | {"adapter": forge.Artifact("adapter", first)}
    with pytest.raises(forge.StepError) as caught:
        train(further, tmp_path / "a", r=8, targets=("q_proj", "v_proj"))
    assert caught.value.message == (
        "the adapter of input `adapter` is of another shape: `r` is 4 in the adapter and 8 here; "
        "`targets` is ['q_proj'] in the adapter and ['q_proj', 'v_proj'] here"
    )
    with pytest.raises(forge.StepError, match="`dora` is False in the adapter and True here"):
        train(further, tmp_path / "b", targets=("q_proj",), dora=True)
    nothing = dict(training_inputs) | {"adapter": training_inputs["data"]}
    with pytest.raises(forge.StepError, match=r"has no `adapter_config.json`, `adapter_model.safetensors`"):
        train(nothing, tmp_path / "c")


def test_an_adapter_of_another_base_is_refused(training_inputs, tmp_path):
    from safetensors.torch import load_file, save_file

    first = train(training_inputs, tmp_path / "first", epochs=1, targets=("q_proj",))
    weights = load_file(first / "adapter_model.safetensors")
    save_file(
        {name: tensor[..., :2].contiguous() for name, tensor in weights.items()}, first / "adapter_model.safetensors"
    )
    further = dict(training_inputs) | {"adapter": forge.Artifact("adapter", first)}
    with pytest.raises(forge.StepError, match="does not fit this base: 4 of 4 tensors differ"):
        train(further, tmp_path / "a", targets=("q_proj",))


def test_a_checkpoint_of_another_adapter_is_refused_by_name(training_inputs, tmp_path):
    first = train(training_inputs, tmp_path / "first", epochs=1)
    further = dict(training_inputs) | {"adapter": forge.Artifact("adapter", first, "one")}
    train(further, tmp_path / "a", save_every=2)
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "checkpoints").rename(tmp_path / "b" / "checkpoints")
    further["adapter"] = forge.Artifact("adapter", first, "other")
    with pytest.raises(forge.StepError, match="belongs to another run: `adapter` differ"):
        train(further, tmp_path / "b")


def test_seeds_order_and_environment_are_recorded(training_inputs, tmp_path):
    """Same seed, other result (row 15 of the pains): what could differ is in the result's own record."""
    from importlib.metadata import version

    out = train(training_inputs, tmp_path, epochs=2)
    steps = [json.loads(line) for line in (out / "order.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5]
    ids = [sample.id for sample in read_samples(training_inputs["data"], "data")]
    taken = [name for step in steps for name in step["samples"]]
    assert sorted(taken[:20]) == sorted(taken[20:]) == sorted(ids)
    record = json.loads((out / "trainer.json").read_text())
    assert record["settings"]["seed"] == 42
    assert record["environment"]["torch"] == version("torch")
    assert set(record["facts"]) == {"backend", "device", "precision"}
    assert record["run"].keys() == {"data", "base", "settings"}


def test_what_was_measured_lies_beside_the_log_and_not_in_the_result(training_inputs, tmp_path):
    run = forge.LocalRun(scratch=tmp_path, threads=1)
    out = train(training_inputs, tmp_path, run, epochs=1, eval_every=2)
    assert "tokens_per_second" not in (out / "curve.jsonl").read_text()
    assert [point["step"] for point in run.points] == [0, 1, 2, 3]
    assert all(point["tokens_per_second"] > 0 for point in run.points[1:])
    assert {p.name for p in out.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "curve.jsonl", "loss.png", "metrics.json",
        "order.jsonl", "trainer.json",
    }  # fmt: skip
    tokens = [point["tokens"] for point in curve_of(out)[1:]]
    assert sum(tokens) == figures_of(out)["tokens"]


def test_a_stop_that_was_asked_for_leaves_a_checkpoint_and_the_rest_is_as_if_undisturbed(training_inputs, tmp_path):
    class Asked(forge.LocalRun):
        def progress(self, done, total=None, **figures):
            self.stopping = done >= 3

    settings = {"epochs": 2, "keep": "best", "eval_every": 1}
    alone = train(training_inputs, tmp_path / "alone", **settings)
    with pytest.raises(forge.Interrupted, match="stopped as asked after step 4 of 5; 32 samples are kept") as caught:
        train(training_inputs, tmp_path / "stopped", Asked(scratch=tmp_path / "stopped", threads=1), **settings)
    assert caught.value.exit_code == 75
    state = json.loads((tmp_path / "stopped/checkpoints/step-00000004/state.json").read_text())
    assert (state["step"], state["samples"]) == (4, 32)
    (tmp_path / "stopped" / "out").rmdir()
    again = train(training_inputs, tmp_path / "stopped", **settings)
    assert {p.name: p.read_bytes() for p in alone.iterdir()} == {p.name: p.read_bytes() for p in again.iterdir()}


def test_a_checkpoint_without_a_best_adapter_has_none(tmp_path):
    import torch

    state = checkpoint.Checkpoint(1, 8, [], {"w": torch.ones(2)}, {"w/step": torch.ones(())})
    checkpoint.save(tmp_path, state, {"data": "x"})
    assert checkpoint.newest(tmp_path, {"data": "x"}).best is None
