"""From frames to steady face crops: detector, mesh, tracks, crops and regions."""
