"""Rejects requests to a wrong host, without a valid API key or over the rate limit. Runs on the event loop."""

import functools
import hmac
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from handlers.problems.problem import FORBIDDEN, RATE_LIMITED, UNAUTHORIZED, Problem
from handlers.requests.request_head import RequestInfo
from handlers.security.api_keys import ApiKey, Scope, digest_of
from handlers.security.hosts import ANY_HOST, AllowedHosts
from handlers.security.rate_limit import ONE_SERVER, RateLimit, RateLimiter, ServerCount


class Guard(Protocol):
    """Decides which requests are served."""

    def admit(self, request: RequestInfo, /) -> None:
        """Returns if the request may be served; otherwise raises the Problem to send."""


class DigestComparison(Protocol):
    """Compares two digests in constant time."""

    def __call__(self, a: bytes, b: bytes, /) -> bool: ...


PROBES = frozenset({"/livez", "/readyz"})
"""Paths that need no key and have no rate limit."""
PAGES = frozenset({"/", "/docs", "/openapi.json"})
"""Paths that need no key, because a browser can't send a key when it opens a page. The pages contain no data."""
FOLDERS_OF_PAGES = ("/dashboard/", "/docs/")
"""The pages in `PAGES` load files whose paths begin with one of these texts. These paths need no key either."""
_READ, _WRITE, _ADMIN = Scope  # constants, because reading `Scope.READ` takes long in Python 3.11
MAX_ACCEPTED = 1_000
"""How many accepted Authorization headers are remembered."""
_ERASE = "/erase"
"""The end of the paths that erase orders."""
_ADMIN_PATHS = frozenset({"/orders/retry", "/processing/pause", "/processing/resume"})
# Spelled as Tornado spells all header names, so that the plain lane and Tornado send the same bytes.
_RATE_LIMIT_POLICY = "Ratelimit-Policy"
_RATE_LIMIT = "Ratelimit"
_AUTHENTICATE = "Www-Authenticate"
_CHALLENGE = 'Bearer realm="orders"'


