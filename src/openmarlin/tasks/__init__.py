"""The tasks: from labels to a model that answers, and to how well it does."""
