"""The paper's figures and tables, computed on the user's own material (`sidgan paper`).

Figures 2 and 4, which show whether losses depend on the position of a mouth or only on its shape::

    footage    raw videos to random, seeded windows of five frames, in crops wider than the face
    warp       opens or closes the mouth of a face image
    judges     the losses, as functions of batches of images
    shifts     Figure 4: losses against a horizontal shift
    landscape  Figure 2: losses against shift and mouth opening together
    numbers    statistics for both: flatness, feasible set, bootstrap intervals
    draw       both as plots, with matplotlib

Figures that show faces::

    voices        Figure 1: one voice on two people       people    synthetic people, for users without footage
    side_by_side  Figures 5 and 8: methods and the truth  filmed    tracked faces, moments to show, crops
    extremes      Figure 6: hard cases                    sheet     a grid of images with captions

Tables and Figure 7, which compare methods by numbers::

    places     finds a method's results, or evaluates it first                 budgets    size and length of trainings
    collect    joins result folders that are comparable, refuses others        published  the paper's own numbers
    tables     Tables 1 and 2, ablation and table4 Table 4, scatter Figure 7   orderings  which of its rankings hold
"""
