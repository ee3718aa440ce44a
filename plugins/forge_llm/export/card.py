"""Write a model card: what a model was made of, how it was trained, and what was proven of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from forge_llm.check.figures import BELOW, below_commonest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forge import Artifact

_POINTS = 12
"""Rows of the curve that a card shows."""


@attrs.frozen
class DataSource:
    """Say of one source of the data under what *license* it is, and *url*, where it comes from."""

    license: str = ""
    url: str = ""


@attrs.frozen
class Card:
    """Hold what the author says; the rest is read out of the artifacts."""

    name: str
    license: str
    language: tuple[str, ...]
    base: str
    summary: str
    sources: Mapping[str, DataSource]
    adapter: bool
    lineage: str
    files: Mapping[str, int]

    def text(self, data: Artifact | None, training: Artifact | None, receipt: Artifact | None) -> str:
        """Return the card as Markdown under the entries that the hub reads."""
        parts = [self._head(), f"# {self.name}", self.summary, self._use()]
        parts += [self._data(data), _training(training), _receipt(receipt), self._files()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _head(self) -> str:
        entries: dict[str, Any] = {
            "license": self.license,
            "language": list(self.language),
            "base_model": self.base,
            "library_name": "peft" if self.adapter else "transformers",
            "pipeline_tag": "text-generation",
        }
        lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items() if value]
        return "\n".join(["---", *lines, "---"])

    def _use(self) -> str:
        what = "This is a LoRA adapter" if self.adapter else "This is a whole model"
        of = f" for `{self.base}`" if self.base else ""
        if not self.adapter and self.base:
            of = f", made from `{self.base}`"
        load = "AutoPeftModelForCausalLM" if self.adapter else "AutoModelForCausalLM"
        library = "peft" if self.adapter else "transformers"
        first = (
            f"from {library} import {load}\nfrom transformers import AutoTokenizer"
            if self.adapter
            else f"from {library} import {load}, AutoTokenizer"
        )
        code = (
            f'{first}\n\ntokenizer = AutoTokenizer.from_pretrained(".")\nmodel = {load}.from_pretrained(".")\n'
            'messages = [{"role": "user", "content": "…"}]\n'
            "inputs = tokenizer.apply_chat_template(\n"
            '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True\n)\n'
            "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=200)[0]))"
        )
        return f"{what}{of}. Ask it through its own chat template:\n\n```python\n{code}\n```"

    def _data(self, data: Artifact | None) -> str:
        if data is None and not self.sources:
            return ""
        total, counts = _rows_by_source(data) if data else (0, {})
        names = [*counts, *(name for name in self.sources if name not in counts)]
        rows = []
        for name in names:
            known = self.sources.get(name, DataSource())
            count = f"{counts[name]:,}" if name in counts else ""
            rows.append((name, count, known.license or "not declared", known.url))
        parts = ["## Data", f"It was trained on {total:,} rows." if total else ""]
        parts.append(_table(("source", "rows", "licence", "where it comes from"), rows) if rows else "")
        return "\n\n".join(part for part in parts if part)

    def _files(self) -> str:
        made = "It was built by forge from a manifest"
        made += f"; `forge lineage {self.lineage}` follows it back to the rows it was made of" if self.lineage else ""
        if not self.files:
            return f"## Where it comes from\n\n{made}."
        rows = [(name, f"{size / 1e6:.1f} MB") for name, size in self.files.items()]
        return f"## Files for llama.cpp\n\n{_table(('file', 'size'), rows)}\n\n## Where it comes from\n\n{made}."


def _rows_by_source(data: Artifact) -> tuple[int, dict[str, int]]:
    """Return the rows, and those of each source by the column ``source`` where there is one, the most first."""
    import polars as pl

    rows = data.rows()
    if "source" not in rows.collect_schema().names():
        return int(rows.select(pl.len()).collect().item()), {}
    counted = rows.group_by("source").agg(pl.len().alias("rows")).sort(["rows", "source"], descending=[True, False])
    found = {str(name): int(count) for name, count in counted.collect().iter_rows()}
    return sum(found.values()), found


def _training(training: Artifact | None) -> str:
    if training is None:
        return ""
    members = training.files()
    parts = ["## Training"]
    if "trainer.json" in members:
        said = training.json("trainer.json")
        settings = {**said.get("settings", {}), **said.get("facts", {})}
        plain = [(name, _shown(value)) for name, value in settings.items() if _is_plain(value)]
        parts.append(_table(("parameter", "value"), plain))
    if "metrics.json" in members:
        figures = training.json("metrics.json")
        parts.append(_table(("figure", "value"), [(n, _shown(v)) for n, v in figures.items() if _is_plain(v)]))
    if "curve.jsonl" in members:
        lines = members["curve.jsonl"].read_text(encoding="utf-8").splitlines()
        parts.append(_curve([json.loads(line) for line in lines if line]))
    if "loss.png" in members:
        parts.append("![loss of a learned token by optimiser step](loss.png)")
    return "\n\n".join(part for part in parts if part)


def _curve(points: Sequence[Mapping[str, Any]]) -> str:
    """Return a few points of the curve, the first and the last among them."""
    step = max(1, (len(points) - 1) // (_POINTS - 1))
    places = sorted({*range(0, len(points), step), len(points) - 1}) if points else []
    columns = [name for name in ("step", "samples", "loss", "eval_loss") if any(name in point for point in points)]
    rows = [tuple(_shown(points[place].get(name, "")) for name in columns) for place in places]
    return _table(columns, rows) if columns else ""


def _receipt(receipt: Artifact | None) -> str:
    if receipt is None:
        return ""
    said = receipt.json("receipt.json")
    rows = [(f["name"], _shown(f.get("value")), _shown(f.get("bound"))) for f in said.get("findings", ())]
    digests = [(name, f"`{digest}`") for name, digest in said.get("subjects", {}).items()]
    text = "## Proof\n\nThese figures were taken from the files themselves on rows that were held out of training."
    text += f"\n\n{_table(('figure', 'value', 'required'), rows)}"
    below = below_commonest({f["name"]: f.get("value") for f in said.get("findings", ())})
    if below:
        text += f"\n\nThe accuracy of {', '.join(f'`{of}`' for of in below)} is {BELOW}."
    if digests:
        text += f"\n\nThey hold for the files of these BLAKE3 digests:\n\n{_table(('file', 'digest'), digests)}"
    return text


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) or _is_list(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, (str, int, float)) for each in value)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )
