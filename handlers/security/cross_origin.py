"""Keeps pages of other sites from acting through the browser of whoever looks at them. Pure."""

from tornado.httputil import HTTPHeaders

from handlers.problems.problem import CROSS_ORIGIN, Problem

_OURS = ("same-origin", "none")


def refuse_other_origins(headers: HTTPHeaders) -> None:
    """Raises the Problem that a request gets which a page of another origin has sent.

    For requests that change something and that any page may send without asking first, such as those of a form.
    Decides as CrossOriginProtection of Go's net/http does (https://pkg.go.dev/net/http#CrossOriginProtection): where
    the browser says in Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/) from where the request comes, it must be
    from a page of this very origin or from the user ("none"): another port of this host is "same-site", and refused as
    "cross-site" is. Browsers don't say it over plain HTTP, but to this very machine; there the host in Origin must be
    that in Host. Where neither is said it is let in, for curl and all that is no browser; and so is what comes with an
    API key, which no page of another site can send.
    """
    site, origin = headers.get("Sec-Fetch-Site", ""), headers.get("Origin", "")
    if site:
        is_ours = site in _OURS
    else:
        is_ours = not origin or "Authorization" in headers or origin.partition("://")[2] == headers.get("Host")
    if not is_ours:
        raise Problem(CROSS_ORIGIN, "A page of another site sent this; nothing was changed.")
