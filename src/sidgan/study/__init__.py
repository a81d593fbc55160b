"""The user study (Sec. 4.2, Table 3): people rate clips of several methods without knowing which is which.

::

    order     who sees what when: Latin squares
    build     clips and methods to a folder of clips with hidden names
    answers   ratings in SQLite, one question at a time
    server    the page to rate on, on this computer only
    agreement how far people agree: Krippendorff's alpha
    report    Table 3, with intervals, agreement, and what was left out
"""
