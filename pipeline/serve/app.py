"""The service's routes: texts in, an answer to each out, as JSON of its own and as the Open Inference Protocol has it."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from pipeline.serve import open_inference
from pipeline.serve.door import Door
from pipeline.serve.service import Service

EXAMPLE = [
    "Forest fire near La Ronge Sask. Canada",
    {"text": "I love fruits", "keyword": None, "location": "London"},
    "",
]


class Ask(BaseModel):
    texts: list[Any] = Field(min_length=1, examples=[EXAMPLE])
    """Strings, or objects with `text` and, if known, `keyword` and `location`."""
    classifier: str | None = None
    """One of those that are served; the first if none is named."""


class Decision(BaseModel):
    label: str = Field(examples=["disaster"])
    probability: float = Field(examples=[0.97])
    """P(target = 1)."""
    classifier: str = Field(examples=["student"])
    version: str = Field(examples=["1f0c2a9b7d3e, data 5a1b9c0d2e4f"])
    """The commit of the code, and the tweets that it was trained on."""


class Fault(BaseModel):
    error: str = Field(examples=["must not be empty"])


class Decisions(BaseModel):
    predictions: list[Decision | Fault]
    """One for each text, in order."""


def sentence(error: RequestValidationError) -> str:
    """The first thing that is wrong with a request."""
    first = error.errors()[0]
    at = ".".join(str(part) for part in first["loc"] if part != "body")
    if not at or first["type"] == "json_invalid":
        return "the body is no JSON object, or is not said to be one (Content-Type: application/json)"
    return f"{at}: {first['msg']}"


def create_app(service: Service, key: str | None = None) -> FastAPI:
    """The application; with a `key` all but the health must bring it as a bearer."""
    app: FastAPI = FastAPIOffline(
        redoc_url=None,
        title="Disaster tweets",
        description="Is a text about a real disaster?",
        lifespan=service.running,
        strict_content_type=False,  # clients of the protocol send none; the door keeps other sites' pages out
    )
    app.include_router(open_inference.routes(service))

    @app.post("/predict", responses={status: {"model": Fault} for status in (401, 413, 422, 429, 503)})
    async def predict(ask: Ask) -> Decisions:
        """An answer to each text, in order: a decision, or what is wrong with this one."""
        one = service.named(ask.classifier)
        answers = await service.answer(one, ask.texts)
        return Decisions(
            predictions=[
                Fault(error=each)
                if isinstance(each, str)
                else Decision(label=one.label(each), probability=each, classifier=one.name, version=one.version)
                for each in answers
            ]
        )

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Requests, seconds, batches, queue, decisions, as Prometheus reads them."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(StarletteHTTPException)
    async def refused(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": sentence(error)}, 422)

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"error": "a fault of the service, which its log describes"}, 500)

    app.add_middleware(Door, metrics=service.metrics, key=key, most=int(service.limits.max_body_mb * 1e6))
    return app
