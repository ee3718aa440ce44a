"""The model through Unsloth, on a CUDA device.

Written against Unsloth 2026.10 (`FastLanguageModel.from_pretrained`, `get_peft_model`, and a forward that takes
``num_items_in_batch``); it has not been run where this project is tested, which has no GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge_llm.chat_format import brings_code

from .backend_peft import padded
from .loss import hits_of, summed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from .lora import LoraTrainer
    from .samples import Sample


@attrs.frozen
class UnslothModel:
    """Hold a base with its adapter as Unsloth patched them."""

    model: Any

    def loss(self, batch: Sequence[Sample], terms: float) -> torch.Tensor:
        """Return the batch's summed weighted loss over its learned tokens, divided by *terms*.

        Unsloth's fused kernel knows no weights, so the samples of each weight are asked for alone.
        """
        weights = sorted({sample.weight for sample in batch})
        if weights == [1.0]:
            return self._loss(batch, terms)
        shares = []
        for weight in weights:
            part = [sample for sample in batch if sample.weight == weight]
            count = sum(len(sample.learned) for sample in part)
            shares.append(self._loss(part, count) * (count * weight / terms))
        return sum(shares[1:], shares[0])

    def score(self, batch: Sequence[Sample]) -> tuple[float, float]:
        """Return the batch's summed weighted loss, and how much the learned tokens weigh that come out first.

        Without labels Unsloth's forward returns logits; those of learned tokens are taken from them.
        """
        import torch

        ids, mask, labels = padded(batch)
        logits = self.model(input_ids=ids.cuda(), attention_mask=mask.cuda()).logits[:, :-1]
        wanted = labels[:, 1:].cuda()
        learned = wanted >= 0
        weights = torch.tensor([sample.weight for sample in batch], device=wanted.device)
        chosen = logits[learned], wanted[learned], weights[:, None].expand(wanted.shape)[learned]
        return summed(*chosen).item(), hits_of(*chosen)

    def _loss(self, batch: Sequence[Sample], terms: float) -> torch.Tensor:
        ids, mask, labels = padded(batch)
        answer = self.model(
            input_ids=ids.cuda(), attention_mask=mask.cuda(), labels=labels.cuda(), num_items_in_batch=terms
        )
        return answer.loss


def open_model(base: Path, step: LoraTrainer, precision: str, longest: int) -> UnslothModel:
    """Load the base and put an adapter on it; *longest* is the longest sample, in tokens."""
    try:
        from unsloth import FastLanguageModel  # before transformers: it patches what comes after it
    except ImportError as error:
        raise forge.StepError("`unsloth` is not installed", hint='pip install "forge[unsloth]"') from error
    except NotImplementedError as error:  # what it raises where it finds no accelerator
        raise forge.StepError(f"`unsloth` refuses this machine: {error}", hint='backend = "peft"') from error
    import torch

    if not _has_device():
        raise forge.StepError("`unsloth` needs a CUDA device here", hint='backend = "peft" runs on a CPU')
    model, _ = FastLanguageModel.from_pretrained(
        model_name=str(base),
        max_seq_length=longest,
        dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
        load_in_4bit=step.load_in_4bit,
        trust_remote_code=brings_code(base),
        local_files_only=True,
    )
    adapted = FastLanguageModel.get_peft_model(
        model,
        r=step.r,
        target_modules=step.targets if isinstance(step.targets, str) else list(step.targets),
        lora_alpha=step.alpha,
        lora_dropout=step.dropout,
        bias="none",
        use_gradient_checkpointing="unsloth" if step.recompute else False,
        random_state=step.seed,
        use_rslora=step.rslora,
        use_dora=step.dora,
    )
    FastLanguageModel.for_training(adapted, use_gradient_checkpointing=step.recompute)
    return UnslothModel(adapted)


def _has_device() -> bool:
    import torch

    return bool(torch.cuda.is_available())
