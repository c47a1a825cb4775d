"""Export the test decisions of the blend, if it helps, or of the best classifier as a csv that Kaggle accepts.

What people said of a test tweet's near-duplicates is counted, too, where that clearly helps (compare/neighbours.py): `accuracy`
is that on new tweets, `expected_accuracy` that on these. Its columns are named as those of the source: `id,target` for Kaggle's.

in:  data/prepared, predictions/*.parquet, blend/blend.parquet and blend/comparison.json if they are there
out: submission/submission.csv, submission/choice.json, submission/metrics.json
run: dvc repro submission   (or python -m pipeline.stage compare.submission)
"""

import hashlib
import json
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, Field, ValidationError

from pipeline.compare.neighbours import listen, moved, votes
from pipeline.compare.scored import BootstrapParams, accuracy_interval, read_all, scored_rows, whole
from pipeline.contracts import (
    InputError,
    Predictions,
    Prepared,
    first_fault,
    read_params,
    read_predictions,
    read_prepared,
)
from pipeline.contracts.files import write_text
from pipeline.data.source import DataParams
from pipeline.kaggle.validate import check_file
from pipeline.stats.bootstrap import clears_chance
from pipeline.stats.decisions import decided_rightly, rank
from pipeline.stats.paired import compare_pair, helps
from pipeline.stats.threshold import Rule, fit_rule, right_when_nested
from pipeline.tables import interval

OUT = Path("submission")
BLEND = "blend"
NOTHING = "nothing to submit, as data.source has no test.csv"


class SubmissionParams(BootstrapParams):
    classifier: str | None = None
    """The classifier to submit, or `blend`; null for the blend if it helps, else for the one with the best accuracy."""
    draws: int = Field(2000, ge=100)
    targets: Literal["numbers", "names"] = "numbers"
    """How decisions are written: 0 and 1, as Kaggle wants them, or the names in data.labels."""


class BlendVerdict(BaseModel):
    """The part of blend/comparison.json that is needed here."""

    best_single: str
    gain: float
    gain_low: float
    gain_high: float
    margin: float
    used: bool

    def __str__(self) -> str:
        gain = interval(self.model_dump(), "gain", "+.2f", 100, unit=" points")
        return f"the blend gains {gain} over {self.best_single}: it is {'used' if self.used else 'not used'}"


