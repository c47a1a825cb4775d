"""The endpoint: any OpenAI-compatible server, or llama.cpp's, started inside the process on loopback and stopped with it."""

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Literal

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
    """What determines the answers: weights and server within the process, address and model of a remote endpoint."""
    concurrency: int
    """How many requests it is sent at once."""
    connect: Callable[[], AbstractContextManager[Address]]
    """Its address and key for the time of the block. Nothing is started, and no key is wanted, before."""
    file: Path | None = None
    """The weights, where they are here."""


GGML = (b"lmgg", b"fmgg", b"tjgg", b"algg")
"""The first bytes of the formats ggml, ggmf, ggjt and ggla, which llama.cpp reads no more."""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
            what = (
                "empty" if not magic else "a file of GGML, which came before it" if magic in GGML else "something else"
            )
            raise InputError(f"prompt.model: {model}: not a GGUF file but {what}")
    return path


def weights(model: str, package: str, settings: str, store: AnswerStore | None) -> tuple[str, str, Path | AbsentError]:
    """A GGUF file's name, the identity of what answers when `package` computes with it under `settings`, and its path.

    Answers can be had without it, where results came from elsewhere: if the file or the package is not there, the identity is
    that under which a model of this name was last noted in the store, and in the place of the path is what is missing.
    """
    try:
        path = gguf_file(model)
        return path.stem, f"sha256:{sha256(path)} {package} {version(package)} {settings}", path
    except (AbsentError, PackageNotFoundError) as error:
        name = PurePosixPath(model.replace("\\", "/")).stem
        form = re.compile(rf"sha256:\w+ {package} \S+ {re.escape(settings)}")
        for identity, known in store.names().items() if store else ():
            if known == name and form.fullmatch(identity):
                return name, identity, AbsentError(f"{error}; only what was asked before has an answer here")
        raise


def remote(base_url: str, model: str, api_key_env: str | None, concurrency: int) -> Endpoint:
    """An endpoint elsewhere; its key is in the environment, and is looked up when it is first needed."""
    SECRET_NAMES.update(filter(None, [api_key_env]))

    @contextmanager
    def connect() -> Iterator[Address]:
        key = os.environ.get(api_key_env, "") if api_key_env else "none needed"
        if not key:
            raise InputError(f"prompt.api_key_env: the environment variable {api_key_env} is not set")
        yield Address(base_url, key)

    return Endpoint("remote", model, f"{base_url.rstrip('/')} {model}", concurrency, connect)


def embedded(model: str, params: EmbeddedParams, store: AnswerStore | None = None) -> Endpoint:
    """llama.cpp with a GGUF file (a path, or `package:NAME/PATH`), on a free port of 127.0.0.1 under a random key.

    `slots` requests are answered at once, each with room for `context` tokens. With one slot the answers are the same to
    the last digit, also when a run was interrupted (see `pipeline.prompting.primer`). With more they differ a little (by up to
    0.04 here): how much of a prompt was read before, and which requests share a batch, decides how its numbers are rounded.
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
    """The endpoint that params name; the store knows those whose files are not here."""
    if params.base_url is None:
        return embedded(params.model, params.embedded, store)
    return remote(params.base_url, params.model, params.api_key_env, params.concurrency)
