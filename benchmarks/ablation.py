"""What each switch of a classifier gains, out of fold, against its preset: rows that only one has right, p, and seconds.

run: python -m benchmarks.ablation finetune.lora mpnet "layers=6 epochs=1" "layers=6 epochs=1 pooling=mean" --fold-seed 0

A fifth of the groups, chosen by hash, takes no part unless `--all` is said: what is chosen here has not seen them; `--lockbox`
scores them by models of all the other rows, once, at the end. `--random` draws folds without regard to near-duplicates, as the
leaderboard does. Scores of a fold are kept in the store, so that what was interrupted goes on.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score

from pipeline import code
from pipeline.apply import value_of
from pipeline.contracts import read_prepared, validated
from pipeline.data.folds import stratified_group_folds
from pipeline.fit.classifier import Classifier, family_called
from pipeline.process import run
from pipeline.stats.paired import exact_mcnemar, sum_by_group
from pipeline.store import store_folder

FOLDS = 5
Own = TypeVar("Own", bound=Classifier)


def in_lockbox(groups: pd.Series) -> np.ndarray:
    """Whether a row's group of near-duplicates is of the fifth that is kept for the end, shape (n,)."""
    return np.array([int(hashlib.sha256(f"lockbox {group}".encode()).hexdigest(), 16) % 5 == 0 for group in groups])


def with_switches(own: Own, switches: str) -> Own:
    """The classifier with params changed as `name=value name=value` says."""
    changes = {name: value_of(value) for name, _, value in (each.partition("=") for each in switches.split())}
    return type(own)(validated(type(own.params), own.params.model_dump() | changes, switches), own.preset)


def scored(own: Classifier, learnt: pd.DataFrame, held_out: pd.DataFrame, seed: int) -> tuple[np.ndarray, float]:
    """P(target = 1) of the held-out rows by a model of the others, shape (n,), and seconds; from the store if it is there."""
    determined_by = [own.determined_by, own.preset, seed, code.computing(f"pipeline.{own.family()}")]
    rows = pd.util.hash_pandas_object(pd.concat([learnt, held_out])[["id", "text", "train_target"]]).to_numpy()
    key = hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode() + rows.tobytes()).hexdigest()
    path: Path = store_folder() / "ablation" / f"{key}.parquet"
    if not path.exists():
        start = time.perf_counter()
        model = own.fit(learnt, learnt["train_target"].to_numpy(dtype="int64"), seed)
        scores = own.predict(model, held_out)
        path.parent.mkdir(exist_ok=True)
        pd.DataFrame({"score": scores, "seconds": time.perf_counter() - start}).to_parquet(path)
    kept = pd.read_parquet(path)
    return kept["score"].to_numpy(), float(kept["seconds"].iloc[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", help="a module of pipeline: finetune.lora, counts.logistic, vectors.gaussian")
    parser.add_argument("preset", help="its preset or encoder, - if it has none")
    parser.add_argument("switches", nargs="+", help="name=value name=value; - for the preset as it is")
    parser.add_argument("--fold-seed", type=int, default=0)
    parser.add_argument("--folds", type=int, nargs="+", default=range(FOLDS), help="some of the five")
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--lockbox", action="store_true")
    given = parser.parse_args()
    preset = None if given.preset == "-" else given.preset
    base = family_called(given.family, preset, "benchmarks.ablation").read(preset)
    train = base.with_inputs(read_prepared()).train
    aside = in_lockbox(train["group"])
    rows = train if given.all else train[~aside].reset_index(drop=True)
    groups = np.arange(len(rows)) if given.random else rows["group"].to_numpy()
    fold = stratified_group_folds(rows["target"].to_numpy(), groups, FOLDS, given.fold_seed)
    parts = [(rows[fold != k], rows[fold == k], k) for k in given.folds]
    if given.lockbox:
        parts = [(rows, train[aside], -1)]
    labels, groups = (np.concatenate([held_out[name] for _, held_out, _ in parts]) for name in ("target", "group"))
    print(
        "| Switches | Accuracy | ROC-AUC | Log loss | Only it, only the first | p | Seconds |\n|:--|--:|--:|--:|--:|--:|--:|"
    )
    first = None
    for switches in given.switches:
        own = with_switches(base, "" if switches == "-" else switches)
        of_parts = [scored(own, *part[:2], 1000 * given.fold_seed + part[2]) for part in parts]
        scores, seconds = np.concatenate([each[0] for each in of_parts]), sum(each[1] for each in of_parts)
        right = (scores > 0.5) == labels
        first = right if first is None else first
        better, worse = int((right & ~first).sum()), int((first & ~right).sum())
        print(
            f"| {switches} | {right.mean():.4f} | {roc_auc_score(labels, scores):.4f} | {log_loss(labels, scores):.4f} | "
            f"{better} : {worse} | {exact_mcnemar(sum_by_group(right * 1.0 - first, groups)):.2f} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    run(main)
