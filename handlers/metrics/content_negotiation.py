"""Content negotiation: chooses a media type for an Accept header (RFC 9110 §12.5.1). Pure functions."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import mimeparse  # type: ignore[import-untyped]  # has no annotations

MAX_CHARACTERS = 1_024
"""Longer Accept headers are ignored, because the time to parse a header grows faster than its length."""


class AcceptedType(NamedTuple):
    """A media type, and its parameters in the Accept header if the header names this type."""

    media_type: str
    parameters: Mapping[str, str] = {}


def preferred(accept: str, media_types: Sequence[str]) -> AcceptedType:
    """The media type with the highest q-value in `accept`.

    If several media types have this q-value, returns the type that `accept` names most specifically, or the first of
    them. If the header is malformed, too long, or accepts none of `media_types`, returns the first of `media_types`.
    """
    if len(accept) > MAX_CHARACTERS:
        return AcceptedType(media_types[0])
    try:
        ranges = [mimeparse.parse_media_range(each) for each in accept.lower().split(",") if each.strip()]
    except mimeparse.MimeTypeParseException:
        return AcceptedType(media_types[0])
    # Sorted, because mimeparse takes the first of equally specific ranges, such as two versions of a format.
    ranges.sort(key=lambda media_range: float(media_range[2]["q"]), reverse=True)
    fits = [mimeparse.quality_and_fitness_parsed(each, ranges) for each in media_types]
    quality, _ = best = max(fits)
    if not quality:
        return AcceptedType(media_types[0])
    chosen = media_types[fits.index(best)]
    named = (parameters for kind, subtype, parameters in ranges if f"{kind}/{subtype}" == chosen)
    return AcceptedType(chosen, next(named, {}))
