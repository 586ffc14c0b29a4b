"""`voicegraph eval`: what the answers of a speech server sound like, measured, and settings compared in pairs."""
