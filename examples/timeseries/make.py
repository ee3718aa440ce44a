"""Write this folder's series and records: invented values in the shapes and with the faults of plant exports.

usage: python examples/timeseries/make.py [FOLDER]
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from random import Random

PICTURES = "/home/operator/labelling/pictures/"
PROMPT = (
    "<image>\n你是时间序列异常检测专家，请找出该点位数据中的异常区间。\n"
    '只输出JSON：{"status":"success","detected_anomalies":[{"interval":[start,end],"type":"类型","reason":"原因"}]}\n'
    "索引从0开始，区间两端都包含；无异常时 detected_anomalies 为空列表。"
)
# file, points, what is wrong with the values and where
SERIES = (
    ("gdsh/gdsh_second_3001TI0001.PV.csv", 420, [(150, 179, 8.0)]),
    ("gdsh/数据集gdsh_second_3001PI0002.PV.csv", 360, [(40, 59, -6.0), (300, 359, 5.0)]),
    ("gdsh/gdsh_second_3001FI0003.PV.csv", 400, []),
    ("hbsn/AT_041004.PV.csv", 380, [(200, 214, 9.0)]),
    ("whlj/数据集whlj_ljsj_NB.LJSJ.3001LI0005.PV.csv", 320, [(100, 139, 7.0), (250, 260, -7.0)]),
    ("gdsh/gdsh_second_3001QI0006.PV.csv", 300, []),
    ("gdsh/gdsh_second_3001SI0007.PV.csv", 340, [(10, 29, 6.0)]),
)


def values(random: Random, points: int, faults: list[tuple[int, int, float]]) -> list[float]:
    """Return a wave with noise, shifted where *faults* say."""
    level = random.uniform(20, 80)
    wave = [level + 3 * math.sin(i / 25) + random.gauss(0, 0.4) for i in range(points)]
    for first, last, shift in faults:
        wave[first : last + 1] = [value + shift for value in wave[first : last + 1]]
    return [round(value, 4) for value in wave]


def rows(name: str, column: list[float]) -> list[str]:
    """Return the lines of one file, header included, five minutes between two points."""
    tag = name.rpartition("/")[2].removesuffix(".csv").removeprefix("数据集").removeprefix("gdsh_second_")
    lines = [",date,category,value"]
    for index, value in enumerate(column):
        hours, minutes = divmod(index * 5, 60)
        days, hours = divmod(hours, 24)
        lines.append(f"{index},2024-03-{1 + days:02d} {hours:02d}:{minutes:02d}:00,{tag},{value}")
    return lines


def write_series(folder: Path) -> None:
    """Write the CSV files: one has gaps, one ends its lines in CR alone, one is GB18030, one has another header."""
    random = Random(11)
    for name, points, faults in SERIES:
        lines = rows(name, values(random, points, faults))
        text = "\n".join(lines) + "\n"
        if "FI0003" in name:  # the transmitter was off: an empty cell, and two that say NaN
            for index in (51, 120, 121):
                front = lines[index].rpartition(",")[0]
                lines[index] = f"{front},{'' if index == 51 else 'NaN'}"
            text = "\n".join(lines) + "\n"
        elif "QI0006" in name:
            text = text.replace("\n", "\r")
        elif "AT_041004" in name:
            text = text.replace("AT_041004.PV", "分析仪AT_041004")
        elif "SI0007" in name:
            text = text.replace(",date,category,value", '"","Date","Category","Value"')
        path = folder / "timeseries" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("gb18030" if "AT_041004" in name else "utf-8"))


def entry(first: int, last: int, kind: str) -> dict[str, object]:
    """Return one anomaly."""
    return {"interval": [first, last], "type": kind, "reason": f"索引区间[{first},{last}]内数据偏离正常模式"}


def answer(*entries: dict[str, object]) -> str:
    """Return an answer's JSON."""
    return json.dumps({"status": "success", "detected_anomalies": list(entries)}, ensure_ascii=False)


def records() -> list[tuple[list[str], str, str]]:
    """Return pictures, question and answer of each record, faults included."""
    nothing: dict[str, object] = {"type": "无异常", "reason": "该数据不做异常检测"}
    overall: dict[str, object] = {"type": "全局属性", "reason": "低噪声、趋势稳定"}
    ti, fi = "gdsh_second_3001TI0001.PV.jpg", "gdsh_second_3001FI0003.PV.jpg"
    pi, at = "gdsh_second_3001PI0002.PV.jpg", "gdsh_second_AT_041004.PV.jpg"
    li, qi = "NB.LJSJ.3001LI0005.PV.jpg", "gdsh_second_3001QI0006.PV.jpg"
    return [
        ([ti], PROMPT, answer(entry(150, 179, "上行尖峰"))),
        ([pi], PROMPT, answer(entry(40, 59, "下行尖峰"))),  # a record for each anomaly
        ([pi], PROMPT, answer(entry(300, 359, "阶跃上升"))),
        ([pi], PROMPT, answer(entry(40, 59, "下行尖峰"))),  # an exact repeat
        ([fi], PROMPT, answer(nothing)),
        ([at], PROMPT, answer(entry(200, 214, "上行尖峰")) + "," + answer(overall)),  # not one JSON value
        ([li], PROMPT, answer(entry(100, 139, "上行尖峰"), entry(250, 260, "下行尖峰"))),
        ([qi], PROMPT, answer()),
        ([fi, qi], "<image>\n<image>\n这两个点位是否都正常？只输出JSON。", answer(nothing)),
        (["gdsh_second_3001XI0008.PV.jpg"], PROMPT, answer(entry(3, 9, "上行尖峰"))),  # there is no such file
        ([qi], PROMPT, "看起来没有异常。"),  # an answer that is not JSON
    ]


def main() -> None:
    """Write everything below the folder that is named, or below this one."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    write_series(folder)
    shapes: dict[str, list[dict[str, object]]] = {"points.json": [], "points_messages.json": []}
    for images, question, reply in records():
        paths = [PICTURES + image for image in images]
        shapes["points.json"].append(
            {
                "image": paths[0] if len(paths) == 1 else paths,
                "conversations": [{"from": "user", "value": question}, {"from": "assistant", "value": reply}],
            }
        )
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        shapes["points_messages.json"].append({"messages": turns, "images": paths})
    (folder / "json").mkdir(parents=True, exist_ok=True)
    for name, shape in shapes.items():
        text = json.dumps(shape, ensure_ascii=False, indent=1) + "\n"
        (folder / "json" / name).write_bytes(text.encode())


if __name__ == "__main__":
    main()
