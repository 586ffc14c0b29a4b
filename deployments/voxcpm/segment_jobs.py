"""The jobs of a request's segments, one after the other, and what each of them continues (voxcpm.md 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deployments.core.deadline import NEVER
from deployments.voxcpm.plan import SpokenBefore, VoxCPMPlan
from deployments.voxcpm.step.job import (
    PATCHES_BESIDE,
    PATCHES_PER_TOKEN,
    Patches,
    VoxCPMJob,
    prefix_length,
)
from deployments.voxcpm.text.frontend import SpokenSegment, VoxCPMTextFrontend, described, joined


class SegmentJobs:
    """A request without a voice gets one from its first segment: the others continue that one. Where segments shall
    continue each other, the one before comes behind the voice."""

    def __init__(
        self,
        plan: VoxCPMPlan,
        frontend: VoxCPMTextFrontend,
        *,
        max_length: int,
        first_patch_steps: int | None,
    ) -> None:
        """`max_length`: positions that the engine has for a segment; `first_patch_steps`: of the request's first patch,
        where it has fewer than the others."""
        self._plan = plan
        self._frontend = frontend
        self._max_length = max_length
        self._first_patch_steps = first_patch_steps
        self._made = 0
        self._voice = plan.before
        self._last: SpokenBefore | None = None

    def next(self, text: SpokenSegment, slack_s: float) -> VoxCPMJob:
        """The job of the next segment, whose first sample is needed in `slack_s`."""
        first = self._made == 0
        job = self._job(text, self._continued(), slack_s, first=first)
        if self._last is not None and not self._has_room(job):
            job = self._job(text, self._voice, slack_s, first=first)
        self._made += 1
        return job

    def spoke(self, text: SpokenSegment, patches: Sequence[Patches]) -> None:
        """The segment has come to its end by itself. One that was cut off is not continued."""
        if not patches:
            return
        spoken = SpokenBefore(text.text, np.concatenate(patches))
        if self._voice.is_nothing:
            self._voice = spoken
        elif self._plan.params.continue_segments:
            self._last = spoken

    def _continued(self) -> SpokenBefore:
        if self._last is None or self._last.prompt is None:
            return self._voice
        prompts = (
            [self._last.prompt] if self._voice.prompt is None else [self._voice.prompt, self._last.prompt]
        )
        transcript = joined(self._voice.transcript, self._last.transcript)
        return SpokenBefore(transcript, np.concatenate(prompts), self._voice.reference)

    def _job(self, text: SpokenSegment, before: SpokenBefore, slack_s: float, *, first: bool) -> VoxCPMJob:
        plan, params = self._plan, self._plan.params
        # What describes the voice stands before all that it says.
        said = described(plan.description, joined(before.transcript, text.text))
        return VoxCPMJob(
            request_id=plan.request.request_id,
            text_ids=self._frontend.ids(said),
            target_tokens=text.tokens,
            seed=plan.seed,
            stream=self._made,
            prompt=before.prompt,
            reference=before.reference,
            guidance=params.cfg_value,
            euler_steps=params.inference_timesteps,
            first_euler_steps=self._first_patch_steps if first else None,
            min_patches=params.min_len,
            max_patches=params.max_len,
            emit_patches=self._voice.is_nothing or params.continue_segments,
            slack_s=slack_s,
            deadline=plan.request.deadline if first else NEVER,
            refusable=first,
        )

    def _has_room(self, job: VoxCPMJob) -> bool:
        """For all patches that the text may take."""
        patches = min(job.max_patches, PATCHES_PER_TOKEN * job.target_tokens + PATCHES_BESIDE)
        return prefix_length(job) + patches <= self._max_length
