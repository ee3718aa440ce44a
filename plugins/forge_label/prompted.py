"""What the labelers that ask a model share: prompts over rows, the schema of the reply, stages and votes."""

from __future__ import annotations

import abc
import functools
import json
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge, gt, optional

import forge
from forge_label.money import Price, cost_of
from forge_label.prompts import Prompt, conversation_text
from forge_label.replies import read_object, read_text
from forge_label.shaped import Shaped
from forge_label.votes import decided

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


EVIDENCE = "label_evidence"


@attrs.frozen(kw_only=True)
class Prompted(Shaped):
    """Ask a model about rows."""

    prompt: forge.File | None = None
    prompt_text: str | None = None
    system: str | None = None
    system_file: forge.File | None = None
    column: str = "conversation"
    evidence_prompt: forge.File | None = None
    evidence_text: str | None = None
    evidence_tokens: int = attrs.field(default=512, validator=ge(1))
    temperature: float = attrs.field(default=0.0, validator=ge(0.0))
    max_tokens: int = attrs.field(default=1024, validator=ge(1))
    seed: int | None = None
    votes: int = attrs.field(default=1, validator=ge(1))
    attempts: int = attrs.field(default=3, validator=ge(1))
    concurrency: int = forge.setting(8, validator=ge(1))
    requests_per_minute: int | None = forge.setting(None, validator=optional(ge(1)))
    tokens_per_minute: int | None = forge.setting(None, validator=optional(ge(1)))
    retries: int = forge.setting(6, validator=ge(0))
    backoff: float = forge.setting(1.0, validator=gt(0.0))
    prices: dict[str, Price] = forge.setting({})  # noqa: RUF009 - attrs' own field, made anew for each instance
    most_tokens: int | None = forge.setting(None, validator=optional(ge(1)))
    most_money: float | None = forge.setting(None, validator=optional(gt(0.0)))
    most_refused: int | None = forge.setting(50, validator=optional(ge(1)))

    def __attrs_post_init__(self) -> None:
        """Want one prompt, one system text at most, votes that can differ, and a price where money is capped."""
        if (self.prompt is None) == (self.prompt_text is None):
            raise ValueError("give one of `prompt` (a file) and `prompt_text`")
        if self.evidence_prompt is not None and self.evidence_text is not None:
            raise ValueError("give one of `evidence_prompt` (a file) and `evidence_text`")
        if self.system is not None and self.system_file is not None:
            raise ValueError("give one of `system` and `system_file` (a file)")
        if self.votes > 1 and self.temperature == 0:
            raise ValueError("`votes` of one model at `temperature = 0` are all the same: raise the temperature")
        unpriced = [name for name in self.asked if name not in self.prices]
        if self.most_money is not None and unpriced:
            raise ValueError(f"`most_money` needs the price of `{unpriced[0]}` in `prices`")

    @property
    @abc.abstractmethod
    def named(self) -> str:
        """Return the model's name."""

    @property
    def asked(self) -> tuple[str, ...]:
        """Return the models that are asked."""
        return (self.named,)

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what tells this provider and model from any other, beside `options`."""

    @abc.abstractmethod
    def options(self) -> dict[str, Any]:
        """Return what is sent beside model and messages."""

    @abc.abstractmethod
    async def ask(self, request: forge.Request) -> forge.Reply:
        """Send *request*, whose identity holds the options, and return what was answered."""

    def text_of(self, row: Mapping[str, Any]) -> str:
        """Return what is labelled as one text; refuse a row without any."""
        if self.column not in row:
            raise forge.StepError(
                f"the rows have no column `{self.column}`", hint=f"they have {', '.join(f'`{name}`' for name in row)}"
            )
        text = conversation_text(row[self.column])
        if not text.strip():
            raise forge.Refused(f"`{self.column}` is empty")
        return text

    def request(self, row: Mapping[str, Any]) -> forge.Request:
        """Render the prompt over *row*; refuse a row that has nothing to label."""
        context = {**row, "text": self.text_of(row), "evidence": row.get(EVIDENCE), "schema": self._schema_text}
        return forge.Request(
            self._identity, [*self.preamble, {"role": "user", "content": self._template.over(context)}]
        )

    def parse(self, reply: forge.Reply) -> Mapping[str, Any]:
        """Return the labels that *reply* holds, in the schema's order, or refuse it."""
        values = read_object(reply.text, finish=reply.finish)
        self._schema.check(values)
        return {name: values[name] for name in self._schema.names}

    @functools.cached_property
    def stages(self) -> Sequence[Any]:
        """Return the labelers that a row walks through: the one for evidence, where it is asked for, and this one."""
        alone = self.evidence_prompt is None and self.evidence_text is None
        return (self,) if alone else (Evidence(self), self)

    @functools.cached_property
    def voters(self) -> Sequence[Any]:
        """Return a labeler for each vote: every model, so many times, each time with another seed."""
        if self.votes == 1 and self.asked == (self.named,):
            return (self,)
        first = self.seed or 0
        seeds = [self.seed] if self.votes == 1 else [first + number for number in range(self.votes)]
        return tuple(self.voting(model, seed) for model in self.asked for seed in seeds)

    def voting(self, model: str, seed: int | None) -> Any:
        """Return the labeler of one vote by *model*."""
        del model
        return attrs.evolve(self, seed=seed, votes=1)

    def decide(self, votes: Sequence[Mapping[str, Any] | None]) -> Mapping[str, Any]:
        """Return the majority of *votes*, label by label; of equals the graver."""
        return decided(votes, self._schema.exact["properties"])

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return what so many tokens cost."""
        return cost_of(self.prices.get(self.named), prompt_tokens, completion_tokens)

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Look at prompts and schema on sample rows."""
        from forge_label.preflight import look

        del run
        return look(self, inputs, out)

    @functools.cached_property
    def _schema_text(self) -> str:
        return json.dumps(self._schema.sent, ensure_ascii=False)

    @functools.cached_property
    def _identity(self) -> Mapping[str, Any]:
        return {**self.identity(), **self.options()}

    @functools.cached_property
    def preamble(self) -> list[dict[str, str]]:
        """Return what goes before every prompt."""
        text = self.system if self.system_file is None else self.system_file.read_text()
        return [] if text is None else [{"role": "system", "content": text}]

    @functools.cached_property
    def _template(self) -> Prompt:
        return Prompt.read(self.prompt, self.prompt_text)


