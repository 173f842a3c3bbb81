"""Videos in, clips and features out.

What comes in: `manifest` (with `tables`) and `layouts`. The training store: `tracks`, which makes
it in the processes of `pool`, and `store`. What goes out: `clips` and `feed` for the encoder,
`features` (with `formats`, `parts` and `thumbs`) for the user.
"""
