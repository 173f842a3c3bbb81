"""Training of generators: clips of faces and sound, losses, the task, the paper's table."""
