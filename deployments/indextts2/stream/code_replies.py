"""The codes of a segment from whichever replica of the GPT draws them: a second one goes on where the first died."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from ray.exceptions import RayActorError

from deployments.core.errors import Unavailable
from deployments.core.metrics import Reply
from deployments.core.stages import items
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.stages import SegmentStages


async def code_replies(stages: SegmentStages, job: GptJob) -> AsyncGenerator[Reply[CodeChunk], None]:
    """As `stages.codes`. What is drawn is a function of the seed, so another replica draws the same again; what has
    come already is compared and passed over. Raises Unavailable where it is not the same."""
    there: list[int] = []
    try:
        async with aclosing(items(stages.codes(job))) as replies:
            async for reply in replies:
                there += reply.value.codes.tolist()
                yield reply
        return
    except RayActorError:
        passed = 0
    async with aclosing(items(stages.codes(job))) as replies:
        async for reply in replies:
            chunk = reply.value
            again = min(len(chunk.codes), len(there) - passed)
            if chunk.codes[:again].tolist() != there[passed : passed + again]:
                raise Unavailable("another replica of the GPT drew other codes, so the segment cannot go on")
            passed += again
            if again < len(chunk.codes) or chunk.finished:
                rest = replace(chunk, codes=chunk.codes[again:], latents=chunk.latents[again:])
                yield replace(reply, value=rest)
