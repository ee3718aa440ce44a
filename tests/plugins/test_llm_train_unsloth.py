# ruff: noqa: FBT002 - the signatures are Unsloth's
"""The Unsloth backend, as far as a machine without a GPU allows.

A module stands in for Unsloth: it has the signatures of Unsloth 2026.10.9, refuses what they do not name, and computes
what Unsloth's kernels compute with plain transformers and peft. Unsloth itself has not been run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import types
import warnings

import attrs
import pytest

import forge
from forge_llm.train import LoraTrainer, backend_unsloth, team

SETTINGS = {
    "r": 4, "alpha": 8, "load_in_4bit": False, "precision": "fp32", "dropout": 0.0, "batch": 4, "accumulation": 2,
    "epochs": 2, "eval_every": 2, "learning_rate": 1e-2, "keep": "best",
}  # fmt: skip


@attrs.define
class Recorded:
    """Remember what the stand-in was called with."""

    loading: dict = attrs.Factory(dict)
    adapting: dict = attrs.Factory(dict)
    training: dict = attrs.Factory(dict)


class FusedLoss:
    """Stand for what Unsloth makes of a model's forward: with labels a loss and no logits, else logits."""

    def __init__(self, forward):
        self.forward = forward

    def __call__(self, input_ids=None, attention_mask=None, labels=None, num_items_in_batch=None, **unknown):
        import torch
        from transformers.modeling_outputs import CausalLMOutputWithPast

        assert not unknown
        logits = self.forward(input_ids=input_ids, attention_mask=attention_mask).logits
        if labels is None:
            return CausalLMOutputWithPast(logits=logits)
        flat = logits[:, :-1].flatten(0, 1).float()
        summed = torch.nn.functional.cross_entropy(flat, labels[:, 1:].flatten(), reduction="sum", ignore_index=-100)
        return CausalLMOutputWithPast(loss=summed / num_items_in_batch)


