"""Train the same LoRA adapter with forge, TRL and LLaMA-Factory, in one run: tokens/s, memory, held-out answer loss.

usage: training.py [--steps 12] [--rounds 1] [--trl PYTHON] [--llamafactory PYTHON] [--model FOLDER]

The set is what ../shared/bench/pipeline/sft_data.py makes; all three see the same samples in the same order, in
batches of 8, without dropout. PYTHON is the interpreter of an environment that holds the peer; the variables
FORGE_BENCH_TRL and FORGE_BENCH_LLAMAFACTORY name them too. Without --model the base is SmolLM2-135M-Instruct, made by
the step `model.gguf`. Rounds alternate, ratios are medians over them; absolute times move with the machine's load.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from forge.run.spawn import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
PIPELINE = SHARED / "bench/pipeline"
BATCH, SEED, SKIPPED = 8, 5, 2
"""The first two steps of each are not timed: allocators and caches settle in them."""
BOUNDS = {"trl": 3.5, "llamafactory": 3.0}
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@attrs.frozen
class Figures:
    """Hold what one training took: the tokens and times of the timed steps, and what came out."""

    tokens_per_second: float
    per_cpu_second: float | None
    loss_last4: float
    peak: int
    adapter: Path


def training(folder: Path) -> None:
    """Run everything at its defaults, as `run.py train` does."""
    measure(folder, _options().parse_args([]))


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Make the set, train with each, and print figures and ratios."""
    if not (PIPELINE / "sft_data.py").exists():
        print("training: not run: ../shared/bench/pipeline is not here")
        return
    folder.mkdir(parents=True, exist_ok=True)
    model = Path(options.model) if options.model else smollm2(folder / "base")
    data = the_set(folder / "sft", model, options.steps)
    ways = {
        "forge": (sys.executable, train_with_forge),
        "trl": (options.trl, _trl),
        "llamafactory": (options.llamafactory, _lf),
    }
    found: dict[str, list[Figures]] = {}
    for attempt in range(options.rounds):
        for name, (python, train) in ways.items():
            if not python:
                if not attempt:
                    print(f"{name}: not run: name its interpreter, --{name} or FORGE_BENCH_{name.upper()}")
                continue
            out = folder / f"{name}-{attempt}"
            out.mkdir()
            found.setdefault(name, []).append(train(python, model, data, out, options.steps))
            _line(name, found[name][-1])
    losses = {name: _held_out(model, data, figures[-1].adapter) for name, figures in found.items()}
    print(f"held-out answer loss of the base {_held_out(model, data, None):.4f}")
    for name, figures in found.items():
        print(f"held-out answer loss of {name} {losses[name]:.4f}")
        if name == "forge":
            continue
        speeds = [
            our.tokens_per_second / peer.tokens_per_second for our, peer in zip(found["forge"], figures, strict=True)
        ]
        peaks = [our.peak / peer.peak for our, peer in zip(found["forge"], figures, strict=True)]
        print(
            f"  forge has {statistics.median(speeds):.2f} × the tokens/s of {name} (bound {BOUNDS[name]}), "
            f"{statistics.median(peaks):.2f} × its memory, {losses['forge'] / losses[name] - 1:+.2%} held-out loss"
        )


def _line(name: str, figures: Figures) -> None:
    cpu = f"{figures.per_cpu_second:7.1f} a CPU second" if figures.per_cpu_second is not None else ""
    print(
        f"{name:13s}{figures.tokens_per_second:8.1f} tokens/s {cpu:22s} loss of the last 4 steps "
        f"{figures.loss_last4:.4f}  peak {figures.peak:,} MiB",
        flush=True,
    )


def smollm2(out: Path) -> Path:
    """Make the base of the step `model.gguf`."""
    import forge
    from forge_llm.model import GgufModel

    out.mkdir()
    GgufModel().fetch(out, forge.LocalRun(scratch=out))
    return out


