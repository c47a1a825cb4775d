"""One prompt on an endpoint of some ability: the mode it falls back to, the label words it takes, what calibration asks."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LABELS, ROOT
from fake_endpoint import Fake, echo_scored, obliging, serving
from test_endpoint import endpoint_at, params_with

from pipeline.contracts import InputError, Prepared
from pipeline.prompting.answers import AnswerStore
from pipeline.prompting.ask import Asker
from pipeline.prompting.classify import Classified, classify, rows_to_ask
from pipeline.prompting.prompt_file import read_prompt

ROWS = 24
ZERO_SHOT, CHANNEL = ((ROOT / f"prompts/{name}.yaml").read_text() for name in ("zero_shot", "channel"))


def run(
    server: Fake, folder: Path, sample: Prepared, text: str = ZERO_SHOT, rows: int = ROWS, **changes: Any
) -> tuple[Classified, Asker]:
    path = folder / "some.yaml"
    path.write_text(text)
    prompt = read_prompt(path, LABELS)

    async def go() -> tuple[Classified, Asker]:
        params = params_with(**({"calibration": "none"} | changes))
        async with Asker(endpoint_at(server.url), AnswerStore(folder / "a.sqlite"), params, "test") as asker:
            asked = rows_to_ask(sample, rows, test=False)
            return await classify(prompt, asked, sample, asker, calibration=params.calibration), asker

    return asyncio.run(go())


def fires(sample: Prepared) -> np.ndarray:
    """The tweets that the fake endpoint says Yes to."""
    return rows_to_ask(sample, ROWS, test=False)["text"].str.contains("fire", case=False).to_numpy()


def refusing(*names: str, status: int = 400, answer: Any = None) -> Any:
    """An endpoint that answers this to a request that holds any of these fields."""

    def respond(body: dict[str, Any], n: int) -> tuple[int, Any]:
        if not any(name in body and (name != "n" or body["n"] > 1) for name in names):
            return obliging(body, n)
        return status, {"error": {"message": "unsupported"}} if answer is None else answer

    return respond


def thinking(body: dict[str, Any], n: int) -> tuple[int, Any]:
    """A model that thinks first: no max_tokens, no temperature, no logprobs, and an error where there is no room to think."""
    if body.get("max_completion_tokens", 1000) < 500:
        return 400, {"error": {"message": "Could not finish the message because max_tokens was reached"}}
    return refusing("max_tokens", "temperature", "logprobs")(body, n)


def ignoring(*names: str) -> Any:
    """An endpoint that answers as if the request did not hold these fields."""
    return lambda body, n: obliging({name: value for name, value in body.items() if name not in names}, n)


@pytest.mark.parametrize(
    ("respond", "scoring", "mode"),
    [
        (obliging, "logprobs", "logprobs"),
        (obliging, "sample", "sample"),
        (obliging, "text", "text"),
        (refusing("logprobs"), "logprobs", "sample"),
        (ignoring("logprobs", "n", "response_format"), "logprobs", "sample"),
        (refusing("logprobs", "n", "seed"), "logprobs", "sample"),
        (thinking, "logprobs", "text"),
        (refusing("logprobs", "temperature", "max_tokens", "response_format"), "logprobs", "text"),
        (refusing("temperature"), "logprobs", "logprobs"),
        (refusing("n", "seed", status=403), "sample", "sample"),
        (refusing("temperature", status=404), "sample", "text"),
        (refusing("response_format", status=200, answer={"choices": []}), "text", "text"),
    ],
)
def test_a_run_has_one_mode_and_it_is_the_best_that_the_endpoint_can_do(
    tmp_path: Path, sample: Prepared, capsys: pytest.CaptureFixture[str], respond: Any, scoring: str, mode: str
) -> None:
    text = ZERO_SHOT.replace("scoring: logprobs", f"scoring: {scoring}")
    with serving(respond) as server:
        room = {"reply_tokens": 1000} if respond is thinking else {}
        found, _ = run(server, tmp_path, sample, text, **room)
        said = capsys.readouterr().out
        assert found.mode == mode
        assert said.count("the whole run is scored by") == (mode != scoring)
        np.testing.assert_array_equal(found.uncalibrated > 0.5, fires(sample))
        sent = len(server.bodies)
        again, asker = run(server, tmp_path, sample, text, **room)
        assert len(server.bodies) == sent, "what an endpoint can do is asked once"
        assert asker.sent == 0
        np.testing.assert_array_equal(again.scores, found.scores)


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        (ZERO_SHOT, 403, r"refused a plain question \(403: no\); check prompt\.model"),
        (ZERO_SHOT, 401, "the key was refused"),
        (CHANNEL, 401, "the key was refused"),
        (CHANNEL, 500, r"no log-probabilities of prompts \(500: no\)"),
    ],
)
def test_an_endpoint_that_refused_a_plain_question_may_be_mended(
    tmp_path: Path, sample: Prepared, text: str, status: int, message: str
) -> None:
    """A model that was not pulled yet, an account without credit: what it can do is not concluded from that."""
    with serving(lambda body, n: (status, {"error": {"message": "no"}})) as server:
        with pytest.raises(InputError, match=message):
            run(server, tmp_path, sample, text, retries=0)
        server.respond = obliging if text == ZERO_SHOT else lambda body, n: (200, echo_scored(body))
        assert run(server, tmp_path, sample, text)[0].mode == ("logprobs" if text == ZERO_SHOT else "channel")


def test_a_passing_fault_does_not_take_the_system_message_away(tmp_path: Path, sample: Prepared) -> None:
    with serving(lambda body, n: (500, {}) if n == 1 else obliging(body, n)) as server:
        run(server, tmp_path, sample, retries=0)
        assert server.bodies[-1]["messages"][0]["role"] == "system"


@pytest.mark.parametrize("batch", [False, True])
def test_a_tweet_that_is_refused_is_unparsed_and_asked_about_again(
    tmp_path: Path, sample: Prepared, batch: bool
) -> None:
    rows = rows_to_ask(sample, ROWS, test=False)
    violent = rows["text"].iloc[5]

    def filtering(body: dict[str, Any], n: int) -> tuple[int, Any]:
        return (400, {"error": {"code": "content_filter"}}) if violent in str(body) else obliging(body, n)

    changes = {"batch": {"use": batch, "poll_seconds": 0.01}}
    with serving(filtering) as server:
        found, _ = run(server, tmp_path, sample, **changes)
        assert np.isnan(found.scores).tolist() == (rows["text"] == violent).tolist()
        again, _ = run(server, tmp_path, sample, **changes)
        np.testing.assert_array_equal(again.scores, found.scores)
        server.respond = obliging
        found, asker = run(server, tmp_path, sample, **changes)
        assert asker.sent == 1
        assert not np.isnan(found.scores).any()


@pytest.mark.parametrize(("method", "more"), [("none", 0), ("batch", 0), ("platt", 0), ("contextual", 3)])
def test_calibration_asks_nothing_but_inputs_without_content(
    tmp_path: Path, sample: Prepared, method: str, more: int
) -> None:
    """And leaves replies of one word as they are."""
    with serving() as server:
        before, _ = run(server, tmp_path, sample)
        found, asker = run(server, tmp_path, sample, calibration=method)
    assert asker.sent == more
    assert found.calibration == method
    assert (found.calibration_labels > 0) == (method == "platt")
    np.testing.assert_array_equal(found.uncalibrated, before.scores)
    assert (found.scores != before.scores).any() == (method != "none")
    with serving() as server:
        hard, _ = run(server, tmp_path, sample, ZERO_SHOT.replace("logprobs", "text", 1), calibration=method)
    assert method == "platt" or (hard.calibration, set(hard.scores)) == ("none", {0.0, 1.0})


def test_a_channel_needs_log_probabilities_of_prompts(tmp_path: Path, sample: Prepared) -> None:
    with serving(lambda body, n: (200, echo_scored(body))) as server:
        batch = {"use": True, "poll_seconds": 0.01}
        found, asker = run(server, tmp_path, sample, CHANNEL, batch=batch)
        positive = sample.train["target"].mean()
        assert found.scores == pytest.approx(positive, abs=0.05), (
            "all tweets are as probable either way: the prior decides"
        )
        assert found.example_labels > 100
        assert asker.sent == 1 + 2 * rows_to_ask(sample, ROWS, test=False)["text"].nunique()
    silent = {**echo_scored({"prompt": "a"}), "choices": [{"index": 0, "text": "a"}]}
    with (
        serving(lambda body, n: (200, silent)) as server,
        pytest.raises(InputError, match="gives no log-probabilities"),
    ):
        run(server, tmp_path, sample, CHANNEL)
