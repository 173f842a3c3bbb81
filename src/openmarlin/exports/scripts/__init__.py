"""Programs that stand beside an export as run.py; they know nothing of openmarlin."""
