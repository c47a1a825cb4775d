"""Ask a prompt about new texts: as the stage does about test tweets, through the same store of answers and under the same caps.

Examples are those that test tweets are shown, or are chosen in the same way. What a calibration learns from other rows it learns
from those that the stage asked about (their scores for `batch`, their labels too for `platt`), so that a text's score does not
depend on which others it comes with.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.contracts import (
    UNCALIBRATED,
    InputError,
    Prepared,
    read_costs,
    read_params,
    read_predictions,
    read_prepared,
)
from pipeline.data.embed import EmbedParams, embed
from pipeline.data.embeddings import Embeddings
from pipeline.data.source import DataParams
from pipeline.new_texts.scorers import Scorer, train_anew
from pipeline.places import anywhere
from pipeline.prompting.answers import AnswerStore
from pipeline.prompting.classify import NO_FOLD, classify, embeddings_for, open_asker
from pipeline.prompting.debias import against, fit_platt, known_labels
from pipeline.prompting.params import Debiasing, PromptParams
from pipeline.prompting.prompt_file import PromptFile, read_prompt
from pipeline.stats.metrics import CLIP
from pipeline.store import store_folder


def asked_before(
    name: str, prompt: PromptFile, model: str, params: PromptParams, prepared: Prepared
) -> tuple[pd.DataFrame, str]:
    """The stage's scores before calibration (`fold`, `score`, and `known`, the label to learn from or NaN), and how it scored."""
    learns = f"calibration: {params.calibration} learns from what was asked before"
    again = f"{train_anew(name)}, or set prompt.calibration to none"
    try:
        found = read_predictions(anywhere(UNCALIBRATED / f"{name}.parquet"), prepared)
        costs = read_costs(name).llm
    except InputError as error:
        raise InputError(f"{learns}: {error}; {again}") from None
    if costs is None or (costs.model, costs.prompt_version) != (model, prompt.version):
        raise InputError(f"{learns}, of another model or wording by costs/{name}.json; {again}")
    rows = pd.concat([found.train, found.test], ignore_index=True)
    return rows[["fold", "score"]].assign(known=known_labels(rows, prepared)), costs.scoring


def calibrated_by(before: pd.DataFrame, scores: np.ndarray, method: Debiasing, *, fixed: bool) -> np.ndarray:
    """Scores of shape (n,), NaN where not read, calibrated by the rows of `asked_before` alone.

    With `fixed` examples the bias is that of the test rows, which were shown the same ones, if they were asked about.
    """
    if method == "batch":
        same = before[before["fold"] == NO_FOLD] if fixed else before
        bias = (same if len(same) else before)["score"].mean()
        return against(scores, np.clip(bias, CLIP, 1 - CLIP))
    return fit_platt(before["score"].to_numpy(), before["known"].to_numpy())(scores)


@contextmanager
def open_prompt(which: str) -> Iterator[Scorer]:
    """A file of prompts/ as a scorer. What the store has is not asked; without anything to ask no endpoint or key is needed."""
    name = f"prompt_{which}"
    prompt = read_prompt(Path("prompts") / f"{which}.yaml", read_params("data", DataParams).labels)
    params, prepared = read_params("prompt", PromptParams), read_prepared()
    stored = embeddings_for(prompt, prepared, params)
    encoder = read_params(f"embed.{params.encoder}", EmbedParams) if stored else None
    later = params.calibration if params.calibration in ("batch", "platt") else None
    now: Debiasing = "none" if later else params.calibration
    fixed = prompt.choice == "fixed"
    with asyncio.Runner() as runner, closing(AnswerStore(store_folder() / "answers.sqlite")) as store:
        asker = open_asker(prompt, store, params, name)
        before, mode = asked_before(name, prompt, asker.endpoint.model, params, prepared) if later else (None, None)
        if before is not None and fixed and later == "batch" and NO_FOLD not in set(before["fold"]):
            print(
                f"{name}: no test tweets were asked about (prompt.submit); the bias is train tweets'", file=sys.stderr
            )

        def score(tweets: pd.DataFrame) -> np.ndarray:
            n, start = len(tweets), len(prepared.train)
            new = np.arange(n)
            rows = tweets.assign(id=new, split="new", fold=NO_FOLD, group=-1 - new, row=start + new)
            vectors = None
            if stored and encoder:
                vectors = Embeddings(stored.train, embed(tweets["text"].tolist(), encoder))
            found = runner.run(classify(prompt, rows, prepared, asker, calibration=now, embeddings=vectors))
            asker.forget()
            if before is None or later is None or (found.mode == "text" and later == "batch"):
                return found.scores
            if found.mode != mode:
                raise InputError(f"{name}: scored by {found.mode} now and by {mode} before; run `dvc repro` anew")
            return calibrated_by(before, found.scores, later, fixed=fixed)

        try:
            yield score
        finally:
            runner.run(asker.sender.close())
