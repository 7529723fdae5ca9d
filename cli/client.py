"""The Kubernetes API from a command: requests, watches, and which resource a user's word means.

Blocking, on `http.client`: a command does one thing after another, and starts in a fraction of the time of an event loop
with an HTTP library.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click

from cli.kubeconfig import Access

Object = dict[str, Any]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
APPLY = "application/apply-patch+yaml"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class ApiFailure(Exception):
    """The API refused; `status` is its Status object."""

    def __init__(self, status: Object) -> None:
        super().__init__(status.get("message", "the server refused the request"))
        self.status = status
        self.reason = str(status.get("reason", "Unknown"))

    def lines(self) -> list[str]:
        """As kubectl prints it: every cause on its own line."""
        details = self.status.get("details") or {}
        causes = details.get("causes") or []
        if self.reason != "Invalid" or not causes:
            return [f"Error from server ({self.reason}): {self}"]
        head = f'The {details.get("kind", "object")} "{details.get("name", "")}" is invalid:'
        shown = [f"{cause.get('field')}: {cause.get('message')}" for cause in causes]
        return [f"{head} {shown[0]}"] if len(shown) == 1 else [head, *(f"* {line}" for line in shown)]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind the API serves."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    singular: str

    @property
    def named(self) -> str:
        """As in `deployment.apps/NAME`."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    def path(self, namespace: str | None, name: str | None = None) -> str:
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace)]
        return "/".join([*parts, self.plural, *([quote(name)] if name else [])])

    def answers_to(self, word: str) -> bool:
        """Whether a user who writes `word` means this kind: `po`, `pods`, `Pod`, `deployments.apps` …"""
        name, _, group = word.lower().partition(".")
        names = (self.plural, self.singular, *self.short_names)
        return name in names and (not group or self.group == group or group == f"{self.version}.{self.group}")


class Client:
    """One API server."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._context = ssl.create_default_context(cadata=access.root_certificate)
        self._resources: list[Resource] | None = None

    def _send(
        self, method: str, path: str, query: dict[str, str], body: Any, accept: str, content_type: str
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        url = urlsplit(self._access.server)
        connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=self._context)
        headers = {
            "Authorization": f"Bearer {self._access.token}",
            "Accept": accept,
            "Content-Type": content_type,
            "User-Agent": "glassmesh",
        }
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, f"{path}?{urlencode(query)}" if query else path, data, headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            raise self._silent(exc) from exc
        for warning in answer.headers.get_all("Warning") or ():
            click.secho(f"Warning: {_about(body)}{_unquoted(warning)}", err=True, fg="yellow")
        return connection, answer

    def _silent(self, exc: Exception) -> click.ClickException:
        return click.ClickException(
            f"the API at {self._access.server} does not answer: {exc}. Is the mesh up? See `glassmesh status`."
        )

    def request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Any = None,
        *,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> tuple[int, Object]:
        """One request; status code and answer. Raises ApiFailure for 4xx and 5xx."""
        connection, answer = self._send(method, path, query or {}, body, accept, content_type)
        try:
            document = json.loads(answer.read() or b"{}")
        except (OSError, http.client.HTTPException) as exc:
            raise self._silent(exc) from exc
        finally:
            connection.close()
        if answer.status >= 400:
            raise ApiFailure(document)
        return answer.status, document

    def get(self, path: str, query: dict[str, str] | None = None, accept: str = "application/json") -> Object:
        return self.request("GET", path, query, accept=accept)[1]

    def watch(self, path: str, query: dict[str, str], accept: str) -> Iterator[Object]:
        """Watch events until the server ends the watch."""
        connection, answer = self._send(
            "GET", path, {**query, "watch": "1"}, None, accept, "application/json"
        )
        try:
            if answer.status >= 400:
                raise ApiFailure(json.loads(answer.read()))
            for line in answer:
                yield json.loads(line)
        except (OSError, http.client.HTTPException) as exc:
            raise self._silent(exc) from exc
        finally:
            connection.close()

    def resources(self) -> list[Resource]:
        """Everything served, core kinds first."""
        if self._resources is None:
            documents = [self.get(path, accept=_DISCOVERY) for path in ("/api", "/apis")]
            groups = [group for document in documents for group in document["items"]]
            self._resources = [
                _resource(group["metadata"].get("name", ""), version["version"], entry)
                for group in groups
                for version in group["versions"]
                for entry in version["resources"]
            ]
        return self._resources

    def meant(self, words: str) -> list[Resource]:
        """The kinds `words` means: one, several joined by commas, or a category such as `all`."""
        found: list[Resource] = []
        for word in words.split(","):
            one = next((resource for resource in self.resources() if resource.answers_to(word)), None)
            several = [resource for resource in self.resources() if word in resource.categories]
            if one is None and not several:
                raise click.ClickException(f'the server doesn\'t have a resource type "{word}"')
            found += [one] if one is not None else several
        return found

    def of_object(self, obj: Object) -> Resource | None:
        """The kind of a manifest; None when it is not served."""
        group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
        for resource in self.resources():
            if (resource.group, resource.version, resource.kind) == (group, version, obj.get("kind")):
                return resource
        return None


def _resource(group: str, version: str, entry: Object) -> Resource:
    return Resource(
        group=group,
        version=version,
        plural=entry["resource"],
        kind=entry["responseKind"]["kind"],
        namespaced=entry["scope"] == "Namespaced",
        short_names=tuple(entry.get("shortNames") or ()),
        categories=tuple(entry.get("categories") or ()),
        singular=entry["singularResource"],
    )


def _about(body: Any) -> str:
    """`DestinationRule reviews: ` for a request that carries an object: of several applied, which one is warned of."""
    name = (body.get("metadata") or {}).get("name") if isinstance(body, dict) else None
    return f"{body['kind']} {name}: " if name and "kind" in body else ""


def _unquoted(warning: str) -> str:
    """The text of a `Warning: 299 - "text"` header."""
    text = warning.split(" ", 2)[2].strip()
    return text.removeprefix('"').removesuffix('"').replace('\\"', '"').replace("\\\\", "\\")
