"""Blends: what the weights must do in cases whose answer is known, what they must not have seen, and what is submitted."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, prepared_folder, set_param
from made import predicted, rows_of
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from pipeline.compare import blend, neighbours, submission
from pipeline.compare.blend import compare
from pipeline.compare.blend_weights import BlendParams, candidates, cross_fitted, fit_greedy, fit_logistic, log_losses
from pipeline.compare.scored import whole
from pipeline.contracts import InputError, Prepared, predictions_frame, read_params, read_yaml
from pipeline.contracts.predictions import read_predictions, write_predictions
from pipeline.stats.threshold import Rule

PARAMS = read_params("blend", BlendParams, ROOT / "params.yaml").model_copy(update={"draws": 200})
ROWS = 2000
GROUPS, FOLDS = np.arange(ROWS) // 2, np.arange(ROWS) // 2 % 5


def noisy(strengths: list[float], seed: int = 0, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and true log-odds of independent Gaussian evidence of these strengths, shape (rows, strengths)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    evidence = np.outer(2 * labels - 1, strengths) + rng.normal(size=(rows, len(strengths)))
    return labels, 2 * evidence * strengths


@pytest.mark.parametrize("candidate", range(len(candidates(PARAMS))))
def test_what_is_useless_or_wrong_has_no_weight(candidate: int) -> None:
    """Every way to fit weights leaves out one that says nothing, and one that says the opposite of the truth."""
    labels, log_odds = noisy([1.0, 0.7])
    fitted = candidates(PARAMS)[candidate](np.hstack([log_odds, -log_odds[:, [0]], np.zeros((ROWS, 1))]), labels)
    if not fitted.method.startswith("equal"):  # which is drawn towards the mean of all
        assert fitted.weights[2:].tolist() == [0, 0]
    assert fitted.weights.argmin() >= 2
    assert (fitted.weights >= 0).all()


def test_one_that_comes_twice_is_worth_one() -> None:
    labels, log_odds = noisy([0.6, 0.6, 0.9])
    twice = np.hstack([log_odds, log_odds[:, [2]]])
    for fit in (lambda *of: fit_logistic(*of, 10, "few"), lambda *of: fit_greedy(*of, 20)):
        once = fit(log_odds, labels)(log_odds)
        assert fit(twice, labels)(twice) == pytest.approx(once, abs=5e-3)


def test_without_a_penalty_it_is_logistic_regression_and_a_strong_one_makes_weights_equal_or_none() -> None:
    labels, log_odds = noisy([0.5, 0.7, 0.9])
    fitted = fit_logistic(log_odds, labels, 1e-6, "few")
    library = LogisticRegression(C=np.inf, tol=1e-8).fit(log_odds, labels)
    assert fitted.weights == pytest.approx(library.coef_[0], abs=1e-3)
    assert fitted.intercept == pytest.approx(library.intercept_[0], abs=1e-3)
    assert fit_logistic(log_odds, labels, 1e7, "equal").weights == pytest.approx(np.full(3, 1 / 3), abs=1e-3)
    assert fit_logistic(log_odds, labels, 1e5, "few").weights == pytest.approx(np.zeros(3))


def test_the_bag_is_filled_by_what_lowers_the_log_loss() -> None:
    """Of 4 rows by hand: the first alone is best; the mean with the second mends its one error, the third helps nobody."""
    labels = np.array([1, 1, 0, 0])
    log_odds = np.array([[3.0, 1.0, -1.0], [3.0, 1.0, 1.0], [-3.0, -1.0, 1.0], [0.5, -1.5, 1.0]])
    assert fit_greedy(log_odds, labels, 1).weights.tolist() == [1, 0, 0]
    assert fit_greedy(log_odds, labels, 2).weights.tolist() == [0.5, 0.5, 0]
    assert log_losses(np.array([0.0, 3.0]), np.array([1, 0])) == pytest.approx([np.log(2), np.log(1 + np.exp(3))])


def test_a_folds_labels_have_no_say_in_its_scores() -> None:
    (labels, log_odds), folds, groups = noisy([0.5, 0.7], rows=500), FOLDS[:500], GROUPS[:500]
    blended, _ = cross_fitted(log_odds, labels, folds, groups, PARAMS)
    others, _ = cross_fitted(log_odds, np.where(folds == 2, 1 - labels, labels), folds, groups, PARAMS)
    assert (blended == others)[folds == 2].all()
    assert (blended != others)[folds != 2].all()


@pytest.mark.parametrize(("strengths", "used"), [([0.8, 0.8], True), ([1.0, 0.0], False), ([1.0], False)])
def test_a_blend_is_used_if_it_helps(strengths: list[float], used: bool) -> None:
    """Not where it is one classifier beside chance, nor of one alone, however much its probabilities are mended."""
    labels, log_odds = noisy(strengths, seed=3)
    biased = log_odds + 3 if len(strengths) == 1 else log_odds
    singles = {f"c{i}": rows_of(labels, expit(one), GROUPS) for i, one in enumerate(biased.T)}
    mended = expit(cross_fitted(log_odds, labels, FOLDS, GROUPS, PARAMS)[0])
    if strengths == [1.0, 0.0]:  # the same decisions but for a few that are wrong
        mended = np.where(np.arange(ROWS) < 5, 1 - labels, singles["c0"]["score"])
    found = compare(singles["c0"].assign(score=mended), singles, PARAMS)
    assert found["used"] is used
    assert found["gain"] == pytest.approx(found["accuracy_blend"] - found["accuracy_best_single"])
    assert found["gain_low"] <= found["gain"] <= found["gain_high"]
    difference = (found["only_blend_right"] - found["only_best_single_right"]) / ROWS
    assert difference == pytest.approx(found["gain"])


@pytest.fixture
def results(sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """A folder with the sample, two classifiers that err apart, and one that was asked about a part of the rows; no costs."""
    lists: dict[str, object] = {"counts": ["first", "second", "part"], "vectors": [], "lora": [], "prompts": []}
    prepared = prepared_folder(tmp_path, monkeypatch, sample.train, sample.test, classifiers=lists)
    rng = np.random.default_rng(0)
    for name, seen in (("first", 1000), ("second", 1000), ("part", 90)):
        rows = prepared.train.head(seen)
        known = 2 * rows["target"].to_numpy() - 1 + rng.normal(0, 1.2, len(rows))
        tested = predictions_frame(prepared.test, "test", expit(rng.normal(0, 2, len(prepared.test))))
        scored = [predictions_frame(rows, "train", expit(known)), tested]
        write_predictions(name, scored, prepared, "prompted" if name == "part" else "discriminative", "refit")
    return prepared


def submitted() -> tuple[dict[str, object], np.ndarray]:
    submission.main()
    choice = json.loads(Path("submission/choice.json").read_text())
    metrics = json.loads(Path("submission/metrics.json").read_text())
    assert metrics == {key: round(choice["chosen"][key], 6) for key in ("accuracy", "nested_accuracy")}
    return choice["chosen"], pd.read_csv("submission/submission.csv")["target"].to_numpy()


def test_the_blend_is_submitted_if_it_helps_and_the_best_single_one_if_there_is_none(
    results: Prepared, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, _ = submitted()
    assert chosen["classifier"] in ("first", "second", "part")
    assert "left out blend/blend.parquet: no such file; `dvc repro blend` makes it" in capsys.readouterr().out

    blend.main()
    blended = read_predictions(Path("blend/blend.parquet"), results)
    found = json.loads(Path("blend/comparison.json").read_text())
    assert (blended.name, blended.school, found["classifiers"]) == ("blend", "blend", 2)
    assert found["used"]
    assert found["gain"] > 0.03
    metrics = json.loads(Path("blend/metrics.json").read_text())
    assert metrics == {key: round(found[f"{key}_blend"], 6) for key in ("accuracy", "log_loss")}
    weights = pd.read_csv("blend/weights.csv")
    assert sorted(weights["fold"].unique()) == [-1, 0, 1, 2, 3, 4]
    assert set(weights["classifier"]) == {"first", "second"}

    chosen, decided = submitted()
    assert chosen["classifier"] == "blend"
    voted = neighbours.votes(results)[1]
    assert (decided == (blended.test["score"] > chosen["threshold"]))[voted == 0].all()
    assert str(chosen["why"]).endswith(f"over {found['best_single']}: it is used")
    assert "| blend " in Path("blend/table.md").read_text()

    # It does not help, says its stage; or it was made from other tweets.
    Path("blend/comparison.json").write_text(json.dumps(found | {"used": False}))
    chosen, _ = submitted()
    assert chosen["classifier"] != "blend"
    assert "it is not used" in str(chosen["why"])
    others = Prepared(results.train, results.test, "a digest of other tweets")
    write_predictions("blend", [blended.train, blended.test], others, "blend", "refit", folder=Path("blend"))
    chosen, _ = submitted()
    assert chosen["classifier"] != "blend"
    assert "made from other prepared tweets" in str(chosen["why"])


def test_no_times_come_between_scores_and_submission() -> None:
    """A classifier that runs again and says the same leaves other times in costs/."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    for stage in ("blend", "submission"):
        assert not [dep for dep in stages[stage]["deps"] if dep.startswith(("costs", "evaluate"))]


