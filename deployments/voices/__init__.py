"""Voices: recordings to clone from, what models make of them, and where both are kept."""
