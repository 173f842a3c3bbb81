"""All measurements and the table, on a quiet machine: `python -m benchmarks.run` (`make bench`)."""

from __future__ import annotations

from benchmarks import (
    accuracy,
    encoder,
    end_to_end,
    faces,
    memory,
    predict,
    pretrain,
    probe_speed,
    table,
)

if __name__ == "__main__":
    measurements = (encoder, accuracy, end_to_end, faces, predict, probe_speed, memory, pretrain)
    for part in (*measurements, table):
        part.main()
