"""The contract of costs: what a classifier took, in seconds, memory, parameters, requests and money."""

import resource
import sys
from typing import Literal

from pydantic import BaseModel, ValidationError

from pipeline.contracts.errors import InputError, first_fault
from pipeline.contracts.files import write_text
from pipeline.places import anywhere, results


class LlmCosts(BaseModel):
    """What an LLM's answers took in all, each counted once, whether they were asked for now or in an earlier run.

    None is what imported answers do not say.
    """

    model: str | None = None
    endpoint: Literal["embedded", "remote", "local", "imported"]
    scoring: str
    """How replies became scores; not the prompt's own way if the endpoint could not do that."""
    calibration: str
    prompt_version: int | None = None
    example_labels: int
    """How many labels the examples were chosen from (or a channel's prior computed from); none for zero-shot."""
    calibration_labels: int
    requests: int
    new_requests: int
    """Those that were sent in this run; the other answers were stored."""
    seconds: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    """Those of the completions' that were thought."""
    money: float | None = None
    unparsed: int
    label_mass: float | None = None
    """The median, over tweets, of what the label words held of the first token's probability: with little, scores say little."""


class Costs(BaseModel):
    """What a classifier cost on the machine that ran it, by one definition for all.

    Latency and throughput are those of a new text, from its words on, warm, through all saved models that score it, an encoder
    and every model of an average included. An LLM's are those of the requests that were sent, one after the other, and of the
    embedding by which examples are retrieved. None is what was not measured: imported answers that do not say it, answers of
    a batch, a training that several processes share, and tweets without a test set.
    """

    fit_seconds: float
    """Of all folds together; with embedding the train texts, once for all folds, where a text is embedded first."""
    peak_memory_mb: float
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    """Of one fold's model, with those of the encoder that it reads a text through."""
    llm: LlmCosts | None = None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    """Of one tweet alone: half, and 95 %, of the tweets take no longer."""
    tweets_per_second: float | None = None
    """Of many at once."""
    embedding_seconds: float | None = None
    """Of an encoder: what embedding all train texts took."""
    reads: str | None = None
    """Whose costs, `embed_minilm` say, are part of the above: classifiers that share it need not pay it twice."""
    reading_ms: float | None = None
    """Its part of `ms_per_text`."""

    @property
    def ms_per_text(self) -> float | None:
        """Milliseconds of a text that is one of many at once: they add up, as percentiles do not."""
        return 1000 / self.tweets_per_second if self.tweets_per_second else None


def peak_memory_mb() -> float:
    """The largest resident set so far of the process, or of one that it started, in MB (10^6 bytes)."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def write_costs(name: str, costs: Costs) -> None:
    write_text(results("costs") / f"{name}.json", costs.model_dump_json(indent=2, exclude_none=True) + "\n")


def read_costs(name: str) -> Costs:
    path = anywhere(f"costs/{name}.json")
    try:
        return Costs.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path}: not a costs file: {first_fault(error)}") from None
