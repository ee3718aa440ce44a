"""What a running step is given."""

import polars as pl

from forge import write_rows
from forge.plugin.table import TABLE


def test_a_table_s_bytes_do_not_depend_on_how_its_frame_was_put_together(tmp_path):
    texts = [f"{'字' * (number % 40)} {number}" for number in range(200)]
    whole = pl.DataFrame({"text": texts, "turns": [[{"role": "user", "text": t}] for t in texts]})
    pieces = pl.concat([whole.slice(start, 7) for start in range(0, 200, 7)], rechunk=False)
    filtered = pl.concat([whole, whole]).with_row_index().filter(pl.col("index") >= 200).drop("index")
    assert [write_rows(frame, tmp_path / str(n)) for n, frame in enumerate([whole, pieces, filtered])] == [200] * 3
    assert len({(tmp_path / str(n) / TABLE).read_bytes() for n in range(3)}) == 1
