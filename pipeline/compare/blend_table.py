"""The page of the blend: what it gains, and whose weight it carries."""

from typing import Any

import pandas as pd

from pipeline.compare.blend_weights import ALL_ROWS
from pipeline.compare.table import markdown, number, p_value, with_interval


def render(found: dict[str, Any], weights: pd.DataFrame, accuracies: dict[str, float], left_out: list[str]) -> str:
    """The page: what the blend gains, and whose weight it carries."""

    def points(gain: str) -> str:
        value, low, high = (100 * found[key] for key in (gain, f"{gain}_low", f"{gain}_high"))
        return f"{value:+.2f} points [{low:+.2f}, {high:+.2f}]"

    blend, single = (with_interval(pd.Series(found), f"accuracy_{which}") for which in ("blend", "best_single"))
    by_fold = weights.pivot_table(index="classifier", columns="fold", values="weight", sort=False)
    of_all, of_folds = by_fold[ALL_ROWS].sort_values(ascending=False), by_fold.drop(columns=ALL_ROWS)
    lightest, heaviest = of_folds.min(axis=1), of_folds.max(axis=1)
    rows = [
        [name, f"{accuracies[name]:.3f}", f"{weight:.3f}", f"{lightest[name]:.3f} to {heaviest[name]:.3f}"]
        for name, weight in zip(map(str, of_all.index), of_all, strict=True)
    ]
    methods = weights.groupby("fold")["method"].first()
    scores = [
        ["blend", blend, f"{found['f1_blend']:.3f}", f"{found['log_loss_blend']:.3f}"],
        [found["best_single"], single, f"{found['f1_best_single']:.3f}", f"{found['log_loss_best_single']:.3f}"],
    ]
    parts = [
        (
            f"The log-odds of {found['classifiers']} classifiers, added up by weights that were fitted on the other folds; in "
            "brackets the 95 % interval by bootstrap over groups:"
        ),
        markdown(["Out-of-fold", "Accuracy", "F1", "Log loss"], scores),
        (
            f"At one half the blend gains {points('gain')} over {found['best_single']}, although that is the best on these "
            f"very rows. Where one of the two alone is right, it is the blend on {number(found['only_blend_right'])} rows, the "
            f"other on {number(found['only_best_single_right'])} (McNemar p {p_value(found['mcnemar_p'])}, by groups "
            f"{p_value(found['group_p'])})."
        ),
        "The blend is submitted."
        if found["used"]
        else "The blend is not submitted: its gain is too small or too uncertain.",
        markdown(["Classifier", "Accuracy", "Weight, all rows", "Weight by fold"], rows),
        (
            f"What holds the weights back is chosen on inner folds: {methods[ALL_ROWS]} for all rows, "
            f"{', '.join(methods.drop(ALL_ROWS))} for the folds."
        ),
    ]
    return "\n\n".join(parts + left_out) + "\n"
