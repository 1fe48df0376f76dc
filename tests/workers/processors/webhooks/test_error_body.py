"""The text of an error response: charsets and markup."""

from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from workers.processors.webhooks.error_body import MAX_PAGE_CHARACTERS, readable_text

PAGE = "text/html; charset=utf-8"


def text_of(body: bytes, content_type: str = "") -> str:
    return readable_text(body, content_type=content_type)


# Charsets


@cases(
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


@cases(
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


@cases("content_type", ["application/json", "text/plain", "application/problem+json", ""])
def test_other_text_is_unchanged(content_type: str) -> None:
    assert text_of(b'{"error": "<b>no</b> &amp; never"}', content_type) == '{"error": "<b>no</b> &amp; never"}'


def test_the_length_of_a_page_is_limited() -> None:
    assert text_of(b"<p>" + b"a" * 60_000, PAGE) == "a" * MAX_PAGE_CHARACTERS
    assert len(text_of(b"&#" + b"9" * 60_000, PAGE)) < MAX_PAGE_CHARACTERS


@given(
    body=st.one_of(st.binary(), st.text("<>/!-&;#'\"= apscrtiyleh19\n").map(str.encode)),
    content_type=st.sampled_from(["", PAGE, "text/html; charset=iso-2022-jp", "text/xml; charset=utf-16"]),
)
def test_any_body_has_a_text(body: bytes, content_type: str) -> None:
    assert isinstance(text_of(body, content_type), str)
