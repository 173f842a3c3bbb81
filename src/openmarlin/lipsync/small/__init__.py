"""A small model that moves a mouth: sound -> the shape of the mouth -> pixels.

`mouth_shape` turns meshes into some numbers and back, `shape_net` hears them, `renderer` draws
them, `model` holds all three together.
"""
