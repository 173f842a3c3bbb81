"""Video in: streaming frames with presentation times, and the arithmetic of windows."""
