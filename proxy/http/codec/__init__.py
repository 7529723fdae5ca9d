"""HTTP codecs behind one interface; `create` is the one list of HTTP/1.1 decoders."""

from __future__ import annotations

from proxy.http.codec.interface import CodecError, Headers, Message, Request, Response

__all__ = ["CodecError", "Headers", "Message", "Request", "Response"]
