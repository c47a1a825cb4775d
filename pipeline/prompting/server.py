"""The endpoint: any OpenAI-compatible server, or llama.cpp's, started inside the process on loopback and stopped with it."""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import httpx2

from pipeline.contracts import SECRET_NAMES, InputError
from pipeline.packaged import locate
from pipeline.prompting.answers import AnswerStore
from pipeline.prompting.params import EmbeddedParams, PromptParams
from pipeline.waiting import asleep


@dataclass(frozen=True)
class Address:
    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True)
class Endpoint:
    """What names a model beyond doubt, and how to reach it once there is something to ask."""

    kind: Literal["embedded", "remote", "local"]
    model: str
    identity: str
    """What determines the answers: weights and server within the process; a remote endpoint's address, model, and what it says
    of it that another model would not."""
    concurrency: int
    """How many requests it is sent at once."""
    connect: Callable[[], AbstractContextManager[Address]]
    """Its address and key for the time of the block. Nothing is started, and no key is wanted, before."""
    file: Path | None = None
    """The weights, where they are here."""


class AbsentError(InputError):
    """A model, or what would read it, that is not on this machine."""


def gguf_file(model: str) -> Path:
    """The path of a GGUF file, given as a path or as `package:NAME/PATH`."""
    try:
        path = Path(locate(model))
    except InputError as error:
        raise AbsentError(str(error)) from None
    if not path.is_file():
        raise AbsentError(f"prompt.model: {model}: no such GGUF file; or set prompt.base_url for a remote model")
    with path.open("rb") as file:
        if (magic := file.read(4)) != b"GGUF":
            raise InputError(f"prompt.model: {model}: not a GGUF file but {'something else' if magic else 'empty'}")
    return path


def weights(model: str, package: str, settings: str, store: AnswerStore | None) -> tuple[str, str, Path | AbsentError]:
    """A GGUF file's name, the identity of what answers when `package` computes with it under `settings`, and its path.

    Answers can be had without it, where results came from elsewhere: if the file or the package is not there, the identity is
    that under which a model of this name was last noted in the store, and in the place of the path is what is missing.
    """
    try:
        path = gguf_file(model)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return path.stem, f"sha256:{digest} {package} {version(package)} {settings}", path
    except (AbsentError, PackageNotFoundError) as error:
        name = PurePosixPath(model.replace("\\", "/")).stem
        form = re.compile(rf"sha256:\w+ {package} \S+ {re.escape(settings)}")
        for identity, known in store.names().items() if store else ():
            if known == name and form.fullmatch(identity):
                return name, identity, AbsentError(f"{error}; only what was asked before has an answer here")
        raise


def key_of(api_key_env: str | None) -> str:
    """The key in the environment, which from now on is shown nowhere."""
    if not api_key_env:
        return "none needed"
    SECRET_NAMES.add(api_key_env)
    if not (key := os.environ.get(api_key_env, "").strip()):
        raise InputError(f"prompt.api_key_env: the environment variable {api_key_env} is not set")
    if not re.fullmatch("[!-~]+", key):
        raise InputError(f"prompt.api_key_env: {api_key_env} holds a blank, a line break or a letter beyond ASCII")
    return key


