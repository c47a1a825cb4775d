"""What one machine has found, another has after a pull, byte for byte: through real DVC and a server that speaks S3."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import numpy as np
import pytest
from conftest import ROOT, Command, commit, git, said, set_param
from fake_endpoint import KEY, serving
from moto.server import ThreadedMotoServer
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from pipeline.contracts import InputError
from pipeline.prompting.answers import AnswerStore
from pipeline.prompting.server import AbsentError, weights

STAGES = ["prepare", "counts@naive_bayes", "embed@minilm", "prompt@zero_shot", "evaluate"]
PROMPT = ["predictions/prompt_zero_shot.parquet", "transcripts/prompt_zero_shot.jsonl"]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with an empty bucket, results."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="results")
    yield f"http://{host}:{port}"
    server.stop()


def outputs(project: Path) -> dict[str, str]:
    """All that the stages that ran have made, by path, with DVC's hashes."""
    locked = YAML(typ="safe").load(project / "dvc.lock")["stages"]
    return {out["path"]: out["md5"] for stage in locked.values() for out in stage["outs"]}


def embed_without_an_encoder(project: Path) -> None:
    """The outputs of the stage embed, which a prompt depends on and, without retrieved examples, does not look at."""
    path = project / "data/embed/minilm.safetensors"
    path.parent.mkdir()
    save_file({"train": np.zeros((90, 2), np.float32), "test": np.zeros((20, 2), np.float32)}, path)
    (project / "costs").mkdir(exist_ok=True)
    (project / "costs/embed_minilm.json").write_text("{}")


@pytest.mark.slow
def test_a_second_clone_gets_every_result_without_a_model_or_a_key(
    project: Path, command: Command, here: Command, s3: str, tmp_path: Path
) -> None:
    if not shutil.which("make"):
        pytest.skip("there is no make")
    shutil.copy(ROOT / "Makefile", project)
    changes = {"prompt.train_rows": 20, "counts.ngrams": [1], "evaluate.draws": 100}
    said(here("pipeline.data.prepare"))
    embed_without_an_encoder(project)
    with serving() as server:
        for name, value in (changes | {"prompt.base_url": server.url}).items():
            set_param(project, name, value)
        said(here("pipeline.prompting.prompt", "zero_shot", OPENAI_API_KEY=KEY))
        assert server.bodies
    said(here("pipeline.counts.naive_bayes"))
    said(here("pipeline.compare.evaluate"))
    git(project, "init", "-q")
    said(command("dvc", "commit", "--force", *STAGES))
    with (project / ".dvc/config").open("a") as config:
        config.write(f"    remote = storage\n['remote \"storage\"']\n    url = s3://results\n    endpointurl = {s3}\n")
    commit(project)
    said(command("dvc", "push"))
    found = outputs(project)
    assert set(PROMPT) < set(found)
    contents = {path: (project / path).read_bytes() for path in found if (project / path).is_file()}

    # Another machine: a clone in the place of the first, another store, no endpoint, no key.
    project.rename(tmp_path / "first")
    git(tmp_path, "clone", "-q", "first", "project")
    there = {"DISASTER_TWEETS_STORE": str(tmp_path / "store there")}
    assert not (project / "predictions").exists()
    make = ["make", "--old-file", "light", "pull", f"BIN={Path(sys.executable).parent}"]
    made = subprocess.run(make, cwd=project, env=os.environ | there, capture_output=True, text=True, check=False)
    assert "0 answers were new" not in said(made)
    assert "up to date" in said(command("dvc", "status", *STAGES))
    assert all((project / path).read_bytes() == content for path, content in contents.items())
    assert (project / "models/naive_bayes").is_dir()

    # What is asked again is answered by the transcripts that came along.
    said(here("pipeline.prompting.prompt", "zero_shot", **there))
    assert all((project / path).read_bytes() == contents[path] for path in PROMPT)
    costs = json.loads((project / "costs/prompt_zero_shot.json").read_text())["llm"]
    assert costs["new_requests"] == 0
    assert costs["requests"] > 20


def test_the_identity_last_noted_stands_for_a_file_that_is_not_here(tmp_path: Path) -> None:
    with closing(AnswerStore(tmp_path / "answers.sqlite")) as store:
        with pytest.raises(AbsentError, match=r"small\.gguf: no such GGUF file"):
            weights("nowhere/small.gguf", "transformers", "float32", store)
        ours = "sha256:ab transformers 5.0 float32"
        for identity in ("sha256:00 transformers 4.0 float32", "sha256:cd xllamacpp 1 slots 1", ours):
            store.name(identity, "small")
        store.name("sha256:ef transformers 5.0 float32", "large")
        for model in ("nowhere/small.gguf", "package:nothing_like_it/small.gguf", r"C:\models\small.gguf"):
            name, identity, missing = weights(model, "transformers", "float32", store)
            assert (name, identity) == ("small", ours)
            assert "only what was asked before has an answer here" in str(missing)
        assert weights("small.gguf", "xllamacpp", "slots 1", store)[1] == "sha256:cd xllamacpp 1 slots 1"
        with pytest.raises(AbsentError):
            weights("small.gguf", "xllamacpp", "slots 2", store)
        store.name("sha256:00 transformers 4.0 float32", "small")
        assert weights("small.gguf", "transformers", "float32", store)[1] == "sha256:00 transformers 4.0 float32"

        # A file that is there and is none is no reason to look elsewhere.
        (tmp_path / "small.gguf").write_bytes(b"something else")
        with pytest.raises(InputError, match="not a GGUF file"):
            weights(str(tmp_path / "small.gguf"), "transformers", "float32", store)
