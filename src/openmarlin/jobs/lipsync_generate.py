"""`lipsync generate`: a video and a sound -> the video with lips that fit the sound."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.progress import Progress, TaskID

from openmarlin.console import console, job_progress
from openmarlin.data.manifest import Row, existing
from openmarlin.errors import InputError, VideoError, option
from openmarlin.files import write_json
from openmarlin.lipsync.active_speaker import speaking_track
from openmarlin.lipsync.driven_face import DrivenFace, ScannedFace, scan_faces, untouched
from openmarlin.lipsync.dub import Dubber
from openmarlin.lipsync.follow import FollowRecord, follow_faces
from openmarlin.lipsync.generate_settings import GenerateSettings
from openmarlin.lipsync.meshes import Meshes
from openmarlin.lipsync.mouth_model import MouthModel, load_mouth_model
from openmarlin.lipsync.new_sound import NewSound, read_new_sound
from openmarlin.lipsync.review import Review, review
from openmarlin.lipsync.schedule import Schedule, make_schedule
from openmarlin.lipsync.small.adapt import adapt
from openmarlin.lipsync.small.model import SmallDubber
from openmarlin.lipsync.speaker import choose_speakers
from openmarlin.native import claim_process
from openmarlin.output import OutputFolder
from openmarlin.report.lipsync_generate import write_report
from openmarlin.settings import documented, read_settings
from openmarlin.video.audio import read_sound
from openmarlin.video.frame_source import FrameSource
from openmarlin.video.reader import VideoReader
from openmarlin.video.segments import SoundPart, count_frames, join_segments, write_segment

RESULT_FILE, REPORT_FILE, SEGMENTS = "result.json", "report.html", "segments"
QUICK = "quick"
"""The folder of a model that is adapted to one person."""

_FILES = (RESULT_FILE, REPORT_FILE, SEGMENTS, QUICK)

CACHE = "lipsync-cache"
"""The folder of tracks beside the result."""

_SEGMENT_S, _SEGMENT_FRAMES = 4.0, 250  # of a piece that is kept when a run is killed


@dataclass(frozen=True, repr=False)
class Dub:
    """What was made.

    Attributes:
        out: the video.
        report: the page beside it.
        meta: settings, model, counts, ranges that stayed untouched, speed; what result.json holds.
        failures: {video: reason} where the video could be read only in part.
    """

    out: Path
    report: Path
    meta: dict[str, Any]
    failures: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Dub({self.out}, {self.meta['frames']} frames, {self.meta['drawn']} drawn)"


@documented(GenerateSettings)
def generate(
    video: str | Path,
    audio: str | Path,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Dub:
    """Give the speaker of a video lips that fit another sound.

    Args:
        video: a video, or a picture, with a face.
        audio: a sound, or another video with one.
        config: a recipe, a YAML file of settings; arguments go over it.
        progress: show a progress bar.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out: an input cannot be read, there is no
            sound, or no face to be driven.
    """
    s = read_settings(GenerateSettings, config, settings)
    video, audio = existing(video), existing(audio)
    _check_out(s, video, audio)
    claim_process()
    model = load_mouth_model(s.model)
    with VideoReader(video) as reader:
        expected = round((reader.info.duration_s or 0) * reader.info.fps)
    identity = {"video": Row(video).stamp, "audio": Row(audio).stamp, "weights": model.digest}
    if s.quick is not None:
        if not isinstance(model, SmallDubber):
            raise InputError(
                f"{option('quick', str(s.quick))} goes with models of `openmarlin lipsync "
                f"train-mouth`, not with {model.name}"
            )
        identity["quick"] = Row(existing(s.quick)).stamp
    folder = OutputFolder(
        s.out.with_suffix(".lipsync"),
        verb="lipsync generate",
        settings=s,
        files=_FILES,
        identity=identity,
        resume=s.resume,
        overwrite=s.overwrite,
    )
    with ExitStack() as stack:
        stack.enter_context(folder)
        if s.out.exists() and not s.overwrite:
            return _finished(s.out, folder)
        new_sound = read_new_sound(audio, folder.path)
        bar = stack.enter_context(job_progress("frames"))
        bar.disable = bar.disable or not progress
        run = _Run(s, video, new_sound, model, folder, bar)
        return run.make(expected)


def _check_out(s: GenerateSettings, video: Path, audio: Path) -> None:
    if s.out.suffix.lower() != ".mp4":
        raise InputError(f"{option('out', str(s.out))}: must end in .mp4")
    if s.out.is_dir():
        raise InputError(f"{s.out}: is a folder; name a file that ends in .mp4")
    if s.out.exists() and any(s.out.samefile(path) for path in (video, audio)):
        raise InputError(f"{s.out}: would replace its own source; give another name")
    if s.out.exists() and not (s.overwrite or s.resume):
        raise InputError(
            f"{s.out}: exists already; add {option('overwrite', True)} or name another file"
        )


def _finished(out: Path, folder: OutputFolder) -> Dub:
    """The result of an earlier run with the same inputs and settings, which is complete."""
    path = folder.path / RESULT_FILE
    if not folder.resumed or not path.is_file():
        raise InputError(
            f"{out}: exists already, and is not of a run that could go on; add "
            f"{option('overwrite', True)} or name another file"
        )
    meta = json.loads(path.read_text(encoding="utf-8"))
    return Dub(out, folder.path / REPORT_FILE, meta, meta["failures"])


class _Run:
    """One sitting."""

    def __init__(
        self,
        s: GenerateSettings,
        video: Path,
        new_sound: NewSound,
        model: MouthModel,
        folder: OutputFolder,
        bar: Progress,
    ) -> None:
        self.s, self.video, self.new_sound, self.model = s, video, new_sound, model
        self.folder, self.bar = folder, bar
        self.took_s: dict[str, float] = {}

    def make(self, expected: int) -> Dub:
        """All of it.

        Args:
            expected: frames of the video, about.
        """
        s, began = self.s, time.perf_counter()
        cache = s.cache if s.cache is not None else s.out.parent / CACHE
        table, record = self._timed("faces", lambda: self._follow(cache, expected))
        scanned, times_s = scan_faces(table)
        length = "audio" if len(times_s) == 1 else s.length  # a picture lasts as long as its sound
        schedule = make_schedule(times_s, record.fps, self.new_sound.end_s, length)
        speech = self.new_sound.strength(schedule.times_s, s.silence)
        chosen = choose_speakers(
            scanned,
            times_s,
            s.speaker,
            str(self.video),
            lambda: self._speaking(table, scanned, times_s),
        )
        faces = [
            DrivenFace.of(scanned[number], times_s, record.shots, max_yaw=s.max_yaw)
            for number in chosen
        ]
        if not any((face.strength > 0).any() for face in faces):
            raise VideoError(_nothing_to_draw(self.video, faces))
        self.folder.begin()
        if (person := s.quick) is not None:
            self.model = self._timed("quick", lambda: self._adapted(person))
        with FrameSource(self.video, times_s) as source, Meshes(table) as meshes:
            heard = self.new_sound.for_model(s.silence)
            dubber = Dubber(source, meshes, faces, self.model, heard, schedule, speech)
            segments = self._draw(dubber, record)
            sound = SoundPart(self.new_sound.path, self.new_sound.zero_s)
            comment = f"lips generated by openmarlin {version('openmarlin')}, {self.model.name}"
            self._timed(
                "join",
                lambda: join_segments(
                    s.out, segments, schedule.times_s, schedule.end_s, sound, comment=comment
                ),
            )
            self.took_s |= dubber.took_s
            found = self._timed(
                "review", lambda: review(dubber, s.out, self.new_sound.sound, record.fps)
            )
            meta = self._meta(record, scanned, dubber, found, time.perf_counter() - began)
            write_report(self.folder.path / REPORT_FILE, meta, dubber, found)
        write_json(self.folder.path / RESULT_FILE, meta)
        shutil.rmtree(self.folder.path / SEGMENTS)
        return Dub(s.out, self.folder.path / REPORT_FILE, meta, meta["failures"])

    def _adapted(self, person: Path) -> MouthModel:
        """The model after some minutes on a video of one person."""
        assert isinstance(self.model, SmallDubber)
        folder = self.folder.path / QUICK
        return adapt(self.model, person, folder, progress=not self.bar.disable)

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        self.took_s[name] = time.perf_counter() - began
        return result

    def _speaking(
        self, table: Path, scanned: Mapping[int, ScannedFace], times_s: NDArray[np.float64]
    ) -> int | None:
        """The track whose lips fit the video's own sound, where it has one."""
        sound = read_sound(self.video, folder=self.folder.path)
        if sound is None:
            return None
        with Meshes(table) as meshes:
            return speaking_track(scanned, times_s, meshes, sound)

    def _follow(self, cache: Path, expected: int) -> tuple[Path, FollowRecord]:
        task = self.bar.add_task("faces", total=max(1, expected), note="")
        tell = _teller(self.bar, task)
        table, record = follow_faces(self.video, cache, tell)
        self.bar.update(task, total=record.frames, completed=record.frames)
        return table, record

    def _draw(self, dubber: Dubber, record: FollowRecord) -> list[Path]:
        """Pieces of the video, those of an earlier sitting and new ones."""
        schedule, began = dubber.schedule, time.perf_counter()
        step = max(1, min(_SEGMENT_FRAMES, round(_SEGMENT_S * record.fps)))
        task = self.bar.add_task("mouths", total=len(schedule), note="")
        tell, new, paths = _teller(self.bar, task), 0, []
        for start in range(0, len(schedule), step):
            stop = min(start + step, len(schedule))
            path = self.folder.path / SEGMENTS / f"{start:08d}.mp4"
            paths.append(path)
            if path.is_file() and count_frames(path) == stop - start:
                self.bar.advance(task, stop - start)
                continue
            images = _told(dubber.images(start, stop), start, tell)
            times_s = schedule.times_s[start:stop]
            shape = (record.height, record.width)
            write_segment(path, images, times_s, shape=shape, fps=record.fps, crf=self.s.crf)
            new += stop - start
        self.took_s["drawing"] = time.perf_counter() - began
        self.took_s["new_frames"] = new
        return paths

    def _meta(
        self,
        record: FollowRecord,
        scanned: Mapping[int, ScannedFace],
        dubber: Dubber,
        found: Review | None,
        wall_s: float,
    ) -> dict[str, Any]:
        """What result.json holds (docs/lipsync-generate.md)."""
        schedule = dubber.schedule
        drawn, ranges = untouched(dubber.faces, schedule, dubber.speech)
        took_s = dict(self.took_s)
        new = int(took_s.pop("new_frames"))
        drawing_s = took_s.pop("drawing")
        took_s["encode"] = max(0.0, drawing_s - sum(dubber.took_s.values()))
        return {
            "settings": self.s.recipe(),
            "video": str(self.video),
            "audio": str(self.new_sound.path),
            "model": {"name": self.model.name, "digest": self.model.digest, "px": self.model.size},
            "frames": len(schedule),
            "drawn": drawn,
            "duration_s": schedule.end_s,
            "fps": record.fps,
            "speakers": [face.track for face in dubber.faces],
            "tracks": [_told_of(face, dubber) for face in scanned.values()],
            "untouched": [asdict(part) for part in ranges],
            "notes": [*record.notes, *self._notes(schedule)],
            "score": _score(found),
            "speed": {
                "frames_per_s": new / drawing_s if new else None,
                "wall_s": wall_s,
                "took_s": took_s,
            },
            "failures": self._failures(record),
        }

    def _failures(self, record: FollowRecord) -> dict[str, str]:
        told = "; ".join(record.problems)
        return {str(self.video): f"partly read: {told}"} if told else {}

    def _notes(self, schedule: Schedule) -> Iterator[str]:
        if self.new_sound.is_silent:
            yield f"{self.new_sound.path.name} is silent"
        short_s = schedule.end_s - self.new_sound.end_s
        if short_s > 1 / 10:
            yield f"the sound ends {short_s:.1f} s before the video"
        elif short_s < -1 / 10:
            yield f"the last {-short_s:.1f} s of the sound are beyond the end of the video"


