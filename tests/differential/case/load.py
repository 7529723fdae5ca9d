"""Reads `cases/*.yaml`: tables expanded, variables put in, every mistake named by file, case and key.

Knows nothing of what a case does.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import ValidationError

from tests.differential.case.model import Case

DIRECTORY = Path(__file__).parent.parent / "cases"
_VARIABLE = re.compile(r"\$(?:(\$)(?=[\w{])|(\w+)|\{(\w+)\})")
OWN_PORTS = range(20000, 30000)
"""Port numbers of services with `port: own`; only names of listeners, nothing listens on them."""


class BadCase(ValueError):
    """A case file that says something no case can; the text names file, case and key."""


class _Loader(yaml.CSafeLoader):
    """YAML 1.2 as people mean it: `on` and `yes` are words, and a key given twice is a mistake."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, of) for tag, of in rules if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in found:
            raise BadCase(f"line {key_node.start_mark.line + 1}: {key} is given twice")
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def substitute(value: Any, variables: Mapping[str, Any]) -> Any:
    """`value` with `$name` and `${name}` put in wherever `variables` has the name; `$$` before a name becomes `$`."""
    if isinstance(value, dict):
        return {substitute(key, variables): substitute(of, variables) for key, of in value.items()}
    if isinstance(value, list):
        return [substitute(one, variables) for one in value]
    if not isinstance(value, str) or "$" not in value:
        return value
    whole = _VARIABLE.fullmatch(value)
    if whole and (whole[2] or whole[3]) in variables:
        return variables[whole[2] or whole[3]]

    def put(found: re.Match[str]) -> str:
        name = found[2] or found[3]
        if found[1]:
            return "$"
        return str(variables[name]) if name in variables else found[0]

    return _VARIABLE.sub(put, value)


def _merged(under: Any, over: Any) -> Any:
    if isinstance(under, dict) and isinstance(over, dict):
        return under | {key: _merged(under.get(key), of) for key, of in over.items()}
    return over


def _rows(raw: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and variables of every row; a case without table is one row."""
    name, table = str(raw.get("name", "")), raw.get("table")
    if table is None:
        yield name, {}
        return
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        raise BadCase(f"{name}: table: a list of mappings is wanted")
    for number, row in enumerate(table, 1):
        yield f"{name}-{row.get('as', number)}", {key: of for key, of in row.items() if key != "as"}


def _reason(error: ValidationError) -> str:
    lines = []
    for one in error.errors(include_url=False):
        words = (str(part) for part in one["loc"] if not _is_tag(part))
        text = "no such key" if one["type"] == "extra_forbidden" else one["msg"].removeprefix("Value error, ")
        lines.append(f"{'.'.join(words)}: {text}")
    return "; ".join(dict.fromkeys(lines))


def _is_tag(part: object) -> bool:
    """Parts of an error's place that are pydantic's words for a choice, and no key."""
    return isinstance(part, str) and (
        part in ("int", "str") or part.startswith(("<", "function-", "tuple[", "list["))
    )


def case_of(raw: dict[str, Any], name: str, row: Mapping[str, Any]) -> Iterator[Case]:
    """The case of one row, once for each of its places; raises BadCase with its name and the key."""
    places = raw.get("at", "client")
    places = places if isinstance(places, list) else [places]
    for place in places:
        full = f"{name}-{place}" if len(places) > 1 else name
        always = {
            "name": full,
            "host": full,
            "namespace": "default",
            "fqdn": f"{full}.default.svc.cluster.local",
            "port": _port(raw, full),
        }
        content = {key: of for key, of in raw.items() if key != "table"} | {"name": full, "at": place}
        if raw.get("port") == "own":
            content["ports"] = [{**one, "port": "$port"} for one in content.get("ports", [{"name": "http"}])]
        try:
            whole = substitute(content, {**substitute(dict(row), always), **always})
            if "requests" in whole:
                whole["requests"] = _each(whole["requests"])
            yield Case.model_validate(whole)
        except ValidationError as error:
            raise BadCase(f"{full}: {_reason(error)}") from None


def _each(requests: Any) -> Any:
    """The steps with `each` spelt out: one request for each path or mapping of the list, laid over the rest."""
    if not isinstance(requests, list):
        return requests
    found: list[Any] = []
    for step in requests:
        if isinstance(step, list):
            found += _each(step)
        elif isinstance(step, dict) and isinstance(step.get("each"), list):
            common = {key: of for key, of in step.items() if key != "each"}
            found += (_merged(common, {"path": one} if isinstance(one, str) else one) for one in step["each"])
        else:
            found.append(step)
    return found


def _port(raw: dict[str, Any], name: str) -> int:
    if raw.get("port") == "own":
        return OWN_PORTS[zlib.crc32(name.encode()) % len(OWN_PORTS)]
    ports = raw.get("ports") or [{"port": 8000}]
    return int(ports[0]["port"])


def parse(text: str, where: str) -> tuple[list[Case], list[str]]:
    """The cases of one file, and what is wrong in it, each with file, case and key."""
    cases: list[Case] = []
    wrong: list[str] = []
    try:
        content = yaml.load(text, Loader=_Loader)  # a safe loader
        if not isinstance(content, dict) or not isinstance(content.get("cases"), list):
            raise BadCase("a mapping with a list `cases` is wanted")
        if unknown := content.keys() - {"defaults", "cases"}:
            raise BadCase(f"{', '.join(map(str, unknown))}: no such key")
        for raw in content["cases"]:
            if not isinstance(raw, dict) or "name" not in raw:
                raise BadCase(f"a case without name: {str(raw)[:60]}")
            try:
                whole = _merged(content.get("defaults") or {}, raw) | {"source": where}
                for name, row in _rows(whole):
                    cases += case_of(whole, name, row)
            except BadCase as error:
                wrong.append(f"{where}: {error}")
    except (BadCase, yaml.YAMLError) as error:
        wrong.append(f"{where}: {error}")
    return cases, wrong


def load(directory: Path = DIRECTORY) -> tuple[list[Case], list[str]]:
    """All cases, in the order of files and of what is in them, and what is wrong in the files: also a name used twice."""
    found: dict[str, Case] = {}
    wrong: list[str] = []
    for file in sorted(directory.glob("*.yaml")):
        cases, errors = parse(file.read_text(), f"{directory.name}/{file.name}")
        wrong += errors
        for case in cases:
            if case.name in found:
                wrong.append(f"{case.source}: {case.name}: name: also in {found[case.name].source}")
            else:
                found[case.name] = case
    return list(found.values()), wrong
