"""Figures of the paper as commands: whether its losses mind where a mouth is, or only what shape it has.

::

    footage    raw videos to a few seeded windows of five frames, cut wider than the face
    warp       the same face with its mouth opened or closed
    judges     the losses, each as a function of a batch of pictures
    shifts     Figure 4: losses over a horizontal shift
    landscape  Figure 2: losses over shift and mouth opening together
    numbers    what is read off both: flatness, feasible set, bootstrap intervals
    draw       both as pictures; needs matplotlib, which nothing else here does
    cli        the verbs
"""