def read_body(response: httpx2.Response) -> Any:
    """What a reply holds; None if it is not JSON."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def fingerprint(base_url: str, model: str, key: str) -> str | None:
    """A hash of what llama.cpp, Ollama or vLLM say of the model that answers; "" of other servers, None if none can be asked."""
    base = base_url.rstrip("/")
    root = base.removesuffix("/v1")
    try:
        with httpx2.Client(timeout=5, headers={"Authorization": f"Bearer {key}"}) as client:
            replies = [client.get(url) for url in (f"{base}/models", f"{root}/props", f"{root}/api/tags")]
    except (httpx2.HTTPError, httpx2.InvalidURL, ImportError, OSError, ValueError, OverflowError, ExceptionGroup):
        return None
    if replies[0].status_code in (401, 403, 503):  # a wrong key, a model that is still loading
        return None
    listed, props, tags = ((reply.is_success and read_body(reply)) or {} for reply in replies)
    try:
        said = [props.get(name) for name in ("model_path", "chat_template", "build_info")]
        for entry in listed.get("data", ()):
            if entry.get("id") == model or entry.get("owned_by") == "llamacpp":  # which takes any name
                said += [entry.get("meta"), entry.get("root")]
        names = (model, f"{model}:latest")
        said += [entry.get("digest") for entry in tags.get("models", ()) if entry.get("name") in names]
    except (AttributeError, TypeError):  # routes of these names that are something else
        return ""
    said = [one for one in said if one and one != model]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16] if said else ""


def told_apart(params: PromptParams, store: AnswerStore) -> str:
    """The identity of the model that answers at an address now; as last known, where nobody can be asked."""
    identity = f"{str(params.base_url).rstrip('/')} {params.model}"
    identity += f" revision {params.revision}" if params.revision else ""
    try:
        mark = fingerprint(str(params.base_url), params.model, key_of(params.api_key_env))
    except InputError:  # what the store has needs no key
        mark = None
    known = [one for one in store.names() if one == identity or one.startswith(f"{identity} is ")]
    if mark is None:
        return known[0] if known else identity
    now = f"{identity} is {mark}" if mark else identity
    if known and known[0] != now:
        print(
            f"prompt: {identity}: another model or server than last time; all is asked anew, the old answers are kept"
        )
    return now


def remote(base_url: str, model: str, api_key_env: str | None, concurrency: int, identity: str = "") -> Endpoint:
    """An endpoint elsewhere; its key is in the environment, and is looked up when it is first needed."""
    SECRET_NAMES.update(filter(None, [api_key_env]))

    @contextmanager
    def connect() -> Iterator[Address]:
        yield Address(base_url, key_of(api_key_env))

    return Endpoint("remote", model, identity or f"{base_url.rstrip('/')} {model}", concurrency, connect)


def embedded(model: str, params: EmbeddedParams, store: AnswerStore | None = None) -> Endpoint:
    """llama.cpp with a GGUF file (a path, or `package:NAME/PATH`), on a free port of 127.0.0.1 under a random key.

    `slots` requests are answered at once, each with room for `context` tokens. With one slot the answers are the same to
    the last digit, also when a run was interrupted (see `send.Primer`). With more they differ a little (by up to 0.04 here):
    how much of a prompt was read before, and which requests share a batch, decides how its numbers are rounded.
    """
    kept = f"slots {params.slots}{' primed' if params.slots == 1 else ''}"
    name, identity, path = weights(model, "xllamacpp", kept, store)

    @contextmanager
    def connect() -> Iterator[Address]:
        if isinstance(path, AbsentError):
            raise path
        import xllamacpp  # noqa: PLC0415 - loads 100 MB of native code: only where it is used

        key = secrets.token_urlsafe(32)
        settings = xllamacpp.CommonParams()
        settings.model.path = str(path)
        settings.api_keys = [key]
        settings.n_parallel = params.slots
        settings.n_ctx = params.slots * params.context
        settings.n_threads_http = params.slots + 1
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = params.threads or os.cpu_count() or 1
        if asleep():  # read where llama.cpp has threads of its own (macOS); those of OpenMP read the environment
            settings.cpuparams.poll = settings.cpuparams_batch.poll = 0
        settings.ui = settings.endpoint_slots = settings.warmup = False
        # What the last request of a slot had in common with the next is not read again; models with sliding-window
        # attention keep the whole window for it.
        settings.cache_prompt = settings.swa_full = True
        settings.cache_ram_mib = 0  # a second prompt cache, in memory of its own: the slots' caches are enough
        settings.verbosity = 0
        try:
            server = xllamacpp.Server(settings)
        except RuntimeError as error:
            raise InputError(f"prompt.model: {model}: llama.cpp cannot load it: {error}") from None
        try:
            yield Address(f"{server.listening_address}/v1", key)
        finally:
            del server

    return Endpoint("embedded", name, identity, params.slots, connect, path if isinstance(path, Path) else None)


def endpoint(params: PromptParams, store: AnswerStore | None = None) -> Endpoint:
    """The endpoint of params; the store knows those whose files are not here."""
    if params.base_url is None:
        return embedded(params.model, params.embedded, store)
    identity = told_apart(params, store) if store else ""
    return remote(params.base_url, params.model, params.api_key_env, params.concurrency, identity)
