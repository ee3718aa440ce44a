"""What training leaves out changes no loss and no gradient: norms, the last layer and the loss, in every family."""

from __future__ import annotations

import pytest

from forge_llm.train import LoraTrainer, backend_peft
from forge_llm.train.last_layer import ask_less
from forge_llm.train.loss import hits_of, summed
from forge_llm.train.norm import speed_up_norms
from forge_llm.train.samples import Sample

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
FAMILIES = {  # norms that are computed anew, parts of the last layer that are asked less
    "llama": (5, 3),
    "qwen2": (5, 3),
    "qwen3": (9, 3),
    "mistral": (5, 3),
    "phi3": (5, 2),
    "gemma2": (0, 3),
    "gemma3_text": (0, 3),
    "mixtral": (5, 2),
}


def batch():
    shared = list(range(5, 25))
    return [
        Sample(str(n), [*shared, *range(30 + n, 40 + 3 * n)], tuple(range(20 + n, 30 + 2 * n)), weight)
        for n, weight in enumerate([1.0, 2.0, 0.5])
    ]


@pytest.fixture
def family_model(tmp_path):
    """Return what saves a tiny random model of a family."""

    def save(family):
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        torch.manual_seed(1)
        config = AutoConfig.for_model(family, **SIZES, **(EXPERTS if family == "mixtral" else {}))
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / family)
        return tmp_path / family

    return save


def opened(folder, precision="fp32"):
    import torch

    torch.manual_seed(2)
    targets = ("q_proj", "k_proj", "o_proj") if folder.name != "phi3" else ("qkv_proj", "o_proj")
    step = LoraTrainer(r=4, dropout=0.0, load_in_4bit=False, targets=targets)
    model = backend_peft.open_model(folder, step, precision, "cpu")
    for name, parameter in model.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def of_each_sample_alone(model, samples):
    """Return the weighted mean loss as transformers computes it, and leave its gradients."""
    import torch

    for module in model.model.modules():
        vars(module).pop("forward", None)
    model.model.get_base_model().set_attn_implementation("eager")
    total, terms = 0.0, 0.0
    for sample in samples:
        logits = model.model(input_ids=torch.tensor([sample.ids])).logits[0]
        learned = torch.tensor(sample.learned)
        wanted = torch.tensor(sample.ids)[learned]
        total = total + sample.weight * torch.nn.functional.cross_entropy(logits[learned - 1], wanted, reduction="sum")
        terms += sample.weight * len(learned)
    loss = total / terms
    loss.backward()
    return loss.item(), terms


def gradients(model):
    return {name: p.grad for name, p in model.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_losses_and_gradients_of_transformers(family_model, family):
    folder = family_model(family)
    reference, model = opened(folder), opened(folder)
    expected, terms = of_each_sample_alone(reference, batch())
    loss = model.loss(batch(), terms)
    loss.backward()
    assert expected == pytest.approx(loss.item(), abs=1e-5)
    wanted, found = gradients(reference), gradients(model)
    assert max((wanted[name] - found[name]).abs().max().item() for name in found) < 1e-5
    assert max(gradient.abs().max().item() for gradient in found.values()) > 1e-3


@pytest.mark.parametrize(("family", "counts"), FAMILIES.items())
def test_what_is_computed_anew_is_what_is_known_to_be_the_same(family_model, family, counts):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(family_model(family), dtype=torch.float32).requires_grad_(
        requires_grad=False
    )
    assert counts == (speed_up_norms(model), ask_less(model, backend_peft.FlatAttention()))


def test_a_norm_in_fp32_takes_activations_in_bf16(family_model):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(family_model("llama"), dtype=torch.float32)
    norm = model.requires_grad_(requires_grad=False).model.norm
    asked = torch.randn(1, 3, 32, dtype=torch.bfloat16, requires_grad=True)
    expected = norm(asked)
    (wish,) = torch.autograd.grad(expected.sum(), asked)
    assert 5 == speed_up_norms(model)
    found = norm(asked)
    (gradient,) = torch.autograd.grad(found.sum(), asked)
    assert torch.float32 == found.dtype == expected.dtype
    assert torch.allclose(expected, found, rtol=1e-6, atol=0)
    assert torch.allclose(wish, gradient, rtol=0.02, atol=0.02)


def test_a_norm_that_is_trained_is_left_alone(family_model):
    from transformers import AutoModelForCausalLM

    assert 0 == speed_up_norms(AutoModelForCausalLM.from_pretrained(family_model("llama")))


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_loss_and_its_gradient_are_those_of_torch(kind, weighted):
    import torch

    torch.manual_seed(4)
    logits = (4 * torch.randn(70, 50)).to(getattr(torch, kind)).requires_grad_()
    wanted, weights = torch.randint(0, 50, (70,)), torch.rand(70) * 5 if weighted else None
    each = torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none")
    expected = ((each * weights) if weighted else each).sum() / 35
    expected.backward()
    wish, logits.grad = logits.grad, None
    loss = summed(logits, wanted, weights, 35)
    loss.backward()
    assert expected.item() == pytest.approx(loss.item(), rel=1e-6)
    assert torch.allclose(wish, logits.grad, rtol=2 * torch.finfo(logits.dtype).eps, atol=1e-8)


def test_hits_weigh_what_their_samples_weigh():
    import torch

    logits = torch.eye(4)
    wanted = torch.tensor([0, 1, 0, 3])
    assert 3 == hits_of(logits, wanted, None)
    assert 6 == hits_of(logits, wanted, torch.tensor([1.0, 2.0, 7.0, 3.0]))
