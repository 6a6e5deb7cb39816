"""Trains the built-in text model further, on questions and the passages that answer them, with its weights in 4 bits all along.

    python3 -m venv /tmp/training && /tmp/training/bin/pip install torch tokenizers numpy pillow safetensors
    /tmp/training/bin/python tools/training/general.py /tmp/general.jsonl
    /tmp/training/bin/python tools/training/train.py --general /tmp/general.jsonl --from FOLDER --to model.q4.safetensors

`FOLDER` holds multilingual-e5-small as it came (`config.json`, `tokenizer.json`, `model.q4.safetensors`, see README.md). A GPU is used where there
is one; on two CPU cores a run takes most of a day.

How: InfoNCE in both directions (van den Oord et al. 2018) with the other passages of the batch as wrong answers, sixteen courses of a batch and
sixteen passages of each, so that many wrong answers are of the same course. Texts of other kinds (`general.py`) hold the model in place: their
vectors should stay what they were, and headings should still find their paragraphs. Matrices are rounded to Q4_0 in each forward pass, and
gradients pass through as if they were not (Bengio et al. 2013); so what is written is what was trained. Word embeddings stay as they are.
Several runs that differ by their seed are averaged before the last rounding (Wortsman et al. 2022, "Model soups"), and a quarter of the model as
it came stays in (the same authors' "Robust fine-tuning", 2022).
"""

import argparse
import json
import lzma
import math
import pathlib
import random
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "crates" / "encode" / "fixtures"))
import make_fixtures  # noqa: E402

QUERY, PASSAGE = "query: ", "passage: "
LAYERS, HEADS, DIM, BLOCK = 12, 12, 384, 32
QUERY_TOKENS, PASSAGE_TOKENS = 96, 192
COURSES, PASSAGES, GENERAL = 16, 16, 64
TEMPERATURE = 0.02
# Of a loss in both directions, the share of finding the question from its passage.
BACKWARD = 0.3
# How often a step asks the question in the course's own words; else one of the others.
DIRECT = 0.4
KEEP, HEADINGS = 2.0, 0.3
# How far the written model goes from the old one to the mean of the runs.
STEP = 0.75
WORDS = "embeddings.word_embeddings.weight"
# These courses are never trained on: what is reported is measured on them.
HELD_OUT = {"A-git", "B-ir", "C-cellgen", "D-psychology", "E-search", "F-backup"}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def read_model(path):
    """The tensors of a file of ours widened to f32, which of them are Q4_0, and the file's header as it stands."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__")
    quantized = {name[:-3] for name in header if name.endswith(".q4")}
    return make_fixtures.tensors(path), quantized, header, raw[: 8 + length]


def blocks_of(weight):
    """Scale and numbers 0 to 15 of each block of 32, by the rule of ggml's Q4_0: the largest number becomes -8."""
    blocks = weight.reshape(-1, BLOCK)
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    scale = (largest / -8).half()
    inverse = torch.where(scale == 0, torch.zeros_like(largest), 1 / scale.float())
    return scale, torch.clamp(torch.floor(blocks * inverse + 8.5), 0, 15)


class Rounded(torch.autograd.Function):
    """Q4_0 forward, the identity backward."""

    @staticmethod
    def forward(_, weight):
        scale, numbers = blocks_of(weight)
        return ((numbers - 8) * scale.float()).reshape(weight.shape)

    @staticmethod
    def backward(_, gradient):
        return gradient


def write_model(path, tensors, quantized, header, head):
    out = bytearray(head) + bytearray(max(entry["data_offsets"][1] for entry in header.values()))
    for name, tensor in tensors.items():
        parts = {name: tensor.detach().cpu().half().numpy()}
        if name in quantized:
            scale, numbers = blocks_of(tensor.detach().cpu())
            numbers = numbers.to(torch.uint8).numpy()
            parts = {name + ".q4": numbers[:, :16] | numbers[:, 16:] << 4, name + ".d": scale.numpy()}
        for part, array in parts.items():
            start, end = header[part]["data_offsets"]
            out[len(head) + start : len(head) + end] = np.ascontiguousarray(array).tobytes()
    path.write_bytes(out)


