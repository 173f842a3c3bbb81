"""The models of lip sync that come with the package."""

DEFAULT_EXPERT = "openmarlin_sync"
"""Compares lips and sound, where no other expert is named."""

DEFAULT_MOUTH_MODEL = "openmarlin_dub"
"""Draws mouths, where no other model is named."""
