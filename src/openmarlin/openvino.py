"""OpenVINO's core, of which a process has one here, and what it takes to share it among threads."""

from __future__ import annotations

import openvino as ov

CORE = ov.Core()
"""For every network of this process, and never given up.

A core lends the thread that starts its CPU plug-in a stack for signals, and takes it away when it
goes. Of two that overlap, the second to go puts back the stack of the first, which is no longer
there: the next signal with a handler, Ctrl-C or the end of a child, then kills the process.
"""

# OpenVINO looks numpy's types up when it is first asked for one. Two threads that ask at the same
# time wait for each other forever (a lock of pybind11 against Python's), so one asks here.
ov.Type.f32.to_dtype()