@attrs.frozen
class Evidence:
    """Be the first of two stages: the same model, asked for short quotes or a summary as plain text.

    The labels' own prompt sees the reply as ``evidence``, the rows keep it in the column ``label_evidence``.
    Steps that ask for the same evidence share its replies.
    """

    labeler: Prompted

    def request(self, row: Mapping[str, Any]) -> forge.Request:
        """Render the evidence's prompt over *row*."""
        content = self._template.over({**row, "text": self.labeler.text_of(row)})
        return forge.Request(self._identity, [*self.labeler.preamble, {"role": "user", "content": content}])

    async def ask(self, request: forge.Request) -> forge.Reply:
        """Send *request* by the labeler's own connection."""
        return await self.labeler.ask(request)

    def parse(self, reply: forge.Reply) -> Mapping[str, Any]:
        """Return the reply's text, or refuse an empty or a cut one."""
        return {EVIDENCE: read_text(reply.text, finish=reply.finish)}

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return what so many tokens cost."""
        return self.labeler.cost(prompt_tokens, completion_tokens)

    @property
    def max_tokens(self) -> int:
        """Return how long a reply may be."""
        return self.labeler.evidence_tokens

    @functools.cached_property
    def _identity(self) -> Mapping[str, Any]:
        options = {name: value for name, value in self.labeler.options().items() if name != "response_format"}
        return {**self.labeler.identity(), **options, "max_tokens": self.max_tokens}

    @functools.cached_property
    def _template(self) -> Prompt:
        return Prompt.read(self.labeler.evidence_prompt, self.labeler.evidence_text)
