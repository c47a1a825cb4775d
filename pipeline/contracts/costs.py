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
    money: float | None = None
    unparsed: int


class Costs(BaseModel):
    """What a classifier cost: `fit_seconds` for all folds together, times on the machine that ran it.

    `predict_ms_per_tweet` is that of an LLM's request from sending it to its answer; others predict in batches. It is None for
    imported answers that do not say it. The last three are of new tweets, from their text on, through all the models that score
    them.
    """

    fit_seconds: float
    predict_ms_per_tweet: float | None = None
    peak_memory_mb: float
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    llm: LlmCosts | None = None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    """Of one tweet alone: half, and 95 %, of the tweets take no longer."""
    tweets_per_second: float | None = None
    """Of many at once."""


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
