"""A video with lips for another sound: what is drawn, what stays, what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import numbered, write_tones, write_video
from puppet import Puppet

import openmarlin
from openmarlin.errors import InputError, ModelError, OpenMarlinError, VideoError
from openmarlin.jobs import lipsync_generate
from openmarlin.jobs.lipsync_generate import Dub, generate
from openmarlin.lipsync import follow, review
from openmarlin.lipsync.mouth_model import load_mouth_model
from openmarlin.video.audio import Sound, read_sound
from openmarlin.video.reader import VideoReader


@pytest.fixture(autouse=True)
def puppet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What draws in place of a trained model."""
    monkeypatch.setattr(lipsync_generate, "load_mouth_model", lambda name: Puppet(64))
    monkeypatch.setattr(review, "LONGEST_S", 0.3)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tracks of the clips, shared so that each is followed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of sound, a pause, another second."""
    path = tmp_path_factory.mktemp("voice") / "voice.mkv"
    return write_tones(path, [(0.0, 1.0, 300), (1.8, 1.0, 300)])


def images_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with VideoReader(path) as reader:
        frames = [(frame.time_s, frame.image) for frame in reader]
        assert reader.problems == []
    return np.array([time_s for time_s, _ in frames]), np.stack([image for _, image in frames])


def differences(source: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Mean difference of each frame."""
    return np.abs(source.astype(np.float32) - result).mean(axis=(1, 2, 3))


@pytest.fixture(scope="module")
def made(clips: Path, voice: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Dub:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lipsync_generate, "load_mouth_model", lambda name: Puppet(64))
        out = tmp_path_factory.mktemp("made") / "new.mp4"
        return generate(clips / "single_face.mp4", voice, out=out, cache=cache)


def test_frames_times_and_sound(made: Dub, clips: Path, voice: Path) -> None:
    times_s, source = images_of(clips / "single_face.mp4")
    new_s, result = images_of(made.out)
    np.testing.assert_allclose(new_s, times_s - times_s[0], atol=1e-3)
    assert result.shape == source.shape
    sound, given = read_sound(made.out), read_sound(voice)
    assert sound is not None
    assert given is not None
    a, b = (part.between(0.1, 0.9).astype(float) for part in (sound, given))
    assert np.corrcoef(np.abs(np.fft.rfft(a)), np.abs(np.fft.rfft(b)))[0, 1] > 0.99
    assert not sound.between(1.2, 1.6).any() or np.abs(sound.between(1.2, 1.6)).max() < 300


def test_only_the_mouth_changes_and_it_follows_the_sound(made: Dub, clips: Path) -> None:
    _, source = images_of(clips / "single_face.mp4")
    _, result = images_of(made.out)
    apart = np.abs(source.astype(np.float32) - result).mean(axis=3)
    assert (apart.mean(axis=0) > 12).mean() < 0.05  # of the picture
    assert np.median(apart) < 3
    assert made.meta["drawn"] == made.meta["frames"] == len(source)
    assert made.meta["untouched"] == []
    opening = made.meta["score"]["opening_and_loudness"]
    assert opening["after"] > 0.2
    assert opening["after"] > opening["before"]


def test_what_is_written(made: Dub) -> None:
    folder = made.out.with_suffix(".lipsync")
    names = {path.name for path in folder.iterdir()}
    assert names == {"report.html", "result.json", "config.yaml", "environment.json", ".lock"}
    assert json.loads((folder / "result.json").read_text()) == made.meta
    page = made.report.read_text()
    assert "http" not in re.sub(r"http-equiv|xmlns\S+|http://www.w3.org\S*", "", page)
    assert page.count("data:image/jpeg") == 3
    assert made.failures == {}
    lipsync_generate.announce(made)


