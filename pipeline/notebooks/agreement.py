"""Where classifiers agree: their decisions side by side, and how alike they are."""

from collections.abc import Sequence

import pandas as pd
from sklearn.metrics import cohen_kappa_score

from pipeline.compare.scored import scored_rows
from pipeline.contracts import Predictions, Prepared
from pipeline.stats.decisions import decided_rightly


def rightly(prepared: Prepared, classifiers: Sequence[Predictions]) -> pd.DataFrame:
    """Whether each classifier (column) decides each train row (id) rightly, on the rows that all of them cover."""
    found = {one.name: decided_rightly(scored_rows(prepared, one)) for one in classifiers}
    return pd.concat(found, axis=1, join="inner")


def agreement(prepared: Prepared, right: pd.DataFrame) -> pd.DataFrame:
    """A row for each ordered pair of classifiers `a`, `b`: the `share` of rows on which they decide alike, and `kappa`.

    Cohen's kappa (1960) takes out what two would share by chance: 1 is always alike, 0 no more than chance. `both_wrong` is the
    share of a's errors that b makes too.
    """
    targets = prepared.train.set_index("id").loc[right.index, "target"]
    decisions = right.apply(lambda column: targets.where(column, 1 - targets))
    rows = []
    for a in right:
        for b in right:
            kappa = cohen_kappa_score(decisions[a], decisions[b])
            both_wrong = 1 - right[b][~right[a]].mean()
            rows.append([a, b, (decisions[a] == decisions[b]).mean(), kappa, both_wrong])
    return pd.DataFrame(rows, columns=["a", "b", "share", "kappa", "both_wrong"])
