"""Networks, and densities over embeddings, are read back in another process as they were; damaged ones are refused."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, prepared_folder, run_stages
from safetensors.torch import load, save_file
from test_saved import in_a_fresh_process, on_test, refused
from test_vectors import FAMILIES, SMALL, params_of
from tiny_encoder import make_tiny

from pipeline.contracts import Prepared, read_costs, read_params, read_predictions, read_prepared
from pipeline.data import embed
from pipeline.finetune import adapters
from pipeline.finetune.params import ClassLmParams
from pipeline.fit.model_store import read_classifier

NETWORKS = {"lora_minilm": 10, "class_lm_generative": 1, "class_lm_discriminative": 1}
"""And how many models score a new tweet: one a fold and a seed, or the refit one."""
OBJECTIVES, SHARED = ("generative", "discriminative"), {"objective": "discriminative", "adapters": "shared"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, sample: Prepared) -> Iterator[Path]:
    """A folder in which all stages that need torch have run, on small models of random weights."""
    folder = tmp_path_factory.mktemp("trained")
    tiny = {name: make_tiny(name, tmp_path_factory.mktemp(name)) for name in ("bert", "gpt2")}
    lora = tiny["bert"].model_copy(update={"layers": 1, "precision": "bf16", "seeds": [0, 1], "epochs": 10})
    class_lm = read_params("class_lm.generative", ClassLmParams, ROOT / "study/params.yaml").model_dump()
    class_lm |= {"base_model": tiny["gpt2"].base_model, "layers": 1, "epochs": 1, "train_rows": 32, "device": "cpu"}
    # those over embeddings: smaller where they say how large they are or how long they are trained
    quick = {**SMALL, "epochs": 2, "inner_folds": 2, "components": [2], "importance_draws": 4, "steps": 2, "draws": 4}
    own = {family: params_of(family, **quick).model_dump(mode="json") for family in FAMILIES}
    with pytest.MonkeyPatch.context() as patch:
        prepared_folder(
            folder,
            patch,
            sample.train.head(120),
            sample.test.head(30),
            lora={"minilm": lora.model_dump()},
            class_lm={"generative": class_lm, "discriminative": class_lm | SHARED},
            learning_curve={"sizes": [16]},
            vectors=own,
            embed={"minilm": {"base_model": tiny["bert"].base_model, "batch_size": 16, "device": "cpu"}},
        )
        patch.setenv("DISASTER_TWEETS_STORE", str(folder / "store"))
        of_vectors = [(f"pipeline.vectors.{family}", "minilm") for family in FAMILIES]
        networks = [
            ("pipeline.finetune.lora", "minilm"),
            *(("pipeline.finetune.class_lm", name) for name in OBJECTIVES),
        ]
        curve = ("pipeline.curves.learning_curve", "class_lm_generative")
        run_stages([*networks, ("pipeline.data.embed", "minilm"), *of_vectors, curve])
        yield folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_network_scores_the_test_tweets_as_its_stage_did(trained: Path) -> None:
    embeddings = trained / "data" / "embed" / "minilm.safetensors"
    embeddings.rename(embeddings.with_suffix(".away"))  # new tweets need none
    try:
        found = in_a_fresh_process(trained)
    finally:
        embeddings.with_suffix(".away").rename(embeddings)
    assert set(found) == {*NETWORKS, *(f"{family}_minilm" for family in FAMILIES)}
    for name in found:
        # of other batches a tweet's embedding differs in its last digit, of which a density makes more
        within = 1e-6 if name in NETWORKS else 1e-5
        np.testing.assert_allclose(found[name], on_test(name), atol=within, rtol=0, err_msg=name)
    for name in OBJECTIVES:
        predictions = read_predictions(Path(f"predictions/class_lm_{name}.parquet"), read_prepared())
        assert (predictions.school, predictions.test_rows) == (name, "refit")
    assert set(pd.read_parquet("study/learning_curve/class_lm_generative.parquet")["size"]) == {16}
    for name in [*found, "embed_minilm"]:
        costs = read_costs(name)
        assert 0 < costs.latency_ms_p50 <= costs.latency_ms_p95
        if name not in NETWORKS and name != "embed_minilm":
            assert costs.latency_ms_p50 > read_costs("embed_minilm").latency_ms_p50, "its text must be embedded first"
    damaged_files_are_refused()
    embed.load_encoder.cache_clear()
    classifier, test = read_classifier("logistic_minilm"), read_prepared().test
    scores = [classifier(test.iloc[[row]])[0] for row in range(4)]
    assert scores == pytest.approx(on_test("logistic_minilm")[:4], abs=1e-4)
    assert embed.load_encoder.cache_info().misses == 1, "it is loaded once"


def damaged_files_are_refused() -> None:
    for name, file in (
        ("vae_minilm", "fold-1/network.safetensors"),
        ("lora_minilm", "fold-2/seed-1/adapter_model.safetensors"),
        ("class_lm_generative", "refit/adapters-1.safetensors"),
    ):
        path = Path("models") / name / file
        whole = path.read_bytes()
        tensors = load(whole)
        path.write_bytes(whole[: len(whole) // 2])
        assert str(path) in refused(name)
        first = min(tensors)
        save_file({key: tensor for key, tensor in tensors.items() if key != first}, path)
        assert f"{first} has shape None" in refused(name)
        save_file(tensors | {first: torch.full_like(tensors[first], float("nan"))}, path)
        assert "not finite" in refused(name)
        path.unlink()
        assert f"{path}: no such file" in refused(name)
        path.write_bytes(whole)
        assert read_classifier(name).models == NETWORKS.get(name, 5)
    shutil.rmtree("models/lora_minilm/fold-3")
    assert "fold-3: no such folder" in refused("lora_minilm")


def test_adapters_come_back_whatever_peft_noted_beside_them(tmp_path: Path) -> None:
    """Its config is not read: what is built is what the params say."""
    params = make_tiny("bert", tmp_path / "bert")
    torch.manual_seed(1)
    network, _ = adapters.with_adapters(params)
    network.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING", "megatron_core": "evil"}')
    torch.manual_seed(2)
    fresh, _ = adapters.read(tmp_path / "saved", params)
    found = adapters.saved_tensors(fresh)
    assert all(torch.equal(tensor, found[name]) for name, tensor in adapters.saved_tensors(network).items())
