"""The page of the documentation that lists the server's interface, from its OpenAPI document.

python tests/support/api_page.py      # writes docs/server-api.md; a test compares it
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "server-api.md"
HEAD = """# The server's interface

Written by `tests/support/api_page.py` from the OpenAPI document, which a server has at `/v1/openapi.json`. See [a server](server.md) for what it is good for. Errors
of all requests are problem documents (RFC 9457) with `title`, `status` and `detail`. Fields and routes are only ever added to version 1.
"""


def document() -> dict[str, Any]:
    """The OpenAPI document of a server."""
    from itk_infer.service.guard import Access
    from itk_infer.service.rest import make_app
    from itk_infer.service.service import Service
    from itk_infer.service.settings import ServiceSettings

    service = Service(ServiceSettings(home=Path("home"), models={"model": None}))
    found: dict[str, Any] = make_app(service, Access())._app.openapi()
    return found


def text() -> str:
    """The page."""
    api = document()
    lines = [HEAD]
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            lines += _operation(api, path, method, operation)
    lines += ["## Documents", ""]
    for name, schema in sorted(api["components"]["schemas"].items()):
        if "properties" in schema and name.endswith(("View", "List")):
            lines += [f"### {name}", ""]
            lines += [schema["description"], ""] if "description" in schema else []
            lines += ["| field | type |", "|---|---|"]
            lines += [f"| `{field}` | {_type(about)} |" for field, about in schema["properties"].items()] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _operation(api: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> list[str]:
    lines = [f"## `{method.upper()} {path}`", "", operation["summary"], ""]
    parameters = operation.get("parameters", [])
    if parameters:
        lines += ["| parameter | in | type | |", "|---|---|---|---|"]
        for one in parameters:
            default = one["schema"].get("default")
            words = [one.get("description", ""), "Required." if one["required"] else ""]
            words += [f"Default `{default}`."] if default not in (None, "") else []
            lines += [
                f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {' '.join(filter(None, words))} |"
            ]
        lines += [""]
    body = operation.get("requestBody")
    if body:
        lines += [f"Body: {', '.join(f'`{kind}`' for kind in body['content'])}.", ""]
    answers = []
    for status, answer in operation["responses"].items():
        schema = next(iter(answer.get("content", {}).values()), {}).get("schema", {})
        problem = "application/problem+json" in answer.get("content", {})
        answers.append(status if problem else f"{status} ({_type(schema)})" if schema else status)
    return [*lines, f"Answers: {', '.join(answers)}.", ""]


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if name.endswith(("View", "List")) else name
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]:
        return f"{_type(schema['additionalProperties'])} by name"
    limits = [f"{word} {schema[key]}" for key, word in LIMITS.items() if key in schema]
    return ", ".join([schema.get("type", "any"), *limits])


LIMITS = {"minimum": "at least", "maximum": "at most", "maxLength": "length at most"}

if __name__ == "__main__":
    PAGE.write_text(text(), "utf-8")
