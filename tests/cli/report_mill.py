"""A plugin with a step of every kind, for the tests of the report: what it leaves has the form of forge's own steps."""

MILL = r'''
import json
import struct
import zlib

import attrs

import forge


@attrs.frozen
class Notes:
    """Read notes, one JSON object a line."""

    path: forge.Files

    def read(self, run):
        for file in self.path:
            for number, line in enumerate(file.read_text().splitlines(), start=1):
                try:
                    yield [json.loads(line)]
                except ValueError:
                    yield forge.Reject(file.name, "not JSON", index=number, excerpt=line)


@attrs.frozen
class Mask:
    """Put ``[PHONE]`` for numbers; notes without a topic leave."""

    mark: str = "[PHONE]"

    def transform(self, rows):
        import polars as pl

        rows = forge.drop(rows, {"no topic": pl.col("topic") == ""})
        rows = forge.tally(rows, {"number masked": pl.col("text").str.count_matches(r"\d{7,}")})
        return rows.with_columns(pl.col("text").str.replace_all(r"\d{7,}", self.mark))

    def statistics(self, rows):
        import polars as pl

        topics = rows.select("topic").collect()["topic"].value_counts().sort("topic")
        return {"total": int(topics["count"].sum()), "topics": dict(topics.iter_rows()), "limits": {"least": 0.5}}


@attrs.frozen
class Mood:
    """Label notes by their length."""

    def label(self, rows):
        import polars as pl

        level = pl.col("text").str.len_chars() % 4
        return rows.with_columns(level=level, label_state=pl.lit("labelled"), label_source=pl.lit("length"))


@attrs.frozen
class Halves:
    """Split notes into two parts."""

    def parts(self):
        return ("train", "eval")

    def split(self, rows):
        import polars as pl

        return {"train": rows.filter(pl.col("level") > 0), "eval": rows.filter(pl.col("level") == 0)}


@attrs.frozen
class Fit:
    """Leave what a training run leaves."""

    steps: int = 40
    slope: float = 0.5

    def train(self, inputs, out, run):
        points = [{"step": 0, "samples": 0, "eval_loss": 2.5}]
        for step in range(1, self.steps + 1):
            point = {"step": step, "samples": 4 * step, "loss": 2.5 / step**self.slope}
            point["learning_rate"] = 1e-4 * (1 - step / 50)
            if step % 10 == 0:
                point["eval_loss"] = 2.6 / step**0.5
            points.append(point)
        (out / "curve.jsonl").write_text("".join(json.dumps(p) + "\n" for p in points))
        (out / "metrics.json").write_text(json.dumps({"steps": self.steps, "loss": points[-1]["loss"]}))
        (out / "trainer.json").write_text(json.dumps({"settings": {"r": 16}, "facts": {"device": "cpu"}}))
        (out / "loss.png").write_bytes(picture(320, 90))
        run.warn("the mill's model has learned nothing")


def picture(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + bytes((x + y) % 256 for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@attrs.frozen
class Press:
    """Write something that is called a GGUF file."""

    def export(self, inputs, out, run):
        (out / "student-Q4_K_M.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 40)


@attrs.frozen
class Judge:
    """Judge a file by bounds."""

    least: float = 0.5

    def check(self, inputs, out, run):
        (out / "replies.jsonl").write_text(json.dumps({"row": 1, "prompt": "<b>who</b>?", "text": "me"}) + "\n")
        yield forge.Finding("json_valid", 0.75, passed=self.least <= 0.75, bound=self.least, detail="of 4 replies")
        yield forge.Finding("rows", 4, passed=True)


@forge.hookimpl
def forge_register(register):
    register.source("notes", Notes, version="1")
    register.transform("mask", Mask, version="1")
    register.labeler("mood", Mood, version="1")
    register.transform("halves", Halves, version="1")
    register.trainer("fit", Fit, version="1")
    register.exporter("press", Press, version="1")
    register.check("judge", Judge, version="1")
'''

MANIFEST = """
    [forge]
    name = "mill <b>one</b> & two"

    [sources.notes]
    use = "mill.notes"
    path = "notes.jsonl"

    [transforms.mask]
    use = "mill.mask"
    from = "notes"

    [labelers.mood]
    use = "mill.mood"
    from = "mask"

    [transforms._Odd--half_]
    use = "mill.halves"
    from = "mood"

    [trainers.fit]
    use = "mill.fit"
    from = { data = "_Odd--half_.train", eval = "_Odd--half_.eval" }

    [exporters.gguf]
    use = "mill.press"
    from = "fit"

    [checks.receipt]
    use = "mill.judge"
    from = "gguf"
"""
