"""What the tests share: the sample prepared in memory, and copies of the project to run stages in."""

import contextlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import settings
from ruamel.yaml import YAML

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores: threads of each would stand in the others' way
    os.environ |= {"OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}

from pipeline import latency
from pipeline.contracts import Prepared, read_params, read_prepared
from pipeline.data.prepare import PrepareParams, prepare
from pipeline.data.source import DataParams, read_source
from pipeline.process import run
from pipeline.stage import main_of

# No chance: examples follow from the test, and from constants of the modules that are loaded. `--hypothesis-profile default`
# goes on to look for others.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("repeatable")

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "sample"
LABELS = ["not disaster", "disaster"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, and at most four: while a test waits for a process, another works."""
    return min(4, (os.cpu_count() or 1) + 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no worker is left alone with it at the end.

    What needs the finished run stands together before it all, and so goes to one worker, while the others wait for nothing.
    """

    def allowed(item: pytest.Item) -> float:
        limit = item.get_closest_marker("timeout")
        return limit.args[0] if limit else 0

    def place(item: pytest.Item) -> tuple[bool, bool, float]:
        return "finished" not in item.fixturenames, item.get_closest_marker("slow") is None, -allowed(item)

    items.sort(key=place)


@pytest.fixture(scope="session")
def data_params() -> DataParams:
    return read_params("data", DataParams, ROOT / "params.yaml").model_copy(update={"source": str(SAMPLE)})


@pytest.fixture(scope="session")
def sample(data_params: DataParams) -> Prepared:
    """The bundled sample, prepared with the project's own params."""
    train, test = prepare(*read_source(data_params), read_params("prepare", PrepareParams, ROOT / "params.yaml"))
    return Prepared(train, test, "digest of the sample")


def copy_project(folder: Path) -> Path:
    """A copy of the project without what runs have left in it, its tweets cut to 90 for training and 20 for testing."""
    folders = ("pipeline", "tools", "benchmarks", "prompts", "examples", ".dvc/plots")
    files = (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore")
    for name in (*folders, *files, "dvc.yaml", "params.yaml", "study/dvc.yaml", "study/params.yaml"):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "data" / "sample").mkdir(parents=True)
    for name, rows in (("train.csv", 90), ("test.csv", 20)):
        pd.read_csv(SAMPLE / name).head(rows).to_csv(folder / "data" / "sample" / name, index=False)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path / "project")


def fewer_examples(prompt: Path, to: Path) -> Path:
    """A prompt file with two examples instead of eight: there is less to read."""
    to.write_text(prompt.read_text().replace("count: 8", "count: 2"))
    return to


Command = Callable[..., subprocess.CompletedProcess[str]]

STUDY_ALONE = {"learning_curve", "prompt_curve", "crossover", "robustness", "generation", "cascade"}


def as_module(name: str, *arguments: str) -> list[str]:
    """What Python is told to run a module: a stage, which has no start of its own, by the launcher."""
    source = ROOT / (name.replace(".", "/") + ".py")
    if not name.startswith("pipeline.") or '"__main__"' in source.read_text():
        return ["-m", name, *arguments]
    study = ["--study"] if name.rsplit(".", maxsplit=1)[-1] in STUDY_ALONE else []
    return ["-m", "pipeline.stage", *study, name.removeprefix("pipeline."), *arguments]


def clean_environment(store: Path, **more: str) -> dict[str, str]:
    """This process's environment for another one: its Python first, a store of its own, and nobody's tokens or settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("KAGGLE", "OPENAI", "DVC"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return inherited | {"PATH": path, "DISASTER_TWEETS_STORE": str(store), "DVC_NO_ANALYTICS": "1"} | more


def python(
    *arguments: str, folder: Path = Path(), inherited: Mapping[str, str] | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own; without an environment to inherit in this one's, where it finds the project."""
    environment = {**(inherited or os.environ | {"PYTHONPATH": str(ROOT)}), **more}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a process that ended well has printed."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def command(project: Path, tmp_path: Path) -> Command:
    """Run a Python module in the project's copy, with a store of its own; extra environment by keyword."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = clean_environment(tmp_path / "store", HOME=str(tmp_path))
        return python(*as_module(*arguments), folder=project, inherited=clean, **environment)

    return run


def run_here(command: Sequence[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What `run(main)` of a module does in a folder, as the interpreter would end it, in this process: libraries load once."""
    out, error, status = io.StringIO(), io.StringIO(), 0
    before, arguments = os.environ.copy(), sys.argv
    try:
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [*command]
        quick = pytest.MonkeyPatch.context()
        with (
            quick as patch,
            contextlib.chdir(folder),
            contextlib.redirect_stderr(error),
            contextlib.redirect_stdout(out),
        ):
            patch.setattr(latency, "TIMED", 8)
            patch.setattr(latency, "SECONDS", 0.1)
            try:
                run(main_of(command[0]))
            except SystemExit as end:
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
                status = 1 if isinstance(end.code, str) else end.code or 0
            except Exception:  # noqa: BLE001 - this is what the interpreter does
                traceback.print_exc()
                status = 1
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.argv = arguments
    return subprocess.CompletedProcess(command, status, out.getvalue(), error.getvalue())


@pytest.fixture
def here(project: Path, tmp_path: Path) -> Command:
    """As `command`, in this process: for stages of the main job and tools, where the process itself is not what is tested."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = clean_environment(tmp_path / "store", HOME=str(tmp_path)) | environment
        return run_here(arguments, project, clean)

    return run


STAGES = """
import json, sys
from pipeline import latency
from pipeline.stage import start
latency.TIMED, latency.SECONDS = 8, 0.1
for _, _, *stage in json.loads(sys.argv[1]):
    try:
        start(stage)
    except SystemExit as end:
        assert not end.code, (stage, end.code)
"""


def run_stages(stages: list[tuple[str, ...]], folder: Path = Path(), **more: str) -> None:
    """Each with its arguments, one after the other in one process."""
    given = json.dumps([as_module(*stage) for stage in stages])
    said(python("-c", STAGES, given, folder=folder, LOKY_MAX_CPU_COUNT="1", **more))


def in_order(folder: Path) -> list[tuple[str, ...]]:
    """The stages that DVC would run in a folder, as the launcher is told of them, in its order."""
    import networkx
    from dvc.repo import Repo

    stages = networkx.dfs_postorder_nodes(Repo(str(folder)).index.graph)
    commands = [shlex.split(stage.cmd) for stage in stages if stage.cmd]
    return [tuple(command[command.index("pipeline.stage") :]) for command in commands]


def one_line_error(done: subprocess.CompletedProcess[str]) -> str:
    """The single line that a failed stage ends with."""
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def prepared_folder(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    train: pd.DataFrame,
    test: pd.DataFrame,
    **sections: dict[str, object],
) -> Prepared:
    """Go to a folder with these prepared tweets, and params with these sections changed under which fits on counts are quick."""
    yaml = YAML()
    files = {name: yaml.load(ROOT / name) for name in ("params.yaml", "study/params.yaml")}
    sections["counts"] = {"ngrams": [1], "min_count": [1], "inner_folds": 2}
    sections["naive_bayes"] = {"event_model": ["multinomial"], "alpha": [1.0]}
    for section, values in sections.items():
        next(params for params in files.values() if section in params)[section] |= values
    (folder / "study").mkdir(exist_ok=True)
    for name, params in files.items():
        yaml.dump(params, folder / name)
    monkeypatch.chdir(folder)
    Path("data/prepared").mkdir(parents=True)
    for name, frame in (("train", train), ("test", test)):
        frame.to_parquet(f"data/prepared/{name}.parquet", index=False)
    return read_prepared()


def git(project: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=project, check=True, capture_output=True)


def commit(project: Path) -> None:
    """All that is there, in a new repository if there is none."""
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        git(project, *arguments)


def repository(folder: Path, files: dict[str, str]) -> Path:
    """A new repository of git and DVC with these files, nothing committed."""
    from dvc.repo import Repo

    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    Repo.init(str(folder)).close()
    return folder


def set_param(project: Path, section: str, value: object) -> None:
    """Change one value of params.yaml, or of study/params.yaml, named with dots."""
    yaml, path = YAML(), project / "params.yaml"
    study = section.removeprefix("study/") != section or section.split(".", maxsplit=1)[0] not in yaml.load(path)
    path = project / "study/params.yaml" if study else path
    content = yaml.load(path)
    *parents, key = section.removeprefix("study/").split(".")
    inner = content
    for parent in parents:
        inner = inner[parent]
    inner[key] = value
    yaml.dump(content, path)


def ran(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The stages that DVC ran."""
    return {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")}


QUICK: dict[str, object] = {
    "lora.minilm.epochs": 1,
    "prompt.train_rows": 14,
    "prompt.submit": ["few_shot"],
    "counts.ngrams": [1],
    "counts.min_count": [1],
    "study/classifiers.counts": ["nb_svm"],
    "study/classifiers.vectors": ["flow_matching"],
    "study/classifiers.prompts": [],
    "vectors.flow_matching.epochs": 10,
    "student.teacher": ["naive_bayes"],
    "student.depth": 1,
    "student.epochs": 1,
    "learning_curve.sizes": [16, None],
    "learning_curve.classifiers": ["naive_bayes", "logistic"],
    "crossover.draws": 200,
    "robustness.classifiers": ["naive_bayes"],
    "generation.families": ["counts.naive_bayes"],
    "generation.augmentation.sizes": [16],
    "errors.relabel": ["naive_bayes"],
    "errors.draws": 200,
    "explanations.tweets": 3,
    "explanations.steps": 8,
    "evaluate.draws": 200,
    "calibration.draws": 200,
    "blend.draws": 200,
    "cascade.draws": 200,
}
"""Params under which the whole pipeline is quick."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of a run of all stages, that one worker makes for all of them; beside it, in `store`, its store."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder, done = shared / "finished", shared / "finished.made"
    with FileLock(shared / "finished.lock"):
        if done.exists():
            return folder / "project"
        project = copy_project(folder / "project")
        for prompt in (project / "prompts").glob("few_shot*.yaml"):
            fewer_examples(prompt, prompt)
        commit(project)
        for name, value in QUICK.items():
            set_param(project, name, value)
        run_stages(in_order(project), project, DISASTER_TWEETS_STORE=str(folder / "store"))
        own = clean_environment(folder / "store")
        said(python("-m", "dvc", "commit", "--force", "--quiet", folder=project, inherited=own))
        done.touch()
    return project


@pytest.fixture
def after_run(finished: Path, project: Path, tmp_path: Path) -> Path:
    """A copy of it, in which `command` runs."""
    for name in ("project", "store"):
        shutil.copytree(finished.parent / name, tmp_path / name, dirs_exist_ok=True)
    return project
