"""Which headers of a request are stored with its order."""

from models.trace_headers import read_trace_headers, trace_headers_in
from tests.cases import cases

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def stored(**headers: str) -> dict[str, str]:
    text = trace_headers_in({name.replace("_", "-"): value for name, value in headers.items()})
    return {} if text is None else read_trace_headers(text)


def test_valid_headers_are_stored_and_others_are_not() -> None:
    assert stored(traceparent=TRACEPARENT, x_request_id='a"\\b', accept="x") == {
        "traceparent": TRACEPARENT,
        "X-Request-Id": 'a"\\b',
    }
    assert stored(traceparent=TRACEPARENT) == {"traceparent": TRACEPARENT}
    assert stored(x_request_id="x" * 128) == {"X-Request-Id": "x" * 128}
    assert trace_headers_in({"accept": "x"}) is None


@cases(
    "traceparent",
    [
        "",
        "00",
        TRACEPARENT.upper(),
        f" {TRACEPARENT}",
        f"{TRACEPARENT}\n",
        f"{TRACEPARENT}-00",
        f"{TRACEPARENT},{TRACEPARENT}",
        "ff" + TRACEPARENT[2:],
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        TRACEPARENT.replace("0af", "xyz"),
    ],
)
def test_an_invalid_traceparent_is_not_stored(traceparent: str) -> None:
    assert trace_headers_in({"traceparent": traceparent}) is None


@cases("request_id", ["", "a b", "x" * 129, "é", "a\n"])
def test_an_invalid_request_id_is_not_stored(request_id: str) -> None:
    assert trace_headers_in({"x-request-id": request_id}) is None
