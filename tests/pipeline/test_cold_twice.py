"""Two cold runs: what `benchmarks.cold_twice` says about two folders, and about the pipeline itself."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, clean_environment, repository

from benchmarks.cold_twice import compare

SCORES = pd.DataFrame({"id": [1, 2, 3, 4], "split": "train", "score": [0.1, 0.49, 0.9, None]})


def made(folder: Path, files: dict[str, pd.DataFrame], **others: str) -> Path:
    """A folder with predictions, and a lock that names them and other outputs with their hashes."""
    outs = [{"path": f"{name}/x", "md5": md5} for name, md5 in others.items()]
    for name, frame in files.items():
        path = folder / f"predictions/{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path)
        outs.append({"path": f"predictions/{name}.parquet", "md5": str(hash(path.read_bytes()))})
    (folder / "dvc.lock").write_text(json.dumps({"stages": {"a": {"outs": outs}}}))
    return folder


def test_what_differs_is_measured(tmp_path: Path) -> None:
    first = dict.fromkeys(("same", "shifted", "rounded", "read", "others", "alone"), SCORES)
    second = {
        "same": SCORES,
        "shifted": SCORES.assign(score=[0.1, 0.51, 0.9, None]),
        "rounded": SCORES.assign(score=[0.1, 0.49, 0.9 + 1e-9, None]),
        "read": SCORES.assign(score=[0.1, None, 0.9, 0.3]),
        "others": SCORES.assign(id=[1, 2, 3, 5]),
    }
    found = compare(
        made(tmp_path / "first", first, costs="1", release="1", data="1"),
        made(tmp_path / "second", second, costs="2", release="2", data="1"),
    ).rename(lambda path: path.removeprefix("predictions/").removesuffix(".parquet"))
    assert found["bytes"].to_dict() == {
        **dict.fromkeys(("same", "data/x"), "same"),
        **dict.fromkeys(("shifted", "rounded", "read", "others", "release/x"), "different"),
        "alone": "in one run",
    }, "costs hold times"
    assert found.loc["shifted", ["largest difference", "flips"]].tolist() == pytest.approx([0.02, 0.25])
    assert found.loc["rounded", ["largest difference", "flips"]].tolist() == pytest.approx([1e-9, 0])
    assert found.loc["read", ["largest difference", "flips"]].tolist() == [1, 0.5]
    assert found.loc[["same", "others", "alone"], ["largest difference", "flips"]].isna().all(axis=None)


STAGES = """
stages:
  steady: { cmd: "cp given steady", deps: [given], outs: [steady] }
  other: { cmd: "pwd > other", deps: [steady], outs: [other] }
"""


@pytest.mark.slow
def test_two_runs_begin_with_nothing_and_are_compared(tmp_path: Path) -> None:
    """A small project, of which one stage writes where it runs."""
    files = {"dvc.yaml": STAGES, "params.yaml": "data: { source: given }", "given": "x", "other": "left"}
    project, runs = repository(tmp_path / "small", files), tmp_path / "runs"
    (project / ".gitignore").write_text("/other\n/steady\n")
    own = clean_environment(tmp_path / "store", HOME=str(tmp_path), PYTHONPATH=str(ROOT))
    command = [sys.executable, "-m", "benchmarks.cold_twice", "other", "--keep", str(runs)]
    done = subprocess.run(command, cwd=project, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    rows = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert {row[1]: row[2] for row in rows[1:]} == {"other": "different", "steady": "same"}
    assert (runs / "second/other").read_text() == f"{runs / 'second'}\n"


def test_adapters_are_saved_in_the_same_order_every_time(tmp_path: Path) -> None:
    """PEFT keeps the names of modules as sets: what is in them must not come out as the process's hashes have it."""
    pytest.importorskip("peft")
    import tiny_encoder
    from peft import LoraConfig, get_peft_model

    from pipeline.contracts import read_params
    from pipeline.finetune import encoder
    from pipeline.finetune.adapters import in_order
    from pipeline.finetune.params import LoraParams

    params = tiny_encoder.make_tiny(
        "bert", tmp_path / "base", read_params("lora.minilm", LoraParams, ROOT / "params.yaml")
    )
    model, _, whole = encoder.load(params.base_model)
    names = ["query", "key", "value", "dense"]
    network = get_peft_model(
        model, LoraConfig(target_modules=names, exclude_modules=["pooler.dense"], modules_to_save=whole)
    )
    in_order(network).save_pretrained(tmp_path / "adapter")
    saved = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert saved["target_modules"] == sorted(names)
    assert not [value for value in vars(network.peft_config["default"]).values() if isinstance(value, set)]
