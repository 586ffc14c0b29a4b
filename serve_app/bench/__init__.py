"""`voicegraph bench`: load on any OpenAI-compatible speech URL, and what a listener would have heard."""
