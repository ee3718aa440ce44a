"""Train a LoRA adapter: the whole run in one file, read from top to bottom."""

from __future__ import annotations

import hashlib
import json
import math
import time
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import and_, ge, gt, le, lt, optional

import forge
from forge_llm.threads import wait_asleep

from . import checkpoint, device, fit, result
from .curve import best_of, has_stalled, verdict
from .samples import cut, data_order, order_digest, read_samples, terms_of
from .schedule import Schedule, share_of, warming
from .team import Alone, Team, needs_fresh_process, train_together

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from .backend_peft import PeftModel
    from .backend_unsloth import UnslothModel
    from .samples import Sample


def _some_layer(_instance: object, attribute: attrs.Attribute[Any], value: str | tuple[str, ...]) -> None:
    if not value or not all(value):
        raise ValueError(f'`{attribute.name}` must name at least one layer (`["q_proj", "v_proj"]`), or `"all-linear"`')


@attrs.frozen
class LoraTrainer:
    """Train a LoRA adapter on token ids, over a 4-bit or a whole base.

    The loss of an optimiser step is the mean over all learned tokens of its ``batch * accumulation`` samples, however
    these are cut into batches; a token counts as often as its sample weighs: Σ w · loss / Σ w.
    ``backend = "auto"`` is Unsloth where it is installed beside a CUDA device, else transformers and peft;
    ``precision = "auto"`` is bf16 on a GPU or a processor that multiplies it, else fp32.
    On a CPU the same inputs give the same bytes (at the same number of threads and processes), also when the run was
    killed and resumed from a checkpoint.
    An input ``adapter`` is trained further; *r*, *alpha*, *targets* and the kind of adapter must be its own.
    ``keep = "best"`` leaves the adapter that was best by *metric* on ``eval``; *patience* ends the run after so many
    evaluations without a better one. *batch_tokens* cuts a step into batches of no more tokens than that.
    """

    backend: Literal["auto", "unsloth", "peft"] = "auto"
    r: int = attrs.field(default=16, validator=ge(1))
    alpha: int = attrs.field(default=32, validator=ge(1))
    dropout: float = attrs.field(default=0.05, validator=and_(ge(0), lt(1)))
    targets: Literal["all-linear"] | tuple[str, ...] = attrs.field(default="all-linear", validator=_some_layer)
    rslora: bool = False
    dora: bool = False
    load_in_4bit: bool = True
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    learning_rate: float = attrs.field(default=1e-4, validator=gt(0))
    schedule: Schedule = "cosine"
    warmup_ratio: float = attrs.field(default=0.03, validator=and_(ge(0), le(1)))
    warmup_steps: int | None = attrs.field(default=None, validator=optional(ge(0)))
    restarts: int = attrs.field(default=1, validator=ge(1))
    decay_ratio: float = attrs.field(default=0.1, validator=and_(gt(0), le(1)))
    weight_decay: float = attrs.field(default=0.0, validator=ge(0))
    clip: float = attrs.field(default=1.0, validator=gt(0))
    epochs: float = attrs.field(default=3.0, validator=gt(0))
    max_steps: int | None = attrs.field(default=None, validator=optional(ge(1)))
    batch: int = attrs.field(default=8, validator=ge(1))
    batch_tokens: int | None = attrs.field(default=None, validator=optional(ge(1)))
    accumulation: int = attrs.field(default=4, validator=ge(1))
    eval_every: int | None = attrs.field(default=None, validator=optional(ge(1)))
    metric: Literal["eval_loss", "eval_accuracy"] = "eval_loss"
    keep: Literal["last", "best"] = "last"
    patience: int | None = attrs.field(default=None, validator=optional(ge(1)))
    seed: int = 42
    save_every: int = forge.setting(25, validator=ge(1))
    recompute: bool = forge.setting(default=False)
    processes: int = forge.setting(1, validator=ge(1))

    def spares(self) -> tuple[str, ...]:
        """Return the packages that these parameters need not have installed."""
        needless = (("bitsandbytes", not self.load_in_4bit), ("accelerate", self.processes == 1))
        return tuple(name for name, spared in needless if spared)

    @forge.foreseen
    def facts(self) -> dict[str, str]:
        """Return what ``auto`` stands for on this machine; it belongs to the key."""
        return {
            "backend": device.backend(self.backend),
            "device": device.device(),
            "precision": device.precision(self.precision),
        }

    def figures(self, inputs: Collection[str]) -> tuple[str, ...]:
        """Return the names of the figures that a run with these *inputs* leaves."""
        return result.FIGURES + (result.HELD_OUT if "eval" in inputs else ())

    def train(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Train, and leave the adapter, `metrics.json`, `trainer.json`, the data's order, the curve and its picture."""
        fit.refuse_settings(self, inputs)
        fit.refuse_processes(self)
        wait_asleep()
        facts = self.facts()
        if self.processes > 1 or (facts["backend"] == "unsloth" and needs_fresh_process()):
            train_together(self, inputs, out, run, self.processes)
        else:
            self.run_in(Alone("cuda:0" if facts["device"] == "cuda" else "cpu"), inputs, out, run)

    def run_in(  # noqa: C901, PLR0912, PLR0915 - read from top to bottom
        self, team: Alone | Team, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run
    ) -> None:
        """Train as one process of *team*; the first one writes."""
        # The data, and the order in which it comes.
        samples = [sample for sample in read_samples(inputs["data"], "data") if sample.learned]
        held_out = [s for s in read_samples(inputs["eval"], "eval") if s.learned] if "eval" in inputs else []
        order = data_order(len(samples), self.epochs, self.seed)
        whole = self.batch * self.accumulation
        steps = math.ceil(len(order) / whole)
        steps = min(steps, self.max_steps) if self.max_steps else steps
        order = order[: steps * whole]
        fit.refuse_tokens(inputs["base"], [*samples, *held_out])
        for doubt in fit.doubts(self, steps, max(len(sample.ids) for sample in samples)):
            run.warn(doubt)
        facts = self.facts()
        free = ("save_every", "recompute", "processes")
        settings = {name: value for name, value in attrs.asdict(self).items() if name not in free}
        run_of = {
            "data": order_digest(samples, order),
            "base": inputs["base"].digest,
            "settings": hashlib.blake2b(json.dumps([settings, facts]).encode(), digest_size=16).hexdigest(),
        } | ({"adapter": inputs["adapter"].digest} if "adapter" in inputs else {})

        # The model, and where an earlier attempt left it.
        import torch

        torch.set_num_threads(run.threads)
        torch.manual_seed(self.seed)
        model = self._open(inputs["base"].path, facts["precision"], team.device, max(len(s.ids) for s in samples))
        if "adapter" in inputs:
            result.read_adapter(inputs["adapter"], model.model)
        named = {name: p for name, p in model.model.named_parameters() if p.requires_grad}
        optimizer = torch.optim.AdamW(named.values(), lr=self.learning_rate, weight_decay=self.weight_decay)
        run.log(f"{facts}; {sum(p.numel() for p in named.values()):,} parameters to train, {steps} steps")
        folder = run.scratch / "checkpoints"
        done, curve, best = 0, [], None
        saved = checkpoint.newest(folder, run_of)
        if saved:
            done, curve, best = saved.step, saved.curve, saved.best
            checkpoint.put_back(saved, named, optimizer)
            run.log(f"goes on after step {done}, {saved.samples} samples")
        elif held_out:
            curve = [{"step": 0, "samples": 0, **self._evaluate(team, model, held_out)}]
            run.point(**curve[0])

        # The loop.
        model.model.train()
        warm = warming(steps, self.warmup_ratio, self.warmup_steps)
        began, tokens = time.monotonic(), 0
        for step in range(done + 1, steps + 1):
            step_began = time.monotonic()
            chosen = [samples[index] for index in order[(step - 1) * whole : step * whole]]
            terms = terms_of(chosen)
            batches = cut(chosen, min(self.batch, math.ceil(len(chosen) / team.count)), self.batch_tokens)
            total = torch.zeros(2, device=team.device)  # the step's loss, and whether anybody was asked to stop
            for place in range(team.index, len(batches), team.count):
                torch.manual_seed(_seed_of(self.seed, step, place))  # dropout needs no memory of what came before
                share = model.loss(batches[place], terms)
                share.backward()
                total[0] += share.detach()
            total[1] = float(run.stopping)
            for parameter in named.values():
                if parameter.grad is None:  # more processes than batches
                    parameter.grad = torch.zeros_like(parameter)
            team.add_up([total, *(parameter.grad for parameter in named.values())])
            loss, stopping = total.tolist()
            norm = torch.nn.utils.clip_grad_norm_(named.values(), self.clip).item()
            if not math.isfinite(loss) or not math.isfinite(norm):
                raise forge.StepError(
                    f"the loss is not finite at step {step}: loss {loss}, gradient norm {norm}",
                    hint=f'lower `learning_rate` (now {self.learning_rate}), or `precision = "fp32"`',
                )
            rate = self.learning_rate * share_of(
                self.schedule, step, steps, warm, restarts=self.restarts, decay=self.decay_ratio
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            # What it says of itself.
            seen, here = min(step * whole, len(order)), sum(len(sample.ids) for sample in chosen)
            point = {"step": step, "samples": seen, "tokens": here, "loss": loss, "learning_rate": rate}
            point["gradient_norm"] = norm
            tokens += here
            speed, mean = here / (time.monotonic() - step_began), tokens / (time.monotonic() - began)
            if held_out and (step == steps or (self.eval_every and step % self.eval_every == 0)):
                point |= self._evaluate(team, model, held_out)
            curve.append(point)
            run.point(**point, tokens_per_second=round(speed, 1))
            run.progress(step, steps, loss=round(loss, 4), tokens_per_second=round(mean))

            # What it keeps, and whether it goes on.
            if self.metric in point and self.keep == "best" and best_of(curve, self.metric) == step:
                best = checkpoint.weights_of(named)
            done = step
            if self.patience and has_stalled(curve, self.metric, self.patience):
                run.log(f"ends early after step {step}: `{self.metric}` {verdict(curve, self.metric)}")
                break
            if (stopping or step % self.save_every == 0) and step < steps:
                if team.index == 0:
                    checkpoint.save(folder, checkpoint.of(step, seen, curve, named, optimizer, best), run_of)
                if stopping:
                    team.wait()
                    raise forge.Interrupted(
                        f"stopped as asked after step {step} of {steps}; {seen} samples are kept in a checkpoint",
                        hint="build again: it goes on from there",
                    )
        run.log(f"{tokens} tokens in {time.monotonic() - began:.1f} s; the curves: {run.traces}")

        # What it leaves.
        if team.index > 0:
            return
        kept = best_of(curve, self.metric) if best else done
        if best:
            checkpoint.put_weights(named, best)
        result.write_adapter(out, model.model)
        result.write_curve(out, run.traces, curve)
        trained = [samples[index] for index in order[: done * whole]]
        result.write_order(out, [sample.id for sample in trained], whole)
        figures = {
            "steps": done,
            "samples": len(trained),
            "tokens": sum(len(sample.ids) for sample in trained),
            "trained_tokens": sum(len(sample.learned) for sample in trained),
            "trained_parameters": sum(p.numel() for p in named.values()),
            **result.figures_of(curve, kept),
        }
        if any(sample.weight != 1 for sample in trained):
            figures["weighted_tokens"] = terms_of(trained)
        if held_out:
            figures |= {"eval_rows": len(held_out), "kept_step": kept, "ended_early": done < steps}
        result.write_json(out / "metrics.json", figures)
        trainer = {"settings": settings, "facts": facts, "environment": result.environment(), "run": run_of}
        result.write_json(out / "trainer.json", trainer)

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Look at settings, tokens, device, precision, 4 bits, targets and memory."""
        from forge_llm.preflight.machine import look_at_training

        return look_at_training(self, inputs, out, run)

    def _open(self, base: Path, precision: str, place: str, longest: int) -> PeftModel | UnslothModel:
        if self.facts()["backend"] == "unsloth":
            from . import backend_unsloth

            return backend_unsloth.open_model(base, self, precision, longest)
        from . import backend_peft

        return backend_peft.open_model(base, self, precision, place)

    def _evaluate(
        self, team: Alone | Team, model: PeftModel | UnslothModel, samples: Sequence[Sample]
    ) -> dict[str, float]:
        """Return the weighted mean loss over all learned tokens of *samples*, and the share that comes out first."""
        import torch

        batches = cut(samples, self.batch, self.batch_tokens)
        sums = torch.zeros(2, dtype=torch.float64)
        model.model.eval()
        with torch.no_grad():
            for batch in batches[team.index :: team.count]:
                sums += torch.tensor(model.score(batch), dtype=torch.float64)
        model.model.train()
        sums = sums.to(team.device, torch.float32 if team.count > 1 else torch.float64)
        team.add_up([sums])
        loss, hits = sums.tolist()
        terms = terms_of(samples)
        return {"eval_loss": loss / terms, "eval_accuracy": hits / terms}


def _seed_of(*place: int) -> int:
    """Return a seed for one place in the run, unlike that of any other."""
    return int.from_bytes(hashlib.blake2b(repr(place).encode(), digest_size=7).digest())
