"""The whole pipeline on 110 tweets, by a real LLM and a real encoder: what a run leaves, and what DVC makes of it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, Command, one_line_error, ran, said, set_param
from scipy.special import expit

from pipeline.contracts import read_json
from pipeline.errors.disagreements import by_pair
from pipeline.report.results import read_csv
from tools import docs

PROMPTS = ["prompt_few_shot", "prompt_zero_shot"]
ON_VECTORS = ["gaussian_minilm", "knn_minilm", "logistic_minilm"]
CLASSIFIERS = sorted(["logistic", "naive_bayes", *ON_VECTORS, "lora_minilm", *PROMPTS])
IN_STUDY = sorted([*CLASSIFIERS, "nb_svm", "flow_matching_minilm", "student"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_raw_tweets_to_a_submission(finished: Path) -> None:
    submission = pd.read_csv(finished / "submission/submission.csv")
    assert submission["id"].tolist() == pd.read_csv(finished / "data/sample/test.csv")["id"].tolist()
    assert submission["target"].isin([0, 1]).all()
    choice = read_json(finished / "submission/choice.json")
    assert {rule["classifier"] for rule in choice["candidates"]} == {*CLASSIFIERS, "blend"} - {"prompt_zero_shot"}
    assert (choice["chosen"]["classifier"] == "blend") is read_json(finished / "blend/comparison.json")["used"]
    costs = read_json(finished / "costs/prompt_few_shot.json")["llm"]
    assert costs["cached_tokens"] > costs["prompt_tokens"] / 3, (
        "the examples are a prefix that the server has read before"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "names"), [("", CLASSIFIERS), ("study", IN_STUDY)], ids=["main", "study"])
def test_each_job_compares_its_own(folder: str, names: list[str], finished: Path) -> None:
    """The study's comparison holds those of the main job, which knows nothing of the study."""
    assert sorted(pd.read_csv(finished / folder / "evaluate/scores.csv")["classifier"]) == names
    page = (finished / folder / "report/index.html").read_text(encoding="utf-8")
    assert all(name in page for name in [*names, "blend"])
    assert "Twins: the generative one's lead" in (finished / "study/crossover/table.md").read_text()
    for result in ("cascade/cascade.csv", "robustness/noise.csv"):
        assert (finished / "study" / result).is_file()


@pytest.mark.slow
def test_costs_can_be_compared(finished: Path) -> None:
    """All are of a text from its words on."""
    cost = {path.stem: read_json(path) for path in (finished / "costs").glob("*.json")}
    embedding = cost["embed_minilm"]
    for name in ("gaussian_minilm", "logistic_minilm"):
        assert cost[name]["latency_ms_p50"] > embedding["latency_ms_p50"] > 0, "a tweet must be embedded first"
        assert cost[name]["fit_seconds"] > embedding["embedding_seconds"] > 0, "and so must those to learn from"
        assert cost[name]["total_parameters"] > 22_000_000, "the encoder's are part of it"
    timed = [name for name in CLASSIFIERS if cost[name]["latency_ms_p50"] and cost[name]["tweets_per_second"]]
    assert timed == CLASSIFIERS, "each has a latency, the prompts too"
    assert cost["lora_minilm"]["latency_ms_p50"] > embedding["latency_ms_p50"], "five models of that encoder"


@pytest.mark.slow
def test_errors_are_listed_and_no_tweet_is_shown_on_the_page(finished: Path) -> None:
    tables = {path.stem: read_csv(path) for path in (finished / "errors").glob("*.csv")}
    assert set(tables) == {"slices", "disagreements", "confident_errors", "label_noise", "relabelled"}
    assert set(tables["slices"]["classifier"]) == {*CLASSIFIERS} - {*PROMPTS}, "prompts did not score every row"
    assert tables["relabelled"]["treatment"].tolist() == ["keep", "drop", "relabel"]
    apart, train = tables["disagreements"], pd.read_parquet(finished / "data/prepared/train.parquet").set_index("id")
    assert (apart["raw_text"].to_numpy() == train.loc[apart["id"], "raw_text"].to_numpy()).all()
    page = (finished / "errors/table.md").read_text()
    for one, other, number, right in by_pair(apart):
        assert re.search(rf"\| {one}, {other} +\| +{number} \| +{right} \|", page)
    assert f"suspects {len(tables['label_noise'])} labels" in page
    assert "| naive_bayes " in page
    assert not any(text in page for text in tables["label_noise"]["raw_text"])