def test_the_params_name_what_is_submitted(results: Prepared, tmp_path: Path) -> None:
    set_param(tmp_path, "submission.classifier", "second")
    chosen, _ = submitted()
    assert (chosen["classifier"], chosen["why"], chosen["threshold"]) == ("second", "params.yaml names it", 0.5)
    assert chosen["nested_accuracy"] == chosen["accuracy"], "there is nothing left to choose"
    for name, why in (
        ("blend", r"left out blend/blend\.parquet: no such file"),
        ("x", "x did not score every test row"),
    ):
        set_param(tmp_path, "submission.classifier", name)
        with pytest.raises(InputError, match=rf"submission\.classifier: {why}"):
            submission.main()


def rule(name: str, right: list[int], start: int = 0) -> Rule:
    rows = pd.Series(right, index=range(start, start + len(right)), dtype=bool)
    return Rule(name, 0.5, 0.5, float(rows.mean()), float(rows.mean()), rows)


def test_a_blend_that_helps_stands_for_all_that_it_is_made_of() -> None:
    ones = (rule("single", [1, 1, 1, 1, 1, 0]), rule("blend", [1, 1, 1, 0, 1, 0]), rule("weak", [0, 1, 1]))
    rules = {one.classifier: one for one in ones}
    assert chosen_of(rules, used=True) == "blend"
    assert chosen_of(rules, used=False) == "single"


