"""What computes. Every replica imports it."""

from deployments.core.ray_internals import replicas_on_loopback

replicas_on_loopback()
