"""Generates malformed requests, and valid requests with random changes. The same seed gives the same requests."""

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from tests import odd_values as odd

T = TypeVar("T")
BOMB_SIZES = [100, 5_000, 60_000]


class Fuzzer:
    """Generates any number of requests. Each request is the bytes to send."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._kinds: list[Callable[[], bytes]] = [
            *(self._noise, self._request_line, self._path, self._query, self._many_headers, self._headers),
            *(self._length, self._bad_chunks, self._not_json, self._bomb, self._field, self._text, self._lines),
            *(self._pipeline, self._mutant, self._mutant, self._mutant, self._mutant),
        ]

    def request(self) -> bytes:
        return self._any(self._kinds)()

    def _any(self, values: Sequence[T]) -> T:
        return self._random.choice(values)

    def _bytes(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randint(0, most))

    def _get(self, path: str, *, method: str = "GET", headers: str = "") -> bytes:
        return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()

    def _post(self, body: bytes, *, path: str = "", headers: str = "", content_type: str | None = None) -> bytes:
        content_type = self._any(odd.BODY_TYPES) if content_type is None else content_type
        headers = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}"
        return self._get(path or self._any(odd.POSTED), method="POST", headers=headers) + body

    def _chunked(self, chunks: list[bytes], *, path: str, end: bytes = b"0\r\n\r\n") -> bytes:
        headers = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        return self._get(path, method="POST", headers=headers) + body + end

    def _order(self, **changes: str) -> bytes:
        number = str(self._random.randint(1, 1_000))
        fields = {"order_id": number, "user_id": "1", "item_ids": "[1, 2]", "total_amount": "9.99", **changes}
        return ("{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}").encode()

    def _orders(self, order: bytes) -> bytes:
        """A body with the order, or with the order and a second one, as an array or as lines."""
        return self._any([order, b"[%b]" % order, b"[%b, %b]" % (order, self._order()), order + b"\n" + self._order()])

    def _valid(self) -> bytes:
        order, other = self._order(), self._order()
        return self._any(
            [
                self._post(order, path="/order", content_type="application/json"),
                self._post(b"[%b, %b]" % (order, other), path="/orders", content_type="application/json"),
                self._post(order + b"\n" + other, path="/orders", content_type="application/x-ndjson"),
                self._chunked([order], path="/order"),
                self._get(self._any(odd.PATHS), method=self._any(["GET", "GET", "HEAD", "POST"])),
            ]
        )

    def _noise(self) -> bytes:
        return self._any(odd.BEGINNINGS) + self._bytes(300) + self._any(odd.ENDS)

    def _request_line(self) -> bytes:
        line = self._any(odd.REQUEST_LINES)
        line = line.format(method=self._any(odd.METHODS), path=self._any(odd.PATHS), version=self._any(odd.VERSIONS))
        end = self._any(["\r\n", "\n", "\r"])
        return f"{line}{end}Host: localhost\r\n\r\n".encode()

    def _path(self) -> bytes:
        return self._get(self._any(odd.ODD_PATHS), method=self._any(["GET", "HEAD", "POST", "DELETE"]))

    def _query(self) -> bytes:
        pairs = "&".join(
            f"{self._any(odd.PARAMETERS)}{self._any(['=', '=', ''])}{self._any(odd.PARAMETER_VALUES)}"
            for _ in range(self._any([1, 1, 2, 3, 200]))
        )
        path = self._any(["/orders", "/order/1", "/orders/events", "/orders/retry", "/metrics", "/livez"])
        return self._get(f"{path}?{pairs}", method=self._any(["GET", "GET", "POST", "HEAD"]))

    def _many_headers(self) -> bytes:
        count, line = self._any([50, 500, 5_000]), self._any(odd.MANY_HEADERS)
        return self._get(self._any(odd.PATHS), headers="".join(line.format(n=n) for n in range(count)))

    def _headers(self) -> bytes:
        names = self._random.choices(list(odd.HEADERS), k=self._random.randint(1, 4))
        headers = "".join(f"{name}: {self._any(odd.HEADERS[name])}\r\n" for name in names)
        if self._any([True, False]):
            return self._get(self._any(odd.PATHS), headers=headers)
        content_type = self._any([*odd.BODY_TYPES, *odd.OTHER_TYPES])
        return self._post(self._order(), headers=headers, content_type=content_type)

    def _length(self) -> bytes:
        more = self._any(["", "", "Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n"])
        headers = f"Content-Type: application/json\r\nContent-Length: {self._any(odd.LENGTHS)}\r\n{more}"
        return self._get(self._any(odd.POSTED), method="POST", headers=headers) + self._order()

    def _bad_chunks(self) -> bytes:
        order = self._order()
        end = self._any([*odd.CHUNKS, self._bytes(50)])
        return self._chunked([order[:20], order[20:]], path=self._any(odd.POSTED), end=end)

    def _not_json(self) -> bytes:
        return self._post(self._any([*odd.NOT_JSON, b"\xef\xbb\xbf" + self._order(), self._order() * 2]))

    def _bomb(self) -> bytes:
        text = self._any(odd.bombs(self._any(BOMB_SIZES)))
        order = self._order(**{self._any(odd.FIELDS): text})
        return self._post(self._any([text.encode(), order, b"[%b]" % order]), path=self._any(["/order", "/orders"]))

    def _field(self) -> bytes:
        value = self._any([*odd.NUMBERS, *odd.LITERALS, f"[{', '.join(odd.NUMBERS[:3])}]"])
        return self._post(self._orders(self._order(**{self._any(odd.FIELDS): value})))

    def _text(self) -> bytes:
        body = self._order(metadata='{"?": "!"}').replace(self._any([b"?", b"!", b"user"]), self._any(odd.BAD_TEXT))
        encoding = self._any(["latin1", "latin1", "latin1", "utf-16", "utf-32"])
        return self._post(self._orders(body.decode("latin1").encode(encoding)))

    def _lines(self) -> bytes:
        lines = [*odd.LINES, self._order(), self._order(order_id="0"), self._bytes(50)]
        end = self._any([b"\n", b"\r\n", b"\n\n"])
        body = end.join(self._random.choices(lines, k=self._random.randint(1, 30)))
        return self._post(body, path="/orders", content_type="application/x-ndjson")

    def _pipeline(self) -> bytes:
        order = self._post(self._order(), path="/order")
        parts = [self._get("/livez"), self._get("/order/1"), order, self._bytes(60), b"\r\n"]
        return b"".join(self._random.choices(parts, k=self._random.randint(2, 12)))

    def _mutant(self) -> bytes:
        """A valid request in which bytes were changed, removed, added, repeated or cut off."""
        whole = bytearray(self._valid())
        for _ in range(self._any([1, 1, 2, 5])):
            begin, end = sorted(self._random.randrange(len(whole) + 1) for _ in range(2))
            match self._random.randrange(5):
                case 0:
                    whole[begin : begin + 1] = self._random.randbytes(1)
                case 1:
                    del whole[begin : begin + self._random.randint(1, 4)]
                case 2:
                    whole[begin:begin] = self._bytes(4)
                case 3:
                    whole[end:end] = whole[begin:end]
                case _:
                    del whole[end:]
        return bytes(whole)
