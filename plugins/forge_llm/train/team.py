"""The processes of one training run: alone, or several that each compute a part of every step's batches.

Which samples a step takes, and what its loss is, does not depend on how many they are: a step's batches are dealt out,
each loss is divided by the terms of the whole step, and the adapter's gradients are summed over all processes.
An adapter is small, so one sum a step is cheaper than what wraps a model to sum while it goes back.
"""

from __future__ import annotations

import os
import pickle
import queue
import socket
import sys
from typing import TYPE_CHECKING, Any

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from .lora import LoraTrainer


@attrs.define
class Alone:
    """Be the only process."""

    device: str
    index: int = 0
    count: int = 1

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Leave the tensors as they are: they are sums already."""

    def wait(self) -> None:
        """Wait for nobody."""


@attrs.define
class Team:
    """Be one of several processes, joined by accelerate: NCCL between GPUs, gloo between processes on a CPU."""

    accelerator: Any

    @property
    def device(self) -> str:
        """Return this process's own device."""
        return str(self.accelerator.device)

    @property
    def index(self) -> int:
        """Return this process's place, from 0."""
        return int(self.accelerator.process_index)

    @property
    def count(self) -> int:
        """Return how many processes there are."""
        return int(self.accelerator.num_processes)

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one exchange."""
        import torch

        flat = torch.cat([tensor.reshape(-1).to(torch.float32) for tensor in tensors])
        flat = self.accelerator.reduce(flat, reduction="sum")
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.accelerator.wait_for_everyone()


def needs_fresh_process() -> bool:
    """Say whether an earlier step of this worker imported what Unsloth patches, and must come before."""
    return bool({"transformers", "peft", "trl"} & sys.modules.keys()) and "unsloth" not in sys.modules


def train_together(
    step: LoraTrainer, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run, count: int
) -> None:
    """Train in *count* fresh processes; what the first one reports goes on to *run*, a request to stop to all."""
    from torch import multiprocessing

    context = multiprocessing.get_context("spawn")
    news, stop = context.Queue(), context.Event()
    threads = max(1, run.threads // count)
    scratch, traces = run.scratch, run.traces
    words = (step, dict(inputs), out, scratch, traces, threads, _free_port(), count, news, stop)
    sys.stdout.flush()
    processes = multiprocessing.start_processes(_process, words, nprocs=count, join=False, start_method="spawn")
    try:
        while not processes.join(timeout=0.2):
            if run.stopping:
                stop.set()
            _tell(news, run)
    except multiprocessing.ProcessRaisedException as error:
        _tell(news, run)
        raise forge.StepError(f"one of {count} training processes failed:\n{error}") from error
    except multiprocessing.ProcessExitedException as error:
        _tell(news, run)
        hint = "build again: it goes on from its last checkpoint"
        raise forge.StepError(f"one of {count} training processes ended: {error}", hint=hint) from error
    finally:
        for process in processes.processes:
            if process.is_alive():
                process.kill()
    _tell(news, run)


def _tell(news: Any, run: forge.Run) -> None:
    """Hand on what the first process reported; an expected failure of it is raised here."""
    while True:
        try:
            name, words, figures = news.get(timeout=0.05)
        except queue.Empty:
            return
        if name == "raise":
            raise pickle.loads(words[0])  # noqa: S301  # made a moment ago by our own process
        getattr(run, name)(*words, **figures)


@attrs.define
class _Relay:
    """Be the run of one process: the first one's reports go to the process that started it."""

    threads: int
    scratch: Path
    traces: Path
    news: Any
    stop: Any
    first: bool

    @property
    def stopping(self) -> bool:
        return bool(self.stop.is_set())

    def __getattr__(self, name: str) -> Any:
        if name not in {"progress", "point", "log", "warn"}:
            raise AttributeError(name)
        return lambda *words, **figures: self.news.put((name, words, figures)) if self.first else None


def _process(
    index: int,
    step: LoraTrainer,
    inputs: Mapping[str, forge.Artifact],
    out: Path,
    scratch: Path,
    traces: Path,
    threads: int,
    port: int,
    count: int,
    news: Any,
    stop: Any,
) -> None:
    """Be one process of a team: join the others, train, and let the first one report."""
    import signal

    for number in (signal.SIGTERM, signal.SIGUSR1):  # they go to the whole group; the starting process decides
        signal.signal(number, signal.SIG_IGN)
    os.environ |= {
        "RANK": str(index), "LOCAL_RANK": str(index), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": str(threads),
    }  # fmt: skip
    run: Any = _Relay(threads, scratch, traces, news, stop, index == 0)
    on_cpu = step.facts()["device"] == "cpu"
    team: Alone | Team = Alone("cpu" if on_cpu else "cuda:0")
    if count > 1:
        from accelerate import Accelerator

        team = Team(Accelerator(cpu=on_cpu))
    try:
        step.run_in(team, inputs, out, run)
    except forge.ForgeError as error:
        news.put(("raise", (pickle.dumps(error),), {}))
    if isinstance(team, Team):
        team.accelerator.end_training()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
