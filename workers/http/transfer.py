"""Makes one request at a time with an easy handle of libcurl. Runs on the thread of `HttpThread`."""

import os
import ssl
from collections.abc import Sequence

import pycurl

from workers.http.failures import failure_of
from workers.http.messages import Failure, Request, Response
from workers.http.target import Target, encoded_url

MAX_BODY_BYTES = 64 * 1024
"""How many bytes of a decompressed response body are read. If the body is longer, the connection is closed."""

_NO_EXPECT = "Expect:"
"""With this header, libcurl sends no `Expect: 100-continue`, which would cost a round trip."""
_PROXY_VARIABLE = "_proxy"
"""The names of the environment variables that set proxies end with this text, in upper or lower case."""
_MILLISECONDS = 1_000


class Transfer:
    """An easy handle of libcurl with the settings for `target`, which is used for one request after another.

    Certificates are verified with the files that Python's `ssl` uses: the files of the system, or SSL_CERT_FILE and
    SSL_CERT_DIR. The environment variables of `curl` set the proxies.
    """

    def __init__(self, target: Target) -> None:
        self.handle = pycurl.Curl()
        self._lines: list[bytes] = []
        self._body = bytearray()
        self._request_body = b""
        self._sent_bytes = 0
        self._can_repeat = False
        self._configure(target)

    def prepare(self, request: Request, *, can_repeat: bool) -> None:
        """Prepares the handle for this request. The caller must then add the handle to a multi handle.

        If a reused connection is closed before the first byte of a response, libcurl repeats the request on another
        connection, unless `can_repeat` is false.
        """
        self._lines.clear()
        self._body.clear()
        self._request_body = request.body
        self._sent_bytes = 0
        self._can_repeat = can_repeat
        self.handle.setopt(pycurl.POSTFIELDSIZE_LARGE, len(request.body))
        self.handle.setopt(pycurl.HTTPHEADER, [_NO_EXPECT, *request.headers])

    @property
    def has_used_http2(self) -> bool:
        """Whether the response that has arrived came over HTTP/2."""
        return bool(self.handle.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2_0)

    def response(self) -> Response:
        """The response to a request that has ended without an error."""
        return self._response(self.handle.getinfo(pycurl.RESPONSE_CODE))

    def result_after(self, code: int, text: str) -> Response | Failure:
        """The result of a request that ended with this error of libcurl: a Response if its whole head has arrived."""
        status = self.handle.getinfo(pycurl.RESPONSE_CODE)  # 0 if only a proxy has responded, to CONNECT
        if status and _last_head(self._lines) is not None:
            return self._response(status)
        system_error = self.handle.getinfo(pycurl.OS_ERRNO)
        return failure_of(code, text, system_error=system_error, was_sent=self._sent_bytes > 0)

    def _response(self, status: int) -> Response:
        if 200 <= status < 300:
            return Response(status)
        return Response(
            status,
            bytes(self._body[:MAX_BODY_BYTES]),
            # `getinfo` would raise UnicodeDecodeError for bytes that are not UTF-8.
            content_type=(self.handle.getinfo_raw(pycurl.CONTENT_TYPE) or b"").decode("latin-1"),
            retry_after=_value(_last_head(self._lines) or (), b"retry-after"),
        )

    def _configure(self, target: Target) -> None:
        set_option = self.handle.setopt
        set_option(pycurl.URL, encoded_url(target.url))
        set_option(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        set_option(pycurl.CONNECTTIMEOUT_MS, max(1, round(target.connect_timeout_s * _MILLISECONDS)))
        set_option(pycurl.TIMEOUT_MS, max(1, round(target.timeout_s * _MILLISECONDS)))
        set_option(pycurl.NOSIGNAL, 1)
        set_option(pycurl.POST, 1)
        # Callbacks, because libcurl would otherwise decide by itself whether to repeat a request.
        set_option(pycurl.READFUNCTION, self._read)
        set_option(pycurl.SEEKFUNCTION, self._rewind)
        # `list.append` takes less time than a Python function.
        set_option(pycurl.HEADERFUNCTION, self._lines.append)
        set_option(pycurl.WRITEFUNCTION, self._write)
        # Requests uncompressed responses. libcurl nevertheless decompresses each encoding that it knows.
        set_option(pycurl.ACCEPT_ENCODING, "identity")
        if not any(name.lower().endswith(_PROXY_VARIABLE) for name in os.environ):
            set_option(pycurl.PROXY, "")  # libcurl would look for the variables before each request
        if target.is_https:
            set_option(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
            # Waits until the first connection is ready, because all requests can use it if the receiver offers HTTP/2.
            set_option(pycurl.PIPEWAIT, 1)
            set_option(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        else:
            set_option(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        self._use_certificates_of_system()

    def _use_certificates_of_system(self) -> None:
        # The libcurl in pycurl's wheel looks for certificates only where one Linux distribution stores them.
        paths = ssl.get_default_verify_paths()
        for options, path in (
            ((pycurl.CAINFO, pycurl.PROXY_CAINFO), paths.cafile),
            ((pycurl.CAPATH, pycurl.PROXY_CAPATH), paths.capath),
        ):
            for option in options:
                if path is None:
                    self.handle.unsetopt(option)
                else:
                    self.handle.setopt(option, path)

    def _read(self, size: int) -> bytes:
        piece = self._request_body[self._sent_bytes : self._sent_bytes + size]
        self._sent_bytes += len(piece)
        return piece

    def _rewind(self, offset: int, _origin: int) -> int:
        """Called before libcurl repeats the request. `offset` is always 0."""
        if not self._can_repeat:
            return pycurl.SEEKFUNC_FAIL
        self._sent_bytes = offset
        return pycurl.SEEKFUNC_OK

    def _write(self, piece: bytes) -> int | None:
        self._body += piece
        # libcurl ends the transfer if the result is not the length of the piece. None stands for this length.
        return None if len(self._body) <= MAX_BODY_BYTES else 0


def _last_head(lines: Sequence[bytes]) -> Sequence[bytes] | None:
    """The lines of the last response head; None if it is incomplete or informational.

    `lines` are the lines of all heads: of a proxy's response to CONNECT, of informational responses, and of the
    response. Trailers can follow.
    """
    begin = max((number for number, line in enumerate(lines) if line.startswith(b"HTTP/")), default=None)
    if begin is None or _is_informational(lines[begin]):
        return None
    for number in range(begin, len(lines)):
        if not lines[number].strip():
            return lines[begin:number]
    return None


def _is_informational(status_line: bytes) -> bool:
    _, _, rest = status_line.partition(b" ")
    return rest.lstrip().startswith(b"1")


def _value(head: Sequence[bytes], name: bytes) -> str | None:
    """The value of the first header with `name`, which must be in lower case; None if there is no such header."""
    for line in head:
        field, _, value = line.partition(b":")
        if field.lower() == name:
            return value.decode("latin-1").strip()
    return None
