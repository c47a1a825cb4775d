"""What samples are worth, as Markdown."""

from typing import Any

import pandas as pd

MEASURED = (
    "Memorised or new, and how diverse; in brackets real texts. Texts are compared by the cosine of TF-IDF, vectors by Euclid "
    "in the space of the family, so that distances in one space say nothing of those in another:"
)


def difference(row: "pd.Series[Any]") -> str:
    """`+2.1 [+0.3, +3.9]`, in points."""
    return f"{100 * (row['generated'] - row['real']):+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"


def beside(measures: pd.DataFrame, name: str) -> str:
    """`0.812 (0.790)`: of samples, and of real tweets; a dash where it is not measured."""
    if name not in measures.index:
        return "–"
    return f"{measures['generated'][name]:.3f} ({measures['real'][name]:.3f})"


def render(metrics: pd.DataFrame, fold: int, added: float, seeds: int) -> str:
    """From a row for each `Measure`."""
    by_family = {str(family): part.set_index("measure") for family, part in metrics.groupby("family", sort=False)}
    scores = metrics[metrics["measure"] == "accuracy score"]
    learnt = pd.DataFrame(
        {
            "Family": scores["family"],
            "Learnt from": scores["rows"].map("{:,}".format),
            "Accuracy after samples": scores["generated"].map("{:.3f}".format),
            "after real texts": scores["real"].map("{:.3f}".format),
            "Difference, points": scores.apply(difference, axis=1),
        }
    )
    columns = {
        "nearest distance": "Distance to training, median",
        "closer than 1 % of real": "Closer than 1 % of real",
        "copies": "Copies",
        "mean pairwise distance": "Distance to each other, mean",
        "self-similarity": "Self-similarity",
        "distinct-1": "Distinct-1",
        "distinct-2": "Distinct-2",
    }
    new = pd.DataFrame(
        {"Family": family} | {title: beside(part, name) for name, title in columns.items()}
        for family, part in by_family.items()
    )
    parts = [
        f"Fitted without fold {fold}, which is what real texts mean below; 95 % intervals.",
        "A logistic regression learns from samples, or from as many real training texts (classification accuracy score):",
        learnt.to_markdown(index=False, disable_numparse=True),
        MEASURED,
        new.to_markdown(index=False),
    ]
    few = metrics[metrics["measure"] == "few labels"]
    if len(few):
        cells = few.apply(lambda row: f"{row['real']:.3f} {difference(row)}", axis=1)
        table = few.assign(cell=cells).pivot_table(
            index="family", columns="rows", values="cell", aggfunc="first", sort=False
        )
        parts += [
            f"Accuracy after n labelled texts, and what {added:g} samples for each add, in points ({seeds} subsets):",
            table.rename(columns=lambda n: f"{n:,} labels").rename_axis("Family").to_markdown(),
        ]
    return "\n\n".join(parts) + "\n"
