"""Decides which values of the Host header the server accepts: protection against DNS rebinding. No I/O.

Another site can point its own name to the loopback address. The browser then treats requests from the pages of that
site to this server as same-origin. The Host header of these requests still contains the name of that site.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable

from handlers.problems.problem import MISDIRECTED_REQUEST, Problem

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])\.?(:[0-9]*)?", re.ASCII | re.IGNORECASE)


class AllowedHosts:
    """The hosts that the Host header of a request may name, with any port. If `names` is None, every host is allowed.

    `names` are in the form that `parse_hosts` returns.
    """

    def __init__(self, names: frozenset[str] | None) -> None:
        self._names = names

    def allows(self, host: str) -> bool:
        """Whether a request with this Host header is accepted. `host` is "" if the header is missing."""
        return self._names is None or _is_among(self._names, host)

    def check(self, host: str) -> None:
        """Raises a Problem if a request with this Host header is not accepted."""
        if self._names is not None and not _is_among(self._names, host):
            detail = (
                "The Host header names no host of this server. --allowed-hosts adds names to those that it accepts."
            )
            raise Problem(MISDIRECTED_REQUEST, detail)


ANY_HOST = AllowedHosts(None)


@functools.lru_cache(maxsize=100)
def _is_among(names: frozenset[str], host: str) -> bool:
    found = _HOST.fullmatch(host)
    return found is not None and found[1].lower() in names


def allowed_hosts(addresses: Iterable[str], *, has_keys: bool, configured: frozenset[str] | None) -> AllowedHosts:
    """The hosts that the server accepts in the Host header. `configured` is the value of --allowed-hosts, if given.

    The server listens on `addresses`. Without --allowed-hosts, the server accepts every host if it has API keys, or if
    one of `addresses` is not a loopback address. In all other cases, the server accepts `configured`, `addresses` and
    `LOOPBACK_HOSTS`.
    """
    listening = [ipaddress.ip_address(each.partition("%")[0]) for each in addresses]
    if configured is None and (has_keys or not all(each.is_loopback for each in listening)):
        return ANY_HOST
    own = {f"[{each}]" if each.version == 6 else str(each) for each in listening}
    return AllowedHosts(LOOPBACK_HOSTS | own | (configured or frozenset()))


def parse_hosts(text: str) -> frozenset[str]:
    """The hosts in a text, separated by commas or white space. Raises ValueError if a host is not valid."""
    hosts = frozenset(_parse(each) for each in re.split(r"[,\s]+", text) if each)
    if not hosts:
        raise ValueError("must name at least one host")
    return hosts


def _parse(text: str) -> str:
    if text.count(":") > 1:
        try:
            return f"[{ipaddress.IPv6Address(text.removeprefix('[').removesuffix(']'))}]"
        except ValueError:
            pass
    found = _HOST.fullmatch(text)
    if found is None or found[2] or text.startswith("["):
        raise ValueError("must be host names or IP addresses without ports, separated by commas or spaces")
    return found[1].lower()
