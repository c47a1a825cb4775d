"""Scores, intervals, pairs and thresholds against cases worked by hand or by a trusted library."""

import numpy as np
import pandas as pd
import pytest
from made import predicted, rows_of

from pipeline.compare.evaluate import (
    EvaluateParams,
    by_classifier,
    compare,
    flat_costs,
    lines_of,
    metrics_of_best,
    plot_points,
    score,
    score_classifier,
)
from pipeline.compare.submission import SubmissionParams, competing, rules_of
from pipeline.compare.table import cautions, render
from pipeline.contracts import Costs, Predictions, Prepared
from pipeline.stats.bootstrap import group_bootstrap
from pipeline.stats.metrics import METRICS, weighted
from pipeline.stats.paired import compare_pair
from pipeline.stats.threshold import Rule, best_threshold, fit_rule, right_when_nested

TARGETS = np.array([1, 1, 1, 0, 0, 0, 0, 1])
SCORES = np.array([0.9, 0.8, 0.4, 0.3, 0.6, 0.1, 0.2, 0.7])
PARAMS = EvaluateParams(draws=300, seed=0)


def test_eight_rows_by_hand() -> None:
    """Three of four disasters found, one false alarm: 6 of 8 right; one of 16 pairs is in the wrong order."""
    found = score(TARGETS, SCORES)
    expected = {"accuracy": 6 / 8, "f1": 3 / 4, "precision": 3 / 4, "recall": 3 / 4, "roc_auc": 15 / 16}
    assert found.items() >= expected.items()
    assert found["brier"] == pytest.approx((0.01 + 0.04 + 0.36 + 0.09 + 0.36 + 0.01 + 0.04 + 0.09) / 8)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7, 0.4, 0.9, 0.8, 0.7]).mean())
    assert found["ece"] == pytest.approx(np.abs(TARGETS - SCORES).mean()), "eight distinct scores are eight bins"
    unread = np.isin(np.arange(8), [0, 5])  # they are wrong, but have no probability
    found = score(TARGETS, np.where(unread, np.nan, SCORES))
    assert (found["accuracy"], found["precision"]) == (4 / 8, 2 / 4)
    assert found["brier"] == score(TARGETS[~unread], SCORES[~unread])["brier"]


@pytest.mark.parametrize("seed", range(5))
def test_weighting_rows_is_repeating_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, 60)
    scores = np.round(np.clip(targets * 0.3 + rng.random(60) * 0.7, 0, 1), 2)
    scores[::17] = np.nan
    times = rng.integers(0, 4, 60)
    by_weight = weighted(targets, scores, times[None].astype(float))[:, 0]
    repeated = score(np.repeat(targets, times), np.repeat(scores, times))
    for metric, value in zip(METRICS, by_weight, strict=True):
        if metric != "ece":  # its bins are those of the rows, not of the draw
            assert value == pytest.approx(repeated[metric]), metric
    assert weighted(targets, scores, np.ones((1, 60)))[:, 0] == pytest.approx(list(score(targets, scores).values()))


