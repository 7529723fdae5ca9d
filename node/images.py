"""Which program stands for which image: the explicit list, since nothing is pulled on one machine.

Pure: from an image's name and a container's command and arguments to an argv and a default environment, or a reason why not. Registry and tag
do not matter (`example.org/istio/examples-bookinfo-reviews-v1:1.20.3` is reviews v1). A container's own `command` is always
run as it stands.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

PROXY_UID = 1337
APP_UID = 1000


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: argv, what the image would have set in the environment, and the user it runs as by default."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    uid: int = APP_UID


class UnknownImage(Exception):
    """No program stands for this image; the text is for the pod's event."""


def repository(image: str) -> str:
    """An image's name without registry, tag and digest: `istio/proxyv2`."""
    name = image.partition("@")[0]
    head, _, last = name.rpartition("/")
    name = f"{head}/{last.partition(':')[0]}" if head else last.partition(":")[0]
    first, slash, rest = name.partition("/")
    is_registry = slash and ("." in first or ":" in first or first == "localhost")
    return rest if is_registry else name


def program(image: str, command: Sequence[str], args: Sequence[str], port: int | None) -> Program:
    """The program of a container; `port` is its first declared port. Raises UnknownImage."""
    if command:
        return Program((*command, *args))
    name = repository(image)
    for pattern, known in KNOWN:
        if match := re.fullmatch(pattern, name):
            return known(match, args, port)
    raise UnknownImage(
        f"no program stands for image {image!r} on this machine: give the container a command, or use one of "
        "examples-bookinfo-*, httpbin, curl, busybox, glassmesh/*"
    )


def _app(
    module: str, default_port: int, **env: str
) -> Callable[[re.Match[str], Sequence[str], int | None], Program]:
    def known(_: re.Match[str], args: Sequence[str], port: int | None) -> Program:
        given = tuple(args) or (str(port or default_port),)
        return Program((sys.executable, "-m", f"demo_apps.{module}", *given), env)

    return known


def _reviews(match: re.Match[str], args: Sequence[str], port: int | None) -> Program:
    # The versions differ by what Istio's images set: v1 shows no stars, v2 black ones, v3 red ones.
    stars = {
        "v1": {"ENABLE_RATINGS": "false"},
        "v2": {"ENABLE_RATINGS": "true", "STAR_COLOR": "black"},
        "v3": {"ENABLE_RATINGS": "true", "STAR_COLOR": "red"},
    }
    version = match["version"]
    return _app("reviews", 9080, SERVICE_VERSION=version, **stars[version])(match, args, port)


def _client(_: re.Match[str], args: Sequence[str], __: int | None) -> Program:
    """Images whose containers wait to be used: arguments are a command, without them they sleep."""
    return Program(tuple(args) or ("sleep", "infinity"))


def _demo_apps(match: re.Match[str], args: Sequence[str], port: int | None) -> Program:
    app = match["app"].replace("-", "_")
    return Program((sys.executable, "-m", f"demo_apps.{app}", *(tuple(args) or (str(port or 8080),))))


def _proxy(_: re.Match[str], args: Sequence[str], __: int | None) -> Program:
    """Istio's one image for init container and sidecar; the first argument says which."""
    if args and args[0] == "istio-iptables":
        return Program((sys.executable, "-m", "node.iptables", *args[1:]), uid=0)
    roles = [arg for arg in args if arg in ("sidecar", "router", "agent")]
    role = roles[0] if roles else "sidecar"
    further = args[args.index(role) + 1 :] if roles else ()
    return Program((sys.executable, "-m", "proxy", role, *further), uid=PROXY_UID)


KNOWN: tuple[tuple[str, Callable[[re.Match[str], Sequence[str], int | None], Program]], ...] = (
    (r".*examples-bookinfo-productpage-v\d+", _app("productpage", 9080)),
    (r".*examples-bookinfo-details-v\d+", _app("details", 9080)),
    (r".*examples-bookinfo-ratings-v\d+", _app("ratings", 9080)),
    (r".*examples-bookinfo-reviews-(?P<version>v[123])", _reviews),
    (r"(.*/)?(httpbin|go-httpbin)", _app("echo", 8080)),
    (r"(.*/)?(http-echo|echo|echo-server|app)", _app("echo", 8080)),
    (r"(.*/)?tcp-echo(-server)?", _app("tcp_echo", 9000)),
    (r"(.*/)?(curl|alpine-curl|busybox|sleep|alpine|netshoot)", _client),
    (r"(.*/)?(proxyv2|pilot-agent)|glassmesh/proxy|auto", _proxy),
    (r"glassmesh/(?P<app>[a-z][a-z0-9-]*)", _demo_apps),
)
