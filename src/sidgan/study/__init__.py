"""The user study (Sec. 4.2, Table 3): people rate clips of several methods without knowing which is which.

::

    order     in which order each viewer sees clips and methods: balanced Latin squares
    build     a study folder: the clips of all methods, under random file names
    answers   the ratings, in SQLite
    server    the rating page, served on this computer only
    agreement inter-rater agreement: Krippendorff's alpha
    report    Table 3, with intervals, agreement, and what was left out
"""
