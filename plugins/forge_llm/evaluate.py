"""Score a model on a table, whatever form it has: a base, an adapter, a merged model, a GGUF file."""

from __future__ import annotations

import json
from contextlib import ExitStack
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge import StepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from forge import Artifact, Evaluation, Run
    from forge_llm.check.decoding import Grammar, Model
    from forge_llm.check.labels import Labels
    from forge_llm.check.local_model import LocalModel
    from forge_llm.check.reference import ReferenceModel


@forge.hookimpl
def forge_eval(
    model: Artifact, inputs: Mapping[str, Artifact], data: Artifact, how: Evaluation, run: Run
) -> Mapping[str, Any] | None:
    """Ask a GGUF file or a Hugging Face model about *data*; an adapter is merged into the base of *inputs* first."""
    from forge_llm.check.labels import read_labels
    from forge_llm.export.model_folder import ADAPTER, MODEL

    files = [path for path in model.files().values() if path.suffix == ".gguf"]
    adapter = any(path.name == ADAPTER for path in model.files().values())
    if not files and not adapter and not any(path.name == MODEL for path in model.files().values()):
        return None
    labels = read_labels(how.schema) if how.schema is not None else None
    if how.grammar and labels is None:
        raise StepError("a grammar holds replies to a schema, and there is none", hint="`--schema` names a JSON Schema")
    if files:
        return _of_gguf(_chosen(files, model, how.type), data, labels, how, run)
    if how.grammar:
        raise StepError(f"`{model.name}` is no GGUF file: only these are held by a grammar here")
    with ExitStack() as stack:
        whole = _merged(model, inputs, run, stack) if adapter else model
        return _of_folder(whole, data, labels, how, run)


def _chosen(files: Sequence[Path], model: Artifact, kind: str | None) -> Path:
    fits = [path for path in files if kind is None or path.name.lower().endswith(f"-{kind.lower()}.gguf")]
    if len(fits) != 1:
        names = ", ".join(sorted(path.name for path in files))
        wanted = f" of the type `{kind}`" if kind else ""
        raise StepError(f"`{model.name}` holds {len(fits)} files{wanted}, one is wanted", hint=f"it holds {names}")
    return fits[0]


def _merged(adapter: Artifact, inputs: Mapping[str, Artifact], run: Run, stack: ExitStack) -> Artifact:
    """Return the adapter merged into its base, in a folder that goes when all is done."""
    import tempfile
    from pathlib import Path

    from forge_llm.export.merge import Merged

    if "base" not in inputs:
        hint = "the step that made it takes the base as `base`"
        raise StepError(f"`{adapter.name}` is an adapter, and its base is not known", hint=hint)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=run.scratch)))
    Merged().export({"adapter": adapter, "base": inputs["base"]}, folder, run)
    return forge.Artifact(adapter.name, folder)


def _of_gguf(path: Path, data: Artifact, labels: Labels | None, how: Evaluation, run: Run) -> dict[str, Any]:
    from forge_llm.check.local_model import LocalModel

    with LocalModel(path) as model:
        reader = model.reader(context=how.context, threads=run.threads)
        grammar = model.grammar(labels.grammar()) if labels is not None and how.grammar else None
        questions = _questions(data, model.render, model.encode, labels, how, run)
        return _scored(questions, model, reader, grammar, labels, how, run)


def _of_folder(model: Artifact, data: Artifact, labels: Labels | None, how: Evaluation, run: Run) -> dict[str, Any]:
    from forge_llm.chat_format import encode, render
    from forge_llm.check.reference import ReferenceModel
    from forge_llm.export.model_folder import MODEL, find_folder

    reference = ReferenceModel(find_folder(model, MODEL), threads=run.threads)
    tokenizer = reference.tokenizer
    questions = _questions(
        data,
        lambda said, *, generate: render(tokenizer, said, generate=generate),
        lambda text: encode(tokenizer, text),
        labels,
        how,
        run,
    )
    return _scored(questions, reference, reference, None, labels, how, run)


@attrs.frozen
class _Asked:
    row: int
    prompt: str
    expected: str
    ids: Sequence[int]


def _questions(
    data: Artifact, render: Any, encode: Any, labels: Labels | None, how: Evaluation, run: Run
) -> list[_Asked]:
    """Return the rows that can be asked, of many as many as *how* wants, drawn by their content.

    Their answers must be such as the schema allows, where there is one.
    """
    from forge_llm.chat_format import UnusableRow, prompt_of
    from forge_llm.check.wanted import require_some

    found = []
    for number, row in enumerate(data.rows().collect().iter_rows(named=True), start=1):
        try:
            messages, expected = prompt_of(row, how.system)
            prompt = render(messages, generate=True)
        except UnusableRow as reason:
            run.drop(str(reason), example=f"row {number}")
            continue
        ids = list(encode(prompt))
        if len(ids) + how.max_tokens > how.context:
            run.drop("longer than the context", example=f"row {number}: {len(ids)} tokens")
            continue
        lot = blake2b(json.dumps([how.seed, messages], ensure_ascii=False).encode(), digest_size=16).digest()
        found.append((lot, _Asked(number, prompt, expected, ids)))
    if not found:
        raise StepError(f"`{data.name}` has no row that can be asked")
    if labels is not None and how.schema is not None:
        wanted = [(asked.row, asked.expected) for _, asked in found]
        doubt = require_some(wanted, labels, how.schema.name)
        if doubt:
            run.warn(doubt)
    chosen = sorted(found, key=lambda pair: pair[0])[: how.rows]
    return sorted((asked for _, asked in chosen), key=lambda asked: asked.row)


def _scored(
    questions: Sequence[_Asked],
    words: LocalModel | ReferenceModel,
    model: Model,
    grammar: Grammar | None,
    labels: Labels | None,
    how: Evaluation,
    run: Run,
) -> dict[str, Any]:
    """Ask, and return the figures of the replies; those of replies without a grammar go by the same names."""
    from forge_llm.check.decoding import greedy
    from forge_llm.check.figures import Reply, figures

    replies = []
    for number, asked in enumerate(questions, start=1):
        said = greedy(model, asked.ids, how.max_tokens, grammar=grammar)
        text = _text(words, said.tokens)
        replies.append(Reply(asked.row, asked.prompt, asked.expected, text, said.stopped, text, said.stopped))
        run.progress(number, len(questions))
    found = {name: value for name, value in figures(replies, labels).items() if not name.endswith("_free")}
    found.pop("agreement", None)  # there is no other model to agree with
    return {"rows": len(replies), **found}


def _text(words: LocalModel | ReferenceModel, tokens: Iterable[int]) -> str:
    return words.decode(tokens)
