"""What a codec is: bytes in, messages that fill up out.

A decoder parses and nothing else: it knows no sockets, routes or policy, and takes no time. Whoever owns the socket
feeds it what was read and looks at the messages. A message appears when its head is complete; its body then grows in
`chunks` until `complete`. The consumer takes chunks away (`take`), so nothing is held whole unless somebody wants it.
Encoding is the same for every HTTP/1.1 decoder and lives in `h1_encode`.

Invariants: header names are lower-cased, values carry no surrounding blanks; `headers` is complete when the message
becomes visible; after `complete` a message never changes. A decoder that raised CodecError is finished.
Reference: RFC 9112; limits are Envoy's (max_request_headers_kb 60, max_headers_count 100).
"""

from __future__ import annotations

from proxy.router.message import Headers, Message, UpstreamResponse

__all__ = ["CodecError", "Headers", "Message", "Request", "RequestDecoder", "Response", "ResponseDecoder"]

MAX_HEADERS_BYTES = 60 * 1024
MAX_HEADERS_COUNT = 100


class CodecError(Exception):
    """The peer broke the protocol. `status` is the answer Envoy gives a client (400, 426, 431, 501).

    `details` is Envoy's response code detail, such as `http1.codec_error`.
    """

    def __init__(self, status: int, details: str) -> None:
        super().__init__(details)
        self.status = status
        self.details = details


class Request(Message):
    """`target` is the request line's target as sent: origin, absolute, authority or asterisk form.

    `keep_alive` is what the client asked for. `upgrade`: it carries both `Upgrade` and `Connection: upgrade`, or is
    CONNECT; the decoder then stops behind the head until `accept_upgrade` or `refuse_upgrade` says what follows.
    `framed` tells whether a body was announced (Content-Length above 0, or chunked).
    """

    __slots__ = ("chunked", "framed", "keep_alive", "method", "target", "upgrade", "version")

    def __init__(self) -> None:
        # Not by super().__init__: this runs for every request.
        self.headers = []
        self.fields = {}
        self.chunks = []
        self.complete = False
        self.trailers = None
        self.method = b""
        self.target = b""
        self.version = "HTTP/1.1"
        self.keep_alive = True
        self.upgrade = False
        self.framed = False
        self.chunked = False

    def __repr__(self) -> str:
        state = "complete" if self.complete else "open"
        return f"<Request {self.method.decode('latin-1')} {self.target!r} {state}>"


class Response(UpstreamResponse):
    """`begun`: bytes of it have come, be it less than a head. `framed_by_eof`: its body ends with its connection."""

    __slots__ = ("begun", "framed_by_eof")

    def __init__(self) -> None:
        self.headers = []
        self.fields = {}
        self.chunks = []
        self.complete = False
        self.trailers = None
        self.status = 0  # 0: no final head yet
        self.begun = False
        self.reusable = False
        self.framed_by_eof = False

    @property
    def ended(self) -> bool:
        """Its head and all of its body have come."""
        return self.complete and self.status != 0

    def __repr__(self) -> str:
        return f"<Response {self.status} {'complete' if self.complete else 'open'}>"


class RequestDecoder:
    """The server side of a connection. A base class, not a protocol: compiled code calls it directly."""

    __slots__ = ("requests",)

    requests: list[Request]
    """Requests whose head is complete, oldest first; the consumer pops a request when it is done with it."""

    @property
    def idle(self) -> bool:
        """No byte of a next message has been seen."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Parse; raises CodecError after having delivered what came before the offence."""
        raise NotImplementedError

    def accept_upgrade(self) -> None:
        """All that follows the last request's head is its body, unframed, until EOF."""
        raise NotImplementedError

    def refuse_upgrade(self) -> None:
        """The upgrade is ignored: what follows is the request's announced body, then further requests."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing will be fed any more. The messages stay."""
        raise NotImplementedError


class ResponseDecoder:
    """The client side of a connection; one request is outstanding at a time."""

    __slots__ = ("informational", "response")

    response: Response
    """The response to the request last announced with `expect`."""

    informational: list[tuple[int, Headers]]
    """1xx responses seen before it, oldest first (101 is a final response); the consumer clears the list."""

    def expect(self, method: bytes) -> Response:
        """A request with this method goes out now; returns the (still empty) response it will get."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Parse; raises CodecError for bytes that belong to no expected response, too.

        After a 101 everything that follows is the response's body, unframed, until EOF.
        """
        raise NotImplementedError

    def feed_eof(self) -> None:
        """The peer sent its last byte: completes a body delimited by EOF, raises CodecError inside a framed one."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing will be fed any more. The messages stay."""
        raise NotImplementedError
