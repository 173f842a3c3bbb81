"""A disk that is full: the kernel refuses files above a size."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCRIPT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), -1))
sys.argv = ["openmarlin", *sys.argv[2:]]
from openmarlin.cli import main
main()
"""


def run_limited(largest: int, *words: str | Path) -> tuple[int, str]:
    """Exit code and messages of `openmarlin WORDS`, whose files may have so many bytes."""
    command = [sys.executable, "-c", _SCRIPT, str(largest), *map(str, words)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, " ".join(done.stderr.split())


@contextmanager
def full_disk(largest: int) -> Iterator[None]:
    """In this process, inside the block, files may have so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
