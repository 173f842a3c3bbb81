"""The store: face crops, their regions, meshes and sound on disk, for training to read at random.

    with StoreWriter("faces", size=256) as writer:
        writer.add("anna-1", images, cells, fps=25.0)
    store = Store("faces")
    images, cells = store.read(0, range(0, 32, 2))  # uint8 (16, S, S, 3), uint16 (16, S/8, S/8)

`index` is what a store holds, `shards` its bytes, `writer` makes one, `reader` opens it.
"""

from openmarlin.data.store.index import INDEX_FILE, TRACKS_FILE, Track
from openmarlin.data.store.reader import Store
from openmarlin.data.store.writer import StoreWriter

__all__ = ["INDEX_FILE", "TRACKS_FILE", "Store", "StoreWriter", "Track"]
