"""The way to the providers: one pool of connections, headers that pass, and nothing kept of a caller's credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.request import getproxies, proxy_bypass

from optical_memory.errors import InputError, MissingExtraError
from optical_memory.service.proxy.body import Pieces

try:
    import httpx
except ImportError as error:
    raise MissingExtraError("httpx", "service") from error

Headers = list[tuple[bytes, bytes]]
_OWN = b"x-optical-memory"
_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"host", b"content-length", b"expect",
    }
)  # fmt: skip
"""Headers of one connection, which end there."""
CONNECTIONS = 1_000


class UpstreamError(Exception):
    """The provider could not be reached, or did not answer in time. ``status`` is 502 or 504."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One request to a provider."""

    provider: str
    method: str
    path: bytes
    query: bytes
    headers: Headers
    body: Pieces


class _InPieces(httpx.AsyncByteStream):
    """A body that is sent piece by piece, without a copy of the whole."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if piece:
                yield piece


def passing(headers: Iterable[tuple[bytes, bytes]], *, without: Iterable[bytes] = ()) -> Headers:
    """Return the headers that pass on: all but those of the connection, our own, and ``without``. Names are lower."""
    held = list(headers)
    named = b",".join(value for name, value in held if name.lower() == b"connection")
    gone = _HOP | set(without) | {name.strip().lower() for name in named.split(b",")}
    return [(name, value) for name, value in held if name.lower() not in gone and not name.lower().startswith(_OWN)]


class Upstream:
    """Sends requests to the providers. No redirect is followed, no cookie kept, nothing tried twice, no URL logged.

    ``urls`` are the bases by provider, ``seconds`` the longest wait for the next bytes of an answer. Variables for an
    outbound proxy (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``) and for CA bundles (``SSL_CERT_FILE``)
    are respected.
    """

    def __init__(self, urls: Mapping[str, str], *, seconds: float, connect_seconds: float = 10.0) -> None:
        """Nothing is opened yet. Raises InputError for a base that is no URL, or an outbound proxy of another kind."""
        self._bases = {provider: _base(url) for provider, url in urls.items()}
        self._timeout = httpx.Timeout(seconds, connect=connect_seconds)
        self._ways = {provider: _transport(base) for provider, base in self._bases.items()}

    @asynccontextmanager
    async def send(self, sending: Sending) -> AsyncIterator[httpx.Response]:
        """Give the answer, its body unread. Leaving the block ends the request. Raises UpstreamError."""
        base = self._bases[sending.provider]
        path = base.raw_path.rstrip(b"/") + sending.path + (b"?" + sending.query if sending.query else b"")
        headers = [*sending.headers, (b"host", base.netloc)]
        length = sum(map(len, sending.body))
        if length or sending.method in ("POST", "PUT", "PATCH"):
            headers.append((b"content-length", b"%d" % length))
        request = httpx.Request(
            sending.method,
            base.copy_with(raw_path=path),
            headers=headers,
            stream=_InPieces(sending.body),
            extensions={"timeout": self._timeout.as_dict()},
        )
        try:
            response = await self._ways[sending.provider].handle_async_request(request)
        except httpx.TimeoutException as error:
            raise UpstreamError(504, f"{base.host} did not answer in time ({type(error).__name__})") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UpstreamError(502, f"{base.host} cannot be reached ({type(error).__name__})") from error
        try:
            response.request = request
            yield response
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close the connections."""
        for way in self._ways.values():
            await way.aclose()


def _transport(base: httpx.URL) -> httpx.AsyncHTTPTransport:
    """Return the connections to a provider, through the environment's proxy where it has one for this host.

    Not a whole client: its log would hold URLs, and Gemini's clients may put their key into one.
    """
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=256, keepalive_expiry=60.0)
    return httpx.AsyncHTTPTransport(limits=limits, proxy=_between(base))


def _between(base: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that the environment has for a provider, or None. Raises InputError for one of another kind."""
    found = getproxies()
    url = found.get(base.scheme) or found.get("all")
    if url is None or proxy_bypass(base.netloc.decode("ascii")):
        return None
    kind = url.partition("://")[0]
    if kind not in ("http", "https"):
        raise InputError(f"an outbound proxy is reached over http:// or https://, not {kind!r}")
    return httpx.Proxy(url)


def _base(url: str) -> httpx.URL:
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InputError(f"a provider's URL is one such as 'https://api.openai.com', not {url!r}") from error
    if base.scheme not in ("http", "https") or not base.host or base.userinfo or base.query or base.fragment:
        raise InputError(f"a provider's URL is one such as 'https://api.openai.com', not {url!r}")
    return base
