"""Greets, and counts the words that it is sent."""

from collections import Counter
import json

from wit_world import exports
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.types import (
    Fields,
    IncomingBody,
    IncomingRequest,
    Method_Post,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)
from componentize_py_types import Err, Ok


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        if isinstance(request.method(), Method_Post):
            words = Counter(read(request).decode().split())
            answer(response_out, "application/json", json.dumps(words) + "\n")
        else:
            path = request.path_with_query()
            answer(response_out, "text/plain; charset=utf-8", f"Hello from Python! You asked for {path}\n")


def read(request: IncomingRequest) -> bytes:
    """The whole body."""
    pieces = []
    body = request.consume()
    with body.stream() as stream:
        while True:
            try:
                pieces.append(stream.blocking_read(64 * 1024))
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    break
                raise
    IncomingBody.finish(body)
    return b"".join(pieces)


def answer(response_out: ResponseOutparam, content_type: str, text: str) -> None:
    response = OutgoingResponse(Fields.from_list([("content-type", content_type.encode())]))
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    with body.write() as stream:
        # One call takes 4096 bytes at most.
        for start in range(0, len(data := text.encode()), 4096):
            stream.blocking_write_and_flush(data[start : start + 4096])
    OutgoingBody.finish(body, None)