def _told_of(face: ScannedFace, dubber: Dubber) -> dict[str, Any]:
    """A track for result.json."""
    widths = face.boxes[:, 2] - face.boxes[:, 0]
    return {
        "track": face.track,
        "first_frame": int(face.frames[0]),
        "last_frame": int(face.frames[-1]),
        "width_px": float(np.median(widths)),
        "driven": face.track in [driven.track for driven in dubber.faces],
    }


def _score(found: Review | None) -> dict[str, Any] | None:
    if found is None:
        return None
    score = found.score
    expert = score and {
        "expert": score.expert,
        "framing": score.framing,
        **{
            name: {"lse_d": o.lse_d, "lse_c": o.lse_c, "offset_frames": o.ticks}
            for name, o in (("before", score.before), ("after", score.after))
        },
    }
    correlations = (found.correlation(opening) for opening in (found.before, found.after))
    before, after = (None if np.isnan(value) else value for value in correlations)
    return {"opening_and_loudness": {"before": before, "after": after}, "expert": expert}


def _nothing_to_draw(video: Path, faces: list[DrivenFace]) -> str:
    reasons = sorted({str(reason) for face in faces for reason in face.reasons})
    return f"{video}: the face can be driven in no frame: it is {', '.join(reasons)}"


def _teller(bar: Progress, task: TaskID) -> Callable[[int], None]:
    """Shows frames done and how many a second."""
    began = time.perf_counter()
    before: list[int] = []

    def tell(done: int) -> None:
        before[:] = before or [done - 1]
        rate = (done - before[0]) / max(time.perf_counter() - began, 1e-6)
        bar.update(task, completed=done, note=f"{rate:.0f} a second")

    return tell


def _told(images: Iterator[Any], start: int, tell: Callable[[int], None]) -> Iterator[Any]:
    for number, image in enumerate(images, start + 1):
        yield image
        tell(number)


def announce(result: Dub) -> None:
    """Say in a few lines what was made and where to look."""
    console.print("\n".join(_lines(result)), soft_wrap=True)


def _lines(result: Dub) -> Iterator[str]:
    meta = result.meta
    for note in meta["notes"]:
        yield f"[yellow]note[/] {escape(note)}"
    for video, reason in result.failures.items():
        yield f"[red]failed[/] {escape(f'{video}: {reason}')}"
    rate = meta["speed"]["frames_per_s"]
    speed = f", {rate:.0f} frames a second" if rate else ""
    yield (
        f"{meta['frames']:,} frames, {meta['drawn']:,} of them drawn{speed} -> "
        f"{escape(str(result.out))}"
    )
    yield f"Look at {escape(str(result.report))}"
