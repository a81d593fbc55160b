"""The paper's figures and tables, computed on anybody's material (`sidgan paper`).

Whether losses mind where a mouth is, or only what shape it has (Figures 2 and 4)::

    footage    raw videos to a few seeded windows of five frames, cut wider than the face
    warp       the same face with its mouth opened or closed
    judges     the losses, each as a function of a batch of pictures
    shifts     Figure 4: losses over a horizontal shift
    landscape  Figure 2: losses over shift and mouth opening together
    numbers    what is read off both: flatness, feasible set, bootstrap intervals
    draw       both as pictures, with matplotlib

Faces to look at::

    voices        Figure 1: one voice on two people       people    drawn people for those who have no footage
    side_by_side  Figures 5 and 8: methods and the truth  filmed    faces of whole videos, mouths open and closed
    extremes      Figure 6: hard cases                    sheet     pictures in rows and columns

Numbers of several methods::

    places     what a user names as a method, judged where it is not yet       budgets    what each training had
    collect    result folders as one comparison: alike, or not at all          published  the paper's own numbers
    tables     Tables 1 and 2, ablation and table4 Table 4, scatter Figure 7   orderings  which of its orderings hold
"""
