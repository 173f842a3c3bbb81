"""Measurements against the peers; `python -m benchmarks.run` makes all of docs/speed.md."""
