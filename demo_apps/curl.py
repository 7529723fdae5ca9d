"""A curl-like client: the flags of curl that a mesh is tried out with, and its exit statuses.

`python -m demo_apps.curl [flags] URL…`; one flag is not curl's: `--repeat N` sends N times, `--interval S` apart, on one
connection while the server keeps it open, as curl does for several URLs.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from demo_apps.http_client import Answer, Connection, Url, parse_url
from demo_apps.http_message import Headers, MessageError

# curl(1), EXIT CODES
MALFORMED_URL, RESOLVE, CONNECT, HTTP_ERROR, TIMEOUT, TLS, EMPTY, RECEIVE = 3, 6, 7, 22, 28, 35, 52, 56


class OutOfTime(Exception):
    """--max-time passed."""


@dataclass(slots=True)
class Failure(Exception):
    status: int
    message: str


@dataclass(slots=True)
class Exchange:
    """One request and its answer, with what `-w` can print."""

    url: Url
    connection: Connection
    answer: Answer
    seconds: float

    def variables(self) -> dict[str, str]:
        remote, local = self.connection.sock.getpeername(), self.connection.sock.getsockname()
        return {
            "http_code": f"{self.answer.status:03}",
            "response_code": f"{self.answer.status:03}",
            "http_version": self.answer.version.removeprefix("HTTP/"),
            "time_total": f"{self.seconds:.6f}",
            "size_download": str(len(self.answer.body)),
            "remote_ip": remote[0],
            "remote_port": str(remote[1]),
            "local_ip": local[0],
            "local_port": str(local[1]),
        }


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="demo_apps.curl", allow_abbrev=False)
    flags.add_argument("urls", nargs="+", metavar="URL")
    flags.add_argument("-s", "--silent", action="store_true", help="no error messages")
    flags.add_argument("-S", "--show-error", action="store_true", help="error messages even with -s")
    flags.add_argument("-i", "--include", action="store_true", help="print the answer's head")
    flags.add_argument("-I", "--head", action="store_true")
    flags.add_argument(
        "-v", "--verbose", action="store_true", help="print both heads and the connection to stderr"
    )
    flags.add_argument("-f", "--fail", action="store_true", help="exit 22 on a status of 400 and over")
    flags.add_argument("-o", "--output", metavar="FILE")
    flags.add_argument("-H", "--header", action="append", default=[], metavar="NAME:VALUE")
    flags.add_argument("-X", "--request", metavar="METHOD")
    flags.add_argument("-d", "--data", "--data-binary", metavar="DATA", help="@FILE reads a file, @- stdin")
    flags.add_argument("-A", "--user-agent", default="glassmesh-curl")
    flags.add_argument("-w", "--write-out", default="", metavar="FORMAT")
    flags.add_argument("-m", "--max-time", type=float, metavar="SECONDS")
    flags.add_argument("--connect-timeout", type=float, metavar="SECONDS")
    flags.add_argument("-k", "--insecure", action="store_true", help="do not verify the server's certificate")
    flags.add_argument("--cacert", metavar="FILE")
    flags.add_argument("--cert", metavar="FILE")
    flags.add_argument("--key", metavar="FILE")
    flags.add_argument("--repeat", type=int, default=1, metavar="N")
    flags.add_argument("--interval", type=float, default=0.0, metavar="SECONDS")
    return flags


def request_headers(given: list[str], url: Url, user_agent: str, has_body: bool) -> Headers:
    """curl's own headers first, each replaced by a `-H` of that name; `-H 'Name:'` removes it."""
    headers = [("Host", url.authority), ("User-Agent", user_agent), ("Accept", "*/*")]
    if has_body:
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    own = [(name.strip(), value.strip()) for name, _, value in (text.partition(":") for text in given)]
    names = {name.lower() for name, _ in own}
    return [pair for pair in headers if pair[0].lower() not in names] + [pair for pair in own if pair[1]]


def request_body(data: str | None) -> bytes:
    if data is None or not data.startswith("@"):
        return (data or "").encode()
    return sys.stdin.buffer.read() if data == "@-" else Path(data[1:]).read_bytes()


def tls_context(options: argparse.Namespace) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.cacert)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.cert:
        context.load_cert_chain(options.cert, options.key)
    return context


