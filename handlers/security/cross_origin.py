"""Rejects cross-origin requests of browsers (CSRF). Pure functions."""

from tornado.httputil import HTTPHeaders

from handlers.problems.problem import CROSS_ORIGIN, Problem

_ALLOWED_SITES = ("same-origin", "none")


def reject_cross_origin(headers: HTTPHeaders) -> None:
    """Raises a Problem if a page of another origin sent the request.

    For requests that change data and that a page can send without a preflight request, such as form submissions. The
    rules are the same as in Go's net/http (https://pkg.go.dev/net/http#CrossOriginProtection):

    - If Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/) is present, only "same-origin" and "none" (sent by the
      user, not by a page) are allowed. "same-site", such as another port of this host, is rejected like "cross-site".
    - Over plain HTTP, browsers send Sec-Fetch-Site only to localhost. If Sec-Fetch-Site is missing and the request has
      no API key, the host in Origin must equal the Host header. A page of another origin can't send a key.
    - If both Sec-Fetch-Site and Origin are missing, the request is allowed, because it does not come from a browser.
    """
    site, origin = headers.get("Sec-Fetch-Site", ""), headers.get("Origin", "")
    if site:
        is_allowed = site in _ALLOWED_SITES
    else:
        is_allowed = not origin or "Authorization" in headers or origin.partition("://")[2] == headers.get("Host")
    if not is_allowed:
        raise Problem(CROSS_ORIGIN, "A page of another site sent this; nothing was changed.")
