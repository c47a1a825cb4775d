"""What choosing does to an estimate: reported minus true accuracy of the best of many classifiers that are equally good.

run: python -m benchmarks.selection --rows 486 7613 --runs 200 40

A hard case: the classifiers are right about 80 % each and err independently, their scores are calibrated and the classes even,
so that nothing is gained by choosing one, nor by any threshold but one half. Printed are the estimates in points, with two
standard errors: of the best of all with the better of two thresholds, as it was once submitted; of the best with thresholds
that clear chance; and nested, of the same choice. Then the share of fitted thresholds that are taken, and of runs in which some
classifier, or a given one, is called behind the best by Holm's correction of the tests against that.
"""

import argparse
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm
from tqdm import tqdm

from pipeline.compare.submission import SubmissionParams, choose, rules_of
from pipeline.stats.decisions import decided_rightly, rank
from pipeline.stats.paired import compare_pairs, places, with_verdicts
from pipeline.stats.threshold import Rule, right_when_nested

STRENGTH = float(norm.ppf(0.8))
FOLDS = 5


class Run(NamedTuple):
    """Of one simulation: estimates minus truth, and shares."""

    better_of_two: float
    clears_chance: float
    nested: float
    taken_before: float
    taken: float
    some_behind: float
    given_behind: float


def equals(count: int, n: int, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """As `scored_rows`, of each classifier."""
    targets = rng.integers(0, 2, n)
    evidence = STRENGTH * (2 * targets - 1) + rng.normal(size=(count, n))
    rows = pd.DataFrame({"target": targets, "group": range(n)})
    return {f"c{i}": rows.assign(score=expit(2 * STRENGTH * one)) for i, one in enumerate(evidence)}


def true_accuracy(threshold: float) -> float:
    cut = logit(threshold) / (2 * STRENGTH)
    return float(norm.cdf(STRENGTH - cut) + norm.cdf(STRENGTH + cut)) / 2


def simulate(count: int, n: int, params: SubmissionParams, rng: np.random.Generator) -> Run:
    rows, folds = equals(count, n, rng), pd.Series(rng.permutation(n) % FOLDS)
    groups = pd.Series(range(n))

    def best(some: dict[str, pd.DataFrame]) -> Rule:
        again = rules_of(some, folds, params)
        return again[choose(again, set(), groups, params, used=False)]

    rules = rules_of(rows, folds, params)
    once = max(rules.values(), key=lambda rule: max(rule.accuracy_at_half, rule.accuracy_cross_fitted))
    paid = once.accuracy_cross_fitted > once.accuracy_at_half
    now = rules[choose(rules, set(), groups, params, used=False)]
    ranked = rank({name: decided_rightly(one) for name, one in rows.items()})
    found = compare_pairs(rows, [(name, ranked[0]) for name in ranked[1:]], params.draws, params.seed)
    paired = pd.DataFrame([{"a": a, "b": b} | pair for (a, b), pair in found.items()])
    behind = (places(ranked, ranked[0], with_verdicts(paired, ranked[0], []))["standing"] == "behind").sum()
    return Run(
        max(once.accuracy_at_half, once.accuracy_cross_fitted) - true_accuracy(once.fitted_threshold if paid else 0.5),
        float(now.right.mean()) - true_accuracy(now.threshold),
        float(right_when_nested(rows, folds, best).mean()) - true_accuracy(now.threshold),
        float(np.mean([rule.accuracy_cross_fitted > rule.accuracy_at_half for rule in rules.values()])),
        float(np.mean([rule.threshold != 0.5 for rule in rules.values()])),
        float(behind > 0),
        float(behind / count),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[486, 7613])
    parser.add_argument("--runs", type=int, nargs="+", default=[200, 40], help="for each number of rows")
    parser.add_argument("--classifiers", type=int, default=19)
    parser.add_argument("--draws", type=int, default=200, help="of each bootstrap")
    given = parser.parse_args()
    for n, runs in zip(given.rows, given.runs, strict=True):
        rng, params = np.random.default_rng(0), SubmissionParams(draws=given.draws)
        found = pd.DataFrame([simulate(given.classifiers, n, params, rng) for _ in tqdm(range(runs), leave=False)])
        print(f"{n:,} rows, {runs} runs:")
        for name, error in (2 * found.std() / np.sqrt(runs)).items():
            print(f"  {str(name).replace('_', ' '):14} {100 * found[name].mean():+6.2f} ± {100 * error:.2f}")


if __name__ == "__main__":
    main()
