"""How much a score depends on how one asks: several prompts and example seeds on the same rows.

in:  data/prepared, data/embed, prompts/<prompt>.yaml, and the endpoint of params.yaml
run: python -m benchmarks.sensitivity zero_shot zero_shot_event few_shot --seeds 0 1 2 --rows 200

A prompt with fixed examples is scored once with each seed. Beside one with retrieved examples stands what the share of their
labels scores without any LLM: what the LLM adds is the difference. Answers come from the store where it has them.
"""

import argparse
import asyncio
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.compare.evaluate import score
from pipeline.contracts import Prepared, plain_name, read_params, read_prepared
from pipeline.data.source import DataParams
from pipeline.process import run
from pipeline.prompting.answers import AnswerStore
from pipeline.prompting.classify import classify, contexts, embeddings_for, open_asker, rows_to_ask
from pipeline.prompting.params import PromptParams
from pipeline.prompting.prompt_file import PromptFile, read_prompt
from pipeline.store import store_folder

SHOWN = {"accuracy": "Accuracy", "roc_auc": "ROC-AUC", "f1": "F1"}


def variants(prompts: dict[str, PromptFile], seeds: list[int]) -> dict[str, PromptFile]:
    """Each prompt under its name; one with fixed examples once for each seed."""
    found: dict[str, PromptFile] = {}
    for name, prompt in prompts.items():
        if not prompt.examples or prompt.choice != "fixed":
            found[name] = prompt
            continue
        for seed in seeds:
            examples = prompt.examples.model_copy(update={"seed": seed})
            found[f"{name}, seed {seed}"] = prompt.model_copy(update={"examples": examples})
    return found


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation (of the sample) and worst case of each metric over the variants."""
    return pd.DataFrame({"mean": scores.mean(), "standard deviation": scores.std(ddof=1), "worst": scores.min()}).T


async def score_variant(
    name: str, prompt: PromptFile, rows: pd.DataFrame, prepared: Prepared, params: PromptParams
) -> dict[str, float]:
    with closing(AnswerStore(store_folder() / "answers.sqlite")) as store:
        async with open_asker(prompt, store, params, name) as asker:
            found = await classify(prompt, rows, prepared, asker, calibration=params.calibration)
    return measured(rows, found.scores)


def vote(prompt: PromptFile, rows: pd.DataFrame, prepared: Prepared, params: PromptParams) -> np.ndarray:
    """The share of label 1 among the examples that each tweet is shown, shape (n,): k-nearest-neighbours for retrieved ones."""
    examples, _, _ = contexts(prompt, rows, prepared, embeddings_for(prompt, prepared, params))
    return np.array([np.mean([example["label"] for example in shown]) for shown in examples])


def measured(rows: pd.DataFrame, scores: np.ndarray) -> dict[str, float]:
    found = score(rows["target"].to_numpy(dtype=int), scores)
    return {metric: found[metric] for metric in SHOWN}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=plain_name, nargs="+", help="files of prompts/, without .yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of fixed examples")
    parser.add_argument("--rows", type=int, default=200, help="how many train tweets, as prompt.train_rows draws them")
    given = parser.parse_args()
    labels = read_params("data", DataParams).labels
    prompts = {name: read_prompt(Path("prompts") / f"{name}.yaml", labels) for name in given.prompts}
    params, prepared = read_params("prompt", PromptParams), read_prepared()
    rows = rows_to_ask(prepared, given.rows, test=False)
    found = {
        shown: asyncio.run(score_variant(shown, prompt, rows, prepared, params))
        for shown, prompt in variants(prompts, given.seeds).items()
    }
    scores = pd.DataFrame.from_dict(found, orient="index")
    table = pd.concat([scores, summary(scores)]) if len(scores) > 1 else scores
    votes = {
        f"{name}: vote of its examples, no LLM": measured(rows, vote(prompt, rows, prepared, params))
        for name, prompt in prompts.items()
        if prompt.choice == "retrieved"
    }
    table = pd.concat([table, pd.DataFrame.from_dict(votes, orient="index")])
    print(f"\n{len(rows)} rows, calibration: {params.calibration}\n")
    print(table.rename(columns=SHOWN).replace({np.nan: None}).to_markdown(floatfmt=".3f"))


if __name__ == "__main__":
    run(main)
