"""Models for other programs: networks of a model, formats, proof that they are equal, the hub."""
