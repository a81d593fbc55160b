"""From footage to training batches.

::

    sources, listing ─▶ prepare ─ packing ─▶ a folder of packed clips ─▶ dataset ─▶ windows for training
    list of clips        one clip: face track, filters,  │    │   │
                         crops, mel, masks               │    │   └─ shards, shardset: large sets for many GPUs
                                                         │    └─ survey, sheets: statistics, and why clips were rejected
                         splits: what may be trained on ─┘
    transfer, carry, drawn ─▶ more speakers from few: mouth motion transferred to another filmed or synthetic face
    labelling, speech      ─▶ audio recordings with phoneme labels, to train listeners
    occluders              ─▶ synthetic hands and objects in front of faces
    offset                 ─▶ audio-video offset of a clip
"""
