"""Serve trained classifiers, the blend or a prompt over HTTP, on this machine alone unless --host says otherwise.

in:  what `predict` needs of the classifiers that are named; without --classifier the one that submission/choice.json chose
out: POST /predict {"texts": ["Forest fire near La Ronge"]}; /docs, /metrics, and the Open Inference Protocol under /v2
run: python -m pipeline.serve --classifier naive_bayes --port 8000   (or make serve CLASSIFIER=naive_bayes)

With $DISASTER_TWEETS_SERVE_KEY all but the health needs the header `Authorization: Bearer KEY`. SIGTERM ends it when all that
waits has been answered. Texts are in no log.
"""

import argparse
import os
import sys
from dataclasses import asdict, fields
from functools import partialmethod

import uvicorn
from tqdm import tqdm

from pipeline.process import run
from pipeline.serve.app import create_app
from pipeline.serve.served import Served
from pipeline.serve.service import Limits, Service

KEY = "DISASTER_TWEETS_SERVE_KEY"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--classifier", action="append", help="such as student, naive_bayes or blend; any number of times"
    )
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for all that reach this machine")
    parser.add_argument("--port", type=int, default=8000)
    for one in fields(Limits):
        kind = type(one.default)
        parser.add_argument(
            f"--{one.name.replace('_', '-')}", type=kind, default=one.default, help=one.metadata["help"]
        )
    given = vars(parser.parse_args())
    limits = Limits(**{name: given[name] for name in asdict(Limits())})
    if min(asdict(limits).values()) < 0 or limits.max_batch < 1:
        parser.error("limits are above 0")
    key = os.environ.get(KEY)
    if given["host"] not in {"127.0.0.1", "localhost", "::1"} and not key:
        print(f"anybody who reaches {given['host']} may ask: there is no {KEY}", file=sys.stderr)
    served = [Served(name, limits.max_characters) for name in given["classifier"] or [None]]

    def stop() -> None:
        server.should_exit = True

    tqdm.__init__ = partialmethod(tqdm.__init__, disable=True)  # type: ignore[assignment, method-assign]  # bars are for people who wait
    service = Service(served, limits, stop)
    app = create_app(service, key)
    server = uvicorn.Server(
        uvicorn.Config(app, host=given["host"], port=given["port"], log_level="warning", access_log=False)
    )
    print(f"{', '.join(service.served)}: http://{given['host']}:{given['port']}/docs; Ctrl-C ends", file=sys.stderr)
    server.run()
    if service.fault:
        raise service.fault


if __name__ == "__main__":
    run(main, many=True)
