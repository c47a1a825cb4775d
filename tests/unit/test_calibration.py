"""Calibration and its measures against cases worked by hand, trusted libraries and simulations of which the truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import prepared_folder
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from pipeline.compare.calibration import main
from pipeline.contracts import InputError, Prepared, predictions_frame, write_predictions
from pipeline.stats.post_hoc_calibration import METHODS, calibrated_by_fold, inverse_temperature, isotonic, log_odds
from pipeline.stats.reliability import Scored, brier_parts, measures, reliability_diagram, squared_mean

GROUP_SIZES = [1, 2, 10]
RNG = np.random.default_rng


def scored(targets: np.ndarray, scores: np.ndarray, groups: np.ndarray, folds: int = 1) -> Scored:
    return Scored(targets, scores, groups, groups % folds)


def tweets(rng: np.random.Generator, groups: int, sureness: float = 1.0) -> tuple[np.ndarray, ...]:
    """Targets, scores, groups and the true probabilities; a group's rows share both, its scores are too sure by a factor."""
    sizes = rng.choice(GROUP_SIZES, size=groups, p=[0.8, 0.15, 0.05])
    truth = rng.beta(0.8, 1.0, size=groups)
    targets = (rng.random(groups) < truth).astype(int)
    group = np.repeat(np.arange(groups), sizes)
    return targets[group], expit(sureness * logit(truth))[group], group, truth[group]


def ones(n: int) -> np.ndarray:
    return np.ones((1, n))


# --- calibrating ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sureness", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_best_one_and_that_by_which_scores_were_made_too_sure(sureness: float) -> None:
    targets, scores, groups, _ = tweets(RNG(0), 6000, sureness)
    best = minimize_scalar(lambda factor: log_loss(targets, expit(factor * log_odds(scores))), (0.1, 3)).x
    assert inverse_temperature(scores, targets) == pytest.approx(best, rel=1e-4)
    assert calibrated_by_fold(scores, targets, groups % 5, "temperature")[1] == pytest.approx(sureness, rel=0.1)


def test_scores_worse_than_chance_are_not_turned_around() -> None:
    targets, scores, groups, _ = tweets(RNG(0), 500)
    found, temperature = calibrated_by_fold(1 - scores, targets, groups % 5, "temperature")
    assert (found == 0.5).all()
    assert temperature == np.inf


def test_isotonic_steps_by_hand() -> None:
    """0.4 and 0.6 are the wrong way round: they share a step; the outer ones are as sure as four rows allow."""
    found = isotonic(np.array([0.2, 0.4, 0.6, 0.8]), np.array([0, 1, 0, 1]), np.array([0.0, 0.2, 0.4, 0.6, 0.9]))
    assert found == pytest.approx([1 / 6, 1 / 6, 1 / 2, 1 / 2, 5 / 6])


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_folds_labels_are_not_seen_by_its_own_calibration(method: str) -> None:
    targets, scores, groups, _ = tweets(RNG(0), 300, 2.0)
    folds = groups % 3
    before, _ = calibrated_by_fold(scores, targets, folds, method)
    after, _ = calibrated_by_fold(scores, np.where(folds == 1, 1 - targets, targets), folds, method)
    assert (before[folds == 1] == after[folds == 1]).all()
    assert (before[folds != 1] != after[folds != 1]).any()


def test_without_two_labels_to_learn_from_scores_stay() -> None:
    scores, targets, folds = np.array([0.1, 0.7, 0.9]), np.array([1, 1, 0]), np.array([0, 0, 1])
    for method in METHODS:
        found, _ = calibrated_by_fold(scores, targets, folds, method)
        assert found[2] == 0.9, "the other fold has positives alone"
    assert calibrated_by_fold(scores, targets, folds, "none")[0].tolist() == scores.tolist()


# --- measuring --------------------------------------------------------------------------------------------------------


def test_a_squared_mean_by_hand() -> None:
    """Groups {1, 2}, {-1}, {4}: of the square 36, 9 + 1 + 16 are a group with itself, and so are 4 + 1 + 1 of 16 pairs."""
    values, groups, one_fold = np.array([1.0, 2.0, -1.0, 4.0]), np.array([7, 7, 8, 9]), np.zeros(4)
    assert squared_mean(ones(4), values, groups, one_fold, debiased=False) == pytest.approx([36 / 16])
    assert squared_mean(ones(4), values, groups, one_fold, debiased=True) == pytest.approx([10 / 10])
    doubled = np.array([[2.0, 2.0, 2.0, 2.0]])  # each group there twice
    assert squared_mean(doubled, values, groups, one_fold, debiased=True) == pytest.approx([(144 - 52) / (64 - 12)])
    assert squared_mean(ones(2), values[:2], groups[:2], one_fold[:2], debiased=True) == [0], (
        "one group says nothing of its noise"
    )
    two_folds = np.array([0, 0, 0, 1])  # sums of 2 over three rows, and of 4 over one: that one has no other
    assert squared_mean(ones(4), values, groups, two_folds, debiased=False) == pytest.approx([(4 + 16) / (9 + 1)])
    assert squared_mean(ones(4), values, groups, two_folds, debiased=True) == pytest.approx([(20 - 26) / (10 - 6)])


def test_the_brier_score_is_taken_apart_as_by_murphy_and_without_groups_debiased_as_by_kumar() -> None:
    """Forty scores of 0.2, a quarter of them positive, and forty of 0.6, half of them: in all it is three eighths."""
    targets = np.concatenate([np.arange(40) % 4 == 0, np.arange(40) % 2 == 0]).astype(int)
    two_bins = scored(targets, np.repeat([0.2, 0.6], 40), np.arange(80))
    parts = brier_parts(two_bins, ones(80), debiased=False)[:, 0]
    assert parts == pytest.approx([(0.05**2 + 0.1**2) / 2, 0.125**2, 0.375 * 0.625])
    # Kumar et al. (2019) take p (1 - p) / (rows - 1) off the squared gap of each bin, p its share of positives
    expected = np.mean([(p - score) ** 2 - p * (1 - p) / 39 for p, score in ((0.25, 0.2), (0.5, 0.6))])
    assert brier_parts(two_bins, ones(80), debiased=True)[0] == pytest.approx([expected])


