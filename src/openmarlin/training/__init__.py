"""Pre-training: what is learnt, in which steps, on which machine, and what is kept of it."""
