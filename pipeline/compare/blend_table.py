"""The page of the blend: what it gains, and whose weight it carries."""

from typing import Any

import pandas as pd

from pipeline.compare.blend_weights import ALL_ROWS
from pipeline.compare.table import ACCURACY, CLASSIFIER
from pipeline.tables import Column, Table, interval, number, p_value, page

SCORES = [
    Column("Out-of-fold", "classifier"),
    ACCURACY,
    Column("F1", "f1", ".3f"),
    Column("Log loss", "log_loss", ".3f"),
]
WEIGHTS = [
    CLASSIFIER,
    Column("Accuracy", "accuracy", ".3f"),
    Column("Weight, all rows", "weight", ".3f"),
    Column("Weight by fold", lambda row: f"{row['least']:.3f} to {row['most']:.3f}", order="least"),
]


def render(found: dict[str, Any], weights: pd.DataFrame, accuracies: dict[str, float], left_out: list[str]) -> str:
    names = {"blend": "blend", "best_single": found["best_single"]}
    scores = pd.DataFrame(
        {key.replace(f"_{which}", ""): value for key, value in found.items() if which in key} | {"classifier": name}
        for which, name in names.items()
    )
    by_fold = weights.pivot_table(index="classifier", columns="fold", values="weight", sort=False)
    folds = by_fold.drop(columns=ALL_ROWS)
    listed = pd.DataFrame({"weight": by_fold[ALL_ROWS], "least": folds.min(axis=1), "most": folds.max(axis=1)})
    listed = listed.sort_values("weight", ascending=False).assign(accuracy=pd.Series(accuracies)).reset_index()
    methods = weights.groupby("fold")["method"].first()
    return page(
        f"The log-odds of {found['classifiers']} classifiers, added up by weights that were fitted on the other folds; in "
        "brackets the 95 % interval by bootstrap over groups:",
        Table(scores, SCORES).markdown(),
        f"At one half the blend gains {interval(found, 'gain', '+.2f', 100, unit=' points')} over {found['best_single']}, "
        "although that is the best on these very rows. Where one of the two alone is right, it is the blend on "
        f"{number(found['only_blend_right'])} rows, the other on {number(found['only_best_single_right'])} (McNemar p "
        f"{p_value(found['mcnemar_p'])}, by groups {p_value(found['group_p'])}).",
        "The blend is submitted."
        if found["used"]
        else "The blend is not submitted: its gain is too small or too uncertain.",
        Table(listed, WEIGHTS).markdown(),
        f"What holds the weights back is chosen on inner folds: {methods[ALL_ROWS]} for all rows, "
        f"{', '.join(methods.drop(ALL_ROWS))} for the folds.",
        *left_out,
    )
