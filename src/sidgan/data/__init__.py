"""Footage in, training batches out.

::

    sources, listing ─▶ prepare ─ packing ─▶ a folder of packed clips ─▶ dataset ─▶ windows for training
    which clips          one clip: face, judgement,      │    │   │
                         crops, mel, masks               │    │   └─ shards, shardset: large sets for many GPUs
                                                         │    └─ survey, sheets: what is in it and why
                         splits: what may be trained on ─┘
    transfer, carry, drawn ─▶ more speakers from few: a mouth moves as another's did, on a filmed or a drawn face
    labelling, speech      ─▶ recordings with their speech sounds, for listeners
    occluders              ─▶ hands and things drawn before faces
    offset                 ─▶ how far sound and picture of a clip are apart
"""
