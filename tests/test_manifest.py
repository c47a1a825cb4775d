"""The manifest: what two runs must share to be the same, and nothing about who ran them."""

import getpass
import hashlib
import json
import platform
import re
from pathlib import Path

from conftest import Command, one_line_error
from test_pipeline import git, set_param

from pipeline.environment import machine, packages
from pipeline.report.manifest import manifest, seeds_of, without_places


def test_what_the_manifest_says(project: Path, command: Command, tmp_path: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "start")
    data = tmp_path / "my tweets"
    (project / "data/sample").rename(data)
    set_param(project, "data.source", str(data))
    (project / "predictions").mkdir()
    (project / "predictions/some.parquet").write_bytes(b"scores")
    (project / "predictions/.hidden").write_bytes(b"")
    stage = {"params": {"params.yaml": {"evaluate": {"seed": 3}}}, "outs": [{"path": "a", "md5": "b"}]}
    (project / "dvc.lock").write_text(json.dumps({"stages": {"evaluate": stage}}))
    done = command("pipeline.report.manifest", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    text = (project / "study/manifest/manifest.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert found["files"]["predictions/some.parquet"] == hashlib.sha256(b"scores").hexdigest()
    assert found["files"][".../my tweets/train.csv"] == hashlib.sha256((data / "train.csv").read_bytes()).hexdigest()
    assert not any("hidden" in name for name in found["files"])
    assert found["seeds"] == {"evaluate": {"evaluate.seed": 3}}
    assert len(found["code"]["commit"]) == 40
    assert found["code"]["changed since"] is True
    assert found["packages"]["pandas"] == packages()["pandas"]
    assert "OMP_NUM_THREADS=1" in found["machine"]["threads"]
    assert found["machine"]["Python"] == platform.python_version()
    assert found["params"]["params.yaml"]["prepare"]["folds"] == 5
    assert found["params"]["params.yaml"]["data"]["source"] == ".../my tweets"
    for private in (
        re.escape(str(tmp_path)),
        rf"\b{re.escape(platform.node())}\b",
        f"/{re.escape(getpass.getuser())}/",
    ):
        assert not re.search(private, text), private

    # Nothing in it changes by itself, and what changes shows.
    assert command("pipeline.report.manifest", OMP_NUM_THREADS="1").returncode == 0
    assert (project / "study/manifest/manifest.json").read_text(encoding="utf-8") == text
    (project / "dvc.lock").write_text(json.dumps({"stages": {"evaluate": stage | {"outs": []}}}))
    set_param(project, "manifest.folders", ["predictions", "nowhere"])
    assert command("pipeline.report.manifest", OMP_NUM_THREADS="1").returncode == 0
    other = json.loads((project / "study/manifest/manifest.json").read_text(encoding="utf-8"))
    assert other["code"]["dvc.lock"] != found["code"]["dvc.lock"]
    assert other["files"] == found["files"]
    set_param(project, "manifest.folders", ["../elsewhere"])
    assert "leads out of the project" in one_line_error(command("pipeline.report.manifest"))


def test_its_own_entry_in_the_lock_does_not_count() -> None:
    lock = {"stages": {"prepare": {"outs": []}}}
    own = {"stages": lock["stages"] | {"study/manifest": {"outs": []}}}
    assert manifest({}, lock, {})["code"] == manifest({}, own, {})["code"]
    assert manifest({}, {}, {})["code"]["dvc.lock"] is None


def test_seeds_are_found_wherever_they_stand(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts").mkdir()
    Path("prompts/few.yaml").write_text("examples: {count: 2, seed: 7}")
    params = {"lora.minilm": {"seeds": [0, 1], "rank": 8}, "curves": {"a": {"seeds": 10}}}
    deps = [{"path": "prompts/few.yaml"}, {"path": "pipeline/contracts"}]
    stage = {"deps": deps, "params": {"params.yaml": params}}
    assert seeds_of(stage) == {"lora.minilm.seeds": [0, 1], "curves.a.seeds": 10, "few.examples.seed": 7}
    assert seeds_of({}) == {}


def test_places_are_cut_down_to_their_last_part() -> None:
    params = {
        "a": "/home/me/model.gguf",
        "b": ["~/tweets", "data/sample", 3],
        "c": "http://host:80/v1",
        "d": "run --config=/home/me/a.yaml x/y",
    }
    assert without_places(params) == {
        "a": ".../model.gguf",
        "b": [".../tweets", "data/sample", 3],
        "c": "http://.../v1",
        "d": "run --config=.../a.yaml x/y",
    }


def test_the_machine_is_described() -> None:
    assert {"processor", "cores", "cores that may be used", "platform", "Python"} <= machine().keys()
    assert all(isinstance(value, str) and value for value in machine().values())
