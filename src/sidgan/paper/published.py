"""The values of the paper's Tables 1 to 4, to show beside those measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SEVEN = ("fid", "ssim", "psnr", "id", "lmd", "lse_d", "lse_c")  #: columns of Tables 1 and 2, and of Figure 7
GROUND, OURS = "Ground Truth", "SIDGAN"

#: Set -> (its name, number of clips that the paper tested on).
SETS = {"avspeech": ("AVSpeech", 3945), "hdtf": ("HDTF", 171), "lrw": ("LRW", 1000)}

Figures = Mapping[str, float]  #: metric -> value


def _rows(names: Sequence[str], text: str) -> dict[str, dict[str, float]]:
    """Parse a table into method -> metric -> value; ``-`` marks values that the paper does not give."""
    lines = [line.rsplit(maxsplit=len(names)) for line in text.strip().splitlines()]
    return {
        line[0].strip(): {n: float(v) for n, v in zip(names, line[1:], strict=True) if v != "-"} for line in lines
    }


#: Set -> method -> metric -> value (Tables 1 and 2).
BENCHMARKS: Mapping[str, Mapping[str, Figures]] = {
    "avspeech": _rows(SEVEN, """
        PC-AVS        93.16 0.73 19.22 0.39 4.35 7.22 7.06
        LipGAN        77.84 0.89 24.70 0.28 3.57 7.43 6.63
        Wav2Lip       73.50 0.89 24.32 0.29 3.74 6.64 8.03
        Wav2Lip-384   61.25 0.84 21.82 0.32 4.37 7.15 6.61
        Ground Truth  -     -    -     -    0.00 8.17 5.64
        SIDGAN        22.69 0.95 28.67 0.17 2.96 7.38 6.31
    """),
    "hdtf": _rows(SEVEN, """
        PC-AVS        63.62 0.72 19.49 0.40 4.11 6.40 9.29
        LipGAN        68.56 0.89 24.67 0.26 3.32 6.82 8.46
        Wav2Lip       55.82 0.89 24.38 0.27 3.43 6.00 9.87
        Wav2Lip-384   47.33 0.81 20.69 0.32 4.50 9.94 4.82
        Ground Truth  -     -    -     -    0.00 6.76 8.66
        SIDGAN        12.15 0.95 28.12 0.17 2.99 6.80 8.05
    """),
    "lrw": _rows(SEVEN, """
        PC-AVS        63.75 0.71 21.82 0.41 3.24 6.80 7.38
        LipGAN        65.66 0.91 25.84 0.25 3.12 7.01 6.60
        Wav2Lip       57.26 0.91 25.86 0.25 3.24 6.22 8.31
        Wav2Lip-384   50.84 0.87 23.72 0.30 4.16 6.65 7.08
        Ground Truth  -     -    -     -    -    7.17 6.34
        SIDGAN        19.84 0.96 30.04 0.16 2.86 6.79 6.76
    """),
}  # fmt: skip

QUESTIONS = ("sync", "visual", "overall")  #: columns of Table 3
#: Method -> question -> mean rating, 1 to 5 (Table 3: 22 clips of 30 s, 10 viewers).
STUDY: Mapping[str, Figures] = _rows(QUESTIONS, """
    PC-AVS       3.07 2.57 2.57
    Wav2Lip      3.02 1.84 2.10
    Wav2Lip-384  3.03 1.90 2.19
    SIDGAN       3.52 3.62 3.41
""")

THREE = ("fid", "lse_d", "lse_c")  #: columns of Table 4
#: Row, as named in `sidgan.paper.ablation` -> metric -> value on HDTF (Table 4).
ABLATION: Mapping[str, Figures] = _rows(THREE, """
    no_contextual  14.97 6.90 7.83
    perceptual     15.29 7.49 7.21
    vanilla_sync   12.61 7.06 7.76
    no_pyramid     13.01 6.93 7.91
    full           12.15 6.80 8.05
""")


def known_as(name: str, known: Sequence[str]) -> str | None:
    """The one of the ``known`` methods that ``name`` denotes, or ``None``; "ours" denotes `OURS`.

    Case, spaces and punctuation do not matter.
    """
    plain = _plain(name)
    plain = _plain(OURS) if plain == "ours" else plain
    return next((method for method in known if _plain(method) == plain), None)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