class RequestGuard:
    """Rejects requests with a wrong host, without a valid key of sufficient scope, or over the rate limit.

    `hosts` are accepted in the Host header. If `keys` is None, requests need no key. If `limit` is None, there is no
    rate limit. A request with a valid key counts towards the limit of that key. A request for a page or a file of a
    page, and a request without a valid key, count towards the limit of the client address. All IPv6 addresses of a /64
    network share one limit. All servers on a database share the limits: each allows its part. `clock_ns` is monotonic,
    in nanoseconds.
    """

    def __init__(
        self,
        *,
        keys: Sequence[ApiKey] | None,
        limit: RateLimit | None,
        clock_ns: Callable[[], int],
        servers: ServerCount = ONE_SERVER,
        hosts: AllowedHosts = ANY_HOST,
        compare_digest: DigestComparison = hmac.compare_digest,
    ) -> None:
        self._hosts = hosts
        self._keys = keys
        self._compare_digest = compare_digest
        self._limit = limit
        self._policy = "" if limit is None else f'"default";q={limit.requests};w={limit.period_s}'
        self._servers = servers
        self._divisor = 1
        self._accepted: dict[str, ApiKey] = {}
        """The key in each Authorization header that was accepted before. A lookup takes the same time for all headers
        that are not accepted, because Python compares two texts only if their randomized hashes are equal."""
        # Two limiters, because each has room for a limited number of clients: many addresses must not evict the keys.
        self._key_limiter = limit and RateLimiter(limit, clock_ns=clock_ns)
        self._address_limiter = limit and RateLimiter(limit, clock_ns=clock_ns)

    def admit(self, request: RequestInfo) -> None:
        """Implements `Guard`. Also sets `key_name`, `scope` and the RateLimit headers of the request."""
        self._hosts.check(request.header("Host") or "")
        if self._keys is None and self._limit is None:
            return
        path = request.path
        if path in PROBES:
            return
        if self._keys is None or path in PAGES or path.startswith(FOLDERS_OF_PAGES):
            self._count(self._address_limiter, _network_of(request.client_address), request)
            return
        credentials = request.header("Authorization") or ""
        key = self._accepted.get(credentials) or self._find(credentials, self._keys)
        if key is None:
            self._count(self._address_limiter, _network_of(request.client_address), request)
            raise _unauthorized(is_token_given=bool(_token_of(credentials)))
        request.key_name = key.name
        request.scope = key.scope.label
        self._count(self._key_limiter, key.name, request)
        needed = _scope_for(request.method, path)
        if key.scope < needed:
            raise _forbidden(key, needed)

    def replace_keys(self, keys: Sequence[ApiKey]) -> None:
        """Accepts these keys from now on. A key that keeps its name keeps its rate limit."""
        self._keys = keys
        self._accepted.clear()

    def _find(self, credentials: str, keys: Sequence[ApiKey]) -> ApiKey | None:
        """The key in an Authorization header; None if the header has none of the keys."""
        found = None
        token = _token_of(credentials)
        if not token:
            return None
        digest = digest_of(token)
        # All keys are compared, so that the time does not depend on which key matches.
        for key in keys:
            if self._compare_digest(digest, key.digest):
                found = key
        if found:
            if len(self._accepted) >= MAX_ACCEPTED:
                self._accepted.clear()
            self._accepted[credentials] = found
        return found

    def _count(self, limiter: RateLimiter | None, client: str, request: RequestInfo) -> None:
        if limiter is None or self._limit is None:
            return
        if self._servers.living_servers != self._divisor:
            self._share_limits(self._servers.living_servers)
        decision = limiter.acquire(client)
        # draft-ietf-httpapi-ratelimit-headers-11: at most `r` requests are allowed within the next `t` seconds, and `q`
        # requests within each window of `w` seconds.
        request.response_headers[_RATE_LIMIT_POLICY] = self._policy
        request.response_headers[_RATE_LIMIT] = f'"default";r={decision.remaining};t={decision.next_s}'
        if not decision.is_allowed:
            unit = "address" if limiter is self._address_limiter else "key"
            shared = f", divided among {self._divisor} servers" if self._divisor > 1 else ""
            detail = f"The limit is {self._limit} for each {unit}{shared}; nothing was changed."
            raise Problem(RATE_LIMITED, detail, headers={"Retry-After": str(decision.next_s)})

    def _share_limits(self, servers: int) -> None:
        self._divisor = servers
        for limiter in (self._key_limiter, self._address_limiter):
            if limiter is not None:
                limiter.share_among(servers)


def exposure_warning(addresses: Iterable[str], *, has_keys: bool, has_tls: bool) -> str | None:
    """A warning for the operator if one of the addresses can be reached from other machines, else None."""
    if all(ipaddress.ip_address(each).is_loopback for each in addresses):
        return None
    if not has_keys:
        return "anyone who can reach this address can read and change orders: use --api-keys to require keys"
    if not has_tls:
        return "keys are sent in the clear unless a proxy encrypts them: use --tls-cert and --tls-key to serve HTTPS"
    return None


def _token_of(credentials: str) -> str:
    scheme, _, token = credentials.partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else ""


def _scope_for(method: str, path: str) -> Scope:
    if method != "POST":
        return _READ
    return _ADMIN if path in _ADMIN_PATHS or path.endswith(_ERASE) else _WRITE


def _unauthorized(*, is_token_given: bool) -> Problem:
    # RFC 6750 §3.1: if the client sent no token, the challenge has no error code.
    if not is_token_given:
        detail = "Send an API key: Authorization: Bearer <key>."
        return Problem(UNAUTHORIZED, detail, headers={_AUTHENTICATE: _CHALLENGE})
    challenge = f'{_CHALLENGE}, error="invalid_token"'
    return Problem(UNAUTHORIZED, "This is none of the API keys known here.", headers={_AUTHENTICATE: challenge})


def _forbidden(key: ApiKey, needed: Scope) -> Problem:
    detail = f"The scope of this key is {key.scope.label}; the request needs {needed.label}."
    challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{needed.label}"'
    return Problem(FORBIDDEN, detail, headers={_AUTHENTICATE: challenge})


@functools.lru_cache(maxsize=1_024)
def _network_of(address: str) -> str:
    if ":" not in address:
        return address
    ip = ipaddress.IPv6Address(address)
    return str(ip.ipv4_mapped or ipaddress.IPv6Address(int(ip) >> 64 << 64))