def the_set(out: Path, model: Path, steps: int) -> Path:
    """Make the set, with what the peers read in the order that forge takes it in."""
    words = ["--shared", str(SHARED / "data"), "--model", str(model), "--out", str(out)]
    made = _run([sys.executable, str(PIPELINE / "sft_data.py"), *words])
    print("the set:", made.splitlines()[-1])
    from forge_llm.train.samples import data_order

    for name in ("train", "train_pc"):
        lines = (out / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        order = data_order(len(lines), steps * BATCH / len(lines), SEED)
        rest = [index for index in range(len(lines)) if index not in set(order)]
        (out / f"{name}.jsonl").write_text("".join(lines[index] for index in order + rest), encoding="utf-8")
        (out / f"{name}.original.jsonl").write_text("".join(lines), encoding="utf-8")
    return out


def _tokens(model: Path, data: Path, steps: int) -> list[int]:
    """Return how many real tokens each step trains on, whoever trains."""
    from forge_llm.chat_format import load_tokenizer

    tokenizer = load_tokenizer(model)
    rows = [json.loads(line) for line in (data / "train_pc.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=False) for row in rows]
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts[: steps * BATCH]]
    return [sum(lengths[start : start + BATCH]) for start in range(0, len(lengths), BATCH)]


def train_with_forge(python: str, model: Path, data: Path, out: Path, steps: int) -> Figures:
    """Train in a process of its own, as a build does."""
    printed = _run(
        [python, __file__, "--worker", str(out), "--model", str(model), "--data", str(data), "--steps", str(steps)],
        ENVIRONMENT,  # as a build's worker has it; the peers have what they come with
    )
    found = json.loads(printed.splitlines()[-1])
    tokens = sum(_tokens(model, data, steps)[SKIPPED:])
    return Figures(
        tokens / found["seconds"], tokens / found["cpu_seconds"], found["loss"], found["peak"], out / "adapter"
    )


def work(options: argparse.Namespace) -> None:
    """Train with forge in this process, as a build's worker does, and print one line of JSON."""
    import polars as pl

    import forge
    from forge_llm.train import LoraTrainer, Tokens

    @attrs.define
    class Clock(forge.LocalRun):
        times: list[tuple[float, float]] = attrs.Factory(list)

        def progress(self, done: float, total: float | None = None, **figures: float | str) -> None:
            self.times.append((time.perf_counter(), time.process_time()))

    out = Path(options.worker)
    lines = (Path(options.data) / "train_pc.original.jsonl").read_text(encoding="utf-8").splitlines()
    chats = [json.loads(line) for line in lines]
    rows = [{"id": str(place), "messages": chat["prompt"] + chat["completion"]} for place, chat in enumerate(chats)]
    forge.write_rows(pl.DataFrame(rows), out / "rows")
    base = forge.Artifact("base", Path(options.model))
    run = Clock(scratch=out / "scratch")
    (out / "tokens").mkdir()
    Tokens().make({"model": base, "data": forge.Artifact("data", out / "rows")}, out / "tokens", run)
    run.times.clear()
    step = LoraTrainer(
        backend="peft", dropout=0.0, load_in_4bit=False, schedule="constant", warmup_ratio=0.0, batch=BATCH,
        accumulation=1, max_steps=options.steps, seed=SEED, save_every=options.steps,
    )  # fmt: skip
    (out / "adapter").mkdir()
    step.train({"data": forge.Artifact("data", out / "tokens/data"), "base": base}, out / "adapter", run)
    curve = [json.loads(line) for line in (out / "adapter/curve.jsonl").read_text().splitlines()]
    (began, used), (ended, spent) = run.times[SKIPPED - 1], run.times[-1]
    figures = {
        "seconds": ended - began,
        "cpu_seconds": spent - used,
        "loss": statistics.mean(point["loss"] for point in curve[-4:]),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(figures))


def _trl(python: str, model: Path, data: Path, out: Path, steps: int) -> Figures:
    words = ["--model", str(model), "--data", str(data), "--out", str(out), "--variant", "completion"]
    printed = _run([python, str(PIPELINE / "train_trl.py"), *words, "--steps", str(steps)])
    found = json.loads(printed.splitlines()[-1])
    return Figures(found["tok_s"], found["tok_per_cpu_s"], found["loss_mean_last4"], found["peak_MiB"], out / "adapter")


def _lf(python: str, model: Path, data: Path, out: Path, steps: int) -> Figures:
    text = (PIPELINE / "llamafactory.yaml").read_text(encoding="utf-8")
    for mark, value in (("@BASE@", str(model)), ("@SFT@", str(data)), ("@OUT@", str(out / "adapter"))):
        text = text.replace(mark, value)
    (out / "train.yaml").write_text(re.sub(r"max_steps: \d+", f"max_steps: {steps}", text), encoding="utf-8")
    with (out / "log").open("wb") as log:
        words = [python, "-m", "llamafactory.cli", "train", str(out / "train.yaml")]
        child = subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | QUIET | {"CUDA_VISIBLE_DEVICES": ""})
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"LLaMA-Factory failed: {(out / 'log').read_text(errors='replace')[-2000:]}")
    points = [json.loads(line) for line in (out / "adapter/trainer_log.jsonl").read_text().splitlines()]
    points = [point for point in points if "loss" in point]
    at = [
        sum(float(part) * 60**power for power, part in enumerate(reversed(p["elapsed_time"].split(":"))))
        for p in points
    ]
    tokens = sum(_tokens(model, data, steps)[SKIPPED:])
    loss = statistics.mean(point["loss"] for point in points[-4:])
    return Figures(tokens / (at[-1] - at[SKIPPED - 1]), None, loss, usage.ru_maxrss // 1024, out / "adapter")


def _held_out(model: Path, data: Path, adapter: Path | None) -> float:
    """Return the mean loss of the held-out answers, by the peers' own evaluator in fp32."""
    words = ["--model", str(model), "--data", str(data), "--evaluate", str(adapter) if adapter else "-"]
    printed = _run([sys.executable, str(PIPELINE / "train_trl.py"), *words])
    return float(json.loads(printed.splitlines()[-1])["heldout_answer_loss"])


def _run(words: list[str], environment: Mapping[str, str] = QUIET) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment, check=False)
    if done.returncode:
        raise SystemExit(f"`{' '.join(words[:3])} …` failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=12)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--trl", default=os.environ.get("FORGE_BENCH_TRL"))
    options.add_argument("--llamafactory", default=os.environ.get("FORGE_BENCH_LLAMAFACTORY"))
    options.add_argument("--model", default=os.environ.get("FORGE_BENCH_MODEL"))
    options.add_argument("--data", help=argparse.SUPPRESS)
    options.add_argument("--worker", help=argparse.SUPPRESS)
    return options


def main() -> None:
    """Run what the command line asks for."""
    import tempfile

    options = _options().parse_args()
    if options.worker:
        work(options)
        return
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        measure(Path(folder) / "training", options)


if __name__ == "__main__":
    main()
