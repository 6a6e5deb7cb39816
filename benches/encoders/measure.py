"""One peer of `./bench encoders` in a process of its own: `measure.py PEER FOLDER INPUTS BATCH THREADS SECONDS`.

The protocol is that of `crates/encode/examples/encoders.rs`: a line when the first vector is there, then a line with the figures. FOLDER is
what compare.py made: a text model's folder with `model.onnx` in it, or one with `model.onnx` and `model.pt` of a picture network.
Texts are tokenized by the clock, as ours are; pictures come as tensors that are ready.
"""

import json
import pathlib
import re
import statistics
import sys
import time

import numpy

SIDE, CROP = 256, 224


def onnx_session(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def tokenizer(folder):
    from tokenizers import Tokenizer

    read = Tokenizer.from_file(str(folder / "tokenizer.json"))
    read.enable_truncation(256)
    read.enable_padding()
    return read


def arrays(read, texts):
    encoded = read.encode_batch(texts)
    return {
        "input_ids": numpy.array([one.ids for one in encoded]),
        "attention_mask": numpy.array([one.attention_mask for one in encoded]),
        "token_type_ids": numpy.array([one.type_ids for one in encoded]),
    }


def unit(vectors):
    return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def text_onnxruntime(folder, threads):
    session, read = onnx_session(folder / "model.onnx", threads), tokenizer(folder)
    names = {one.name for one in session.get_inputs()}

    def encode(texts):
        inputs = arrays(read, texts)
        states = session.run(None, {name: value for name, value in inputs.items() if name in names})[0]
        mask = inputs["attention_mask"][:, :, None].astype(numpy.float32)
        return unit((states * mask).sum(1) / mask.sum(1))

    return encode


def text_pytorch(folder, threads):
    import torch
    from transformers import AutoModel

    torch.set_num_threads(threads)
    model, read = AutoModel.from_pretrained(folder).eval(), tokenizer(folder)

    def encode(texts):
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(value) for name, value in arrays(read, texts).items()}
            states = model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][:, :, None].float()
            return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1)).numpy()

    return encode


def text_sentence_transformers(folder, threads):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(str(folder), device="cpu")
    return lambda texts: model.encode(texts, batch_size=len(texts), show_progress_bar=False)


def picture_onnxruntime(folder, threads):
    session = onnx_session(folder / "model.onnx", threads)
    name = session.get_inputs()[0].name
    return lambda batch: unit(session.run(None, {name: batch})[0].reshape(len(batch), -1))


def picture_pytorch(folder, threads):
    import torch

    torch.set_num_threads(threads)
    model = torch.jit.load(str(folder / "model.pt")).eval()

    def encode(batch):
        with torch.inference_mode():
            return torch.nn.functional.normalize(model(torch.from_numpy(batch)).flatten(1)).numpy()

    return encode


PEERS = {
    ("onnxruntime", "text"): text_onnxruntime,
    ("pytorch", "text"): text_pytorch,
    ("sentence-transformers", "text"): text_sentence_transformers,
    ("onnxruntime", "picture"): picture_onnxruntime,
    ("pytorch", "picture"): picture_pytorch,
}


def tensors(path):
    rgb = numpy.fromfile(path, numpy.uint8).reshape(-1, SIDE, SIDE, 3)
    edge = (SIDE - CROP) // 2
    cut = rgb[:, edge : edge + CROP, edge : edge + CROP].astype(numpy.float32) / 127.5 - 1.0
    return numpy.ascontiguousarray(cut.transpose(0, 3, 1, 2))


def peak_mb():
    """Of this process; what `getrusage` tells counts the parent's as well."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) / 1024


def main():
    peer, folder, inputs, batch, threads, seconds = sys.argv[1:]
    batch, threads, seconds = int(batch), int(threads), float(seconds)
    kind = "picture" if inputs.endswith(".rgb") else "text"
    encode = PEERS[peer, kind](pathlib.Path(folder), threads)
    every = tensors(inputs) if kind == "picture" else pathlib.Path(inputs).read_text("utf-8").splitlines()
    one, rest = every[:1], every[1:]
    encode(one)
    print(json.dumps({"first": True}), flush=True)
    times, begun = [], time.perf_counter()
    while len(times) < 20 or time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        encode(one)
        times.append((time.perf_counter() - started) * 1e3)
    done, begun = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - begun < seconds:
        for start in range(0, len(rest), batch):
            encode(rest[start : start + batch])
        done += len(rest)
    per_s = done / (time.perf_counter() - begun)
    print(json.dumps({"p50_ms": statistics.median(times), "p95_ms": float(numpy.percentile(times, 95)), "per_s": per_s, "peak_mb": peak_mb()}))


main()
