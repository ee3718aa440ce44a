"""The model through transformers and peft: on a CPU or a GPU, in fp32, bf16 or over NF4."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import attrs

from forge_llm.chat_format import brings_code
from forge_llm.hush import hush_bitsandbytes

from .adapted_linear import speed_up
from .attention import NAME, FlatAttention
from .last_layer import ask_less
from .loss import hits_of, summed
from .norm import speed_up_norms
from .samples import lay_flat

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from .lora import LoraTrainer
    from .samples import Sample

_STATELESS = {"full_attention", "sliding_attention"}
"""Kinds of layer in which nothing but attention carries one token's state to another."""


@attrs.frozen
class PeftModel:
    """Hold a base with its adapter, and how a batch's loss is computed on it."""

    model: Any
    attention: FlatAttention | None
    device: str

    def loss(self, batch: Sequence[Sample], terms: float) -> torch.Tensor:
        """Return the batch's summed weighted loss over its learned tokens, divided by *terms* (those of the step)."""
        return summed(*self._asked(batch), terms)

    def score(self, batch: Sequence[Sample]) -> tuple[float, float]:
        """Return the batch's summed weighted loss, and how much the learned tokens weigh that come out first."""
        logits, wanted, weights = self._asked(batch)
        return summed(logits, wanted, weights).item(), hits_of(logits, wanted, weights)

    def _asked(self, batch: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return the logits where a token is learned, that token, and its weight."""
        if self.attention is None:
            return self._padded(batch)
        flat = lay_flat(batch)
        self.attention.lay(flat)
        logits = self.model(
            input_ids=flat.ids.to(self.device),
            position_ids=flat.positions.to(self.device),
            logits_to_keep=flat.asked.to(self.device),
            use_cache=False,
        ).logits.squeeze(0)  # not [0], whose way back fills a tensor with zeros first
        return logits, flat.wanted.to(self.device), flat.weights

    def _padded(self, batch: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Compute the same on a padded batch, for models whose layers keep a state of their own."""
        import torch

        ids, mask, labels = padded(batch)
        logits = self.model(input_ids=ids.to(self.device), attention_mask=mask.to(self.device), use_cache=False).logits[
            :, :-1
        ]
        wanted = labels[:, 1:].to(self.device)
        learned = wanted >= 0
        weights = None
        if any(sample.weight != 1 for sample in batch):
            of_row = torch.tensor([sample.weight for sample in batch], device=wanted.device)
            weights = of_row[:, None].expand(wanted.shape)[learned]
        return logits[learned], wanted[learned], weights


def open_model(base: Path, step: LoraTrainer, precision: str, device: str) -> PeftModel:
    """Load the base, frozen, and put a new adapter in fp32 on it; torch's seed decides its first values."""
    hush_bitsandbytes()
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

    trust = brings_code(base)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=trust)
    attention = FlatAttention() if not trust and _is_stateless(config) else None
    options: dict[str, Any] = {}
    if attention is not None:
        attention.register()
        options["attn_implementation"] = NAME
    if step.load_in_4bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    if device != "cpu":
        options["device_map"] = {"": device}
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=dtype, local_files_only=True, trust_remote_code=trust, use_safetensors=True, **options
    )
    if step.recompute:
        _recompute(model)
        model.enable_input_require_grads()
    targets = step.targets if isinstance(step.targets, str) else list(step.targets)
    lora = LoraConfig(
        r=step.r,
        lora_alpha=step.alpha,
        lora_dropout=step.dropout,
        target_modules=targets,
        use_rslora=step.rslora,
        use_dora=step.dora,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads an attribute that transformers renames
        adapted = get_peft_model(model, lora)
    if step.load_in_4bit:
        _keep_four_bits_as_they_are(adapted)
    speed_up(adapted)
    speed_up_norms(adapted)
    if attention is not None:
        ask_less(model, attention)
    return PeftModel(adapted, attention, device)


def _recompute(model: Any) -> None:
    """Keep no activations within a layer; transformers renames how it is told so."""
    options = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(options)
    else:
        model.gradient_checkpointing_enable(options)


def padded(batch: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, attention mask and labels (-100 where nothing is learned), padded on the right."""
    import torch

    width = max(len(sample.ids) for sample in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    labels = torch.full((len(batch), width), -100)
    for row, sample in enumerate(batch):
        tokens = torch.tensor(sample.ids)
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
        learned = torch.tensor(sample.learned, dtype=torch.long)
        labels[row, learned] = tokens[learned].long()
    return ids, mask, labels


def _keep_four_bits_as_they_are(model: Any) -> None:
    """Switch off bitsandbytes' repacking for inference on a CPU.

    A layer that is called without gradients, as an evaluation does, would be repacked for good, and from then on let
    no gradient through to the layers before it: training would go on, and learn next to nothing.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _is_stateless(config: Any) -> bool:
    """Say whether only attention joins tokens, through transformers' interface, so that a flat batch is exact."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return False
    cls = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    layers = set(getattr(config, "layer_types", None) or _STATELESS)
    return bool(cls._supports_attention_backend and not cls._is_stateful and layers <= _STATELESS)
