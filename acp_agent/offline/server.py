"""The offline model's HTTP server: blocking sockets in daemon threads of the process that asks for it.

Theory. Threads need no event loop and no dependency, so the same class serves the agent, which has a loop,
and the tests, which have several; a stream that pauses between words simply waits in its own thread.
`socketserver` is used rather than `http.server.HTTPServer`, whose start looks up the host's name and may wait
for a name server.

Every response closes its connection, and every answer is sent in chunks, so a missing last chunk tells a
client that an answer was cut. A waiting thread waits on its client's socket; `close` shuts those sockets
down, which wakes every thread at once and ends its stream without the last chunk.
"""

import re
import secrets
import selectors
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Self

from acp_agent.offline.decide import decide
from acp_agent.offline.dialect import BadRequestError, Dialect
from acp_agent.offline.gemini_dialect import GeminiDialect
from acp_agent.offline.model_request import ModelRequest
from acp_agent.offline.openai_dialect import OpenAiDialect
from acp_agent.offline.reply import Answer, Ending, Failure

MODEL_NAME = "offline"
"""The name to configure. Any other is answered as well: all names stand for the same model."""

MODELS = (MODEL_NAME, "offline-second")
"""The names that are listed."""

MAX_BODY = 64 * 1024 * 1024
"""The largest request body that is read, in bytes."""

_HOST = "127.0.0.1"
_OPENAI = OpenAiDialect()
_GEMINI = GeminiDialect()
_GEMINI_PATH = re.compile(r"v1beta/models/(.+):streamGenerateContent")
_CLIENT_GONE = (BrokenPipeError, ConnectionResetError)


class OfflineModel:
    """A running offline model; it serves from its construction until `close`, and is a context manager.

    With `record` it keeps the requests it received; an agent that runs for days turns that off. `token` is the
    random first part of every path, known only to those who were given a URL. With an `api_key`, requests in the
    Gemini dialect that do not carry it are refused.
    Raises `OSError` if no port on loopback can be opened.
    """

    def __init__(self, *, record: bool = True, api_key: str | None = None) -> None:
        self.api_key = api_key
        self.token = secrets.token_urlsafe(24)
        self._record = record
        self._requests: list[ModelRequest] = []
        self._received = threading.Condition()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve, name="offline-model", daemon=True)
        self._thread.start()

    @property
    def openai_url(self) -> str:
        """The base URL for clients of the OpenAI-compatible dialect."""
        return f"{self.gemini_url}/v1"

    @property
    def gemini_url(self) -> str:
        """The base URL for clients of the Gemini dialect."""
        return f"http://{_HOST}:{self._server.port}/{self.token}"

    @property
    def requests(self) -> tuple[ModelRequest, ...]:
        """The well-formed requests received so far, in order of arrival, also those answered with a failure."""
        with self._received:
            return tuple(self._requests)

    def wait_for_request(self, number: int, timeout: float) -> ModelRequest:
        """The request with this number, counted from 1, as soon as it has arrived.

        Raises `TimeoutError` after `timeout` seconds.
        """
        with self._received:
            if not self._received.wait_for(lambda: len(self._requests) >= number, timeout):
                raise TimeoutError(
                    f"{len(self._requests)} model requests in {timeout} s, waited for number {number}"
                )
            return self._requests[number - 1]

    def close(self) -> None:
        """Stop serving and end every stream at once. Closing twice is allowed."""
        self._server.stop()
        self._thread.join()

    def received(self, request: ModelRequest) -> None:
        """Called by the server for each well-formed request before it is answered."""
        if self._record:
            with self._received:
                self._requests.append(request)
                self._received.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, model: OfflineModel) -> None:
        super().__init__((_HOST, 0), _Handler)
        self.model = model
        self.port: int = self.socket.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._stopped = False

    def serve(self) -> None:
        """Handle connections until `stop`. `serve_forever` would look for the end by polling."""
        while not self._stopped:
            self.handle_request()
        self.server_close()

    def stop(self) -> None:
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            connections = list(self._open)
        for connection in connections:
            _shut_down(connection)
        # `serve` waits for a connection, and this is one, unless a client's has just woken it.
        with suppress(ConnectionRefusedError, ConnectionResetError):
            socket.create_connection((_HOST, self.port)).close()

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
            stopped = self._stopped
        if stopped:
            _shut_down(connection)

    def discard(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)


