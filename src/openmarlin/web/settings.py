"""Settings of `serve`; see `openmarlin.settings`."""

from __future__ import annotations

from openmarlin.settings import Settings, setting

ADDRESS, LIMITS, WORK = "Address", "Limits", "Work"


class ServeSettings(Settings):
    """Where the page is, and what it takes."""

    host: str = setting(
        "127.0.0.1",
        "The address to listen on; the default is this machine alone, 0.0.0.0 is every network it "
        "is in.",
        group=ADDRESS,
    )
    port: int = setting(7860, "The port; 0 takes a free one.", group=ADDRESS, ge=0, le=65535)
    max_mb: int = setting(100, "The largest file that is taken, MB.", group=LIMITS, ge=1)
    max_seconds: float = setting(
        60.0, "The longest clip that is taken, seconds.", group=LIMITS, gt=0
    )
    model: tuple[str, ...] = setting(
        (),
        "Folders `model` of probes or fine-tuning runs to offer beside those that ship, separated "
        "by commas.",
        group=WORK,
    )
    workers: int | None = setting(
        None,
        "Processes that read videos, so many users at once; one for two cores without it.",
        group=WORK,
        ge=1,
    )