def test_who_scored_few_rows_is_submitted_only_for_a_lead_beyond_chance() -> None:
    """An LLM that was asked about some of the train tweets, and about all test tweets; no part of the blend."""
    right = [1, 0] * 30
    rules = {"blend": rule("blend", right), "some": rule("some", [1, 1, 1, 1], start=2)}
    assert chosen_of(rules, used=True) == "blend", "two of four more than the blend"
    assert chosen_of(rules | {"some": rule("some", [1] * 40, start=2)}, used=True) == "some", "twenty of forty more"


def chosen_of(rules: dict[str, Rule], *, used: bool) -> str:
    groups = pd.Series(range(100))
    return submission.choose(rules, {"single"}, groups, submission.SubmissionParams(draws=500), used=used)


def test_a_blend_needs_all_rows_of_a_classifier(results: Prepared) -> None:
    """And a reply to each of them."""
    for name in ("first", "second"):
        Path(f"predictions/{name}.parquet").unlink()
    with pytest.raises(InputError, match="blend: no classifier scored every tweet"):
        blend.main()
    scores = np.full(len(results.train), 0.5)
    assert whole(predicted("one", "prompted", results.train, scores, results.test), results)
    scores[0] = np.nan
    assert not whole(predicted("one", "prompted", results.train, scores, results.test), results)
    with pytest.raises(InputError, match="no classifier scored every test row"):
        chosen_of({}, used=False)


def told(groups: list[int], targets: list[int], test: list[int]) -> Prepared:
    train = pd.DataFrame({"id": range(len(groups)), "group": groups, "target": targets})
    return Prepared(train, pd.DataFrame({"id": range(len(test)), "group": test}), "")


def test_a_vote_is_of_the_others_in_the_group_by_the_rule_of_succession() -> None:
    of_train, of_test = neighbours.votes(told([1, 1, 1, 2, 3, 3], [1, 1, 0, 1, 0, 1], [1, 2, 3, 9]))
    assert of_train == pytest.approx(np.log([2 / 2, 2 / 2, 3 / 1, 1, 2 / 1, 1 / 2]))
    assert of_test == pytest.approx(np.log([3 / 2, 2 / 1, 2 / 2, 1]))


def related(agree: float, rows: int = 4000) -> tuple[pd.DataFrame, np.ndarray, Prepared]:
    """Scored rows, half in pairs that share their label by this chance, and their folds; the test rows have such a pair each."""
    rng = np.random.default_rng(0)
    groups = np.concatenate([np.arange(rows // 2) // 2, np.arange(rows // 2, rows)])
    targets = rng.integers(0, 2, rows)
    targets[1 : rows // 2 : 2] = np.where(
        rng.random(rows // 4) < agree, targets[0 : rows // 2 : 2], 1 - targets[0 : rows // 2 : 2]
    )
    scores = expit(2 * targets - 1 + rng.normal(0, 1.5, rows))
    frame = pd.DataFrame({"target": targets, "group": groups, "score": scores})
    return frame, groups % 5, told(groups.tolist(), targets.tolist(), (np.arange(rows // 2) // 2).tolist())


def test_votes_that_agree_are_counted_and_the_test_rows_share_of_them_is_expected() -> None:
    rows, folds, prepared = related(0.9)
    voted = neighbours.votes(prepared)
    found, here = neighbours.listen(rows, folds, voted, 0.5, PARAMS)
    moved = neighbours.moved(rows["score"].to_numpy(), voted[0], found["weight"])
    right = pd.Series((moved > 0.5) == rows["target"])
    assert found["weight"] > 1
    share = found["test_rows"]
    assert (found["train_rows"], share) == (0.5, pytest.approx(0.9, abs=0.02)), "a pair that disagrees says nothing"
    some = voted[0] != 0
    expected = share * right[some].mean() + (1 - share) * right[~some].mean()
    assert here["expected_accuracy"] == pytest.approx(expected, abs=0.01)
    assert here["expected_low"] < here["expected_accuracy"] < here["expected_high"]


def test_votes_that_say_nothing_are_not_counted() -> None:
    rows, folds, prepared = related(0.5)
    found, here = neighbours.listen(rows, folds, neighbours.votes(prepared), 0.5, PARAMS)
    assert found["weight"] == 0
    assert here["expected_accuracy"] == pytest.approx(((rows["score"] > 0.5) == rows["target"]).mean())
