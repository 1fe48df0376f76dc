"""Makes the body of an error response readable: decodes it, and removes markup. Pure functions.

The body comes from the receiver of webhooks, which is not trusted: only common charsets are decoded.
"""

import contextlib
import html
import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_PAGE_CHARACTERS = 2_000
"""How many characters of the title of a page are used, and how many characters of its text. In a longer text, a
character reference can have so many digits that `html.unescape` raises ValueError."""

# The charsets that are decoded. Some other encodings of Python are slow for some bodies, or are not charsets.
_CHARSET = re.compile(
    r";\s*charset\s*=\s*[\"']?(utf-?8|utf-16(?:le|be)?|us-ascii|iso-8859-\d{1,2}|windows-12\d\d|koi8-[ru]"
    r"|shift_jis|euc-(?:jp|kr)|iso-2022-jp|gb2312|gbk|gb18030|big5)(?![\w.-])",
    re.IGNORECASE,
)
_MARKUP_TYPE = re.compile(r"\s*[^;]*\b(?:html|xml)\b", re.IGNORECASE)
_MARKUP_BEGIN = re.compile(r"\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_TAG = re.compile(r"<(?P<slash>/?)(?P<name>[a-zA-Z][^\s/>]*)")
_HIDDEN = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style")}
_INLINE = frozenset(
    {"a", "abbr", "b", "code", "em", "font", "i", "kbd", "small", "span", "strong", "sub", "sup", "tt", "u"}
)


def readable_text(body: bytes, *, content_type: str) -> str:
    """The text of a response body.

    Of a page in HTML or XML, returns the title and the visible text, with single spaces. `content_type` is the value of
    the Content-Type header; empty if the response does not have the header.
    """
    text = _decoded(body, content_type)
    if _MARKUP_TYPE.match(content_type) or _MARKUP_BEGIN.match(text):
        return _text_of_page(text)
    return text


def _decoded(body: bytes, content_type: str) -> str:
    found = _CHARSET.search(content_type)
    with contextlib.suppress(LookupError):
        if found and found[1].lower() not in ("utf-8", "utf8"):
            return body.decode(found[1], errors="replace")
    return body.decode("utf-8-sig", errors="replace")


def _text_of_page(page: str) -> str:
    title: list[str] = []
    text: list[str] = []
    is_title = False
    for part in _text_and_tags(page):
        if isinstance(part, _Tag):
            is_title = part.name == "title" and not part.is_end
            if part.name not in _INLINE:
                text.append(" ")
        else:
            (title if is_title else text).append(part)
    heading, visible = (_plain("".join(parts)) for parts in (title, text))
    # Error pages often repeat the title as a heading.
    return visible if visible.startswith(heading) else f"{heading} {visible}".rstrip()


def _plain(text: str) -> str:
    """The first `MAX_PAGE_CHARACTERS` characters of the text, with single spaces and decoded character references."""
    return " ".join(html.unescape(" ".join(text.split())[:MAX_PAGE_CHARACTERS]).split())


class _Tag(NamedTuple):
    name: str
    is_end: bool


def _text_and_tags(page: str) -> Iterator[str | _Tag]:
    """Splits a page into text and tags. Omits comments, scripts and styles. Stops at an incomplete tag.

    Does not use html.parser, which takes a time that grows with the square of the length if a tag is incomplete.
    """
    position = 0
    while (begin := page.find("<", position)) >= 0:
        yield page[position:begin]
        if page.startswith("<!--", begin):
            position = _after(page, "-->", begin + len("<!--"))
        elif tag := _TAG.match(page, begin):
            position = _after(page, ">", tag.end())
            name = tag["name"].lower()
            yield _Tag(name, bool(tag["slash"]))
            if name in _HIDDEN and not tag["slash"]:
                end = _HIDDEN[name].search(page, position)
                position = end.start() if end else len(page)
        elif page.startswith(("<!", "<?", "</"), begin):
            position = _after(page, ">", begin)
        else:
            yield "<"
            position = begin + 1
    yield page[position:]


def _after(page: str, text: str, begin: int) -> int:
    """The position after the next `text` from `begin` on; the end of the page if `text` does not occur."""
    found = page.find(text, begin)
    return len(page) if found < 0 else found + len(text)
