"""What each column of a table means, in one sentence, and which way is better; see also ``docs/evaluation.md``."""

from __future__ import annotations

HIGHER, LOWER, ZERO, ONE, NEITHER = "higher", "lower", "0", "1", "-"

#: Metric -> (which way is better, what it is).
MEANINGS = {
    "fid": (LOWER, "Fr&eacute;chet distance of Inception features of all frames, as drawn and true. Too high where "
                   "there are few frames: compare only figures from equally many."),
    "ssim": (HIGHER, "Structural similarity of the whole crop, most of which is copied."),
    "psnr": (HIGHER, "Peak signal-to-noise ratio of the whole crop, most of which is copied."),
    "id": (LOWER, "Distance of the faces' identities; 0.6 is the usual limit for one person."),
    "lmd": (LOWER, "Mean distance of the lip landmarks from the true ones, in crops of 256 px."),
    "lse_d": (LOWER, "Distance of mouth and sound for the published SyncNet. Aim at the truth's value, not below it."),
    "lse_c": (HIGHER, "Confidence of the published SyncNet. Aim at the truth's value, not above it."),
    "mouth_psnr": (HIGHER, "PSNR inside the mouth region alone. A still mouth can score well: see opening r too."),
    "heard": (HIGHER, "PSNR inside the mouth region with the right sound minus that with the wrong one: what listening "
                      "is worth. 0: it does not listen."),
    "mouth_ssim": (HIGHER, "Structural similarity inside the mouth region."),
    "mouth_l1": (LOWER, "Mean absolute difference inside the mouth region, of 255 levels."),
    "lmd_c": (LOWER, "LMD after both mouths are moved to one centre: shape without position."),
    "lmd_n": (LOWER, "LMD in percent of the distance of the outer eye corners."),
    "jitter": (ZERO, "By how much the lips tremble more than the true ones, px at 256 px."),
    "face_fd": (LOWER, "Fr&eacute;chet distance of the identities of all clips; needs no download."),
    "opening": (ONE, "Correlation of the mouth's opening with the true one. In the rows silent, shuffled and swapped, "
                     "the leak: what the picture gave away."),
    "opening_chance": (NEITHER, "What one in twenty unrelated mouths would reach as opening r."),
    "opening_lag": (ZERO, "Frames by which the mouth comes late, where opening r is highest."),
    "opening_ratio": (ONE, "How much the mouth moves, relative to the true one; below 1 it mumbles."),
    "sync": (HIGHER, "Probability that mouth and sound belong together, for our own expert."),
    "sync_offset": (ZERO, "Frames by which the picture lags the sound, for our own expert."),
    "sync_near": (ONE, "Share of clips in which that is at most one frame."),
    "lse_offset": (ZERO, "Frames by which the picture lags the sound, for the published SyncNet."),
    "fd_custom": (LOWER, "As FID, with a network that is not the published one: not comparable with FID."),
    "lag_d": (LOWER, "As LSE-D, with weights that are not the published ones: not comparable with LSE-D."),
    "lag_c": (HIGHER, "As LSE-C, with weights that are not the published ones: not comparable with LSE-C."),
    "lag_offset": (ZERO, "As LSE offset, with weights that are not the published ones."),
}  # fmt: skip

#: Row -> who dubs.
DUBBERS = {
    "truth": "the clip itself",
    "model": "the generator with the right sound",
    "result": "the video that is judged",
    "wrong": "the generator with sound from half the clip later",
    "silent": "the generator with silence",
    "shuffled": "the generator with its sound cut and put in another order",
    "swapped": "the generator with another clip's sound",
    "reference": "the mouth of the (first) reference frame, in every frame",
    "random": "the mouth of another frame, drawn anew for each",
    "average": "the clip's average mouth, which knows the answers",
    "donor": "compared with the clip that the voice came from",
    "elsewhere": "compared with a third clip: what chance would give",
}

SYSTEMS = {
    "composite": "pasted into the true frame inside the mouth region",
    "raw": "the whole picture as the network drew it",
    "revoiced": "with the voice of another clip",
}
FINISHED = "the finished videos, as they are: nothing of the true ones is pasted into them"  #: the system of videos
