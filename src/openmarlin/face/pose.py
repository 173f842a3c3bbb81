"""Where a head points: yaw, pitch and roll of a mesh.

The mesh is compared with MediaPipe's canonical face by weighted orthogonal Procrustes analysis: the
rotation, scale and shift that bring one closest to the other (Gower & Dijksterhuis 2004, chapter
4), over 33 points that hardly move when a face speaks or smiles. Points and weights are those of
MediaPipe's face geometry (geometry_pipeline_metadata_landmarks of face_landmarker.task, Apache-2.0)

Angles are of the face as the picture shows it (weak perspective, no lens is known), in degrees:

    yaw    > 0: the face points to the right of the picture (the person's own left)
    pitch  > 0: it points up
    roll   > 0: the head is tilted clockwise on the screen, about the direction it points to

Yaw and pitch are the compass of the nose, so they stay apart in profile. A mirrored picture has the
opposite yaw and roll, and the same pitch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Number of the point, its weight, its place in cm: x to the person's left, y up, z to the front.
# fmt: off
_BASIS = np.array([
    (4, 0.07091, 0.0000, -0.4632, 7.5866), (6, 0.03210, 0.0000, 2.4733, 5.7886),
    (10, 0.00845, 0.0000, 8.2618, 4.4815), (33, 0.05872, -4.4459, 2.6640, 3.1734),
    (54, 0.00767, -6.2793, 6.6154, 1.4259), (67, 0.00908, -3.5240, 8.0060, 3.7292),
    (117, 0.00979, -5.2587, 0.9458, 2.9743), (119, 0.01457, -3.3007, 0.8616, 3.8728),
    (121, 0.01859, -1.8207, 1.4680, 4.2241), (127, 0.00520, -7.7431, 2.3650, -2.0052),
    (129, 0.12063, -1.7858, -0.9783, 4.8505), (132, 0.00556, -7.2709, -2.8909, -2.2525),
    (133, 0.05329, -1.8564, 2.5852, 3.7579), (136, 0.06689, -5.0853, -7.1786, 0.7147),
    (143, 0.01482, -6.4076, 2.2360, 1.5608), (147, 0.01426, -6.2349, -1.9444, 1.6635),
    (198, 0.02546, -1.2468, 0.2303, 5.6810), (205, 0.04725, -3.8329, -1.5373, 4.1377),
    (263, 0.05872, 4.4459, 2.6640, 3.1734), (284, 0.00767, 6.2793, 6.6154, 1.4259),
    (297, 0.00908, 3.5240, 8.0060, 3.7292), (346, 0.00979, 5.2587, 0.9458, 2.9743),
    (348, 0.01457, 3.3007, 0.8616, 3.8728), (350, 0.01859, 1.8207, 1.4680, 4.2241),
    (356, 0.00520, 7.7431, 2.3650, -2.0052), (358, 0.12063, 1.7858, -0.9783, 4.8505),
    (361, 0.00556, 7.2709, -2.8909, -2.2525), (362, 0.05329, 1.8564, 2.5852, 3.7579),
    (365, 0.06689, 5.0853, -7.1786, 0.7147), (372, 0.01482, 6.4076, 2.2360, 1.5608),
    (376, 0.01426, 6.2349, -1.9444, 1.6635), (420, 0.02546, 1.2468, 0.2303, 5.6810),
    (425, 0.04725, 3.8329, -1.5373, 4.1377),
])
# fmt: on
_POINTS = _BASIS[:, 0].astype(int)
_WEIGHTS = _BASIS[:, 1] / _BASIS[:, 1].sum()
_FACE = _BASIS[:, 2:] * (1, -1, -1)  # in the axes of a mesh: x right, y down, z away
_CENTRED = _FACE - _WEIGHTS @ _FACE
# Points that do not move when the jaw does.
# fmt: off
_STILL = np.flatnonzero(np.isin(_POINTS, (
    4, 6, 10, 33, 54, 67, 121, 127, 129, 133, 143, 198, 263, 284, 297, 350, 356, 358, 362, 372, 420,
)))
# fmt: on


def head_rotation(meshes: NDArray[np.floating]) -> Floats:
    """The rotation of each mesh.

    Args:
        meshes: (N, 478, 3) points: x to the right, y down, z away from the camera, one unit.

    Returns:
        (N, 3, 3): the head's own axes (its left, down, back) as columns, in those of the picture.
    """
    points = meshes[:, _POINTS].astype(np.float64)
    points -= np.einsum("p,npi->ni", _WEIGHTS, points)[:, None]
    # Kabsch: the rotation that maximises the trace of its product with this covariance.
    left, _, right = np.linalg.svd(np.einsum("p,npi,pj->nij", _WEIGHTS, points, _CENTRED))
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]  # no reflection
    return np.asarray(left @ right)


def head_pose(meshes: NDArray[np.floating]) -> Floats:
    """Yaw, pitch and roll (N, 3) of meshes (N, 478, 3), degrees; see the top of this module."""
    rotation = head_rotation(meshes)
    front = -rotation[:, :, 2]
    yaw = np.arctan2(front[:, 0], -front[:, 2])
    pitch = np.arcsin(np.clip(-front[:, 1], -1, 1))
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 1, 1])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=1)))


def face_cameras(points: NDArray[np.floating]) -> Floats:
    """The affine camera through which the canonical face looks most like each mesh.

    Only points that stay where they are when a face speaks count; least squares with their weights.

    Args:
        points: (N, 478, 2) in pixels of a picture.

    Returns:
        (N, 2, 4): pixels = camera @ (x, y, z, 1), the canonical face in cm: x to the right of the
        picture, y down, z away.
    """
    face = np.column_stack([_FACE[_STILL], np.ones(len(_STILL))])
    weighted = face * _WEIGHTS[_STILL][:, None]
    solution = np.linalg.solve(weighted.T @ face, weighted.T)
    return np.asarray(np.einsum("kp,npi->nik", solution, points[:, _POINTS[_STILL]]))
