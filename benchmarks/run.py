"""All measurements and the table, on a quiet machine: `python -m benchmarks.run` (`make bench`)."""

from __future__ import annotations

from benchmarks import (
    accuracy,
    encoder,
    end_to_end,
    faces,
    finetune,
    memory,
    predict,
    pretrain,
    probe_speed,
    table,
)

if __name__ == "__main__":
    tasks = (faces, predict, probe_speed, finetune)
    for part in (encoder, accuracy, end_to_end, *tasks, memory, pretrain, table):
        part.main()