@pytest.mark.slow
def test_explanations_tell_what_each_classifier_saw(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "explanations/explanations.jsonl").read_text().splitlines()]
    train = pd.read_parquet(finished / "data/prepared/train.parquet").set_index("id")
    asked = pd.read_parquet(finished / "predictions/prompt_zero_shot.parquet")
    assert len({line["id"] for line in lines}) == len(lines) == 3
    assert {line["id"] for line in lines} <= {*asked["id"]}, "among those that the LLM was asked about"
    for line in lines:
        assert [line["raw_text"], line["target"]] == train.loc[line["id"], ["raw_text", "target"]].tolist()
        assert [seen["classifier"] for seen in line["seen"]] == ["naive_bayes", "logistic", "lora_minilm", *PROMPTS]
        for seen in line["seen"]:
            scores = pd.read_parquet(finished / f"predictions/{seen['classifier']}.parquet").set_index("id")["score"]
            assert seen["score"] == scores[line["id"]]
            if seen["kind"] == "words":
                log_odds = seen["base"] + sum(weight for _, weight in seen["words"])
                assert expit(log_odds) == pytest.approx(seen["score"], abs=0.01)
            else:
                assert "first token" in seen["reply"]


@pytest.mark.slow
def test_dvc_runs_what_changed_and_what_lies_downstream_and_nothing_else(after_run: Path, command: Command) -> None:
    assert not ran(command("dvc", "repro", "--all-pipelines")), "a second run does nothing"
    set_param(after_run, "naive_bayes.alpha", [0.7])
    done = command("dvc", "repro", "submission")
    assert ran(done) == {"counts@naive_bayes", "blend", "submission"}, done.stderr

    # What a run leaves is for DVC and the reader, not for git.
    assert max(map(len, said(command("dvc", "metrics", "show")).splitlines())) <= 80
    said(command("dvc", "plots", "show"))
    status = ["git", "status", "--porcelain"]
    left = subprocess.run(status, cwd=after_run, capture_output=True, text=True, check=True).stdout.splitlines()
    written = {"dvc.lock", "study/dvc.lock", "blend/", "evaluate/", "submission/"}
    assert {line[3:] for line in left} <= {"params.yaml", "study/params.yaml"} | written


@pytest.mark.slow
def test_only_what_this_commit_made_is_published(after_run: Path, here: Command) -> None:
    shutil.copytree(ROOT / "docs", after_run / "docs", ignore=shutil.ignore_patterns("results"))
    (after_run / "README.md").write_text(f"before\n{docs.BEGIN}\nold\n{docs.END}\nafter\n")
    said(here("tools.docs"))
    kept = after_run / "docs/results/seed-0"
    head = (after_run / ".git/refs/heads").rglob("*")
    commit = read_json(kept / "run.json")["commit"]
    assert [path.read_text()[: len(commit)] for path in head if path.is_file()] == [commit]
    for page in ("README.md", "docs/comparison.md", "docs/study.md"):
        text = (after_run / page).read_text(encoding="utf-8")
        assert commit in text
        assert "naive_bayes" in text
    assert (after_run / "README.md").read_text().startswith("before\n")
    assert (after_run / "README.md").read_text().endswith("after\n")

    # Other folds beside: the last seed is published, and the first one's accuracies stand in a column.
    shutil.copytree(kept, after_run / "docs/results/seed-7")
    scores = pd.read_csv(kept / "evaluate/scores.csv")
    scores.assign(accuracy=0.123).to_csv(kept / "evaluate/scores.csv", index=False)
    said(here("tools.docs", "pages"))
    table = (after_run / "README.md").read_text()
    assert "seed 0 |" in table
    assert table.count(" 12.3 [") == len(docs.best_of_each(scores))

    # What another code, or other params, would find anew is refused.
    set_param(after_run, "naive_bayes.alpha", [0.9])
    assert "not the results of this code and these params: " in one_line_error(here("tools.docs"))
    code = after_run / "pipeline/counts/naive_bayes.py"
    code.write_text(code.read_text() + "# changed\n")
    assert "naive_bayes.py is not as it was committed" in one_line_error(here("tools.docs"))


def test_a_stage_before_its_input_says_so(here: Command) -> None:
    assert "run `dvc repro prepare` first" in one_line_error(here("pipeline.counts.naive_bayes"))
    assert "evaluate/table.md: no such file; run `make repro` first" in one_line_error(here("tools.docs"))