def vectors(weights, texts):
    """Unit vectors of token ids, one row a text: BERT, the mean of the last states."""
    lengths = np.fromiter(map(len, texts), int)
    mask = np.arange(lengths.max())[None] < lengths[:, None]
    ids = np.ones(mask.shape, np.int64)
    ids[mask] = np.concatenate(texts)
    ids, mask = torch.from_numpy(ids).to(DEVICE), torch.from_numpy(mask).to(DEVICE)

    def norm(states, name):
        return F.layer_norm(states.float(), (DIM,), weights[name + ".weight"], weights[name + ".bias"], 1e-12)

    embedded = F.embedding(ids, weights[WORDS]) + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
    states = norm(embedded + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda" and torch.is_grad_enabled()):
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}."

            def linear(states, name, at=at):
                return F.linear(states, weights[at + name + ".weight"], weights[at + name + ".bias"])

            def heads(name, states=states, linear=linear):
                return linear(states, "attention.self." + name).view(*ids.shape, HEADS, -1).transpose(1, 2)

            mixed = F.scaled_dot_product_attention(heads("query"), heads("key"), heads("value"), attn_mask=mask[:, None, None])
            mixed = linear(mixed.transpose(1, 2).reshape(states.shape), "attention.output.dense")
            states = norm(mixed + states, at + "attention.output.LayerNorm")
            states = norm(linear(F.gelu(linear(states, "intermediate.dense")), "output.dense") + states, at + "output.LayerNorm")
    mask = mask.float()[:, :, None]
    return F.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


def rounded(tensors, quantized):
    return {name: Rounded.apply(tensor) if name in quantized and tensor.requires_grad else tensor for name, tensor in tensors.items()}


class Texts:
    """Questions and passages by course, and general texts, as token ids."""

    def __init__(self, tokenizer, general):
        self.tokenizer = tokenizer
        self.train, self.held_out = {}, {}
        for line in lzma.open(HERE / "questions.jsonl.xz", "rt", encoding="utf-8"):
            row = json.loads(line)
            row["questions"] = self.ids([QUERY + text for text in row["q"]], QUERY_TOKENS)
            heading = row["h"].split(" > ")[-1]
            forms = (f"{row['h']}\n{row['p']}", f"{heading}\n{row['p']}", row["p"])
            row["passages"] = self.ids([PASSAGE + form for form in forms], PASSAGE_TOKENS)
            (self.held_out if row["f"] in HELD_OUT else self.train).setdefault(row["f"], []).append(row)
        rows = [json.loads(line) for line in general.read_text("utf-8").splitlines()]
        headings = self.ids([QUERY + row["h"] for row in rows], 64)
        paragraphs = self.ids([PASSAGE + row["p"] for row in rows], 160)
        self.general = list(zip(headings, paragraphs))

    def ids(self, texts, most):
        self.tokenizer.enable_truncation(most)
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]

    def batch(self):
        questions, passages = [], []
        for course in random.sample(list(self.train), COURSES):
            for row in random.sample(self.train[course], min(PASSAGES, len(self.train[course]))):
                asked = row["questions"]
                questions.append(asked[0] if random.random() < DIRECT else random.choice(asked[1:]))
                passages.append(random.choices(row["passages"], (0.6, 0.2, 0.2))[0])
        return questions, passages


def hold(weights, before, chosen, texts):
    """How far general texts moved, and how badly headings find their paragraphs."""
    pairs = [texts.general[number] for number in chosen]
    headings, paragraphs = (vectors(weights, [pair[side] for pair in pairs]) for side in (0, 1))
    moved = sum((1 - (now * before[side][chosen]).sum(1)).mean() for side, now in enumerate((headings, paragraphs)))
    return moved, F.cross_entropy(headings @ paragraphs.T / TEMPERATURE, torch.arange(len(pairs), device=DEVICE))


