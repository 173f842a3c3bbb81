"""Errors that a user can cause: one line each that says what, where and what to do."""

from __future__ import annotations


class OpenMarlinError(Exception):
    """Base of every error the command line prints as one line instead of a traceback."""


class InputError(OpenMarlinError):
    """The request itself is wrong: a path, an option or a table that cannot be used."""


class VideoError(OpenMarlinError):
    """A file that cannot be read as video."""


class FaceError(OpenMarlinError):
    """A face net or region parser that cannot be loaded or does not fit."""


class ModelError(OpenMarlinError):
    """A model or checkpoint that cannot be loaded, or does not fit the request."""


class TrainingError(OpenMarlinError):
    """Training that cannot go on: losses that are no numbers, devices that do not fit."""