def read_blend(prepared: Prepared, folder: Path = Path(BLEND)) -> tuple[Predictions, BlendVerdict]:
    """The blend's scores, and what its own stage says of them; `InputError` if it has not been made from these tweets."""
    scores, verdict = folder / f"{BLEND}.parquet", folder / "comparison.json"
    if not scores.is_file():
        raise InputError(f"{scores}: no such file; `dvc repro blend` makes it")
    try:
        return read_predictions(scores, prepared), BlendVerdict.model_validate_json(verdict.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{verdict}: not what the stage blend writes: {first_fault(error)}") from None


def competing(classifiers: list[Predictions], prepared: Prepared) -> dict[str, pd.DataFrame]:
    """The `scored_rows` of all classifiers that scored every test row."""
    rows = len(prepared.test)
    return {one.name: scored_rows(prepared, one) for one in classifiers if one.test["score"].count() == rows}


def rules_of(rows: dict[str, pd.DataFrame], folds: pd.Series, params: SubmissionParams) -> dict[str, Rule]:
    """The rules of those competing, ranked by `rank`; folds are indexed by id."""
    rules = {
        name: fit_rule(name, one, folds[one.index].to_numpy(), params.draws, params.seed) for name, one in rows.items()
    }
    return {name: rules[name] for name in rank({name: rule.right for name, rule in rules.items()})}


def blend_helps(rows: dict[str, pd.DataFrame], blended: set[str], margin: float, params: SubmissionParams) -> bool:
    """What the stage blend says of its blend, on these rows alone; `blended` are the classifiers that it is made of."""
    singles = [name for name in rows if name in blended]
    if BLEND not in rows or len(singles) < 2:
        return False
    best = max(singles, key=lambda name: float(decided_rightly(rows[name]).mean()))
    return helps(compare_pair(rows[BLEND], rows[best], params.draws, params.seed), margin)


def choose(
    rules: dict[str, Rule], blended: set[str], groups: pd.Series, params: SubmissionParams, *, used: bool
) -> str:
    """The name of the rule to submit; `rules` are ranked, that of the blend among them if there is one; groups are by id.

    With a blend that helps, the classifiers that it is made of, `blended`, are no rivals any more. One that scored a part of the
    train rows is taken only if its lead there over the best of those with the most rows clears chance.
    """
    rivals = [name for name in rules if (name not in blended if used else name != BLEND)]
    if not rivals:
        raise InputError("submission: no classifier scored every test row")
    best = max(rivals, key=lambda name: len(rules[name].right))  # of as many rows the first, which is the best
    for name in rank({name: rules[name].right for name in rivals}):
        lead = (rules[name].right.astype(float) - rules[best].right).dropna()
        of_rows = groups[lead.index].to_numpy()
        if name == best or clears_chance(lead.to_numpy(), of_rows, params.draws, params.seed):
            break
    return name


def written(ids: pd.Series, targets: pd.Series, data: DataParams, how: Literal["numbers", "names"]) -> str:
    """The csv of the test ids and their targets, 0 or 1; for Kaggle's columns and numbers it is checked as Kaggle would."""
    words = data.labels if how == "names" else ["0", "1"]
    header = [data.columns.id, data.columns.target]
    decided = pd.DataFrame({"id": ids, "target": targets.map(dict(enumerate(words)))})
    text = decided.to_csv(index=False, header=header, lineterminator="\n")
    if header == ["id", "target"] and how == "numbers" and len(ids):
        check_file(text.encode(), ids.tolist())
    return text


def main() -> None:
    params, prepared = read_params("submission", SubmissionParams), read_prepared()
    classifiers, _ = read_all(prepared)
    scored, blended = {one.name: one for one in classifiers}, {one.name for one in classifiers if whole(one, prepared)}
    used, margin = False, 0.0
    try:
        scored[BLEND], verdict = read_blend(prepared)
        used, margin, why = verdict.used, verdict.margin, str(verdict)
    except InputError as error:
        why = f"left out {error}"
    folds, groups = (prepared.train.set_index("id")[column] for column in ("fold", "group"))
    rows = competing([*scored.values()], prepared)
    rules = rules_of(rows, folds, params)
    name = params.classifier or choose(rules, blended, groups, params, used=used)
    if name not in rules:
        absent = f"{name} did not score every test row; {', '.join(rules)} did"
        raise InputError(f"params.yaml: submission.classifier: {why if name == BLEND else absent}")

    def choose_again(some: dict[str, pd.DataFrame]) -> Rule:
        again = rules_of(some, folds, params)
        helped = blend_helps(some, blended, margin, params)
        return again[params.classifier or choose(again, blended, groups, params, used=helped)]

    rule = rules[name]
    nested = right_when_nested({name: rows[name]} if params.classifier else rows, folds, choose_again)
    (low, high), (nested_low, nested_high) = (accuracy_interval(each, groups, params) for each in (rule.right, nested))
    of_train, of_test = votes(prepared)
    voted = of_train[prepared.train["id"].isin(rows[name].index)], of_test
    counted, here = listen(rows[name], folds[rows[name].index].to_numpy(), voted, rule.threshold, params)
    scores = moved(scored[name].test["score"].to_numpy(), of_test, counted["weight"])
    targets = pd.Series((scores > rule.threshold).astype(int))
    text = written(prepared.test["id"], targets, read_params("data", DataParams), params.targets)
    chosen = {
        **rule.report(),
        **here,
        "accuracy_low": low,
        "accuracy_high": high,
        "nested_accuracy": float(nested.mean()),
        "nested_low": nested_low,
        "nested_high": nested_high,
        "nested_rows": len(nested),
        "neighbours": counted,
        "share_of_positives": float(targets.mean()) if len(targets) else None,
        "share_of_positives_out_of_fold": float((rows[name]["score"].dropna() > rule.threshold).mean()),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "why": "params.yaml names it" if params.classifier else why,
    }
    write_text(OUT / "submission.csv", text)
    choice = {"chosen": chosen, "candidates": [one.report() for one in rules.values()]}
    metrics = {key: round(chosen[key], 6) for key in ("accuracy", "nested_accuracy")}
    for name_of, content in (("choice", choice), ("metrics", metrics)):
        write_text(OUT / f"{name_of}.json", json.dumps(content, indent=2) + "\n")
    print(
        f"submission: {name}, out-of-fold accuracy {chosen['accuracy']:.4f} at threshold {rule.threshold:.3f}, "
        f"{nested.mean():.4f} when each fold is decided by what is chosen on the others, {here['expected_accuracy']:.4f} "
        f"expected here, where {counted.get('test_rows', 0):.0%} have labelled near-duplicates that count; "
        f"{f'{len(targets)} rows, {targets.mean():.1%} positive' if len(targets) else NOTHING} ({chosen['why']})"
    )
