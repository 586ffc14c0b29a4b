"""The segments of a text as they are asked for, made in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from deployments.core.errors import InvalidRequest
from deployments.indextts2.text.frontend import IndexTextFrontend, TextSegment


async def text_segments(
    frontend: IndexTextFrontend, text: str, *, max_tokens: int, published: bool
) -> AsyncGenerator[TextSegment, None]:
    """At least one segment; `published` follows the reference's segmentation of the whole text.

    Raises InvalidRequest for a text in which there is nothing to speak.
    """
    found = False
    source: Iterator[TextSegment]
    if published:
        source = iter(await asyncio.to_thread(frontend.segments, text, max_tokens))
    else:
        source = frontend.iter_segments(text, max_tokens)
    # Not closed when cancelled: its thread may still be inside, and it holds nothing.
    while (segment := await asyncio.to_thread(next, source, None)) is not None:
        found = True
        yield segment
    if not found:
        raise InvalidRequest(
            "There is nothing to speak in the input after normalisation; send at least one word or number.",
            param="input",
            code="input_not_speakable",
        )
