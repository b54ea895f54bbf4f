"""HTTP errors as problem documents, RFC 9457: https://www.rfc-editor.org/rfc/rfc9457."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from itk_infer.service.refusal import Kind, Refusal

MEDIA = "application/problem+json"
STATUS: dict[Kind, int] = {
    "not_found": 404,
    "full": 429,
    "busy": 429,
    "no_space": 507,
    "too_large": 413,
    "unsupported": 415,
    "invalid": 422,
    "conflict": 409,
    "forbidden": 403,
    "slow": 408,
}
TITLES = {
    400: "The request is malformed",
    401: "A token is needed",
    403: "Not allowed",
    404: "Not there",
    405: "Not possible here",
    408: "Too slow",
    409: "Conflict",
    413: "Too large",
    415: "Not an image that is taken",
    421: "Not this server's name",
    422: "Cannot be used",
    429: "Too many at a time",
    500: "An error in the server",
    503: "Not ready",
    507: "The disk is full",
}


def problem(
    status: int, detail: str, *, retry_s: int | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Make an error response.

    Args:
        status: HTTP status.
        detail: What is wrong, and what to do.
        retry_s: Seconds for the Retry-After header.
        headers: Further headers.
    """
    more = dict(headers or {})
    if retry_s is not None:
        more["Retry-After"] = str(retry_s)
    title = TITLES.get(status, "Not possible")
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(document, status, more, MEDIA)


def problem_of(refusal: Refusal) -> JSONResponse:
    """The response to a refused request."""
    return problem(STATUS[refusal.kind], str(refusal), retry_s=refusal.retry_s)
