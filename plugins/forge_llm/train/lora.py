"""Train a LoRA adapter: the whole run in one file, read from top to bottom."""

from __future__ import annotations

import hashlib
import json
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import and_, ge, gt, le, lt, optional

import forge
from forge_llm.threads import wait_asleep

from . import checkpoint, device, result
from .samples import data_order, order_digest, read_samples, terms_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .backend_peft import PeftModel
    from .backend_unsloth import UnslothModel
    from .samples import Sample


@attrs.frozen
class LoraTrainer:
    """Train a LoRA adapter on token ids, over a 4-bit or a whole base.

    The loss of an optimiser step is the mean over all learned tokens of its ``batch * accumulation`` samples, however
    these are cut into batches; a token counts as often as its sample weighs: Σ w · loss / Σ w.
    ``backend = "auto"`` is Unsloth where it is installed beside a CUDA device, else transformers and peft;
    ``precision = "auto"`` is bf16 on a GPU or a processor that multiplies it, else fp32.
    On a CPU the same inputs give the same bytes (at the same number of threads), also when the run was killed and
    resumed from a checkpoint.
    """

    backend: Literal["auto", "unsloth", "peft"] = "auto"
    r: int = attrs.field(default=16, validator=ge(1))
    alpha: int = attrs.field(default=32, validator=ge(1))
    dropout: float = attrs.field(default=0.05, validator=and_(ge(0), lt(1)))
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    load_in_4bit: bool = True
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    learning_rate: float = attrs.field(default=1e-4, validator=gt(0))
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    warmup_ratio: float = attrs.field(default=0.03, validator=and_(ge(0), le(1)))
    weight_decay: float = attrs.field(default=0.0, validator=ge(0))
    clip: float = attrs.field(default=1.0, validator=gt(0))
    epochs: float = attrs.field(default=3.0, validator=gt(0))
    max_steps: int | None = attrs.field(default=None, validator=optional(ge(1)))
    batch: int = attrs.field(default=8, validator=ge(1))
    accumulation: int = attrs.field(default=4, validator=ge(1))
    eval_every: int | None = attrs.field(default=None, validator=optional(ge(1)))
    seed: int = 42
    save_every: int = forge.setting(25, validator=ge(1))
    recompute: bool = forge.setting(default=False)

    def facts(self) -> dict[str, str]:
        """Return what ``auto`` stands for on this machine; it belongs to the key."""
        return {
            "backend": device.backend(self.backend),
            "device": device.device(),
            "precision": device.precision(self.precision),
        }

    def train(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:  # noqa: PLR0915 - read from top to bottom
        """Train, and leave the adapter, `metrics.json`, `trainer.json`, the curve and its picture."""
        # The data, and the order in which it comes.
        samples = [sample for sample in read_samples(inputs["data"], "data") if sample.learned]
        held_out = [s for s in read_samples(inputs["eval"], "eval") if s.learned] if "eval" in inputs else []
        order = data_order(len(samples), self.epochs, self.seed)
        whole = self.batch * self.accumulation
        steps = math.ceil(len(order) / whole)
        steps = min(steps, self.max_steps) if self.max_steps else steps
        order = order[: steps * whole]
        facts = self.facts()
        settings = {
            name: value for name, value in attrs.asdict(self).items() if name not in ("save_every", "recompute")
        }
        run_of = {
            "data": order_digest(samples, order),
            "base": inputs["base"].digest,
            "settings": hashlib.blake2b(json.dumps([settings, facts]).encode(), digest_size=16).hexdigest(),
        }

        # The model, and where an earlier attempt left it.
        wait_asleep()
        import torch

        torch.set_num_threads(run.threads)
        torch.manual_seed(self.seed)
        model = self._open(inputs["base"].path, facts, max(len(sample.ids) for sample in samples))
        named = {name: p for name, p in model.model.named_parameters() if p.requires_grad}
        optimizer = torch.optim.AdamW(named.values(), lr=self.learning_rate, weight_decay=self.weight_decay)
        run.log(f"{facts}; {sum(p.numel() for p in named.values()):,} parameters to train, {steps} steps")
        done = 0
        curve: list[dict[str, float]] = []
        saved = checkpoint.newest(run.scratch / "checkpoints", run_of)
        if saved:
            done, curve = saved.step, saved.curve
            _restore(named, optimizer, saved)
            run.log(f"goes on after step {done}, {saved.samples} samples")
        elif held_out:
            curve.append({"step": 0, "samples": 0, "eval_loss": self._evaluate(model, held_out)})

        # The loop.
        model.model.train()
        began, tokens = time.monotonic(), 0
        for step in range(done + 1, steps + 1):
            chosen = [samples[index] for index in order[(step - 1) * whole : step * whole]]
            chosen.sort(key=lambda sample: len(sample.ids))  # like lengths share a batch
            terms = terms_of(chosen)
            loss = 0.0
            for place, start in enumerate(range(0, len(chosen), self.batch)):
                torch.manual_seed(_seed_of(self.seed, step, place))  # dropout needs no memory of what came before
                share = model.loss(chosen[start : start + self.batch], terms)
                share.backward()
                loss += share.item()
            norm = torch.nn.utils.clip_grad_norm_(named.values(), self.clip).item()
            if not math.isfinite(loss) or not math.isfinite(norm):
                raise forge.StepError(
                    f"the loss is not finite at step {step}: loss {loss}, gradient norm {norm}",
                    hint=f'lower `learning_rate` (now {self.learning_rate}), or `precision = "fp32"`',
                )
            rate = self._rate(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            seen = min(step * whole, len(order))
            point = {"step": step, "samples": seen, "loss": loss, "learning_rate": rate, "gradient_norm": norm}
            if held_out and (step == steps or (self.eval_every and step % self.eval_every == 0)):
                point["eval_loss"] = self._evaluate(model, held_out)
            curve.append(point)
            tokens += sum(len(sample.ids) for sample in chosen)
            speed = tokens / (time.monotonic() - began)
            run.progress(step, steps, loss=round(loss, 4), tokens_per_second=round(speed))
            if step < steps:
                keep = partial(_keep, run.scratch / "checkpoints", run_of, step, seen, curve, named, optimizer)
                run.checkpoint(keep, due=step % self.save_every == 0)
        run.log(f"{tokens} tokens in {time.monotonic() - began:.1f} s")

        # What it leaves.
        result.write_adapter(out, model.model)
        result.write_curve(out, curve)
        trained = [samples[index] for index in order]
        last = [point["loss"] for point in curve if "loss" in point][-10:]
        evaluated = [point["eval_loss"] for point in curve if "eval_loss" in point]
        figures = {
            "steps": steps,
            "samples": len(order),
            "tokens": sum(len(sample.ids) for sample in trained),
            "trained_tokens": sum(len(sample.learned) for sample in trained),
            "trained_parameters": sum(p.numel() for p in named.values()),
            "loss": last[-1],
            "loss_last_10_steps": sum(last) / len(last),
            **_weighed(trained),
        }
        if evaluated:
            figures |= {"eval_rows": len(held_out), "eval_loss": evaluated[-1], "eval_loss_before": evaluated[0]}
        result.write_json(out / "metrics.json", figures)
        result.write_json(out / "trainer.json", {"settings": settings, "facts": facts, "run": run_of})

    def _open(self, base: Path, facts: Mapping[str, str], longest: int) -> PeftModel | UnslothModel:
        if facts["backend"] == "unsloth":
            from . import backend_unsloth

            return backend_unsloth.open_model(base, self, facts["precision"], longest)
        from . import backend_peft

        return backend_peft.open_model(base, self, facts["precision"], facts["device"])

    def _rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 1: a linear warm-up, then the schedule down to 0."""
        warm = math.ceil(steps * self.warmup_ratio)
        if step <= warm:
            return self.learning_rate * step / warm
        gone = (step - 1 - warm) / max(1, steps - warm)
        shape = {"linear": 1 - gone, "cosine": (1 + math.cos(math.pi * gone)) / 2, "constant": 1.0}
        return self.learning_rate * shape[self.schedule]

    def _evaluate(self, model: PeftModel | UnslothModel, samples: Sequence[Sample]) -> float:
        """Return the weighted mean loss over all learned tokens of *samples*."""
        import torch

        terms = terms_of(samples)
        by_length = sorted(samples, key=lambda sample: len(sample.ids))
        model.model.eval()
        with torch.no_grad():
            batches = (by_length[start : start + self.batch] for start in range(0, len(by_length), self.batch))
            loss = sum(float(model.loss(batch, terms)) for batch in batches)
        model.model.train()
        return loss


def _weighed(samples: Sequence[Sample]) -> dict[str, float]:
    """Return what the learned tokens weigh together, where that is not their number."""
    return {"weighted_tokens": terms_of(samples)} if any(sample.weight != 1 for sample in samples) else {}


def _seed_of(*place: int) -> int:
    """Return a seed for one place in the run, unlike that of any other."""
    return int.from_bytes(hashlib.blake2b(repr(place).encode(), digest_size=7).digest())


def _keep(  # where, of which run, and what
    folder: Path,
    run_of: Mapping[str, str],
    step: int,
    samples: int,
    curve: list[dict[str, float]],
    named: Mapping[str, Any],
    optimizer: Any,
) -> None:
    """Keep what the run needs to go on from here."""
    weights = {name: p.detach().cpu().contiguous() for name, p in named.items()}
    moments = {f"{name}/{key}": value.cpu() for name, p in named.items() for key, value in optimizer.state[p].items()}
    checkpoint.save(folder, checkpoint.Checkpoint(step, samples, curve, weights, moments), run_of)


def _restore(named: Mapping[str, Any], optimizer: Any, saved: checkpoint.Checkpoint) -> None:
    """Put a checkpoint's weights and moments where they were."""
    import torch

    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(saved.weights[name])
            keys = ("step", "exp_avg", "exp_avg_sq")
            moments = {key: saved.moments[f"{name}/{key}"] for key in keys}
            optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in moments.items()}
