"""Print what a receipt costs: seconds a row of each file, tokens a second, and where the time goes.

usage: receipt.py [ROWS] [--steps STEPS]      (24 rows by default)

With --steps the model is SmolLM2-135M-Instruct after so many training steps on the fixed set of
../shared/bench/pipeline/sft_data.py, asked held-out rows of it: what a receipt is for. Without, it is the model as it
comes, and each row wants what the model says of itself under the grammar, as a trained one would.
On a busy machine read the CPU, not the clock: two quiet cores take half of it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training import PIPELINE, smollm2, the_set, train_with_forge

import forge
from forge.run.spawn import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES = ("f16", "Q4_K_M")
SCHEMA = forge.File("student.json", Path(__file__).parents[2] / "manifests/schemas/student.json")
SHARED = (
    "你是一名校园心理助理。阅读下面学生的倾诉，判断其心理状态，只输出一个JSON对象，包含四个键：depression_level（0到3的整数）、"
    "anxiety_level（0到3的整数）、risk_flag（none、suicidal、self_harm、violence之一）、student_distress_score（0到9的整数）。"
)
SAID = (
    "我最近总是睡不着，快考试了，很焦虑。", "室友都不理我，我一个人吃饭。", "I failed my exam and I cry all day.",
    "父母不理解我，压力很大，不想上学。", "我觉得活着没什么意思。",
    "上课走神，老师讲的都听不进去。", "和男朋友分手以后我瘦了十斤。",
)  # fmt: skip
LENGTH = 6
"""Sentences of a row: with the shared instruction some 300 tokens, as in the student pipeline."""


REPLY = 48
"""Tokens of a reply at most: a trained model ends after some 40, this one was not trained and would talk on."""


def main() -> None:
    """Measure and print."""
    os.environ.update(ENVIRONMENT)
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("rows", nargs="?", type=int, default=24)
    options.add_argument("--steps", type=int)
    asked = options.parse_args()
    count, steps = asked.rows, asked.steps
    if steps and not (PIPELINE / "sft_data.py").exists():
        print("receipt of a trained model: not run: ../shared/bench/pipeline is not here; of one that is not trained:")
        steps = None
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        inputs = trained(Path(folder), count, steps) if steps else prepare(Path(folder), count)
        out, run = Path(folder) / "out", forge.LocalRun(scratch=Path(folder), threads=os.cpu_count() or 1)
        out.mkdir()
        from forge_llm.check import gguf_check
        from forge_llm.check.figures import MEASURED

        spent: Counter[str] = Counter()
        parts = {"read_questions": "rows", "ask_reference": REFERENCE, "_compare_weights": "tensors",
                 "compare_header": "tokenizer", "ask_file": "files"}  # fmt: skip
        for name, part in parts.items():
            setattr(gguf_check, name, timed(getattr(gguf_check, name), part, spent))
        begun, cpu = time.perf_counter(), cpu_seconds()
        check = gguf_check.GgufCheck(
            schema=SCHEMA, types=TYPES, rows=count, reference_rows=max(1, count // 3), context=2048, max_tokens=REPLY
        )
        found = {each.name: each.value for each in check.check(inputs, out, run)}
        seconds, used = time.perf_counter() - begun, cpu_seconds() - cpu
    for kind in TYPES:
        speed = {name: run.measured[f"{kind}.{name}"] for name in MEASURED}
        print(
            f"receipt {kind:8}  {speed['seconds_per_row']:6.2f} s a row   "
            f"{speed['prompt_tokens_per_second']:.0f} prompt tokens/s, {speed['tokens_per_second']:.0f} written, "
            f"{speed['peak_memory_mb']:.0f} MB at most"
        )
    row = spent["files, CPU"] / count / len(TYPES)
    print(f"  a row of a file  {row:6.2f} s CPU, {row / 2:.2f} s on two quiet cores")
    print(
        f"  whole check      {seconds:6.1f} s, {used:.1f} s CPU, {used / count / 2:.2f} s a row on two quiet cores, "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    total = sum(value for name, value in spent.items() if name.endswith("CPU"))
    shares = ", ".join(f"{part} {spent[part + ', CPU'] / total:.0%}" for part in dict.fromkeys(parts.values()))
    print(f"  of its CPU       {shares}")
    print(f"  top-1 and KL of f16 and Q4_K_M  all positions {found['Q4_K_M.top1']:.1%}, {found['Q4_K_M.kl']:.3f}; "
          f"answers {found['Q4_K_M.top1_answers']:.1%}, {found['Q4_K_M.kl_answers']:.3f}")  # fmt: skip


REFERENCE = "transformers"


def prepare(folder: Path, count: int) -> dict[str, forge.Artifact]:
    """Make the model, its files, and rows that want what the model says."""
    import polars as pl

    from forge_llm.export.gguf_files import Gguf
    from forge_llm.model import GgufModel

    run = forge.LocalRun(scratch=folder, threads=os.cpu_count() or 1)
    for name in ("base", "gguf"):
        (folder / name).mkdir()
    GgufModel().fetch(folder / "base", run)
    model = {"model": forge.Artifact("base", folder / "base")}
    Gguf(types=TYPES, name="bench").export(model, folder / "gguf", run)
    inputs = [
        "".join(SAID[(number * 3 + place * (number % 5 + 1)) % len(SAID)] for place in range(LENGTH)) + f"（{number}）"
        for number in range(count)
    ]
    answers = answer(folder / "gguf/bench-f16.gguf", inputs)
    table = [{"instruction": SHARED, "input": text, "output": said} for text, said in zip(inputs, answers, strict=True)]
    forge.write_rows(pl.DataFrame(table), folder / "rows")
    places = {"gguf": "gguf", "reference": "base", "data": "rows"}
    return {name: forge.Artifact(name, folder / place) for name, place in places.items()}


def trained(folder: Path, count: int, steps: int) -> dict[str, forge.Artifact]:
    """Train on the fixed set, merge, make the files, and take held-out rows."""
    import polars as pl

    from forge_llm.export.gguf_files import Gguf
    from forge_llm.export.merge import Merged

    run = forge.LocalRun(scratch=folder, threads=os.cpu_count() or 1)
    base = smollm2(folder / "base")
    data = the_set(folder / "sft", base, steps)
    for name in ("trained", "merged", "gguf"):
        (folder / name).mkdir()
    figures = train_with_forge(sys.executable, base, data, folder / "trained", steps)
    print(f"trained {steps} steps, loss of the last four {figures.loss_last4:.3f}", flush=True)
    models = {"base": forge.Artifact("base", base), "adapter": forge.Artifact("adapter", figures.adapter)}
    Merged().export(models, folder / "merged", run)
    model = forge.Artifact("merged", folder / "merged")
    Gguf(types=TYPES, name="bench").export({"model": model}, folder / "gguf", run)
    rows = pl.read_ndjson(data / "heldout.jsonl").head(count).select("instruction", "input", "output")
    forge.write_rows(rows, folder / "rows")
    gguf, data_rows = (forge.Artifact(name, folder / name) for name in ("gguf", "rows"))
    return {"gguf": gguf, "reference": model, "data": data_rows}


def answer(path: Path, inputs: list[str]) -> list[str]:
    """Return what the file says under the grammar."""
    from forge_llm.check.decoding import greedy
    from forge_llm.check.labels import read_labels
    from forge_llm.check.local_model import LocalModel

    with LocalModel(path) as model:
        reader = model.reader(context=2048, threads=os.cpu_count() or 1)
        grammar = model.grammar(read_labels(SCHEMA).grammar())
        said = []
        for text in inputs:
            prompt = model.render([{"role": "user", "content": f"{SHARED}\n{text}"}], generate=True)
            said.append(model.decode(greedy(reader, model.encode(prompt), 96, grammar=grammar).tokens))
        return said


def timed(function: Callable[..., Any], part: str, spent: Counter[str]) -> Callable[..., Any]:
    """Return *function*, its time added to what *part* has *spent*."""

    def called(*arguments: Any, **named: Any) -> Any:
        begun, cpu = time.perf_counter(), cpu_seconds()
        try:
            return function(*arguments, **named)
        finally:
            spent[part] += time.perf_counter() - begun  # type: ignore[assignment]
            spent[f"{part}, CPU"] += cpu_seconds() - cpu  # type: ignore[assignment]

    return called


def cpu_seconds() -> float:
    """Return user and system time of this process."""
    used = os.times()
    return used.user + used.system


if __name__ == "__main__":
    main()
