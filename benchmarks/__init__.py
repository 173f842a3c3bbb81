"""Measurements against the peers; `python -m benchmarks.run` makes all of docs/lab/speed.md."""
