"""All measurements and the table, on a quiet machine: `python -m benchmarks.run` (`make bench`)."""

from __future__ import annotations

from benchmarks import accuracy, encoder, end_to_end, finetune, memory, pretrain, table

if __name__ == "__main__":
    for part in (encoder, accuracy, end_to_end, memory, pretrain, finetune, table):
        part.main()
