"""Pre-training: a masked autoencoder and its critic, as a task for `openmarlin.training`."""
