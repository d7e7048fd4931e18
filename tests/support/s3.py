"""A real S3 server on loopback, that can be told to refuse."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from mm.core.storage import Remote
from mm.simulate.write import csv_bytes

SECRET = "goes-nowhere-but-into-a-signature"  # noqa: S105  ours
BUCKET = "desk"
Refusal = Callable[[Mapping[str, Any]], bool]


class S3:
    """The server; ``refuse`` says of a request's environment whether it gets 403."""

    def __init__(self) -> None:
        self.refuse: Refusal = lambda _request: False
        app = DomainDispatcherApplication(create_backend_app)

        def answer(request: Any, respond: Any) -> Any:
            if not self.refuse(request):
                return app(request, respond)
            request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
            respond("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>no room</Message></Error>"]

        self._server = make_server("127.0.0.1", 0, answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def serving() -> Iterator[S3]:
    """The server with a bucket; this process and those it starts know how to reach it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3, before = S3(), dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": s3.url,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    import s3fs

    # Servers of one process have one memory.
    urllib.request.urlopen(f"{s3.url}/moto-api/reset", data=b"").close()  # noqa: S310  ours
    try:
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield s3
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        os.environ.clear()
        os.environ.update(before)
        s3.stop()


def put(folder: Remote, tables: Mapping[str, pd.DataFrame], symbol: str) -> None:
    """Write a symbol's logs."""
    for kind, table in tables.items():
        (folder / f"{kind}_{symbol}.csv").write_bytes(csv_bytes(table))


def everything(folder: Remote) -> dict[str, bytes]:
    """All files below a folder by their path in it."""
    return {name: path.read_bytes() for name, path in folder.walk().items()}