def test_intervals_cover_and_widen_with_groups() -> None:
    """95 % intervals of a mean hold the truth about 95 times in 100, also when rows come as copies of each other."""
    rng = np.random.default_rng(0)

    def mean(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
        low, high = group_bootstrap(lambda w: (w @ values / w.sum(axis=1))[None], groups, 300, 0)
        return low[0], high[0]

    covered, widths = 0, []
    for _ in range(200):
        values = np.repeat(rng.random(80) < 0.7, 3).astype(float)
        low, high = mean(values, np.repeat(np.arange(80), 3))
        covered += low <= 0.7 <= high
        widths.append((high - low) / np.subtract(*mean(values, np.arange(240))[::-1]))
    assert 0.89 <= covered / 200 <= 0.99
    assert np.mean(widths) == pytest.approx(np.sqrt(3), rel=0.1)


def rows(scores: np.ndarray, start: int = 0, end: int = 8) -> pd.DataFrame:
    return rows_of(TARGETS[start:end], scores[start:end], start=start)


def test_pairs_are_compared_on_the_rows_they_share() -> None:
    better = np.where(TARGETS == 1, 0.9, 0.1)
    found = compare_pair(rows(better), rows(SCORES, 1, 7), 300, 0)
    assert found["difference"] == pytest.approx(2 / 6)
    assert (found["rows"], found["only_a_right"], found["only_b_right"]) == (6, 2, 0)
    assert found["mcnemar_p"] == pytest.approx(0.5), "two of two by chance: 1/4 on either side"
    itself = compare_pair(rows(SCORES), rows(SCORES), 300, 0)
    assert (itself["difference"], itself["low"], itself["high"], itself["mcnemar_p"]) == (0, 0, 0, 1)


def test_the_metrics_are_those_of_the_best_that_scored_all_rows() -> None:
    table = pd.DataFrame(
        {"rows": [60, 100, 100, 100], "unparsed": [0, 1, 0, 0], "accuracy": [0.9, 0.8, 0.7, 0.6], "f1": 0.5},
        index=["asked about a part", "not always read", "whole", "worse"],
    ).assign(log_loss=0.1234567, ece=0.1)
    assert metrics_of_best(table, 100) == {"accuracy": 0.7, "f1": 0.5, "log_loss": 0.123457}
    assert metrics_of_best(table, 200)["accuracy"] == 0.9
    assert lines_of(table.assign(school=[*"aaab"])) == [*table.index[[0, 3, 1, 2]]], "the best of each school first"


def test_a_classifier_that_was_never_understood_is_compared_all_the_same() -> None:
    nothing = rows(np.full(8, np.nan))
    assert all(points.empty for points in plot_points(nothing).values())
    found = score_classifier(nothing, nothing.index, PARAMS)
    assert (found["accuracy"], found["unparsed"]) == (0.0, 8)
    assert np.isnan(found["roc_auc"])


def test_best_threshold_is_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        targets, scores = rng.integers(0, 2, 12), np.round(rng.random(12), 1)
        threshold = best_threshold(targets, scores)
        accuracies = [((scores > t) == targets).mean() for t in [-1, *np.linspace(0, 1, 101)]]
        assert ((scores > threshold) == targets).mean() >= max(accuracies[1:])


def test_a_threshold_that_does_not_pay_is_one_half() -> None:
    rng, folds = np.random.default_rng(1), np.arange(200) % 5
    targets = rng.integers(0, 2, 200)
    fair = np.clip(0.5 + 0.3 * (targets - 0.5) + rng.normal(0, 0.2, 200), 0, 1)
    sure = fit_rule("sure", rows_of(targets, np.where(targets, 0.9, 0.1)), folds, 200, 0)
    assert (sure.threshold, sure.right.mean()) == (0.5, 1.0)
    shifted = fit_rule("shifted", rows_of(targets, fair / 3), folds, 200, 0)
    assert shifted.threshold == shifted.fitted_threshold == pytest.approx(1 / 6, abs=0.05)
    assert shifted.right.mean() == shifted.accuracy_cross_fitted > shifted.accuracy_at_half + 0.1
    one_group = fit_rule("shifted", rows_of(targets, fair / 3, np.zeros(200)), folds, 200, 0)
    assert one_group.threshold == 0.5, "one group says nothing of chance"


def test_a_fold_has_no_say_in_what_decides_it() -> None:
    """Each of two is right on one fold alone: the other fold chooses the other, and all is wrong."""
    folds, targets = pd.Series(np.arange(40) % 2), np.random.default_rng(0).integers(0, 2, 40)
    named = {str(fold): rows_of(targets, np.where(folds == fold, targets, 1 - targets) * 1.0) for fold in (0, 1)}

    def best(some: dict[str, pd.DataFrame]) -> Rule:
        own = pd.Series(np.arange(40) // 2 % 2)
        rules = [fit_rule(name, one, own[one.index].to_numpy(), 100, 0) for name, one in some.items()]
        return max(rules, key=lambda rule: float(rule.right.mean()))

    assert not right_when_nested(named, folds, best).any()
    half = named | {"0": named["0"][folds == 0]}
    assert len(right_when_nested(half, folds, best)) == 20, "rows that the chosen one did not score are left out"


def classifier(name: str, prepared: Prepared, quality: float, rows: int = 10_000, *, test: bool = True) -> Predictions:
    """Predictions that lean to the target by `quality`, for the first train rows."""
    train = prepared.train.head(rows)
    scores = 0.5 + quality * (train["target"] - 0.5) + np.random.default_rng(0).normal(0, 0.2, len(train))
    return predicted(name, "prompted", train, scores.clip(0, 1), prepared.test if test else None)


def test_the_best_classifier_with_all_test_rows_is_submitted(sample: Prepared) -> None:
    """Easy rows do not make a winner: one is right on all of the few that it was asked about, but so is a better one."""
    good = classifier("good", sample, 0.5)
    easy = np.flatnonzero((good.train["score"] > 0.5) == (sample.train["target"] == 1))[:50]
    made = [
        Predictions("right on easy ones", "prompted", "refit", good.train.iloc[easy], good.test),
        classifier("poor", sample, 0.1),
        good,
        classifier("untested", sample, 0.9, test=False),
        classifier("better on a part", sample, 0.7, 60),
    ]
    rules = rules_of(competing(made, sample), sample.train.set_index("id")["fold"], SubmissionParams(draws=100))
    assert [*rules] == ["better on a part", "good", "right on easy ones", "poor"]


def test_the_table_names_every_classifier_and_pair() -> None:
    frames = {"alpha": rows(SCORES), "beta": rows(1 - SCORES, 2), "gamma": rows(1 - SCORES, 2)}
    shared = frames["beta"].index
    scored = {name: {"school": "generative"} | score_classifier(one, shared, PARAMS) for name, one in frames.items()}
    placed, pairs = compare(frames, [("alpha", "beta")], PARAMS)
    scores = placed.join(by_classifier(scored).assign(noise=[None, 0.0123, None]))
    costs = flat_costs(Costs(fit_seconds=1.5, tweets_per_second=10_000, peak_memory_mb=100))
    costs |= {"scoring": "logprobs", "calibration": "platt", "example_labels": 8, "calibration_labels": 100}
    text = render(
        scores,
        paired=pairs,
        twins=[("alpha", "beta")],
        costs=by_classifier(dict.fromkeys(frames, costs)),
        uncalibrated=by_classifier({"beta": score_classifier(rows(SCORES), shared, PARAMS)}),
        report={"source": "somewhere", "rows": {"train": 8, "test": 3}, "folds": {"0": {}, "1": {}}},
        draws=300,
        left_out=["left out x.parquet: made from other prepared tweets"],
    )
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    alpha = next(line for line in cells if line[1] == "alpha")
    assert alpha[:7] == ["1", "alpha", "generative", "8", "0", "best", "0.667"]
    assert alpha[7].startswith("0.750 [")
    beta = next(line for line in cells if line[1] == "beta")
    assert (beta[0], beta[5].split()[0], beta[5].split("] ")[1]) == ("–", "−33.33", "too few rows")
    assert [line[:2] for line in cells].count(["alpha − beta", "6"]) == 2, "as twins, and against the best"
    assert "beta − gamma" not in text
    assert text.index("Twins, which see") < text.index("| alpha − beta") < text.index("Each against the best")
    assert "`somewhere`, 8 train rows in 2 folds" in text
    (calibrated,) = [line for line in cells if line[1] == "logprobs"]
    assert calibrated[:5] == ["beta", "logprobs", "platt", "8", "100"]
    assert calibrated[6].startswith("0.750 [")
    assert "left out x.parquet" in text
    assert "some interval here rests on about 6 groups of one size; with fewer than 30" in text
    assert "the share of decisions that another draw turns over: beta (1.2 %)." in text
    assert cautions(scores.assign(groups=30.0, noise=None)) == []
