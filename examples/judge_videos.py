"""Evaluate the videos of any dubbing tool: compare a folder of results with the originals of the same names.

python examples/judge_videos.py results originals judged
"""

import sys
from pathlib import Path

from sidgan.evaluation import VideoSettings, evaluate_videos, table, write_report


def main() -> None:
    """Compare the faces, print the means, write a report with pictures."""
    results, originals, out = map(Path, sys.argv[1:] or ("results", "originals", "judged"))
    found = evaluate_videos(out, results, originals, settings=VideoSettings(size=256))
    print(table(found))
    print(f"see {write_report(out)}")


if __name__ == "__main__":
    main()