def test_the_next_run_takes_the_tracks_from_the_cache(
    made: Dub, clips: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_follow", lambda *a: pytest.fail("followed again"))
    sound = write_tones(tmp_path / "a.wav", [(0, 1, 200)])
    result = openmarlin.lipsync.generate(
        clips / "single_face.mp4", sound, out=tmp_path / "b.mp4", cache=cache, crf=30
    )
    assert result.out.stat().st_size < made.out.stat().st_size
    assert any("before the video" in note for note in result.meta["notes"])


def test_a_finished_run_is_not_made_again(made: Dub, clips: Path, voice: Path, cache: Path) -> None:
    before = made.out.stat()
    source, settings = clips / "single_face.mp4", {"out": made.out, "cache": cache}
    again = generate(source, voice, resume=True, **settings)
    assert again.meta == made.meta
    assert made.out.stat() == before
    with pytest.raises(InputError, match="exists already"):
        generate(source, voice, **settings)
    with pytest.raises(InputError, match="silence was"):
        generate(source, voice, silence="keep", resume=True, **settings)


@pytest.mark.parametrize(("seconds", "count"), [(3.5, 105), (0.2, 6)])
def test_as_long_as_the_sound(
    clips: Path, cache: Path, tmp_path: Path, seconds: float, count: int
) -> None:
    """Longer than the video, frames come back in the opposite order."""
    sound = write_tones(tmp_path / "a.wav", [(0, seconds, 300)])
    source = clips / "single_face.mp4"
    result = generate(source, sound, out=tmp_path / "o.mp4", cache=cache, length="audio")
    times_s, images = images_of(result.out)
    assert len(images) == result.meta["frames"] == count
    np.testing.assert_allclose(times_s, np.arange(count) / 30, atol=1e-3)
    if seconds > 2.4:
        n = len(images_of(source)[1])
        for i in range(1, 20):
            forth, back = images[n - 1 - i], images[n - 1 + i]
            assert np.abs(forth[:150].astype(float) - back[:150]).mean() < 3


def test_pauses_may_stay_as_they_are(clips: Path, voice: Path, cache: Path, tmp_path: Path) -> None:
    source = clips / "single_face.mp4"
    result = generate(source, voice, out=tmp_path / "o.mp4", cache=cache, silence="keep")
    (pause,) = result.meta["untouched"]
    assert pause["reason"] == "nobody speaks"
    assert pause["start_s"] == pytest.approx(1.0, abs=0.1)
    assert pause["end_s"] == pytest.approx(1.8, abs=0.1)
    apart = differences(images_of(source)[1], images_of(result.out)[1])
    assert apart[36:48].max() < apart[:24].min()


def test_a_picture_speaks_as_long_as_its_sound(clips: Path, tmp_path: Path, puppet: Puppet) -> None:
    image = images_of(clips / "single_face.mp4")[1][0]
    cv2.imwrite(str(tmp_path / "face.png"), image[..., ::-1])
    sound = write_tones(tmp_path / "a.wav", [(0, 1, 300)])
    result = generate(tmp_path / "face.png", sound, out=tmp_path / "o.mp4")
    times_s, images = images_of(result.out)
    assert len(images) == 25
    np.testing.assert_allclose(times_s, np.arange(25) / 25, atol=1e-3)
    assert (tmp_path / "lipsync-cache" / "parts").is_dir()


def test_frames_without_the_face_stay(
    clips: Path, voice: Path, cache: Path, tmp_path: Path
) -> None:
    source = clips / "face_then_none.mp4"
    result = generate(source, voice, out=tmp_path / "o.mp4", cache=cache)
    assert 0 < result.meta["drawn"] < result.meta["frames"]
    last = result.meta["untouched"][-1]
    assert last["reason"] == "not in view"
    assert last["end_s"] == pytest.approx(result.meta["duration_s"])
    fps = result.meta["fps"]
    apart = differences(images_of(source)[1], images_of(result.out)[1])
    gone = apart[round(last["start_s"] * fps) + 1 :]
    assert gone.max() < 3


class Meter:
    """An expert that sees how bright the mouth is, and hears how loud it is."""

    name, digest, framing, window, margin = "meter", "0" * 12, "a spot", 5, 0.1

    def view(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        x, y = points[14].clip(0, len(image) - 1).astype(int)
        return image[y, x].astype(np.float32)

    def embed_faces(self, views: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(views, self.window, axis=0).mean(axis=2)

    def embed_sound(self, sound: Sound, start_s: float, count: int) -> np.ndarray:
        parts = [sound.between(start_s + i / 25, start_s + (i + 5) / 25) for i in range(count)]
        return np.array([[np.abs(part.astype(float)).mean() / 100] * 3 for part in parts])


def test_an_expert_judges_source_and_result(
    clips: Path, voice: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "load_expert", Meter)
    monkeypatch.setattr(review, "LONGEST_S", 10.0)
    result = generate(clips / "single_face.mp4", voice, out=tmp_path / "o.mp4", cache=cache)
    expert = result.meta["score"]["expert"]
    assert expert["framing"] == "a spot"
    assert expert["before"]["lse_d"] != expert["after"]["lse_d"]
    assert "LSE-D" in result.report.read_text()


@pytest.mark.parametrize("speaker", ["auto", "0", "1", "point"])
def test_one_of_two_faces_is_driven(
    clips: Path, voice: Path, cache: Path, tmp_path: Path, speaker: str
) -> None:
    source = clips / "two_people.mp4"
    if speaker == "point":
        path, _ = follow.follow_faces(source, cache, lambda done: None)
        faces, _ = lipsync_generate.scan_faces(path)
        x1, y1, x2, y2 = faces[1].boxes[0]
        speaker = f"{(x1 + x2) / 2:.0f},{(y1 + y2) / 2:.0f}"
    result = generate(source, voice, out=tmp_path / "o.mp4", cache=cache, speaker=speaker, crf=4)
    (track,) = result.meta["speakers"]
    assert track == {"auto": track, "0": 0}.get(speaker, 1)
    path, _ = follow.follow_faces(source, cache, lambda done: None)
    faces, _ = lipsync_generate.scan_faces(path)
    apart = np.abs(images_of(source)[1].astype(np.float32) - images_of(result.out)[1]).max(axis=3)
    for number, face in faces.items():
        x1, y1, x2, y2 = face.boxes.mean(axis=0).clip(0).astype(int)
        mouth = apart[face.frames, (y1 + y2) // 2 : y2, x1:x2]
        assert (np.quantile(mouth, 0.998) > 10) == (number == track)


def test_there_is_no_such_track(clips: Path, voice: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no track 9"):
        generate(clips / "two_people.mp4", voice, out=tmp_path / "o.mp4", cache=cache, speaker="9")
    assert list(tmp_path.iterdir()) == []


def test_silence_is_said(clips: Path, cache: Path, tmp_path: Path) -> None:
    sound = write_tones(tmp_path / "a.wav", [(0, 3, 0)])
    result = generate(clips / "single_face.mp4", sound, out=tmp_path / "o.mp4", cache=cache)
    assert any("silent" in note for note in result.meta["notes"])
    assert result.meta["drawn"] == result.meta["frames"]


def test_no_sound_no_face_a_tiny_face(
    clips: Path, voice: Path, tmp_path: Path, cache: Path
) -> None:
    out = tmp_path / "o.mp4"
    mute = write_video(tmp_path / "mute.mp4", numbered(10))
    with pytest.raises(InputError, match="no sound"):
        generate(clips / "single_face.mp4", mute, out=out, cache=cache)
    with pytest.raises(VideoError, match="no face"):
        generate(mute, voice, out=out, cache=cache)
    _, images = images_of(clips / "single_face.mp4")
    tiny = [cv2.resize(image, (32, 18), interpolation=cv2.INTER_AREA) for image in images[:12]]
    small = write_video(tmp_path / "small.mp4", tiny, fps=30)
    with pytest.raises(VideoError, match=r"no face|too small"):
        generate(small, voice, out=out, cache=cache)
    assert not out.exists()
    assert not out.with_suffix(".lipsync").exists()


def test_every_frame_beyond_the_yaw(clips: Path, voice: Path, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(VideoError, match="turned away"):
        generate(
            clips / "single_face.mp4", voice, out=tmp_path / "o.mp4", cache=cache, max_yaw=1e-6
        )


def test_a_video_that_is_none_and_one_that_is_cut_off(
    clips: Path, voice: Path, tmp_path: Path, cache: Path
) -> None:
    bad, cut = tmp_path / "bad.mp4", tmp_path / "cut.mkv"
    bad.write_bytes(b"nothing")
    with pytest.raises(VideoError, match="cannot be read"):
        generate(bad, voice, out=tmp_path / "o.mp4", cache=cache)
    data = (clips / "signer_yes.mkv").read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    result = generate(cut, voice, out=tmp_path / "o.mp4", cache=cache)
    assert "partly read" in result.failures[str(cut)]
    assert result.meta["frames"] == len(images_of(result.out)[1])


@pytest.mark.parametrize("name", ["nobody", "folder"])
def test_a_model_that_is_none(
    clips: Path, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(lipsync_generate, "load_mouth_model", load_mouth_model)
    (tmp_path / "folder").mkdir()
    model = str(tmp_path / "folder") if name == "folder" else name
    with pytest.raises(ModelError):
        generate(clips / "single_face.mp4", voice, out=tmp_path / "o.mp4", model=model)
    assert not (tmp_path / "o.lipsync").exists()


def test_models_that_cannot_be_adapted(clips: Path, voice: Path, tmp_path: Path) -> None:
    video = clips / "single_face.mp4"
    with pytest.raises(InputError, match=r"--?quick|quick="):
        generate(video, voice, out=tmp_path / "o.mp4", quick=video)


@pytest.mark.parametrize("name", ["o.mkv", "folder.mp4", "source.mp4", "there.mp4"])
def test_places_that_cannot_be_written(clips: Path, voice: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "there.mp4").write_bytes(b"mine")
    source = tmp_path / "source.mp4"
    source.write_bytes((clips / "single_face.mp4").read_bytes())
    with pytest.raises(OpenMarlinError, match=re.escape(name)):
        generate(source, voice, out=tmp_path / name, overwrite=name == "source.mp4")
    assert (tmp_path / "there.mp4").read_bytes() == b"mine"


SCRIPT = """
import resource, sys
limit, *words = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), -1))
from puppet import Puppet
from openmarlin.jobs import lipsync_generate
from openmarlin.lipsync import review
review.LONGEST_S = 0.3
lipsync_generate.load_mouth_model = lambda name: Puppet(64)
lipsync_generate._SEGMENT_S = 0.4
sys.argv = ["openmarlin", "lipsync", "generate", *words]
from openmarlin.cli import main
main()
"""


def start(limit: int, *words: str | Path) -> subprocess.Popen[str]:
    tests = Path(__file__).parents[1]
    script = f"import sys; sys.path.insert(0, {str(tests)!r})\n{SCRIPT}"
    command = [sys.executable, "-c", script, str(limit), *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_killed_and_resumed_it_is_the_same(
    clips: Path, voice: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, whole, part = clips / "single_face.mp4", tmp_path / "whole.mp4", tmp_path / "part.mp4"
    monkeypatch.setattr(lipsync_generate, "_SEGMENT_S", 0.4)
    generate(source, voice, out=whole, cache=cache)
    words = [source, voice, "--cache", cache]
    process = start(0, *words, "--out", part)
    segments = part.with_suffix(".lipsync") / "segments"
    while process.poll() is None and len(list(segments.glob("0*.mp4"))) < 2:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not part.exists()
    done = {path.name: path.stat().st_mtime_ns for path in segments.glob("0*.mp4")}
    assert 2 <= len(done) < 6
    resumed = start(0, *words, "--out", part, "--resume")
    assert resumed.wait() == 0, resumed.communicate()[1]
    assert part.read_bytes() == whole.read_bytes()


def test_a_full_disk_is_one_line_and_loses_nothing(
    made: Dub, clips: Path, voice: Path, cache: Path, tmp_path: Path
) -> None:
    """The kernel refuses files above a size, as a full disk would: the joined video is one."""
    out = tmp_path / "out.mp4"
    words = [clips / "single_face.mp4", voice, "--cache", cache, "--out", out, "--crf", "8"]
    full = start(250_000, *words)
    log = full.communicate()[1]
    assert full.returncode == 2, log
    assert "Traceback" not in log
    assert log.count("cannot write") == 1
    assert not out.exists()
    assert not list(tmp_path.rglob("*.part"))
    assert list((tmp_path / "out.lipsync" / "segments").glob("*.mp4"))
    again = start(0, *words, "--resume")
    log = again.communicate()[1]
    assert again.returncode == 0, log
    assert len(images_of(out)[1]) == made.meta["frames"]
