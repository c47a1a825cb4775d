"""The page of the study, and its figures, from what a run found: every number in it is filled in, none is typed.

in:  docs/study.template.md, and what `make study` has left of evaluate, crossover, robustness and generation
out: docs/study.md, docs/learning_curves.svg, docs/learning_curves_vectors.svg
run: make docs   (or python -m pipeline.verdict.study, after a study of the tweets that the page is about)

In the template `{scores[naive_bayes].accuracy}` stands for a number with its interval; what is not there is an error.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import vl_convert

from pipeline.classifiers.class_lm_params import ClassLmParams
from pipeline.contracts import InputError, read_params, run, write_text
from pipeline.places import STUDY
from pipeline.verdict.learning_curve import LearningCurveParams
from pipeline.verdict.scored import TwinsParams
from pipeline.verdict.table import markdown, number, pairs_table, with_interval

DOCS = Path("docs")
CHART = Path(".dvc/plots/learning_curve.json")
SCHOOLS = ("generative", "discriminative", "prompted")


def read_csv(path: str) -> pd.DataFrame:
    try:
        return pd.read_csv(STUDY / path)
    except (OSError, pd.errors.EmptyDataError):
        raise InputError(f"{STUDY / path}: no such table; run `make study` first") from None


def read_page(stage: str) -> str:
    """The page that a stage has written."""
    path = STUDY / stage / "table.md"
    if not path.is_file():
        raise InputError(f"{path}: no such page; run `make study` first")
    return path.read_text(encoding="utf-8").strip()


def by_school(scores: pd.DataFrame, costs: pd.DataFrame) -> str:
    """The table of all classifiers that scored every row, best first within each school."""
    everywhere = scores[scores["rows"] == scores["rows"].max()]
    rows = []
    for school in SCHOOLS:
        for name, row in everywhere[everywhere["school"] == school].iterrows():
            cost = costs.loc[name]
            rows.append(
                [str(name), school]
                + [with_interval(row, metric) for metric in ("accuracy", "f1", "log_loss", "ece")]
                + [number(cost["fit_seconds"]), number(cost["trainable_parameters"])]
            )
    header = ["Classifier", "School", "Accuracy", "F1", "Log loss", "ECE", "Fit, s", "Trained parameters"]
    return markdown(header, rows)


def filled(row: pd.Series) -> SimpleNamespace:
    """A classifier's metrics as `0.812 [0.803, 0.821]`, for the template."""
    metrics = [str(column).removesuffix("_low") for column in row.index if str(column).endswith("_low")]
    return SimpleNamespace(**{metric: with_interval(row, metric) for metric in metrics})


def twins_filled(row: pd.Series) -> SimpleNamespace:
    """A pair's crossing and leads in words, for the template."""

    def points(name: str) -> str:
        value, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
        return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"

    return SimpleNamespace(
        crossing="nowhere"
        if np.isnan(row["crossing"])
        else f"{row['crossing']:,.0f} labels [{row['low']:,.0f}, {row['high']:,.0f}]",
        share=f"{row['share']:.0%}",
        first=number(row["first"]),
        last=number(row["last"]),
        at_first=points("lead_at_first"),
        at_last=points("lead_at_last"),
    )


def figure(curves: pd.DataFrame, title: str) -> str:
    """The learning curves as SVG, through the chart that `dvc plots` draws them with."""
    spec = CHART.read_text(encoding="utf-8")
    filled_in = {"TITLE": title, "X": "size", "Y": "accuracy"}
    filled_in |= {"X_LABEL": "labels", "Y_LABEL": "accuracy"}
    for name, value in filled_in.items():
        spec = spec.replace(f"<DVC_METRIC_{name}>", value)
    chart: dict[str, Any] = json.loads(spec)
    chart["data"] = {"values": json.loads(curves.to_json(orient="records"))}
    del chart["layer"][1]["encoding"]["strokeDash"]  # there is one revision
    svg: str = vl_convert.vegalite_to_svg(chart)
    return svg


def fill(template: str, values: dict[str, Any]) -> str:
    """The template with its placeholders filled in."""
    try:
        return template.format_map(values)
    except (KeyError, AttributeError, IndexError, ValueError) as error:
        raise InputError(f"{DOCS / 'study.template.md'}: {error} is not among the results of this run") from None


def main() -> None:
    scores, costs = (read_csv(f"evaluate/{name}.csv").set_index("classifier") for name in ("scores", "costs"))
    paired, curves = read_csv("evaluate/paired.csv"), read_csv("crossover/curves.csv")
    twins = read_csv("crossover/twins.csv")
    pairs = read_params("twins", TwinsParams).pairs
    known = read_params("learning_curve", LearningCurveParams).curves
    of_vectors = {name for name, curve in known.items() if curve.family.startswith("vectors.")}
    values: dict[str, Any] = {
        "scores": {str(name): filled(row) for name, row in scores.iterrows()},
        "twins": {f"{row['generative']}-{row['discriminative']}": twins_filled(row) for _, row in twins.iterrows()},
        "rows": number(scores["rows"].max()),
        "train_rows": number(read_params("class_lm.generative", ClassLmParams).train_rows),
        "table": by_school(scores, costs),
        "pairs": pairs_table(paired[[pair in pairs for pair in zip(paired["a"], paired["b"], strict=True)]]),
        "curves": read_page("crossover"),
        "robustness": read_page("robustness"),
        "generation": read_page("generation"),
    }
    template = (DOCS / "study.template.md").read_text(encoding="utf-8")
    write_text(DOCS / "study.md", fill(template, values))
    of_families = curves["series"].isin(of_vectors - {name for pair in pairs for name in pair})
    over_embeddings = curves["series"].isin(of_vectors)
    write_text(
        DOCS / "learning_curves.svg", figure(curves[~of_families], "Accuracy on held-out tweets by number of labels")
    )
    write_text(
        DOCS / "learning_curves_vectors.svg",
        figure(curves[over_embeddings], "The families over sentence embeddings: accuracy by number of labels"),
    )


if __name__ == "__main__":
    run(main)
