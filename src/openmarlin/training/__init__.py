"""Training of any task: one loop, on any machine, that goes on bit for bit after it was cut off."""
