"""API keys of every scope, and guards that accept them."""

from collections.abc import Sequence
from typing import Any

from handlers.security.api_keys import ApiKey, Scope, digest_of, new_key
from handlers.security.rate_limit import RateLimit
from handlers.security.request_guard import RequestGuard

TOKENS = {scope.label: new_key(scope.label, scope, entropy=bytes([scope]).__mul__)[0] for scope in Scope}
KEYS = [ApiKey(scope.label, scope, digest_of(TOKENS[scope.label])) for scope in Scope]
UNKNOWN = new_key("nobody", Scope.ADMIN, entropy=b"?".__mul__)[0]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def build_guard(
    limit: RateLimit | None = None, *, keys: Sequence[ApiKey] | None = KEYS, **options: Any
) -> RequestGuard:
    return RequestGuard(keys=keys, limit=limit, **{"clock_ns": lambda: 0, **options})
