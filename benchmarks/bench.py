"""All CPU benchmarks of dubbing, at a small size: one table, and one JSON object as the last line.

    python benchmarks/bench.py [--frames 48] [--rounds 3] [--out build/bench.json]

Each runs in a process of its own and can also be run alone at other sizes; see their files and `docs/benchmarks.md`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: Ratio -> its target.
AIMS = {
    "dub / bound, wall": "<= 1.4", "dub / bound, cpu": "<= 1.4", "field / dub, cpu": ">= 2",
    "field / dub but for the network, cpu": ">= 2", "memory": "<= 1.05", "openvino bf16": ">= 2.5",
}  # fmt: skip


def card(script: str, *arguments: object) -> dict[str, Any]:
    """Run a benchmark; the JSON object in its last line of output."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    print("$", *command[1:], file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{script} failed, see above")
    return json.loads(done.stdout.splitlines()[-1])


def rows(cards: dict[str, dict[str, Any]]) -> list[tuple[str, str, float, str, str]]:
    """Rows of the table: name of the ratio, picture size, ratio, its range, target."""
    table = []
    for name in ("dub", "dub_hd"):
        for what, ratio in cards[name]["ratios"].items():
            low, high = ratio["range"]
            table.append((what, cards[name]["picture"], ratio["ratio"], f"{low} to {high}", AIMS.get(what, "")))
    memory, (low, high) = cards["memory"], cards["memory"]["range"]
    table.append((f"memory, {memory['frames'][1]} frames / {memory['frames'][0]}", memory["picture"], memory["ratio"],
                  f"{low} to {high}", AIMS["memory"]))  # fmt: skip
    for name, engine in cards["engines"]["engines"].items():
        low, high = engine["cpu"]["half"]
        table.append((f"torch fp32 / {name}, cpu", f"{cards['engines']['size']}", engine["cpu"]["ratio"],
                      f"{low} to {high}", AIMS.get(name, "")))  # fmt: skip
    return table


def main() -> None:
    """Run all benchmarks, print the table, and write the JSON file if one is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write the JSON object to this file")
    args = parser.parse_args()
    sizes = ("--frames", args.frames, "--rounds", args.rounds)
    cards = {
        "dub": card("dub.py", *sizes),
        "dub_hd": card("dub.py", "--hd", *sizes),
        "memory": card("memory.py", "--frames", 2 * args.frames, "--rounds", min(args.rounds, 2)),
        "engines": card("engines.py", "--rounds", max(args.rounds, 2)),
    }
    print(f"\n{'ratio':<42}{'picture':<12}{'median':>8}   {'range':<16}aim")
    for what, where, ratio, around, aim in rows(cards):
        print(f"{what:<42}{where:<12}{ratio:>8}   {around:<16}{aim}")
    print("\nrange: of all rounds; of engines, the middle half")
    told = json.dumps({"benchmark": "all", **cards})
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(told + "\n")
    print(told)


if __name__ == "__main__":
    main()
