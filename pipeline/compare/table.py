"""The comparison as Markdown, and the columns that other tables of classifiers and of pairs have too."""

from typing import Any

import pandas as pd

from pipeline.stats.paired import ALPHA, WIDE
from pipeline.tables import LOW_HIGH, Column, Row, Table, interval, measured, p_value, page, points, present

PLACE, ROWS = Column("Place", "rank", ",.0f"), Column("Rows", "rows", ",.0f")
CLASSIFIER, SCHOOL = Column("Classifier", "classifier"), Column("School", "school")
ACCURACY, F1, LOG_LOSS = measured("Accuracy", "accuracy"), measured("F1", "f1"), measured("Log loss", "log_loss")
ECE = measured("ECE", "ece")
DECISIONS = [ACCURACY, F1, measured("Precision", "precision"), measured("Recall", "recall")]
PROBABILITIES = [measured("ROC-AUC", "roc_auc"), LOG_LOSS, measured("Brier", "brier"), ECE]
COSTS = [
    Column("Fit, s", "fit_seconds", ",.1f"),
    Column("Latency p50, ms", "latency_ms_p50", ",.2f"),
    Column("p95, ms", "latency_ms_p95", ",.2f"),
    Column("Texts/s", "tweets_per_second", ",.0f"),
    Column("Peak memory, MB", "peak_memory_mb", ",.0f"),
    Column("Trainable parameters", "trainable_parameters", ",.0f"),
    Column("Total parameters", "total_parameters", ",.0f"),
    Column("Requests", "requests", ",.0f"),
    Column("of them new", "new_requests", ",.0f"),
    Column("Prompt tokens", "prompt_tokens", ",.0f"),
    Column("of them cached", "cached_tokens", ",.0f"),
    Column("Label mass", "label_mass", ".0%"),
    Column("Money", "money", ",.2f"),
]
OF_COSTS = (
    "What it costs. Fitting is that of all folds together, with embedding the train texts once. Latency is that of one new "
    "text, from its words to its score, warm, through all the models that score it, its embedding included; texts/s is that of "
    "many at once, of an LLM one request after the other. All parameters are those of one fold's model, its encoder's included:"
)
PAIRS = [
    Column("Difference in accuracy", lambda row: f"{row['a']} − {row['b']}"),
    Column("Shared rows", "rows", ",.0f"),
    points("Points", ends=LOW_HIGH),
    Column("Only one right", lambda row: f"{row['only_a_right']} : {row['only_b_right']}", order="only_a_right"),
    Column("McNemar p", "mcnemar_p", p_value),
    Column("by group", "group_p", p_value),
    Column("corrected", "p_holm", p_value),
    Column("Rows needed", "rows_needed", ",.0f"),
]
FEW_GROUPS = 30


def against_best(row: Row) -> str:
    """The lead over the best in points, with its interval, and the standing that it gives."""
    standing = str(row["standing"])
    return standing if standing == "best" else f"{interval(row, 'to_best', '+.2f', 100)} {standing}"


AGAINST_BEST = Column("Against the best, points", against_best, order="to_best")
SUMMARY = [PLACE, CLASSIFIER, SCHOOL, ROWS, AGAINST_BEST, ACCURACY, F1, LOG_LOSS]


def cautions(scores: pd.DataFrame) -> list[str]:
    """Sentences on intervals that rest on few groups, and on scores that hang on noise: none where all is well."""
    few, noisy, said = scores["groups"].min(), scores["noise"].dropna(), []
    if few < FEW_GROUPS:
        held = f"with fewer than {FEW_GROUPS} it may hold the truth less often than 95 times in 100"
        said.append(f"Few groups: some interval here rests on about {few:.0f} groups of one size; {held}.")
    if len(noisy):
        shares = ", ".join(f"{name} ({100 * share:.1f} %)" for name, share in noisy.items())
        said.append(f"Scores that hang on noise, and the share of decisions that another draw turns over: {shares}.")
    return said


