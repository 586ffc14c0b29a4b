"""What Serve calls for Kokoro."""

from __future__ import annotations

import asyncio

from deployments.core.speech import Samples
from deployments.kokoro.engine import KokoroEngine, KokoroJob
from deployments.weights.registry import find_model


class Kokoro:
    """One replica: one ONNX session and its queue."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, checkpoint: str, threads: int, max_waiting: int, warm_languages: list[str]
    ) -> None:
        directory = find_model(checkpoint)
        self.engine = await asyncio.to_thread(
            KokoroEngine, directory, threads=threads, max_waiting=max_waiting
        )
        await asyncio.to_thread(self.engine.warm_up, warm_languages)
        self.engine.start()

    async def synthesise(self, job: KokoroJob) -> Samples:
        """Samples (n,) at 24 kHz of one segment."""
        return await self.engine.synthesise(job)

    async def voices(self) -> list[tuple[str, str, str]]:
        """(name, language, gender) of every voice."""
        return [(voice.name, voice.language, voice.gender) for voice in self.engine.voices.values()]

    async def ready(self) -> bool:
        self.engine.check_health()
        return True

    def check_health(self) -> None:
        self.engine.check_health()
