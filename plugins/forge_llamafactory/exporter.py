"""Write a dataset, its entry in ``dataset_info.json``, and the training file, so that they fit each other."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import and_, ge, gt, lt, matches_re, min_len, optional

import forge
from forge_llamafactory.shapes import Unusable, shaped, wanted
from forge_llamafactory.templates import CHATTS, KNOWN, closest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

INFO = "dataset_info.json"
TRAIN = "train.yaml"


@attrs.frozen
class Training:
    """Hold what the training file says beside data and template, in LLaMA-Factory's terms.

    The trained weights go to the folder *output*, below the one in which training is started.
    """

    lora_rank: int = attrs.field(default=8, validator=ge(1))
    lora_alpha: int = attrs.field(default=16, validator=ge(1))
    lora_dropout: float = attrs.field(default=0.0, validator=and_(ge(0), lt(1)))
    lora_target: str = attrs.field(default="all", validator=min_len(1))
    learning_rate: float = attrs.field(default=1e-4, validator=gt(0))
    epochs: float = attrs.field(default=3.0, validator=gt(0))
    batch: int = attrs.field(default=1, validator=ge(1))
    accumulation: int = attrs.field(default=8, validator=ge(1))
    scheduler: str = attrs.field(default="cosine", validator=min_len(1))
    warmup_steps: int = attrs.field(default=10, validator=ge(0))
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    logging_steps: int = attrs.field(default=1, validator=ge(1))
    save_steps: int = attrs.field(default=100, validator=ge(1))
    output: str = attrs.field(default="saves", validator=matches_re(r"[\w.-][\w./-]*"))
    deepspeed: str = ""


@attrs.frozen
class Export:
    """Write a dataset for LLaMA-Factory: the samples, ``dataset_info.json`` with their columns, and ``train.yaml``.

    *form* is ``chatts`` for ChatTS's fork (``input, output, timeseries``), ``alpaca`` (``instruction, input, output``)
    or ``sharegpt`` (from ``conversation``, ``messages``, or ``instruction, input, output``); ``system`` goes along.
    Every sample is checked: columns and their types, no empty question or answer, as many ``<ts><ts/>`` as series,
    finite numbers. *template* must be a name that LLaMA-Factory knows, and the model's own; *more_templates* adds names
    of a later release. *model* is the path or id that `train.yaml` names. *least* is the fewest samples that count as a
    set, *max_samples* how many training takes of them, *val_size* the share that is held back to evaluate.
    Train in the artifact's folder: ``llamafactory-cli train train.yaml``.
    """

    form: Literal["chatts", "alpaca", "sharegpt"]
    template: str
    name: str = attrs.field(validator=matches_re(r"[A-Za-z0-9_-]+"))
    model: str = attrs.field(validator=min_len(1))
    cutoff_len: int = attrs.field(default=4000, validator=ge(16))
    max_samples: int | None = attrs.field(default=None, validator=optional(ge(1)))
    val_size: float = attrs.field(default=0.0, validator=and_(ge(0), lt(1)))
    least: int = attrs.field(default=1, validator=ge(1))
    more_templates: tuple[str, ...] = ()
    training: Training = attrs.field(factory=Training)
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        """Refuse a template that the form's trainer doesn't have."""
        if self.form == CHATTS and self.template != CHATTS and self.template not in self.more_templates:
            message = f"`template` must be `{CHATTS}` where `form` is `{CHATTS}`, got `{self.template}`"
            raise ValueError(message)
        if self.form != CHATTS and self.template not in {*KNOWN, *self.more_templates}:
            message = f"`template` is no name that LLaMA-Factory knows: `{self.template}`{closest(self.template)}"
            raise ValueError(message)

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Export the sample: its columns and rows are checked as all of them will be."""
        attrs.evolve(self, least=1).export(inputs, out, run)
        yield forge.Notice("samples", message=f"the sample goes into the form `{self.form}`")

    def export(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Write the three files and read them again as LLaMA-Factory would."""
        table = inputs["data"].rows().collect()
        columns = wanted(self.form, table.schema)
        if table.height < self.least:
            raise forge.StepError(
                f"the set has {table.height} samples where `least` asks for {self.least}",
                hint="`forge show` on the steps before says what was dropped",
            )
        file = f"data/{self.name}.jsonl"
        (out / "data").mkdir()
        longest = 0
        with (out / file).open("w", encoding="utf-8", newline="\n") as opened:
            for index, row in enumerate(table.select(columns).iter_rows(named=True), start=1):
                try:
                    line = json.dumps(shaped(self.form, row), ensure_ascii=False, allow_nan=False)
                except (Unusable, ValueError) as why:
                    raise forge.StepError(
                        f"sample {index} of `{self.name}` can't be trained on: {why}", hint="drop it in a step before"
                    ) from None
                opened.write(line + "\n")
                longest = max(longest, sum(len(text) for text in row.values() if isinstance(text, str)))
        _write_json(out / INFO, {self.name: {"file_name": file, **_ENTRY[self.form](columns)}})
        settings = self.settings()
        (out / TRAIN).write_text(as_yaml(settings), encoding="utf-8", newline="\n")
        self._read_again(out, table.height)
        if longest > self.cutoff_len:
            run.warn(
                f"the longest sample has {longest} characters: more than `cutoff_len` tokens would be cut or dropped"
            )
        run.log(f"{table.height} samples, {self._trained(table.height)} of them for training")

    def _trained(self, samples: int) -> int:
        """Return how many samples training sees."""
        taken = min(samples, self.max_samples or samples)
        return taken - math.ceil(taken * self.val_size)

    def _read_again(self, out: Path, samples: int) -> None:
        """Follow the training file to the samples, as the trainer does, and count them."""
        entry = json.loads((out / INFO).read_text(encoding="utf-8"))[self.name]
        with (out / entry["file_name"]).open(encoding="utf-8") as opened:
            found = [json.loads(line).keys() for line in opened]
        if len(found) != samples:
            raise forge.StepError(f"`{entry['file_name']}` holds {len(found)} samples where {samples} were written")
        lacking = [column for column in entry["columns"].values() if not all(column in keys for keys in found)]
        if lacking:
            raise forge.StepError(f"`{INFO}` names the column `{lacking[0]}`, not all samples have it")
        if self._trained(samples) < 1:
            raise forge.StepError(
                f"no sample is left to train on: `max_samples` and `val_size` take {samples} samples away",
                hint="lower `val_size` or raise `max_samples`",
            )

    def settings(self) -> dict[str, Any]:
        """Return the training file's settings."""
        wishes = self.training
        found: dict[str, Any] = {
            "model_name_or_path": self.model,
            "trust_remote_code": self.form == CHATTS,
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "lora_rank": wishes.lora_rank,
            "lora_alpha": wishes.lora_alpha,
            "lora_dropout": wishes.lora_dropout,
            "lora_target": wishes.lora_target,
            "dataset_dir": ".",
            "dataset": self.name,
            "template": self.template,
            "cutoff_len": self.cutoff_len,
            "output_dir": wishes.output,
            "logging_steps": wishes.logging_steps,
            "save_steps": wishes.save_steps,
            "plot_loss": True,
            "per_device_train_batch_size": wishes.batch,
            "gradient_accumulation_steps": wishes.accumulation,
            "learning_rate": wishes.learning_rate,
            "num_train_epochs": wishes.epochs,
            "lr_scheduler_type": wishes.scheduler,
            "warmup_steps": wishes.warmup_steps,
            "bf16": wishes.precision == "bf16",
            "fp16": wishes.precision == "fp16",
            "seed": self.seed,
        }
        if self.max_samples is not None:
            found["max_samples"] = self.max_samples
        if self.val_size:
            found |= {"val_size": self.val_size, "eval_strategy": "steps", "eval_steps": wishes.save_steps}
        if wishes.deepspeed:
            found["deepspeed"] = wishes.deepspeed
        return found


def _alpaca(columns: list[str]) -> dict[str, Any]:
    # `query` is named even where no row has an input: left out, LLaMA-Factory would not read the column at all
    names = {"prompt": "instruction", "query": "input", "response": "output"}
    return {"columns": names | ({"system": "system"} if "system" in columns else {})}


def _sharegpt(_columns: list[str]) -> dict[str, Any]:
    tags = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}
    return {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
        "tags": tags | {"system_tag": "system"},
    }


def _chatts(_columns: list[str]) -> dict[str, Any]:
    return {"columns": {"prompt": "input", "response": "output", "timeseries": "timeseries"}}


_ENTRY = {"alpaca": _alpaca, "sharegpt": _sharegpt, "chatts": _chatts}


def as_yaml(settings: Mapping[str, Any]) -> str:
    """Return flat settings as YAML: JSON's scalars, with the point that YAML 1.1 wants in a number like ``1.0e-05``."""
    return "".join(f"{name}: {_scalar(value)}\n" for name, value in settings.items())


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")
    return text


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", newline="\n")
