"""Explanations of columns, rows and systems for the report; see also ``docs/evaluation.md``."""

from __future__ import annotations

HIGHER, LOWER, ZERO, ONE, NEITHER = "higher", "lower", "0", "1", "-"

#: Metric -> (which way is better, explanation).
MEANINGS = {
    "fid": (LOWER, "Fr&eacute;chet distance between Inception features of dubbed and true frames. It is too high "
                   "with few frames: compare only results with the same number of frames."),
    "ssim": (HIGHER, "Structural similarity of the whole crop, most of which is copied from the true frame."),
    "psnr": (HIGHER, "Peak signal-to-noise ratio of the whole crop, most of which is copied from the true frame."),
    "id": (LOWER, "Distance between face identities; below 0.6, two faces usually count as the same person."),
    "lmd": (LOWER, "Mean distance between the lip landmarks and the true ones, in crops of 256 px."),
    "lse_d": (LOWER, "Distance between mouth and sound, by the published SyncNet. Aim at that of truth, not less."),
    "lse_c": (HIGHER, "Confidence of the published SyncNet. Aim at that of truth, not more."),
    "mouth_psnr": (HIGHER, "PSNR inside the mouth region. A still mouth can score well, so look at opening r too."),
    "heard": (HIGHER, "Mouth PSNR with the right sound minus mouth PSNR with wrong sound. 0: the sound is "
                      "ignored."),
    "mouth_ssim": (HIGHER, "Structural similarity inside the mouth region."),
    "mouth_l1": (LOWER, "Mean absolute difference inside the mouth region, of 255 levels."),
    "lmd_c": (LOWER, "LMD after both mouths are centred: it compares shape, not position."),
    "lmd_n": (LOWER, "LMD in percent of the distance between the outer eye corners."),
    "jitter": (ZERO, "How much more the lips jitter than the true ones, px in crops of 256 px."),
    "face_fd": (LOWER, "Fr&eacute;chet distance between the identities of dubbed and true faces; needs no download."),
    "opening": (ONE, "Correlation of the mouth opening with the true one. In the rows silent, shuffled and swapped it "
                     "shows a leak: how much the picture alone reveals."),
    "opening_chance": (NEITHER, "The opening r that one in twenty unrelated mouths reaches."),
    "opening_lag": (ZERO, "Frames by which the mouth is late: the shift with the highest opening r."),
    "opening_ratio": (ONE, "How much the mouth moves, relative to the true one; below 1 it moves too little."),
    "sync": (HIGHER, "Probability that mouth and sound match, by our own sync expert."),
    "sync_offset": (ZERO, "Frames by which the picture lags the sound, by our own sync expert."),
    "sync_near": (ONE, "Share of clips in which the offset is at most one frame."),
    "lse_offset": (ZERO, "Frames by which the picture lags the sound, by the published SyncNet."),
    "fd_custom": (LOWER, "Like FID, but with another network, so not comparable with FID."),
    "lag_d": (LOWER, "Like LSE-D, but with other weights, so not comparable with LSE-D."),
    "lag_c": (HIGHER, "Like LSE-C, but with other weights, so not comparable with LSE-C."),
    "lag_offset": (ZERO, "Like LSE offset, but with other weights."),
}  # fmt: skip

#: Row -> whose mouth is judged.
DUBBERS = {
    "truth": "the true clip itself",
    "model": "the generator with the right sound",
    "result": "the judged video",
    "wrong": "the generator with wrong sound, from half the clip later",
    "silent": "the generator with silence",
    "shuffled": "the generator with its sound cut up and reordered",
    "swapped": "the generator with another clip's sound",
    "reference": "the mouth of the (first) reference frame, pasted into every frame",
    "random": "the mouth of a random other frame, pasted into each frame",
    "average": "the average of the true mouths of the clip",
    "donor": "the dub compared with the clip that its voice comes from",
    "elsewhere": "the dub compared with a third clip: the chance level",
}

SYSTEMS = {
    "composite": "the drawn mouth region, pasted into the true frame",
    "raw": "the whole image as the network drew it",
    "revoiced": "with the voice of another clip",
}
#: ``composite`` where finished videos are judged.
FINISHED = "the finished videos as they are; no part of the true videos is pasted in"
