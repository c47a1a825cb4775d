"""A lora preset as a model for others: fitted on all train rows, in the Hub's layout, with a model card.

in:  data/prepared, evaluate/scores.csv, params.yaml, and the base model of the preset
out: release/lora_<preset>/ (merged, for `pipeline("text-classification")`), release/lora_<preset>/adapter (for `PeftModel`)
run: python -m tools.release minilm --base sentence-transformers/all-MiniLM-L6-v2

Nothing is sent anywhere: `hf upload NAME release/lora_<preset>` is your own step.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import transformers
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import AutoTokenizer

from pipeline.contracts import InputError, Prepared, near_duplicates, plain_name, read_params, read_prepared
from pipeline.data.source import DataParams
from pipeline.finetune import encoder, lora
from pipeline.finetune.adapters import in_order, read
from pipeline.finetune.params import LoraParams
from pipeline.finetune.training import training_seed
from pipeline.fit.cross_fit import REFIT, training_rows
from pipeline.fit.subsets import first_rows
from pipeline.packaged import PREFIX, locate
from pipeline.process import run

TEMPLATE = Path(__file__).with_name("model_card.md")
METRICS = {"accuracy": "Accuracy", "f1": "F1", "roc_auc": "ROC-AUC", "log_loss": "Log loss", "ece": "ECE"}


def read_scores(name: str, path: Path = Path("evaluate/scores.csv")) -> pd.Series:
    """The classifier's out-of-fold scores, with intervals."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; run `dvc repro evaluate` first")
    scores = pd.read_csv(path).set_index("classifier")
    if name not in scores.index:
        raise InputError(f"{path}: {name} was not evaluated; name its preset in classifiers.lora and run `dvc repro`")
    return pd.Series(scores.loc[name])


def licence_of(base_model: str) -> str | None:
    """What the model card beside the base model says, or that on the hub."""
    path = Path(locate(base_model))
    try:
        licence = ModelCard.load(path / "README.md" if path.is_dir() else base_model).data.license
    except (OSError, ValueError):
        return None
    return None if licence is None else str(licence)


def card(
    name: str, params: LoraParams, data: DataParams, prepared: Prepared, scores: pd.Series, base: str
) -> ModelCard:
    """The model card: what it is, what it learnt from, how good it is and where not, and whose weights it began with."""
    train, licence = prepared.train, licence_of(params.base_model)
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=Path(data.source).stem,
            dataset_name=f"{data.source}, {len(train):,} texts, out-of-fold",
            metric_type=metric,
            metric_name=title,
            metric_value=round(float(scores[metric]), 4),
        )
        for metric, title in METRICS.items()
    ]
    metadata = ModelCardData(
        base_model=base,
        library_name="transformers",
        license=licence or "other",
        language="en",
        pipeline_tag="text-classification",
        tags=["peft", params.variant],
        model_name=name,
        eval_results=results,
    )
    intervals = [f"[{scores[f'{metric}_low']:.3f}, {scores[f'{metric}_high']:.3f}]" for metric in METRICS]
    table = {"Metric": METRICS.values(), "Out-of-fold": scores[list(METRICS)].astype(float).tolist()}
    settings = params.model_dump(exclude={"base_model", "device", "precision", "seeds", "test_rows"})
    differing = train.groupby(near_duplicates(train))["target"].transform("nunique") > 1
    made: ModelCard = ModelCard.from_template(
        metadata,
        template_path=str(TEMPLATE),
        model_name=name,
        labels=data.labels,
        variant=params.variant,
        rank=params.rank,
        before=params.inputs[:-1],
        last=params.inputs[-1],
        rows=f"{len(train):,}",
        source=data.source,
        share=f"{train['target'].mean():.0%}",
        folds=train["fold"].nunique(),
        table=pd.DataFrame(table | {"95 % interval": intervals}).to_markdown(index=False, floatfmt=".3f"),
        contradicting=f"{differing.sum():,}",
        licence=licence,
        settings="".join(f"{key}: {value}\n" for key, value in settings.items()),
    )
    return made


def release(model: lora.LoraModel, folder: Path, base: str, labels: list[str], probe: pd.DataFrame) -> None:
    """Write the adapters, and the model with them merged, and check that both say what `model` says about `probe`."""
    adapter = folder / "adapter"
    model.network.peft_config["default"].base_model_name_or_path = base
    # without False it asks the hub whether the embeddings changed
    in_order(model.network).save_pretrained(adapter, save_embedding_layers=False)
    (adapter / "README.md").unlink()  # peft's own card names the folder that the base model was read from
    network, tokenizer = read(adapter, model.params)
    whole = network.merge_and_unload()
    whole.config.id2label = dict(enumerate(labels))
    whole.config.label2id = {label: number for number, label in enumerate(labels)}
    whole.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    expected = model.predict(probe)
    found = classify(folder, model.params, probe, labels[1])
    if np.abs(expected - found).max() > 0.05:  # merged, unmerged and in another precision: about 0.01
        raise InputError(f"{folder}: scores differ by {np.abs(expected - found).max():.2g} from the model's own")


def classify(folder: Path, params: LoraParams, tweets: pd.DataFrame, positive: str) -> np.ndarray:
    """Scores of shape (n,) from `pipeline("text-classification")`, as a user of the release would get them."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    classifier = transformers.pipeline(
        "text-classification", model=str(folder), tokenizer=tokenizer, top_k=None, trust_remote_code=False
    )
    *before, last = (tweets[name].fillna("") for name in params.inputs)
    texts = [{"text": text} for text in last]
    if before:
        joined = pd.concat(before, axis=1).apply(lambda row: ", ".join(filter(None, row)), axis=1)
        texts = [{"text": one, "text_pair": text} for one, text in zip(joined, last, strict=True)]
    found = classifier(texts, truncation=True, max_length=params.max_tokens)
    return np.array([{each["label"]: each["score"] for each in scores}[positive] for scores in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=plain_name, help="a key of lora in params.yaml")
    parser.add_argument("--base", help="the base model's id on the hub, if base_model does not say it")
    given = parser.parse_args()
    name = f"lora_{given.preset}"
    params = read_params(f"lora.{given.preset}", LoraParams)
    if encoder.is_gguf(params.base_model):
        raise InputError(
            f"lora.{given.preset}: base_model: a GGUF file's weights are rounded, and others would put these adapters on "
            "the model that it was made of; name that model, as a hub id or a folder, and train on it"
        )
    if given.base is None and (params.base_model.startswith(PREFIX) or Path(params.base_model).is_dir()):
        raise InputError("--base is needed: base_model is not a hub id, and others must know what the weights began as")
    if len(params.seeds) > 1:
        raise InputError(f"lora.{given.preset}: seeds: a release is one model, and its scores are those of several")
    data, prepared, scores = read_params("data", DataParams), read_prepared(), read_scores(name)
    folder, base = Path("release") / name, given.base or params.base_model
    chosen = first_rows(*training_rows(prepared.train, REFIT), params.train_rows)
    model = lora.Lora(params).train(*chosen, training_seed(params.seeds[0], REFIT), resumable=True)
    release(model, folder, base, data.labels, prepared.test.head(32))
    card(name, params, data, prepared, scores, base).save(folder / "README.md")
    print(
        f"{folder}: merged, with its card; {folder / 'adapter'}: the adapters. `hf upload NAME {folder}` would share them."
    )


if __name__ == "__main__":
    run(main)
