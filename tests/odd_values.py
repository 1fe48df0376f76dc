"""Unusual and malformed parts of requests: paths, headers, numbers, bodies. `Fuzzer` builds requests from them."""


def _words(text: str) -> list[str]:
    return text.split()


PATHS = _words(
    """/order /order/1 /order/1?wait=0 /order/1/attempts /order/1/cancel /order/1/retry /orders
    /orders?limit=5&status=Failed /orders/retry?status=Failed /orders/events /orders/1 /metrics /metrics/prometheus
    /livez /readyz /openapi.json /docs / /nowhere"""
)
POSTED = _words("/order /orders /order/1/cancel /order/1/retry /orders/retry?status=Failed")
ODD_PATHS = [
    *_words("/order/../order/1 //order /order//1 /%6frder/1 /order/%31 /order/% /order/%zz /%00 /order/0 /order/-1"),
    *_words("/order/1.0 /order/\u0661 * /order/1;x /order/1#x http://test/order/1 http:// test:80 /..%2f..%2fetc%2fpw"),
    *_words("/order/%ff%fe /\\order /docs/../server.py /docs/%2e%2e/ /static/x ?"),
    *("/order/" + "9" * 30, "/order/" + "9" * 6_000, "/" + "a" * 60_000, "/" + "a" * 70_000),
]
METHODS = _words("GET POST PUT PATCH DELETE OPTIONS HEAD TRACE CONNECT BREW get PRI G(T")
VERSIONS = ["", *_words("HTTP/1.1 HTTP/1.0 HTTP/0.9 HTTP/2 HTTP/1.10 http/1.1 HTP/1.1 HTTP/x")]
REQUEST_LINES = [
    *("{method}", "{method} {path}", "{method}  {path} {version}", "{path} {method} {version}"),
    *("{method} {path} {version} x", " {method} {path} {version}", "{method}\t{path}\t{version}"),
    "{method} {path} {version}",
]
PARAMETERS = ["", *_words("limit cursor status user_id order_id wait created_after created_before x %00 a[]")]
BODY_TYPES = ["application/json", "application/json; charset=utf-8", "application/x-ndjson"]
OTHER_TYPES = [
    *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data"),
    *("application/json; charset=nonsense", "APPLICATION/JSON", ";", "", "application/json\t", "json", "*/*"),
]
NUMBERS = _words(
    """0 -1 1.0 1e3 9223372036854775807 9223372036854775808 1e999999999 -1e-999999999 NaN Infinity 00 +1 0x10 1_000 .5
    5. 1e 99.99999 10000000000 0.1e1 -0 -0.0"""
)
PARAMETER_VALUES = [
    *NUMBERS,
    *_words("Failed %ff % %zz 2025-13-01 2025-01-01 é a=b %0d%0a + null"),
    *("", "x" * 500),
]
LITERALS = ["", '{"a": 1}', *_words('null true [] {} "" "1" "\\ud800" "\\u0000" [[1]] [true] \'1\'')]
FIELDS = _words("order_id user_id item_ids total_amount metadata x \\u0000 \\ud800")
LENGTHS = [
    *_words("-1 +5 0x10 1e3 5.0 99999999999999999999 abc \u0665 5; 17000000 33554433 0"),
    *("9" * 400, "9" * 5_000, "", " ", "5, 6", "5, 5"),
]
MANY_HEADERS = ["X-{n}: y\r\n", "X: {n}\r\n", "Cookie: a{n}=b\r\n", " {n}\r\n", ": {n}\r\n", "X{n}\r\n"]
HEADERS: dict[str, list[str]] = {
    "Prefer": [
        "wait=0",
        "wait=-1",
        "wait=99999999999",
        "wait",
        "wait=x",
        "wait=0, wait=1",
        "respond-async",
        "=",
        ";,;",
    ],
    "Accept": ["*/*;q=2", "text/plain;q=x", ",,,", "text/plain, application/json;q=0", "a/b/c", "x" * 3_000, ";q=1"],
    "If-None-Match": ["*", '"x"', "W/", '"' * 500, 'W/"x", "y"'],
    "If-Modified-Since": ["yesterday", "0", "Mon, 99 Foo 2025 00:00:00 GMT"],
    "Range": ["bytes=0-1", "bytes=-1", "bytes=9-1", "bytes=0-,0-,0-", "x=1"],
    "Expect": ["100-continue", "200-ok", "100-Continue", ""],
    "X-Request-Id": ["a" * 128, "a" * 129, "\t", "\x7f", "é", "a b", "a\r\n b", "%0d%0aX: y"],
    "Last-Event-ID": ["0", "-1", "ff-1", "x" * 1_000, "0-999999999999999999999"],
    "Authorization": ["Bearer", "Bearer " + "x" * 5_000, "Basic eDp5", "Bearer é", ""],
    "Content-Encoding": ["gzip", "br", "identity"],
    "Connection": ["close", "keep-alive", "upgrade", "close, keep-alive", "x"],
    "Upgrade": ["websocket", "h2c"],
    "Cookie": ["a=b", "=;=;=", "x" * 2_000],
    "Host": ["", "a b", "test:99999", "[::1", "é", "a/b", "test, test"],
    "Transfer-Encoding": ["identity", "chunked, chunked", "gzip", "Chunked", "xchunked", ""],
}
BEGINNINGS = [b"", b"\r\n", b"GET ", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM"]
ENDS = [b"", b"\r\n\r\n", b"\n\n", b"\r\n"]
CHUNKS = [
    *(b"-1\r\nx\r\n", b"fffffffffffffffff\r\n", b"0x5\r\n", b"5;a=b\r\nhello\r\n", b"\r\n", b"5\r\nhelloXX"),
    *(b"0\r\nX: y\r\n\r\n", b"g\r\n", b"0" * 100, b"5\nhello\n", b"+5\r\nhello\r\n", b"1_0\r\n", b"0\r\nxx"),
]
NOT_JSON = [
    *(b"", b" ", b"{", b"[", b"]", b"{}", b"[]", b"[{}]", b"null", b"0", b'"', b"{]", b'{"a"', b"{'a': 1}", b"[1,]"),
    *(b'{"order_id": 1, "order_id": 2}', b"/**/{}"),
]
BAD_TEXT = [
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x00", b"\xc0\xaf", b"\xef\xbb\xbf", b"\xfe\xff"),
    b"\x1b[2J",
]
LINES = [b"", b"{}", b"\xff", b"null", b"[", b"\r", b"x" * 70_000]


def bombs(size: int) -> list[str]:
    """Texts that are JSON or almost JSON: nested deeply, with many elements, or with long strings and numbers."""
    return [
        *("[" * size, '{"a":' * size, "[" * size + "]" * size, "[" + "1," * size + "1]", "[" + "[]," * size + "{}]"),
        *('"' + "\\u0041" * size + '"', '"' + "x" * size + '"', "1" * size, "0." + "1" * size, "1e" + "9" * size),
        '{"a": 1' + ', "a": 1' * size + "}",
    ]