def introduction(report: dict[str, Any], shared: int, draws: int) -> str:
    """What is compared and how, from prepare's report."""
    rows, never_split = report["rows"], "near-duplicate group"
    if "group_column" in report:
        never_split += f" and {report['group_column']['column']}"
    return (
        f"Data: `{report['source']}`, {rows['train']:,} train rows in {len(report['folds'])} folds by {never_split}, "
        f"{rows['test']:,} test rows. All scores are out-of-fold, in brackets the 95 % interval by bootstrap over groups "
        f"({draws:,} draws). In the order of the difference in accuracy to the best of those with the most rows, on the rows "
        f"that the two share; all share {shared:,}. Behind and ahead are real differences (p < {ALPHA} by a test that respects "
        "groups, by Holm's method corrected for the tests that are declared: each against the best, and the twins). A tie is "
        "want of evidence, not proof of equality; unsure is a difference that the correction alone leaves open; where the "
        f"interval is wider than ±{100 * WIDE:g} points the rows are too few to say even that, and to give a place. "
        "Lower is better for Log loss, Brier, ECE. ECE and its interval lean upwards: noise only ever adds to its gaps."
    )


def render(
    scores: pd.DataFrame,
    *,
    paired: pd.DataFrame,
    twins: list[tuple[str, str]],
    costs: pd.DataFrame,
    uncalibrated: pd.DataFrame,
    report: dict[str, Any],
    draws: int,
    left_out: list[str],
) -> str:
    """The page, of evaluate's tables: all by classifier but `paired`, and `report` of prepare."""
    shared = int(scores["shared_rows"].iloc[0])
    decided = [PLACE, CLASSIFIER, SCHOOL, ROWS, Column("Unparsed", "unparsed", ",.0f"), AGAINST_BEST]
    decided += [Column(f"Accuracy on {shared:,}", "shared_accuracy", ".3f"), *DECISIONS]
    listed, costly = (frame.rename_axis("classifier").reset_index() for frame in (scores, costs))
    parts = [
        introduction(report, shared, draws),
        Table(listed, decided).markdown(),
        *cautions(scores),
        "As probabilities, of rows that were read, as they come (not all have a temperature; `calibration` gives one to each):",
        Table(listed, [CLASSIFIER, *PROBABILITIES]).markdown(),
        OF_COSTS,
        Table(costly, [CLASSIFIER, *present(COSTS, costs)]).markdown(),
    ]
    if len(uncalibrated):
        parts += ["Before and after calibration:", calibration_table(uncalibrated, scores, costs)]
    if len(of_twins := pairs_among(paired, twins)):
        parts += ["Twins, which see the same features (generative − discriminative):", pairs_table(of_twins)]
    best = scores.index[scores["standing"] == "best"][0]
    if len(paired) and len(of_best := paired[(paired["a"] == best) | (paired["b"] == best)]):
        said = "Each against the best, on the rows that both scored (all pairs are in `evaluate/paired.csv`):"
        parts += [said, pairs_table(of_best[::-1])]
    return page(*parts, *left_out)


def pairs_among(paired: pd.DataFrame, twins: list[tuple[str, str]]) -> pd.DataFrame:
    """The pairs of twins: `a` is the generative one."""
    return paired[[pair in twins for pair in zip(paired["a"], paired["b"], strict=True)]] if len(paired) else paired


def pairs_table(paired: pd.DataFrame) -> str:
    return Table(paired, PAIRS).markdown()


def calibration_table(before: pd.DataFrame, after: pd.DataFrame, costs: pd.DataFrame) -> str:
    """What a calibration did to each classifier that has one, and how many labels examples and calibration took."""

    def turned(title: str, *both: Column) -> Column:
        return Column(title, lambda row: " → ".join(one.text(row) for one in both), order=str(both[-1].of))

    columns = [
        CLASSIFIER,
        Column("Scoring", "scoring"),
        Column("Calibration", "calibration"),
        Column("Labels for examples", "example_labels", ",.0f"),
        Column("for calibration", "calibration_labels", ",.0f"),
        turned("Share of positives", Column("", "before_positives", ".2f"), Column("", "positives", ".2f")),
    ]
    for title, metric in (("Accuracy", "accuracy"), ("F1", "f1"), ("ECE", "ece")):
        columns.append(turned(title, measured("", f"before_{metric}"), measured("", metric)))
    asked = costs[["scoring", "calibration", "example_labels", "calibration_labels"]]
    both = after.join(before.add_prefix("before_"), how="inner").join(asked)
    return Table(both.rename_axis("classifier").reset_index(), columns).markdown()
