"""Who may ask for what, and how often: decided once a request's headers are there. Runs on the event loop."""

import functools
import hmac
import ipaddress
from collections.abc import Callable, Sequence

from handlers.problems.problem import FORBIDDEN, RATE_LIMITED, UNAUTHORIZED, Problem
from handlers.security.api_keys import ApiKey, Scope, digest_of
from handlers.security.rate_limit import RateLimit, RateLimiter
from handlers.transport.exchange import Incoming

Admit = Callable[[Incoming], None]
"""Lets a request in, or raises the Problem that it gets instead."""

OPEN_PATHS = frozenset({"/livez", "/readyz", "/"})
"""Whoever watches over the process has no key, and must not be kept out; nor can a browser send one for a page."""
PAGE_FILES = "/dashboard/"
"""What the page at / is made of: there is no data in it, and a part of it is of no use."""
_ADMIN_PATHS = frozenset({"/orders/retry"})
_CHALLENGE = 'Bearer realm="orders"'


def admit_everybody(incoming: Incoming) -> None:
    """Lets every request in."""


class Gate:
    """Lets in who has a key, where keys are asked for, and who does not ask too often, where that is limited.

    Requests count for their key; without keys, and where none of them is given, for the client's address, an IPv6
    address for its network of 64 bits. A request with a good key is never refused for what others do at its address.
    `is_same` compares two digests in a time that does not depend on them; `clock_ns` is monotonic, in nanoseconds.
    """

    def __init__(
        self,
        *,
        keys: Sequence[ApiKey] | None,
        limit: RateLimit | None,
        clock_ns: Callable[[], int],
        is_same: Callable[[bytes, bytes], bool] = hmac.compare_digest,
    ) -> None:
        self._keys = keys
        self._is_same = is_same
        self._limit = limit
        # Apart, so that a crowd of addresses never makes a key's use forgotten.
        self._of_keys = limit and RateLimiter(limit, clock_ns=clock_ns)
        self._of_addresses = limit and RateLimiter(limit, clock_ns=clock_ns)

    def admit(self, incoming: Incoming) -> None:
        """Raises Problem; sets the request's `key_name` and what its answer says about the limit."""
        if incoming.path in OPEN_PATHS or incoming.path.startswith(PAGE_FILES):
            return
        if self._keys is None:
            self._count(self._of_addresses, _network_of(incoming.client_address), incoming)
            return
        token = _token_of(incoming)
        key = token and self._find(token, self._keys)
        if not key:
            self._count(self._of_addresses, _network_of(incoming.client_address), incoming)
            raise _unauthorized(is_token_given=bool(token))
        incoming.key_name = key.name
        self._count(self._of_keys, key.name, incoming)
        needed = _scope_for(incoming)
        if key.scope < needed:
            raise _forbidden(key, needed)

    def _find(self, token: str, keys: Sequence[ApiKey]) -> ApiKey | None:
        found = None
        digest = digest_of(token)
        # To the last one, so that the time says nothing about which it is.
        for key in keys:
            if self._is_same(digest, key.digest):
                found = key
        return found

    def _count(self, limiter: RateLimiter | None, client: str, incoming: Incoming) -> None:
        if limiter is None or self._limit is None:
            return
        taken = limiter.take(client)
        # As in draft-ietf-httpapi-ratelimit-headers-11; no more than `r` can be used within `t` seconds.
        incoming.answer_headers["RateLimit-Policy"] = f'"default";q={self._limit.requests};w={self._limit.period_s}'
        incoming.answer_headers["RateLimit"] = f'"default";r={taken.left};t={taken.next_s}'
        if not taken.is_allowed:
            whom = "address" if limiter is self._of_addresses else "key"
            detail = f"At most {self._limit} are taken for each {whom}; nothing was changed."
            raise Problem(RATE_LIMITED, detail, headers={"Retry-After": str(taken.next_s)})


def warning_about(address: str, *, has_keys: bool, has_tls: bool) -> str | None:
    """What whoever starts the server should know about listening on the address."""
    if ipaddress.ip_address(address).is_loopback:
        return None
    if not has_keys:
        return "anyone who can reach this address can read and change orders: --api-keys asks for keys"
    if not has_tls:
        return "keys travel in the clear unless a proxy encrypts them: --tls-cert and --tls-key serve HTTPS"
    return None


def _token_of(incoming: Incoming) -> str:
    scheme, _, token = incoming.headers.get("Authorization", "").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else ""


def _scope_for(incoming: Incoming) -> Scope:
    if incoming.start_line.method != "POST":
        return Scope.READ
    return Scope.ADMIN if incoming.path in _ADMIN_PATHS else Scope.WRITE


def _unauthorized(*, is_token_given: bool) -> Problem:
    # RFC 6750 §3.1: no error code for a client that may not have known that it is to send a token.
    if not is_token_given:
        detail = "Send an API key: Authorization: Bearer <key>."
        return Problem(UNAUTHORIZED, detail, headers={"WWW-Authenticate": _CHALLENGE})
    challenge = f'{_CHALLENGE}, error="invalid_token"'
    return Problem(UNAUTHORIZED, "This is none of the API keys known here.", headers={"WWW-Authenticate": challenge})


def _forbidden(key: ApiKey, needed: Scope) -> Problem:
    detail = f"The scope of this key is {key.scope.word}; the request needs {needed.word}."
    challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{needed.word}"'
    return Problem(FORBIDDEN, detail, headers={"WWW-Authenticate": challenge})


@functools.lru_cache(maxsize=1_024)
def _network_of(address: str) -> str:
    if ":" not in address:
        return address
    ip = ipaddress.IPv6Address(address)
    return str(ip.ipv4_mapped or ipaddress.IPv6Address(int(ip) >> 64 << 64))