def _shut_down(connection: socket.socket) -> None:
    # Between the look and the call the client may have gone, or the thread that serves it closed the socket.
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "offline-model"
    sys_version = ""
    disable_nagle_algorithm = True  # each word of a stream is to leave at once
    server: _Server
    connection: socket.socket

    def setup(self) -> None:
        super().setup()
        self.server.add(self.connection)

    def finish(self) -> None:
        self.server.discard(self.connection)
        with suppress(*_CLIENT_GONE):
            super().finish()

    def handle(self) -> None:
        with suppress(*_CLIENT_GONE):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the process that serves owns the terminal, and `OfflineModel.requests` is the record."""

    def do_GET(self) -> None:
        if self._path_after_token() == "v1/models":
            self._send(HTTPStatus.OK, _OPENAI.models(MODELS))
        elif self._path_after_token() == "v1beta/models":
            if self._is_let_in():
                self._send(HTTPStatus.OK, _GEMINI.models(MODELS))
        else:
            self._send_not_found()

    def do_POST(self) -> None:
        body = self._read_body()
        if body is None:
            return
        path = self._path_after_token()
        if path == "v1/chat/completions":
            self._answer(_OPENAI, body, "")
        elif path is not None and (found := _GEMINI_PATH.fullmatch(path)):
            if self._is_let_in():
                self._answer(_GEMINI, body, found[1])
        else:
            self._send_not_found()

    def _is_let_in(self) -> bool:
        """Whether the request carries the key, if one is wanted; if not, it has been answered."""
        wanted = self.server.model.api_key
        given = self.headers.get("x-goog-api-key", "")
        if wanted is None or secrets.compare_digest(given.encode(), wanted.encode()):
            return True
        self._send_error(_GEMINI, HTTPStatus.UNAUTHORIZED, "the API key is not valid")
        return False

    def _path_after_token(self) -> str | None:
        path, _, _ = self.path.removeprefix("/").partition("?")
        token, _, rest = path.partition("/")
        known = secrets.compare_digest(token.encode(), self.server.model.token.encode())
        return rest if known else None

    def _read_body(self) -> bytes | None:
        """The request's body; None if it is refused, which has then been answered, or if the client went away."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._send_error(_OPENAI, HTTPStatus.LENGTH_REQUIRED, "a Content-Length is needed")
            return None
        if len(length) > 12 or int(length) > MAX_BODY:
            self._send_error(
                _OPENAI, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may hold at most {MAX_BODY} bytes"
            )
            return None
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else None

    def _answer(self, dialect: Dialect, body: bytes, model: str) -> None:
        try:
            request = dialect.parse(body, model)
        except BadRequestError as error:
            self._send_error(dialect, HTTPStatus.BAD_REQUEST, str(error))
            return
        self.server.model.received(request)
        match decide(request):
            case Failure(status, message):
                self._send_error(dialect, status, message)
            case Answer() as answer:
                self._send_answer(dialect, request, answer)

    def _send_answer(self, dialect: Dialect, request: ModelRequest, answer: Answer) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream" if request.stream else "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for piece in dialect.encode(request, answer):
            if piece.delay and self._client_leaves_within(piece.delay):
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece.data), piece.data))
        if answer.ending is Ending.COMPLETE:
            self.wfile.write(b"0\r\n\r\n")
        elif answer.ending is Ending.STALL:
            self._client_leaves_within(None)

    def _client_leaves_within(self, seconds: float | None) -> bool:
        """Wait for the client to close its side, at most `seconds`; `OfflineModel.close` counts as that."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            return bool(selector.select(seconds))

    def _send_not_found(self) -> None:
        self._send_error(_OPENAI, HTTPStatus.NOT_FOUND, "there is nothing at this path")

    def _send_error(self, dialect: Dialect, status: int, message: str) -> None:
        self._send(status, dialect.error(status, message))

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
