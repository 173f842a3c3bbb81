"""Distillation: an encoder learns from trained nets, and from the mesh, what they see in a face.

teachers    nets that teach, and how each wants to be shown a face
measuring   what teachers and mesh say of the frames of a store, measured once and kept
targets     those numbers, centred and scaled, as what a student predicts
data        clips and single pictures, augmented, with few tokens left and with their targets
network     the student: an encoder with linear heads
task        how it learns, and how well it predicts on held-out faces
"""
