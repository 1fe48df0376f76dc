"""What libcurl's error codes mean. Pure functions; usable on any thread."""

import os

import pycurl

from workers.http.messages import Failure, FailureKind

_UNREACHABLE = frozenset(
    {pycurl.E_COULDNT_RESOLVE_PROXY, pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_CONNECT, pycurl.E_URL_MALFORMAT}
)
_INSECURE = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CIPHER,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_ISSUER_ERROR,
    }
)


def failure_of(code: int, text: str, *, system_error: int, was_sent: bool) -> Failure:
    """The failure for an error of libcurl with this code and text.

    `system_error` is the last `errno` of the connection. `was_sent` says whether the request was sent.
    """
    text = text or pycurl.easy_strerror(code)
    if code in _UNREACHABLE:
        # libcurl's own text says only that it could not connect.
        cause = f"[Errno {system_error}] {os.strerror(system_error)}" if system_error else text
        return Failure(FailureKind.UNREACHABLE, cause)
    if code == pycurl.E_OPERATION_TIMEDOUT:
        kind = FailureKind.NOT_ANSWERED_IN_TIME if was_sent else FailureKind.NOT_CONNECTED_IN_TIME
        return Failure(kind, text)
    if code == pycurl.E_SEND_FAIL_REWIND:  # the request must not be repeated: see `Transfer`
        return Failure(FailureKind.NOT_HTTP, "Remote end closed connection without response")
    if code == pycurl.E_PEER_FAILED_VERIFICATION:
        return Failure(FailureKind.INSECURE, f"[SSL: CERTIFICATE_VERIFY_FAILED] {text}")
    return Failure(FailureKind.INSECURE if code in _INSECURE else FailureKind.NOT_HTTP, text)
