"""The dashboard's own files and answers, and the headers under which a browser takes them: nothing from elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from starlette.responses import Response

from optical_memory.service.answers import answer, packed

SHELL = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What a browser may do: no text can become a script or a style, whatever it holds."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file: its bytes, type and tag."""

    data: bytes
    media_type: str
    etag: str


@cache
def assets() -> dict[str, Asset]:
    """Return all files by name."""
    found = {}
    for file in (resources.files("optical_memory.service.dashboard") / "static").iterdir():
        kind = TYPES.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            data = file.read_bytes()
            found[file.name] = Asset(data=data, media_type=kind, etag=f'"{hashlib.sha256(data).hexdigest()[:32]}"')
    return found


def file_response(name: str, if_none_match: str | None) -> Response | None:
    """Return a file as a response, None where there is none of this name."""
    asset = assets().get(name)
    if asset is None:
        return None
    headers = HEADERS | {"ETag": asset.etag, "Cache-Control": "no-cache"}
    if if_none_match is not None and asset.etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(asset.data, media_type=asset.media_type, headers=headers)


def private(said: Any) -> Response:
    """Return data that browsers neither keep nor show as anything else."""
    return secured(answer(packed(said)))


def secured(response: Response) -> Response:
    """Return a response with the headers of the dashboard's pages."""
    response.headers.update(HEADERS | {"Cache-Control": "no-store"})
    return response