def run(start, quantized, texts, before, seed, steps, rate):
    """One run; the weights before their last rounding."""
    random.seed(seed)
    torch.manual_seed(seed)
    tensors = {name: tensor.clone() for name, tensor in start.items()}
    free = [tensor.requires_grad_() for name, tensor in tensors.items() if name != WORDS and "token_type" not in name]
    optimizer = torch.optim.AdamW(free, lr=rate, weight_decay=0, betas=(0.9, 0.98))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / (steps * 0.1)) * (1 + math.cos(math.pi * step / steps)) / 2
        weights = rounded(tensors, quantized)
        questions, passages = texts.batch()
        scores = vectors(weights, questions) @ vectors(weights, passages).T / TEMPERATURE
        right = torch.arange(len(questions), device=DEVICE)
        found = (1 - BACKWARD) * F.cross_entropy(scores, right) + BACKWARD * F.cross_entropy(scores.T, right)
        moved, lost = hold(weights, before, random.sample(range(len(texts.general)), GENERAL), texts)
        optimizer.zero_grad()
        (found + KEEP * moved + HEADINGS * lost).backward()
        torch.nn.utils.clip_grad_norm_(free, 1.0)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"seed {seed} step {step}: questions {found.item():.3f}, moved {moved.item():.4f}, headings {lost.item():.3f}", flush=True)
    return {name: tensor.detach() for name, tensor in tensors.items()}


def report(name, tensors, quantized, texts):
    """hit@1 / hit@3 / MRR by meaning alone among all passages of the courses that were held out."""
    weights = {name: Rounded.apply(tensor) if name in quantized else tensor.half().float() for name, tensor in tensors.items()}
    rows = [row for rows in texts.held_out.values() for row in rows]
    with torch.no_grad():
        passages = vectors(weights, [row["passages"][0] for row in rows])
        for kind, chosen in (("in the course's words", slice(0, 1)), ("paraphrases", slice(1, 3)), ("in the other language", slice(3, 4))):
            asked = [(number, question) for number, row in enumerate(rows) for question in row["questions"][chosen]]
            scores = vectors(weights, [question for _, question in asked]) @ passages.T
            right = scores[torch.arange(len(asked)), [number for number, _ in asked]]
            ranks = 1 + (scores > right[:, None]).sum(1).double()
            print(f"{name}, {len(asked)} {kind}: {(ranks <= 1).double().mean():.3f} / {(ranks <= 3).double().mean():.3f} / {(1 / ranks).mean():.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--general", type=pathlib.Path, required=True, help="JSONL with a heading h and a paragraph p a line, as general.py makes it")
    parser.add_argument("--from", dest="source", type=pathlib.Path, required=True, help="the folder of the model to begin with")
    parser.add_argument("--to", type=pathlib.Path, required=True, help="the file to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=650)
    parser.add_argument("--rate", type=float, default=7e-5)
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = True
    tensors, quantized, header, head = read_model(arguments.source / "model.q4.safetensors")
    tensors = {name: tensor.to(DEVICE) for name, tensor in tensors.items()}
    texts = Texts(Tokenizer.from_file(str(arguments.source / "tokenizer.json")), arguments.general)
    report("before", tensors, quantized, texts)
    before = [[], []]
    with torch.no_grad():
        for first in range(0, len(texts.general), 256):
            for side in (0, 1):
                before[side].append(vectors(tensors, [pair[side] for pair in texts.general[first : first + 256]]))
    before = [torch.cat(side) for side in before]
    total = None
    for seed in arguments.seeds:
        found = run(tensors, quantized, texts, before, seed, arguments.steps, arguments.rate)
        report(f"seed {seed}", found, quantized, texts)
        total = found if total is None else {name: total[name] + found[name] for name in found}
    mean = {name: tensor / len(arguments.seeds) for name, tensor in total.items()}
    report("mean", mean, quantized, texts)
    between = {name: tensors[name] + STEP * (mean[name] - tensors[name]) for name in mean}
    report("written", between, quantized, texts)
    write_model(arguments.to, between, quantized, header, head)


if __name__ == "__main__":
    main()