@pytest.fixture
def unsloth(monkeypatch):
    import torch

    recorded = Recorded()

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(  # the parameters that are named here, in Unsloth's order, and its `**kwargs`
            model_name="unsloth/Llama-3.2-1B-Instruct", max_seq_length=2048, dtype=None, load_in_4bit=True,
            load_in_8bit=False, load_in_16bit=False, full_finetuning=False, token=None, device_map=None,
            device_map_planner_kwargs=None, rope_scaling=None, fix_tokenizer=True, trust_remote_code=False,
            use_gradient_checkpointing="unsloth", **kwargs,
        ):  # fmt: skip
            from transformers import AutoModelForCausalLM

            recorded.loading = {
                "max_seq_length": max_seq_length, "dtype": dtype, "load_in_4bit": load_in_4bit,
                "trust_remote_code": trust_remote_code, **kwargs,
            }  # fmt: skip
            return AutoModelForCausalLM.from_pretrained(model_name, dtype=dtype, **kwargs), object()

        @staticmethod
        def get_peft_model(
            model, r=16, target_modules=(), lora_alpha=16, lora_dropout=0.0, bias="none", layers_to_transform=None,
            layers_pattern=None, finetune_last_n_layers=None, use_gradient_checkpointing="unsloth", random_state=3407,
            max_seq_length=2048, use_rslora=False, modules_to_save=None, init_lora_weights=True, loftq_config=None,
            **kwargs,
        ):  # fmt: skip
            from peft import LoraConfig, get_peft_model

            recorded.adapting = {"use_gradient_checkpointing": use_gradient_checkpointing, "random_state": random_state}
            torch.manual_seed(random_state)
            config = LoraConfig(
                r=r, target_modules=target_modules, lora_alpha=lora_alpha, lora_dropout=lora_dropout, bias=bias,
                use_rslora=use_rslora, task_type="CAUSAL_LM", **kwargs,
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                adapted = get_peft_model(model, config)
            adapted.forward = FusedLoss(adapted.forward)
            return adapted

        @staticmethod
        def for_training(model, use_gradient_checkpointing=None):
            recorded.training = {"use_gradient_checkpointing": use_gradient_checkpointing}
            return model.train()

    module = types.ModuleType("unsloth")
    module.FastLanguageModel = FastLanguageModel
    monkeypatch.setitem(sys.modules, "unsloth", module)
    monkeypatch.setattr(backend_unsloth, "_has_device", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    return recorded


def train(inputs, folder, **parameters):
    out = folder / "out"
    out.mkdir(parents=True)
    LoraTrainer(**(SETTINGS | parameters)).train(inputs, out, forge.LocalRun(scratch=folder, threads=1))
    return out


@pytest.mark.parametrize("kind", [{}, {"dora": True, "rslora": True, "targets": ("q_proj", "v_proj")}])
def test_both_backends_train_the_same_adapter(training_inputs, tmp_path, unsloth, kind):
    from safetensors.torch import load_file

    outs = [train(training_inputs, tmp_path / name, backend=name, **kind) for name in ("peft", "unsloth")]
    weights = [load_file(out / "adapter_model.safetensors") for out in outs]
    assert weights[0].keys() == weights[1].keys()
    assert max((weights[0][name] - weights[1][name]).abs().max().item() for name in weights[0]) < 2e-4
    curves = [[json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()] for out in outs]
    for name in ("loss", "eval_loss", "eval_accuracy", "learning_rate"):
        one, other = ([point[name] for point in curve if name in point] for curve in curves)
        assert one == pytest.approx(other, abs=1e-4)
    assert len({(out / "order.jsonl").read_bytes() for out in outs}) == 1
    configs = [json.loads((out / "adapter_config.json").read_text()) for out in outs]
    assert configs[0] == configs[1]
    assert {path.name for path in outs[0].iterdir()} == {path.name for path in outs[1].iterdir()}


def test_unsloth_is_told_what_the_step_says(training_inputs, tmp_path, unsloth, tiny_model):
    import torch

    step = LoraTrainer(**(SETTINGS | {"backend": "unsloth", "precision": "bf16", "recompute": True, "seed": 9}))
    backend_unsloth.open_model(tiny_model, step, "bf16", 77)
    assert unsloth.loading == {
        "max_seq_length": 77, "dtype": torch.bfloat16, "load_in_4bit": False, "trust_remote_code": False,
        "local_files_only": True,
    }  # fmt: skip
    assert unsloth.adapting == {"use_gradient_checkpointing": "unsloth", "random_state": 9}
    assert unsloth.training == {"use_gradient_checkpointing": True}


def test_unsloth_gets_a_fresh_process_where_transformers_was_imported_before(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", types.ModuleType("transformers"))
    monkeypatch.delitem(sys.modules, "unsloth", raising=False)
    assert team.needs_fresh_process()
    monkeypatch.setitem(sys.modules, "unsloth", types.ModuleType("unsloth"))
    assert not team.needs_fresh_process()


def test_unsloth_is_imported_before_what_it_patches_and_its_refusal_is_explained(training_inputs, tmp_path):
    (tmp_path / "unsloth.py").write_text(
        "import sys\nprint([name in sys.modules for name in ('transformers', 'peft')])\n"
        "raise NotImplementedError('Unsloth cannot find any torch accelerator? You need a GPU.')\n"
    )
    code = f"""
import sys
from pathlib import Path
import forge
from forge_llm.train import LoraTrainer
paths = { ({name: str(artifact.path) for name, artifact in training_inputs.items()})!r}
inputs = {{name: forge.Artifact(name, Path(path)) for name, path in paths.items()}}
try:
    LoraTrainer(backend="unsloth").train(inputs, Path("out"), forge.LocalRun(Path(".")))
except forge.StepError as error:
    print(error.message, "|", error.hint)
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "[False, False]",
        '`unsloth` refuses this machine: Unsloth cannot find any torch accelerator? You need a GPU. | backend = "peft"',
    ]
