"""Stretches: searched at the ends, followed between; each face once in every frame."""

from __future__ import annotations

from actors import Scene, make_face

from openmarlin.face.find import find_faces


def counts(scene: Scene, **how) -> list[int]:
    images = [frame.image for frame in scene.frames()]
    return [len(faces) for faces in find_faces(images, scene, **how)]


def test_a_fast_face_is_found_along_the_line() -> None:
    scene = Scene([[make_face(40 + 3 * n, 80, 60)] for n in range(16)])
    assert counts(scene, before=None, search_end=True) == [1] * 16
    assert (scene.searched, scene.followed) == (2, 16)


def test_a_face_that_comes_is_found_from_its_first_frame() -> None:
    scene = Scene([[make_face(100 + n, 80, 50)] if n >= 5 else [] for n in range(16)])
    assert counts(scene, before=[], search_end=True) == [0] * 5 + [1] * 11


def test_a_face_that_goes_is_followed_to_its_last_frame() -> None:
    scene = Scene([[make_face(100 + n, 80, 50)] if n < 9 else [] for n in range(16)])
    assert counts(scene, before=None, search_end=True) == [1] * 9 + [0] * 7


def test_faces_of_the_frame_before_need_no_search() -> None:
    before = [make_face(98, 80, 50).points]
    scene = Scene([[make_face(100 + n, 80, 50)] for n in range(8)])
    assert counts(scene, before=before, search_end=False) == [1] * 8
    assert (scene.searched, scene.followed) == (0, 8)
    nobody = Scene([[]] * 8)
    assert counts(nobody, before=[], search_end=False) == [0] * 8
    assert (nobody.searched, nobody.followed) == (0, 0)


def test_single_frames() -> None:
    scene = Scene([[make_face(100, 80, 50)]])
    assert counts(scene, before=None, search_end=True) == [1]
    assert scene.searched == 1
    assert counts(scene, before=[], search_end=True) == [1]
    assert counts(scene, before=[], search_end=False) == [0]


def test_found_faces_are_measured_as_followed_ones_are() -> None:
    class Biased(Scene):
        def search(self, image):
            return [make_face(103, 80, 52) for _ in super().search(image)]

    scene = Biased([[make_face(100, 80, 50)] for _ in range(8)])
    images = [frame.image for frame in scene.frames()]
    faces = [row[0] for row in find_faces(images, scene, before=None, search_end=True)]
    assert all(face.box[0] == faces[4].box[0] for face in faces)


def test_two_lines_to_one_face_give_it_once() -> None:
    # Gone at the left, come at the right: both ends are looked for, and meet in the middle.
    scene = Scene([[make_face(60 + 8 * n, 80, 60)] for n in range(12)])
    assert counts(scene, before=None, search_end=True) == [1] * 12