@pytest.mark.parametrize("debiased", [False, True])
def test_the_parts_add_up_to_the_brier_score(debiased: bool) -> None:
    targets, scores, groups, _ = tweets(RNG(1), 300, 2.0)
    weights = RNG(1).integers(0, 3, size=(5, 300)).astype(float)[:, groups]
    reliability, resolution, uncertainty = brier_parts(scored(targets, scores, groups), weights, debiased=debiased)
    expected = [brier_score_loss(targets, scores, sample_weight=one) for one in weights]
    assert reliability - resolution + uncertainty == pytest.approx(expected)


def test_the_points_of_the_diagram_are_scikit_learns() -> None:
    scores = RNG(3).random(1000)
    targets = (RNG(4).random(1000) < scores**2).astype(int)
    observed, predicted = calibration_curve(targets, scores, n_bins=10, strategy="quantile")
    found = reliability_diagram(scored(targets, scores, np.arange(1000)))
    assert found["observed"].to_numpy() == pytest.approx(observed)
    assert found["predicted"].to_numpy() == pytest.approx(predicted)
    assert found["rows"].sum() == 1000


def test_the_diagrams_intervals_widen_with_groups_and_have_a_width_at_the_ends() -> None:
    scores, targets = np.full(40, 0.9), np.ones(40, dtype=int)
    (alone,) = reliability_diagram(scored(targets, scores, np.arange(40))).itertuples()
    (together,) = reliability_diagram(scored(targets, scores, np.arange(40) // 4)).itertuples()
    z = 1.959964
    assert (alone.low, alone.high) == pytest.approx((40 / (40 + z**2), 1)), "Wilson's, of 40 in 40"
    assert together.low == pytest.approx(10 / (10 + z**2)), "of 10 in 10"


def reliability(rows: Scored, *, debiased: bool = True) -> float:
    return float(brier_parts(rows, ones(len(rows.targets)), debiased=debiased)[0, 0])


def test_noise_adds_to_the_plain_error_and_not_to_the_debiased_one() -> None:
    """Of 1,000 sets of calibrated scores: the plain gaps are those of noise, the debiased ones cancel out."""
    plain, by_row, by_group, rng = [], [], [], RNG(4)
    for _ in range(1000):
        targets, scores, groups, _ = tweets(rng, 250)
        plain.append(reliability(scored(targets, scores, groups), debiased=False))
        by_row.append(reliability(scored(targets, scores, np.arange(len(targets)))))
        by_group.append(reliability(scored(targets, scores, groups)))
    error = np.std(by_group) / np.sqrt(1000)
    assert np.mean(plain) > 20 * error
    assert abs(np.mean(by_group)) < 3 * error
    assert np.mean(by_row) > 10 * error, "rows of a group err together: to take them for independent is not enough"


@pytest.mark.slow
@pytest.mark.parametrize("sureness", [1.0, 2.0, 4.0])
def test_the_debiased_errors_interval_holds_the_truth(sureness: float) -> None:
    """Too sure by nothing, somewhat, much: the true mean squared gap of ten bins is that of half a million tweets."""
    _, scores, _, truth = tweets(RNG(6), 300_000, sureness)
    exact = reliability(scored(truth, scores, np.arange(len(truth))), debiased=False)
    rng = RNG(7)
    found = pd.DataFrame(measures(scored(*tweets(rng, 400, sureness)[:3], 5), 200, 0) for _ in range(200))
    covered = (found["reliability_low"] <= exact) & (exact <= found["reliability_high"])
    assert covered.mean() >= 0.9
    assert found["reliability"].mean() == pytest.approx(exact, abs=0.0015)


def test_the_stage_writes_its_tables_and_says_what_it_left_out(
    sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lists: dict[str, object] = {"counts": ["never_read", "leaning", "partly_read"]}
    own: dict[str, object] = {"draws": 100}
    prepared = prepared_folder(tmp_path, monkeypatch, sample.train, sample.test, calibration=own, classifiers=lists)
    n = len(prepared.train)
    lean = np.clip(0.5 + 0.3 * (prepared.train["target"] - 0.5) + RNG(9).normal(0, 0.2, n), 0, 1)
    never = np.full(n, np.nan)

    def write(name: str, scores: np.ndarray) -> None:
        write_predictions(name, [predictions_frame(prepared.train, "train", scores)], prepared, "prompted", "none")

    write("never_read", never)
    with pytest.raises(InputError, match=r"nothing to measure; .*left out never_read"):
        main()
    write("leaning", lean)
    write("partly_read", np.where(np.arange(n) < 10, never, lean))
    main()
    assert "left out never_read" in capsys.readouterr().out
    table = pd.read_csv("calibration/scores.csv").set_index(["classifier", "method"])
    read = {"leaning": n, "partly_read": n - 10}
    assert table["rows"].to_dict() == {(name, method): read[name] for name in read for method in METHODS}
    assert not table.drop(columns="temperature").isna().to_numpy().any()
    points = pd.read_csv("calibration/reliability.csv")
    assert (points["low"] <= points["observed"]).all()
    assert (points["observed"] <= points["high"]).all()
    page = Path("calibration/table.md").read_text()
    assert page.count("| leaning ") == 3
    assert "left out never_read" in page
