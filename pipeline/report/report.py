"""The report: one page that opens offline, and a summary for pull requests, from what the other stages have found.

A stage that did not run has no section, and is named at the end of the page. No number is typed.

in:  data/prepared, evaluate/, and what there is of blend/, calibration/, cascade/, crossover/, errors/, explanations/,
     generation/ and robustness/
out: report/: index.html, summary.md
run: dvc repro report   (or python -m pipeline.stage report.report)
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, RootModel

from pipeline.compare.scored import TwinsParams
from pipeline.compare.table import SUMMARY, cautions, pairs_among, pairs_table
from pipeline.contracts import PREPARED, Params, read_json, read_params, read_prepared, write_text
from pipeline.data.csv_file import SAMPLE
from pipeline.data.source import DataParams
from pipeline.environment import commit
from pipeline.places import STUDY, in_study, results
from pipeline.report import comparison, curves, decisions, tweets
from pipeline.report.page import Page, render
from pipeline.report.parts import About, Section
from pipeline.report.provenance import provenance
from pipeline.report.results import Tables, read_results
from pipeline.report.sentences import INVENTED, Pairs, verdict
from pipeline.tables import Table
from pipeline.tables import page as markdown

NAME = "report"
FEW = 10
"""Of classifiers, in the summary."""


class ReportParams(Params):
    title: str = Field("Disaster tweets, generative against discriminative", min_length=1)
    rows: int = Field(50, ge=1)
    """The most rows of a table of tweets, for each classifier where it is of one."""


class Shown(RootModel[dict[str, Any]]):
    """A section of params that the page shows as it is."""


FILES = {
    "crossover": ("curves.csv", "twins.csv"),
    "calibration": ("scores.csv", "reliability.csv"),
    "evaluate": ("scores.csv", "paired.csv", "costs.csv", "plots/confusion.csv"),
    "blend": ("comparison.json", "weights.csv"),
    "cascade": ("cascade.csv",),
    "errors": ("slices.csv", "disagreements.csv", "confident_errors.csv", "label_noise.csv", "relabelled.csv"),
    "explanations": ("explanations.jsonl",),
    "generation": ("metrics.csv", "samples.jsonl"),
    "robustness": ("noise.csv", "shift.csv"),
}
"""What a stage leaves that sections are made of."""
SOURCES: list[tuple[str, Callable[[Tables, About], list[Section]]]] = [
    ("crossover", curves.learning),
    ("calibration", decisions.calibration),
    ("evaluate", decisions.confusion),
    ("blend", decisions.blend),
    ("cascade", decisions.cascade),
    ("errors", tweets.errors),
    ("explanations", tweets.explanations),
    ("generation", curves.generation),
    ("robustness", curves.robustness),
    ("evaluate", comparison.costs),
]
"""What makes sections of a stage's files, in the order of the page; a new section is a function, and a line here."""


def about(found: dict[str, Tables], labels: list[str], rows: int) -> About:
    scores = found["evaluate"]["scores"]
    schools = dict(zip(scores["classifier"], scores["school"], strict=True))
    return About(schools, labels, found["evaluate"]["costs"], rows)


def page_of(
    found: dict[str, Tables], missing: list[str], twins: Pairs, of_all: About, banner: list[str], **rest: Any
) -> Page:
    """The page of all that was found; `banner` is said first, `rest` are its title and its provenance."""
    scores, paired = found["evaluate"]["scores"], found["evaluate"]["paired"]
    said = verdict(scores, paired, found["evaluate"]["costs"], twins)
    return Page(
        sentences=banner + said + cautions(scores.set_index("classifier")),
        ranking=comparison.ranking(scores, of_all),
        figure=comparison.cost_figure(scores, of_all),
        twins=comparison.twins_table(paired, twins, of_all),
        sections=[one for stage, made_of in SOURCES if stage in found for one in made_of(found[stage], of_all)],
        missing=missing,
        **rest,
    )


def summary(
    title: str, sentences: list[str], scores: pd.DataFrame, paired: pd.DataFrame, twins: Pairs, made_at: str | None
) -> str:
    """For a pull request: the verdict, the first classifiers (all that tie with the best, and up to `FEW`), the twins."""
    first = scores[scores["standing"].isin(["ahead", "best", "ties"]) | (scores.index < FEW)]
    parts = [f"## {title}", *sentences, Table(first, SUMMARY).markdown()]
    if len(scores) > len(first):
        parts.append(f"And {len(scores) - len(first)} more.")
    if len(pairs := pairs_among(paired, twins)):
        parts += ["Twins (generative − discriminative):", pairs_table(pairs)]
    made = f", made at {made_at}" if made_at else ""
    return markdown(*parts, f"Out-of-fold, with 95 % intervals; the whole report is `report/index.html`{made}.")


def main() -> None:
    out = results(NAME)
    params, twins = read_params(NAME, ReportParams), read_params("twins", TwinsParams).pairs
    data, prepare = read_params("data", DataParams), read_params("prepare", Shown).root
    chosen = {"data": data.model_dump(), "prepare": prepare, "evaluate": read_params("evaluate", Shown).root}
    found, missing = read_results(FILES, *([STUDY] if in_study() else []), Path())
    origin = provenance(chosen, read_json(PREPARED / "report.json"), read_prepared().digest)
    of_all = about(found, data.labels, params.rows)
    banner = [INVENTED] if os.path.normpath(data.source) == SAMPLE else []
    page = page_of(found, missing, twins, of_all, banner, title=params.title, provenance=origin)
    write_text(out / "index.html", render(page))
    scores, paired = found["evaluate"]["scores"], found["evaluate"]["paired"]
    write_text(out / "summary.md", summary(params.title, page.sentences, scores, paired, twins, commit()))
