"""`./bench add`: items per second of `bilin add` beside what the encoder alone reaches, same inputs, same batches, in one run.

"Encoder alone" is the loop of `crates/engine/examples/encoder_alone.rs`: open the model, and for each batch read and decode (pictures) and encode, on
one thread per CPU, with nothing else to do. "End to end" is the command `bilin add` into an empty data folder: it also walks, hashes, splits, makes
thumbnails, commits durably and decides on an index. Its time is the one it reports; both leave out the start of the process and count the opening of the
model. Both take turns, `--rounds` times, so that a machine that becomes busy disturbs both; the ratio is that of medians. CPU seconds (user and
system) of both processes stand beside it: unlike the clock they do not depend on what else runs.

Texts are sentences put together from a vocabulary with a fixed seed, one per record of a jsonl file. Pictures are crops of the samples, scaled to
1600 x 1200, with noise, as JPEG of quality 88: files of the size that cameras make.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BAR = 0.90
SIDES = (1600, 1200)
SEED = 7
CHINESE = "向量 检索 索引 距离 模型 文本 图片 查询 倒排 聚类 近邻 精确 召回 内存 磁盘 维度 归一化 余弦 量化 编码 语义 段落 句子 系统 性能 速度 质量 结果 排序 过滤".split()
ENGLISH = "a search engine stores every passage as one unit vector and finds the nearest of them quickly while small birds watch from old green trees near water".split()


def sentence(random):
    if random.random() < 0.7:
        return "".join(random.choice(CHINESE) for _ in range(random.randint(6, 16))) + "。"
    return " ".join(random.choice(ENGLISH) for _ in range(random.randint(8, 20))) + "."


def make_texts(folder, count):
    """`texts.txt` for the encoder alone, and the same as records in `files/texts.jsonl`."""
    chance = random.Random(SEED)
    texts = [f"{number} {sentence(chance)}" for number in range(count)]
    (folder / "files").mkdir()
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in texts), "utf-8")
    with open(folder / "files" / "texts.jsonl", "w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            file.write(json.dumps({"id": str(number), "text": text}, ensure_ascii=False) + "\n")
    return folder / "texts.txt", folder / "files"


def make_pictures(folder, count):
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(SEED)
    sources = sorted(path for path in (ROOT / "samples" / "pictures").rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    pictures = [Image.open(path).convert("RGB") for path in sources]
    (folder / "files").mkdir()
    noise = chance.normal(0, 5, (SIDES[1] + 64, SIDES[0] + 64, 3)).astype(np.float32)
    for number in range(count):
        picture = pictures[number % len(pictures)]
        share = chance.uniform(0.6, 1.0)
        width, height = (max(1, int(side * share)) for side in picture.size)
        left, top = (int(chance.integers(0, whole - part + 1)) for whole, part in zip(picture.size, (width, height)))
        crop = picture.resize(SIDES, Image.BICUBIC, box=(left, top, left + width, top + height))
        x, y = chance.integers(0, 64, 2)
        grain = noise[y : y + SIDES[1], x : x + SIDES[0]]
        pixels = np.clip(np.asarray(crop, np.float32) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "files" / f"{number:04}.jpg", quality=88)
    return folder / "files", folder / "files"


def timed(command):
    """The last JSON line of a command, with the CPU seconds it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise SystemExit(f"add: {' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return lines[-1], cpu


def alone(arguments, kind, path, count):
    line, cpu = timed([arguments.alone, kind, path])
    if line["items"] != count:
        raise SystemExit(f"add: {line['items']} items alone, expected {count}")
    return line["seconds"], cpu


def end_to_end(arguments, folder, files, count):
    data = pathlib.Path(tempfile.mkdtemp(prefix="data-", dir=folder))
    try:
        line, cpu = timed([arguments.bilin, "add", "bench", files, "--json", "--quiet", "--data", data])
    finally:
        shutil.rmtree(data, ignore_errors=True)
    if line["items_added"] != count:
        raise SystemExit(f"add: {line['items_added']} items added, expected {count}")
    return line["elapsed_ms"] / 1e3, cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bilin", required=True)
    parser.add_argument("--alone", required=True, help="the example encoder_alone")
    parser.add_argument("--texts", type=int, default=5_000)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where files and data folders are made (default: the temporary folder)")
    arguments = parser.parse_args()
    rows, below = [], []
    for kind, count, make in (("texts", arguments.texts, make_texts), ("pictures", arguments.pictures, make_pictures)):
        if count == 0:
            continue
        with tempfile.TemporaryDirectory(prefix=f"bilin-add-{kind}-", dir=arguments.folder) as folder:
            inputs, files = make(pathlib.Path(folder), count)
            figures = {"alone": [], "add": []}
            for round in range(arguments.rounds):
                figures["alone"].append(alone(arguments, kind, inputs, count))
                figures["add"].append(end_to_end(arguments, folder, files, count))
                shown = " ".join(f"{who} {values[-1][0]:.2f} s ({values[-1][1]:.2f} CPU)" for who, values in figures.items())
                print(f"# {time.strftime('%T')} {kind}, round {round + 1}: {shown}, load {os.getloadavg()[0]:.1f}", flush=True)
        (alone_s, alone_cpu), (add_s, add_cpu) = (
            [statistics.median(column) for column in zip(*values)] for values in figures.values()
        )
        ratio = alone_s / add_s
        rows.append(f"| {count:,} {kind} | {count / alone_s:,.1f} | {count / add_s:,.1f} | {ratio:.2f} | {alone_cpu / add_cpu:.2f} |")
        if ratio < BAR:
            below.append(f"{kind}: {ratio:.2f}")
    print(f"\n{os.cpu_count()} CPUs, median of {arguments.rounds}\n")
    print("| what | encoder alone, items/s | `bilin add`, items/s | ratio | ratio of CPU seconds |\n|---|---|---|---|---|")
    print("\n".join(rows))
    if below:
        raise SystemExit(f"add: below the bar of {BAR:.2f}: {', '.join(below)}")


if __name__ == "__main__":
    main()
