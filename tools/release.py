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
    licence = licence_of(params.base_model)
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=Path(data.source).stem,
            dataset_name=f"{data.source}, {len(prepared.train):,} texts, out-of-fold",
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
    table = pd.DataFrame(
        {
            "Metric": METRICS.values(),
            "Out-of-fold": [f"{scores[metric]:.3f}" for metric in METRICS],
            "95 % interval": [f"[{scores[f'{metric}_low']:.3f}, {scores[f'{metric}_high']:.3f}]" for metric in METRICS],
        }
    )
    folds = prepared.train["fold"].nunique()
    settings = params.model_dump(exclude={"base_model", "device", "precision", "seeds", "test_rows"})
    content = f"""---
{metadata.to_yaml()}
---

# {name}

Tells short texts apart: {data.labels[1]} or {data.labels[0]}. {base} with adapters ({params.variant}, rank {params.rank}), merged
into its weights; the adapters by themselves are in `adapter`.

```python
from transformers import pipeline

classify = pipeline("text-classification", model="FOLDER")
classify("a text, as it was cleaned for training")
```

It has learnt from texts in which links are written `http`, mentions `@user`, entities and broken characters are mended, and
runs of white space are one space: do the same to yours. {reading(params)}

## Data

{len(prepared.train):,} texts of `{data.source}`, {prepared.train["target"].mean():.0%} of them {data.labels[1]}.

## How good it is

Measured out-of-fold: {folds} models made in the same way, each scored on the fold that it did not see; near-duplicates are
never split between folds. The intervals are from a bootstrap over groups of near-duplicates. The model here has learnt from
all folds and has no texts left to be measured on.

{table.to_markdown(index=False)}

## Limits

- It knows texts like those of `{data.source}`: other years, languages, and ways of finding texts were not measured.
- The labels are what people said: {contradicting(prepared.train):,} texts have a near-duplicate with the other label.
- A score is about one text. It is no evidence that what the text says is true, and no ground to act on alone.
- A text can be written to deceive it.

## Licence

The base model's: {licence or "not stated with its files; look it up before you share this"}. The texts are not included.

## Settings

```yaml
{chr(10).join(f"{key}: {value}" for key, value in settings.items())}
```
"""
    return ModelCard(content)


def contradicting(train: pd.DataFrame) -> int:
    """How many rows have a near-duplicate with the other label."""
    return int((train.groupby(near_duplicates(train))["target"].transform("nunique") > 1).sum())


def reading(params: LoraParams) -> str:
    """How to give the model what it reads, if that is more than one text."""
    *before, text = params.inputs
    if not before:
        return f"It reads the {text} alone."
    return f"""Its input is a pair: `{{"text": "{", ".join(before)}", "text_pair": "{text}"}}`."""


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
    *before, text = (tweets[name].fillna("").tolist() for name in params.inputs)
    texts = [
        {"text": ", ".join(filter(None, values[:-1])), "text_pair": values[-1]} if before else {"text": values[-1]}
        for values in zip(*before, text, strict=True)
    ]
    return np.array(
        [
            next(each["score"] for each in scores if each["label"] == positive)
            for scores in classifier(texts, truncation=True, max_length=params.max_tokens)
        ]
    )


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
