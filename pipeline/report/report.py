"""The report: one page that opens offline, and a summary for pull requests, from what the other stages have found.

A stage that did not run has no section, and is named at the end of the page. No number is typed.

in:  data/prepared, evaluate/, and what there is of blend/, calibration/, cascade/, crossover/, errors/, explanations/,
     generation/ and robustness/
out: report/: index.html, summary.md
run: dvc repro report   (or python -m pipeline.stage report.report)
"""

from pathlib import Path
from typing import Any

from pydantic import Field, RootModel

from pipeline.compare.scored import TwinsParams
from pipeline.compare.table import cautions
from pipeline.contracts import PREPARED, Params, read_json, read_params, read_prepared, write_text
from pipeline.data.source import DataParams
from pipeline.environment import commit
from pipeline.places import STUDY, in_study, results
from pipeline.report import comparison, curves, decisions, probabilities, tweets
from pipeline.report.page import Page, render
from pipeline.report.parts import Section
from pipeline.report.provenance import provenance
from pipeline.report.results import Tables, read_results
from pipeline.report.sentences import verdict
from pipeline.report.summary import summary

NAME = "report"


class ReportParams(Params):
    title: str = Field("Disaster tweets, generative against discriminative", min_length=1)
    rows: int = Field(50, ge=1)
    """The most rows of a table of tweets, for each classifier where it is of one."""


class Shown(RootModel[dict[str, Any]]):
    """A section of params that the page shows as it is."""


def sections(found: dict[str, Tables], labels: list[str], rows: int) -> list[Section]:
    """Those that there are results for, in the order of the page."""
    evaluated = found["evaluate"]
    schools = dict(zip(evaluated["scores"]["classifier"], evaluated["scores"]["school"], strict=True))
    made: list[Section] = []
    if "crossover" in found:
        made += curves.learning(found["crossover"], schools)
    if "calibration" in found:
        made += probabilities.calibration(found["calibration"], schools, labels)
    if len(evaluated["confusion"]):
        made += decisions.confusion(evaluated["confusion"], schools, labels)
    if "blend" in found:
        made += decisions.blend(found["blend"], evaluated["costs"], schools)
    if "cascade" in found:
        made += decisions.cascade(found["cascade"]["cascade"], schools)
    if "errors" in found:
        made += tweets.errors(found["errors"], schools, labels, rows)
    if "explanations" in found:
        made += tweets.explanations(found["explanations"]["explanations"], schools, labels)
    if "generation" in found:
        made += curves.generation(found["generation"], labels)
    if "robustness" in found:
        made += curves.robustness(found["robustness"], schools)
    return [*made, comparison.costs(evaluated["costs"], schools)]


def main() -> None:
    out = results(NAME)
    params, twins = read_params(NAME, ReportParams), read_params("twins", TwinsParams).pairs
    data, prepare = read_params("data", DataParams), read_params("prepare", Shown).root
    chosen = {"data": data.model_dump(), "prepare": prepare, "evaluate": read_params("evaluate", Shown).root}
    found, missing = read_results(*([STUDY] if in_study() else []), Path())
    scores, paired, costs = (found["evaluate"][name] for name in ("scores", "paired", "costs"))
    sentences = verdict(scores, paired, twins) + cautions(scores.set_index("classifier"))
    prepared = read_json(PREPARED / "report.json")
    page = Page(
        title=params.title,
        sentences=sentences,
        ranking=comparison.ranking(scores, costs),
        figure=comparison.cost_figure(scores, costs),
        twins=comparison.twins_table(paired, twins),
        sections=sections(found, data.labels, params.rows),
        provenance=provenance(chosen, prepared, read_prepared().digest),
        missing=missing,
    )
    write_text(out / "index.html", render(page))
    write_text(out / "summary.md", summary(params.title, sentences, scores, paired, twins, commit()))
