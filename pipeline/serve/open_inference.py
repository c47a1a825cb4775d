"""The Open Inference Protocol, version 2, over REST, as KServe, Triton and their clients speak it.

A model has one input, `text` (BYTES, any number), and two outputs, `probability` (FP64) and `label` (BYTES), in JSON; tensors in
the binary extension are not read. Source: https://github.com/kserve/open-inference-protocol
"""

import itertools
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel

from pipeline.serve.service import Service

TEXT = {"name": "text", "datatype": "BYTES", "shape": [-1]}
OUTPUTS = {"probability": "FP64", "label": "BYTES"}


class Tensor(BaseModel):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class Wanted(BaseModel):
    name: str
    parameters: dict[str, Any] | None = None


class Infer(BaseModel):
    id: str | None = None
    inputs: list[Tensor]
    outputs: list[Wanted] | None = None
    parameters: dict[str, Any] | None = None


def flat(data: list[Any]) -> list[Any]:
    """Of tensors in nested lists, row by row."""
    while data and all(isinstance(one, list) for one in data):
        data = list(itertools.chain.from_iterable(data))
    return data


def texts_of(ask: Infer) -> list[Any]:
    """The texts of a request; 400 for another tensor."""
    if [one.name for one in ask.inputs] != ["text"] or ask.inputs[0].datatype != "BYTES":
        raise HTTPException(400, "one input is read: text, of datatype BYTES")
    if ask.inputs[0].data is None:
        raise HTTPException(400, "text has no data: send it as JSON, not in the binary extension")
    texts, shape = flat(ask.inputs[0].data), ask.inputs[0].shape
    count = 1
    for size in shape:
        count *= size
    if len(texts) != count or not texts:
        raise HTTPException(400, f"text has {len(texts):,} elements, and a shape of {shape}")
    return texts


def routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @router.get("")
    async def server() -> dict[str, Any]:
        return {"name": "disaster-tweets", "version": next(iter(service.served.values())).version, "extensions": []}

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/health/ready")
    async def ready(response: Response) -> dict[str, bool]:
        """503 until every classifier has been loaded and has scored once."""
        response.status_code = 200 if service.ready else 503
        return {"ready": service.ready}

    @router.get("/models/{name}")
    @router.get("/models/{name}/versions/{_version}")
    async def model(name: str) -> dict[str, Any]:
        one = service.named(name, 404)
        outputs = [{"name": key, "datatype": kind, "shape": [-1]} for key, kind in OUTPUTS.items()]
        return {
            "name": one.name,
            "versions": [one.version],
            "platform": "disaster-tweets",
            "inputs": [TEXT],
            "outputs": outputs,
        }

    @router.get("/models/{name}/ready")
    async def model_ready(name: str, response: Response) -> dict[str, Any]:
        response.status_code = 200 if service.ready else 503
        return {"name": service.named(name, 404).name, "ready": service.ready}

    @router.post("/models/{name}/infer")
    async def infer(name: str, ask: Infer) -> dict[str, Any]:
        """Probability and label of each text; 400 if one of them cannot be read, for a tensor has no place for errors."""
        one = service.named(name, 404)
        texts = texts_of(ask)
        wanted = [each.name for each in ask.outputs or []] or list(OUTPUTS)
        if unknown := [each for each in wanted if each not in OUTPUTS]:
            raise HTTPException(400, f"there is no output {unknown[0]!r:.60}; there are {', '.join(OUTPUTS)}")
        answers = await service.answer(one, texts)
        if faults := [f"text {number}: {each}" for number, each in enumerate(answers, 1) if isinstance(each, str)]:
            raise HTTPException(400, faults[0])
        scores = [float(each) for each in answers]
        data: dict[str, list[Any]] = {"probability": scores, "label": [one.label(score) for score in scores]}
        outputs = [{"name": key, "datatype": OUTPUTS[key], "shape": [len(scores)], "data": data[key]} for key in wanted]
        return {"model_name": one.name, "model_version": one.version, "outputs": outputs} | (
            {"id": ask.id} if ask.id else {}
        )

    return router
