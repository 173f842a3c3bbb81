"""One file a verb: the readable story, top to bottom."""
