"""What the stages of an LLM write: predictions before and after its bias is taken out, unless too many replies are unreadable."""

import numpy as np
import pandas as pd

from pipeline.contracts import PREDICTIONS, UNCALIBRATED, InputError, Prepared, predictions_frame, write_predictions


def write_scores(
    name: str, rows: pd.DataFrame, prepared: Prepared, uncalibrated: np.ndarray, scores: np.ndarray
) -> None:
    """Both predictions of `rows` (with `split`, train before test), from scores of shape (n,); NaN is an unreadable reply."""
    train = (rows["split"] == "train").to_numpy()
    for folder, values in ((UNCALIBRATED, uncalibrated), (PREDICTIONS, scores)):
        of_train = predictions_frame(rows[train], "train", values[train])
        of_test = predictions_frame(rows[~train], "test", values[~train])
        write_predictions(name, [of_train, of_test], prepared, "prompted", "none" if train.all() else "refit", folder)


def unparsed_share(name: str, scores: np.ndarray, most: float, param: str, advice: str) -> float:
    """The share of NaN; more than `most`, which `param` says, is an `InputError`."""
    unparsed = float(np.isnan(scores).mean())
    if unparsed > most:
        raise InputError(
            f"{name}: {unparsed:.0%} of the replies could not be read, more than {param} ({most:.0%}); {advice}"
        )
    return unparsed
