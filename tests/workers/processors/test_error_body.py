"""The text of an error response: compressed bodies, charsets and markup."""

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.processors.error_body import MAX_DECOMPRESSED_BYTES, MAX_PAGE_CHARACTERS, readable_text

PAGE = "text/html; charset=utf-8"


def gzipped(body: bytes) -> bytes:
    """Compresses the body. The result contains no time, so the names of the tests are equal in all processes."""
    return gzip.compress(body, mtime=0)


def text_of(body: bytes, content_type: str = "", content_encoding: str = "") -> str:
    return readable_text(body, content_type=content_type, content_encoding=content_encoding)


# Compression


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", b"no such shop"),
        ("identity", b"no such shop"),
        ("gzip", gzipped(b"no such shop")),
        (" GZIP ", gzipped(b"no such shop")),
        ("x-gzip", gzipped(b"no such shop")),
        ("deflate", zlib.compress(b"no such shop")),
        ("deflate", zlib.compress(b"no such shop", wbits=-zlib.MAX_WBITS)),
        ("deflate, gzip", gzipped(zlib.compress(b"no such shop"))),
        ("gzip, identity", gzipped(b"no such shop")),
    ],
)
def test_a_compressed_body_is_decompressed(encoding: str, body: bytes) -> None:
    assert text_of(body, "text/plain", encoding) == "no such shop"


def test_the_beginning_of_an_incomplete_compressed_body_is_decompressed() -> None:
    text = "".join(f"{number} is wrong. " for number in range(1_000))
    assert text.startswith(text_of(gzipped(text.encode())[:500], "text/plain", "gzip"))
    assert text_of(gzipped(text.encode())[:500], "text/plain", "gzip").startswith("0 is wrong. 1 is wrong.")


@pytest.mark.parametrize("times", [1, 2])
def test_only_the_beginning_of_a_very_long_body_is_decompressed(times: int) -> None:
    body = bytes(100_000_000)
    for _ in range(times):
        body = gzipped(body)
    assert len(text_of(body, "text/plain", ", ".join(["gzip"] * times))) <= MAX_DECOMPRESSED_BYTES


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", b"\x0b\x02\x80abc\x03"),
        ("zstd", b"abc"),
        ("gzip", b"abc"),
        ("deflate", b"\xff"),
        ("gzip", b""),
        ("gzip, gzip, gzip, gzip", gzipped(b"abc")),
    ],
)
def test_a_body_that_can_not_be_decompressed_is_left_out(encoding: str, body: bytes) -> None:
    assert text_of(body, "text/plain", encoding) == ""


# Charsets


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", "größe ✓".encode()),
        ("text/plain", "größe ✓".encode()),
        ("text/plain", b"\xef\xbb\xbf" + "größe ✓".encode()),
        ("text/plain; charset=UTF-8", "größe ✓".encode()),
        ('text/plain; charset="utf-16le"', "größe ✓".encode("utf-16le")),
        ("text/plain; charset=gb18030", "größe ✓".encode("gb18030")),
        ("text/plain; charset=unknown", "größe ✓".encode()),
        ("text/plain; charset=iso-8859-12", "größe ✓".encode()),
        ("text/plain; charset=punycode", "größe ✓".encode()),
        ("text/plain; charset=rot13", "größe ✓".encode()),
    ],
)
def test_the_charset_of_the_header_is_used_if_it_is_known(content_type: str, body: bytes) -> None:
    assert text_of(body, content_type) == "größe ✓"


def test_bytes_that_are_not_in_the_charset_are_replaced() -> None:
    assert text_of("größe".encode("latin-1"), "text/plain; charset=ISO-8859-1") == "größe"
    assert text_of("größe".encode("latin-1"), "text/plain") == "gr\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}e"


# Markup


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>"
            "</center>\r\n<hr><center>nginx/1.18.0</center>\r\n</body>\r\n</html>\r\n",
            "502 Bad Gateway nginx/1.18.0",
        ),
        ("<title>Oops</title><p>The shop is closed.</p>", "Oops The shop is closed."),
        ("<title>Oops</title>", "Oops"),
        ("<p>one<p>two<br/>three<td>four", "one two three four"),
        ("<p>The <b>sh</b>op is <a href='x'>clo</a>sed.", "The shop is closed."),
        ("<p>a &lt;b&gt; &amp;amp; caf&eacute; &#8364;&nbsp;5", "a <b> &amp; café € 5"),
        ("<STYLE>p { a: b }</STYLE ><Script>if (1 < 2) '</p>'</sCRIPT><p>shown", "shown"),
        ("<script>never closed <p>hidden", ""),
        ("a<!-- <p>hidden</p> -->b<!doctype html><?xml version='1'?><![CDATA[c]]>", "ab"),
        ("1 < 2 and 2 > 1, a<3", "1 < 2 and 2 > 1, a<3"),
        ("<p>cut off <a hre", "cut off"),
        ("<error><code>17</code><message>no shop</message></error>", "17 no shop"),
        ("", ""),
    ],
)
def test_a_page_is_reduced_to_its_title_and_text(page: str, text: str) -> None:
    assert text_of(page.encode(), PAGE) == text
    assert text_of(page.encode(), "application/xhtml+xml") == text


def test_a_page_without_a_content_type_is_recognised() -> None:
    assert text_of(b"\n <!DOCTYPE HTML><p>no", "") == "no"
    assert text_of(b"<html><p>no", "application/octet-stream") == "no"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/problem+json", ""])
def test_other_text_is_unchanged(content_type: str) -> None:
    assert text_of(b'{"error": "<b>no</b> &amp; never"}', content_type) == '{"error": "<b>no</b> &amp; never"}'


def test_the_length_of_a_page_is_limited() -> None:
    assert text_of(b"<p>" + b"a" * 60_000, PAGE) == "a" * MAX_PAGE_CHARACTERS
    assert len(text_of(b"&#" + b"9" * 60_000, PAGE)) < MAX_PAGE_CHARACTERS


@settings(deadline=None)
@given(
    body=st.one_of(st.binary(), st.text("<>/!-&;#'\"= apscrtiyleh19\n").map(str.encode)),
    content_type=st.sampled_from(["", PAGE, "text/html; charset=iso-2022-jp", "text/xml; charset=utf-16"]),
    encoding=st.sampled_from(["", "gzip", "deflate"]),
)
def test_any_body_has_a_text(body: bytes, content_type: str, encoding: str) -> None:
    assert isinstance(text_of(body, content_type, encoding), str)
