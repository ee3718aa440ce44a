"""Print how fast and how well near repeats are found, beside datasketch and rensa, in one run.

usage: repeats.py [--peers 16000] [--rows 76294] [--near 0.8]

The rows are grown by ../shared/data/scripts/make_corpus.py, with the repeats that it plants (exact, and with other
punctuation) and beside them real edits: words changed, sentences dropped or added. Peers get texts that are normalised
already, forge normalises in its own time. Times are CPU time; absolute ones move with the machine, ratios less.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT.parent / "shared/data/scripts/make_corpus.py"
EDITED = 0.02
SENTENCE = re.compile(r"[^。！？!?]*[。！？!?]+|[^。！？!?]+$")


def main() -> None:
    """Run the parts and print a line each."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--peers", type=int, default=16_000, help="rows that the peers get too; 0 for no peers")
    options.add_argument("--rows", type=int, default=76_294, help="rows that forge gets alone; 0 for none")
    options.add_argument("--near", type=float, default=0.8)
    chosen = options.parse_args()
    if not SCRIPT.exists():
        print("not run: ../shared/data is not here")
        return
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        texts, planted = corpus(Path(folder), max(chosen.peers, chosen.rows))
    if chosen.peers:
        part, pairs = texts[: chosen.peers], [pair for pair in planted if max(pair[:2]) < chosen.peers]
        plain = normalised(part)
        ours = report("forge", forge_clusters, part, pairs, chosen.near)
        for name, function in (("rensa", rensa_clusters), ("datasketch", datasketch_clusters)):
            peer = report(name, function, plain, pairs, chosen.near)
            print(f"  {name}: forge is {peer / ours:.1f} × as fast")
    if chosen.rows:
        report("forge", forge_clusters, texts[: chosen.rows], planted, chosen.near)
        print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


def corpus(folder: Path, rows: int) -> tuple[list[str], list[tuple[int, int, str]]]:
    """Return texts, and which repeats which, with the kind of the repeat."""
    command = [sys.executable, str(SCRIPT), "--out", str(folder / "c"), "--n", str(rows), "--mix", "psyqa=1"]
    subprocess.run(command, check=True, capture_output=True)
    texts = [
        "\n".join((record["title"], record["content"], record["answers"][0]["content"]))
        for path in sorted(folder.glob("c/PsyQA/*.json"))
        for record in json.loads(path.read_text(encoding="utf-8"))
    ]
    lines = (folder / "c/planted.jsonl").read_text(encoding="utf-8").splitlines()
    planted = [(p["of"], p["record"], p["kind"]) for p in map(json.loads, lines) if p["kind"] in {"dup", "near"}]
    chosen, taken = random.Random(7), {place for pair in planted for place in pair[:2]}
    for place in range(1, rows):
        if place not in taken and chosen.random() < EDITED:
            of = chosen.randrange(place)
            if of not in taken:
                texts[place] = edited(texts[of], chosen)
                planted.append((of, place, "edit"))
                taken |= {of, place}
    return texts, planted


def edited(text: str, chosen: random.Random) -> str:
    """Return *text* with one word in fifty characters changed, and a sentence dropped or added."""
    sentences = SENTENCE.findall(text)
    if len(sentences) > 8:
        if chosen.random() < 0.5:
            del sentences[chosen.randrange(len(sentences))]
        else:
            sentences.insert(chosen.randrange(len(sentences)), "其实这些话我从来没有和别人说过。")
    letters = list("".join(sentences))
    for place in range(chosen.randrange(50), len(letters) - 2, 100):
        letters[place : place + 2] = chosen.choice(("觉得", "可能", "已经", "后来", "其实"))
    return "".join(letters)


def normalised(texts: Sequence[str]) -> list[str]:
    """Return the texts as forge compares them, for the peers."""
    import polars as pl

    from forge_text.normalise import comparable

    return pl.DataFrame({"text": texts}).select(comparable(pl.col("text")))["text"].to_list()


def report(name: str, function: Callable[..., list[int]], texts: Sequence[str], planted: Any, near: float) -> float:
    """Time *function* and print time, recall by kind and precision."""
    began = time.process_time()
    roots = function(texts, near)
    seconds = time.process_time() - began
    truth = list(range(len(texts)))
    for of, place, _ in sorted(planted, key=lambda pair: pair[1]):
        truth[place] = truth[of]
    found = [(root, place) for place, root in enumerate(roots) if root != place]
    right = sum(truth[root] == truth[place] for root, place in found)
    recalls = []
    for kind in ("dup", "near", "edit"):
        pairs = [(of, place) for of, place, each in planted if each == kind]
        share = sum(roots[of] == roots[place] for of, place in pairs) / max(len(pairs), 1)
        recalls.append(f"{kind} {share:.3f} of {len(pairs)}")
    print(
        f"{name:11s}{len(texts):7,} rows {seconds:7.1f} s  {len(texts) / seconds:8,.0f} rows/s  "
        f"recall {', '.join(recalls)}  precision {right / max(len(found), 1):.4f}",
        flush=True,
    )
    return seconds


def forge_clusters(texts: Sequence[str], near: float) -> list[int]:
    """Do what `text.deduplicate` does."""
    import polars as pl

    from forge_text.near import clusters
    from forge_text.normalise import comparable

    frame = pl.DataFrame({"text": texts}).select(comparable(pl.col("text")))
    return clusters(frame["text"], near=near).tolist()


def shingles(text: str) -> set[str]:
    """Return the character trigrams."""
    return {text[place : place + 3] for place in range(max(1, len(text) - 2))}


def rensa_clusters(texts: Sequence[str], near: float) -> list[int]:
    """Use rensa as its guide shows it."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=near, num_perm=128, num_bands=16)
    hashes, roots = [], []
    for place, text in enumerate(texts):
        minhash = RMinHash(num_perm=128, seed=42)
        minhash.update(list(shingles(text)))
        close = [other for other in index.query(minhash) if minhash.jaccard(hashes[other]) >= near]
        hashes.append(minhash)
        roots.append(min((roots[other] for other in close), default=place))
        index.insert(place, minhash)
    return roots


def datasketch_clusters(texts: Sequence[str], near: float) -> list[int]:
    """Use datasketch as its guide shows it, with the faster batch update."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=near, num_perm=128)
    roots: list[int] = []
    hashes: list[Any] = []
    for place, text in enumerate(texts):
        minhash = MinHash(num_perm=128)
        minhash.update_batch([gram.encode() for gram in shingles(text)])
        close = [other for other in index.query(minhash) if minhash.jaccard(hashes[other]) >= near]
        hashes.append(minhash)
        roots.append(min((roots[other] for other in close), default=place))
        index.insert(place, minhash)
    return roots


if __name__ == "__main__":
    main()
