"""`python -m openmarlin` is the `openmarlin` command."""

from openmarlin.cli import main

main()