class Client:
    """Sends what the options say, keeping the last connection for the next request to the same place."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._body = request_body(options.data)
        self._connection: Connection | None = None
        self._key: tuple[str, str, int] | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(self, url: Url) -> Exchange:
        """Raises Failure with curl's exit status."""
        began = time.monotonic()
        try:
            with deadline(self._options.max_time):
                connection = self._connect(url)
                answer = self._request(connection, url)
        except OutOfTime:
            self.close()
            raise Failure(TIMEOUT, f"Operation timed out after {self._options.max_time} seconds") from None
        return Exchange(url, connection, answer, time.monotonic() - began)

    def _connect(self, url: Url) -> Connection:
        key = (url.scheme, url.host, url.port)
        if self._connection is not None and self._connection.reusable and self._key == key:
            return self._connection
        self.close()
        tls = tls_context(self._options) if url.scheme == "https" else None
        where = f"{url.host} port {url.port}"
        try:
            connection = Connection(url.host, url.port, timeout=self._options.connect_timeout, tls=tls)
        except socket.gaierror:
            raise Failure(RESOLVE, f"Could not resolve host: {url.host}") from None
        except TimeoutError:
            raise Failure(TIMEOUT, f"Connection to {where} timed out") from None
        except ssl.SSLError as error:
            raise Failure(TLS, f"TLS connect error: {error}") from None
        except OSError as error:
            failure = TLS if tls is not None and isinstance(error, ConnectionResetError) else CONNECT
            raise Failure(failure, f"Failed to connect to {where}: {error.strerror or error}") from None
        connection.sock.settimeout(None)
        self._verbose(f"* Connected to {url.host} ({connection.sock.getpeername()[0]}) port {url.port}")
        self._connection, self._key = connection, key
        return connection

    def _request(self, connection: Connection, url: Url) -> Answer:
        has_body = self._options.data is not None
        method = self._options.request or ("HEAD" if self._options.head else "POST" if has_body else "GET")
        headers = request_headers(self._options.header, url, self._options.user_agent, has_body)
        self._verbose(
            f"> {method} {url.target} HTTP/1.1", *(f"> {name}: {value}" for name, value in headers), ">"
        )
        try:
            answer = connection.request(method, url.target, headers, self._body)
        except MessageError as error:
            self.close()
            raise Failure(
                EMPTY if str(error) == "empty reply" else RECEIVE, str(error).capitalize()
            ) from None
        except OSError as error:
            self.close()
            raise Failure(RECEIVE, f"Recv failure: {error.strerror or error}") from None
        self._verbose(*(f"< {line}" for line in head_lines(answer)), "<")
        return answer

    def _verbose(self, *lines: str) -> None:
        if self._options.verbose:
            print("\n".join(lines), file=sys.stderr, flush=True)


@contextlib.contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raises OutOfTime inside after `seconds`; a timer signal bounds resolving, connecting and reading alike."""
    if seconds is None:
        yield
        return

    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def head_lines(answer: Answer) -> list[str]:
    status = f"{answer.version} {answer.status} {answer.reason}".rstrip()
    return [status, *(f"{name}: {value}" for name, value in answer.headers)]


def expand(text: str, variables: dict[str, str]) -> str:
    """A `-w` format: `%{name}`, `%%`, and backslash n, r, t."""
    for name, value in variables.items():
        text = text.replace(f"%{{{name}}}", value)
    return text.replace("%%", "%").replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t")


def show(exchange: Exchange, options: argparse.Namespace, out: BinaryIO) -> None:
    if options.include or options.head:
        out.write(("\r\n".join(head_lines(exchange.answer)) + "\r\n\r\n").encode("latin-1"))
    if not (options.fail and exchange.answer.status >= 400):
        out.write(exchange.answer.body)
    if options.write_out:
        out.flush()
        sys.stdout.write(expand(options.write_out, exchange.variables()))
    out.flush()
    sys.stdout.flush()


def transfer(options: argparse.Namespace, urls: list[Url], client: Client, out: BinaryIO) -> int:
    """Sends every request in turn; the exit status is the last failure's, or 0."""
    status = 0
    for number in range(options.repeat):
        if number:
            time.sleep(options.interval)
        for url in urls:
            try:
                exchange = client.send(url)
            except Failure as failure:
                status = failure.status
                if not options.silent or options.show_error:
                    print(f"curl: ({failure.status}) {failure.message}", file=sys.stderr)
                continue
            show(exchange, options, out)
            if options.fail and exchange.answer.status >= 400:
                status = HTTP_ERROR
    return status


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        urls = [parse_url(text) for text in options.urls]
    except ValueError as error:
        print(f"curl: ({MALFORMED_URL}) {error}", file=sys.stderr)
        return MALFORMED_URL
    client = Client(options)
    try:
        if options.output is None:
            return transfer(options, urls, client, sys.stdout.buffer)
        with Path(options.output).open("wb") as out:
            return transfer(options, urls, client, out)
    finally:
        client.close()


if __name__ == "__main__":
    sys.exit(main())
