"""How threads wait is chosen by what others keep busy; the environment has the last word; the number of threads is left alone."""

import os
import sys
from types import SimpleNamespace

import pytest

from pipeline import waiting
from pipeline.prompting import server
from pipeline.prompting.params import EmbeddedParams
from pipeline.waiting import choose

PASSIVE, SPIN = {"OMP_WAIT_POLICY": "PASSIVE"}, {"GOMP_SPINCOUNT": "10000"}


@pytest.mark.parametrize(
    ("others", "given", "expected"),
    [
        (0.3, {}, SPIN), (0.5, {}, PASSIVE), (2.0, {"OMP_NUM_THREADS": "2"}, PASSIVE), (2.0, {"OMP_WAIT_POLICY": "ACTIVE"}, {}),
        (0.0, {"OMP_WAIT_POLICY": "PASSIVE"}, {}), (2.0, {"GOMP_SPINCOUNT": "0"}, {}), (2.0, {"KMP_BLOCKTIME": "200"}, {}),
    ],
)  # fmt: skip
def test_threads_sleep_where_others_are_busy_and_the_environment_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch, others: float, given: dict[str, str], expected: dict[str, str]
) -> None:
    environment = dict(given)
    monkeypatch.setattr(waiting, "busy_elsewhere", lambda *_: others)
    monkeypatch.setattr(os, "environ", environment)
    choose()
    assert environment == given | expected, "and no number of threads"


@pytest.mark.parametrize(("policy", "level"), [("PASSIVE", 0), ("passive", 0), ("ACTIVE", 50), (None, 50)])
def test_llama_cpp_polls_where_threads_do_not_sleep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory, policy: str | None, level: int
) -> None:
    threads = [SimpleNamespace(n_threads=-1, poll=50) for _ in range(2)]
    made = SimpleNamespace(model=SimpleNamespace(), cpuparams=threads[0], cpuparams_batch=threads[1])
    library = SimpleNamespace(CommonParams=lambda: made, Server=lambda _: SimpleNamespace(listening_address=""))
    monkeypatch.setitem(sys.modules, "xllamacpp", library)
    monkeypatch.setattr(server, "weights", lambda *_: ("tiny", "identity", tmp_path))
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if policy:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    with server.embedded("tiny.gguf", EmbeddedParams(slots=1, context=512, threads=2)).connect():
        assert [(each.n_threads, each.poll) for each in threads] == [(2, level)] * 2


def test_what_the_environment_says_about_bars_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"TRANSFORMERS_VERBOSITY": "info", "TQDM_DISABLE": ""})
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False))
    waiting.quiet()
    assert (os.environ["TRANSFORMERS_VERBOSITY"], os.environ["TQDM_DISABLE"]) == ("info", "")
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    waiting.quiet()
    assert "TQDM_DISABLE" not in os.environ, "somebody watches"
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1", "but not these"
