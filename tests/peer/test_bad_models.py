"""Models and inputs that are not what they should be: each is refused with what was expected, what came and where, or read as
the reference reads it; memory is bounded before it is taken.
"""

import io
import json
import shutil
import struct
import subprocess
import zlib

import numpy
import pytest
import torch
import transformers
from bilin import BINARY, SAMPLES, Server, run
from safetensors.torch import load_file, save_file

# Kilobytes of address space: the program with its threads, and not the 1.2 GB of the picture as well.
SPACE_KB = 1_500_000


@pytest.fixture
def folder(tmp_path):
    """A small BERT of random weights, whole."""
    torch.manual_seed(1)
    place = tmp_path / "bert"
    place.mkdir()
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij向量"]
    (place / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8")
    config = transformers.BertConfig(vocab_size=len(tokens), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, max_position_embeddings=32)
    transformers.BertModel(config, add_pooling_layer=False).eval().save_pretrained(place)
    return place


def refused(folder, *told):
    err = run("encode", "--model", folder, stdin=b"a\n", expect=1).err
    for part in (str(folder), *told):
        assert part in err, (part, err)
    assert err.startswith("error: ") and "hint: " in err and "panicked" not in err, err


@pytest.mark.parametrize(
    ("missing", "told"), [("config.json", "config.json"), ("vocab.txt", "vocab.txt"), ("model.safetensors", "model.safetensors")]
)
def test_a_missing_file_is_named(folder, missing, told):
    (folder / missing).unlink()
    refused(folder, told)


def test_a_module_that_is_missing_is_named(folder):
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    refused(folder, "1_Pooling/config.json")


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors", "tokenizer_config.json"])
def test_a_file_that_is_no_such_file_is_named(folder, name):
    (folder / name).write_bytes(b"\x00\xff{")
    refused(folder)


def test_a_wrong_architecture_is_named_with_those_there_are(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "t5"}))
    refused(folder, '"t5"', "bert", "xlm-roberta")


def test_a_tensor_of_another_shape_is_named_with_both_shapes(folder):
    whole = load_file(folder / "model.safetensors")
    name = "encoder.layer.0.intermediate.dense.weight"
    save_file(whole | {name: torch.zeros(48, 31)}, folder / "model.safetensors")
    refused(folder, name, "[48, 31]", "[48, 32]")
    save_file(whole | {name: torch.full((48, 32), float("nan"))}, folder / "model.safetensors")
    refused(folder, name, "NaN")
    save_file({key: tensor for key, tensor in whole.items() if key != name}, folder / "model.safetensors")
    refused(folder, f'no tensor "{name}"')
    save_file({key: tensor.to(torch.int64) for key, tensor in whole.items()}, folder / "model.safetensors")
    refused(folder, "embeddings.word_embeddings.weight")


def test_views_of_one_storage_cannot_multiply_it(folder):
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    square = torch.zeros(500, 500)
    # A file of 1 MB that says 2 GB of tensors.
    torch.save(whole | {f"view{at}": square.t() for at in range(2000)}, folder / "pytorch_model.bin")
    refused(folder, "view", "larger than the file")


def test_texts_without_a_known_token_are_read_as_transformers_reads_them(folder):
    texts = ["ζζζ ∀x", "\U0001f600", "\u0301", "一二三", "\u200b\ufeff"]
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    network = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    received = numpy.load(io.BytesIO(run("encode", "--model", folder, "--prompt", "none", stdin="\n".join(texts).encode()).raw))
    for text, vector in zip(texts, received, strict=True):
        with torch.no_grad():
            states = network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
        assert numpy.abs(expected - vector).max() <= 1e-5, text


def test_blank_texts_are_refused_and_name_their_place(folder, tmp_path):
    for blank in ("", " \t", "\u3000\u00a0"):
        err = run("encode", "--model", folder, stdin=f"a\n{blank}\nb\n".encode(), expect=1).err
        assert "line 2" in err and "blank" in err, err
    data = tmp_path / "data"
    (tmp_path / "notes.txt").write_text("a b c\n")
    run("add", "notes", tmp_path / "notes.txt", "--model", folder, data=data)
    assert "not blank" in run("search", "notes", "  ", data=data, expect=None).err
    with Server(data, "--model", str(folder)) as server:
        for blank in ("", " \n", "\u3000"):
            one = server.request("POST", "/v1/embeddings", expect=422, json={"input": ["a", blank], "model": str(folder)})
            assert "empty" in one["message"] and "1" in one["message"], one
            server.request("POST", "/text-search", expect=422, json={"query": blank})
            server.request("POST", "/v1/collections/notes/documents", expect=422, json={"documents": [{"id": "x", "text": blank}]})
        assert server.request("GET", "/v1/collections/notes")["count"] == 1


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def zeros(count, block=1 << 20):
    """`count` zero bytes as zlib packs them, without packing more than one block: each ends where the next may begin afresh."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    whole = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.compress(bytes(count % block)) + packer.flush()
    return b"\x78\xda" + whole * (count // block) + end + struct.pack(">I", count % 65_521 << 16 | 1)


def png_of(side, profile=None):
    """A PNG of black pixels, whole, with a colour profile of so many bytes in front of them where one is asked for."""
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))]
    if profile is not None:
        parts.append(chunk(b"iCCP", b"x\0\0" + zeros(profile)))
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zeros(side * (1 + 3 * side))), chunk(b"IEND", b"")])


def test_a_small_file_of_a_huge_picture_is_refused_before_it_takes_memory(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    huge = png_of(20_000)
    assert len(huge) < 2 << 20
    (pictures / "huge.png").write_bytes(huge)
    (pictures / "profile.png").write_bytes(png_of(8, profile=1 << 28))
    shutil.copy(next((SAMPLES / "pictures").rglob("*.jpg")), pictures / "good.jpg")
    command = f'ulimit -v {SPACE_KB}; exec "$0" add pictures pictures --data data --json --no-progress'
    finished = subprocess.run(["sh", "-c", command, BINARY], cwd=tmp_path, capture_output=True, timeout=120)
    err = finished.stderr.decode()
    assert finished.returncode == 1 and "20000 x 20000 pixels, the limits are" in err, err
    # A colour profile is not used, so one that would inflate to 256 MB is left alone and its picture read.
    assert json.loads(finished.stdout.splitlines()[-1])["files_added"] == 2, finished.stdout
    with Server(tmp_path / "data") as server:
        answer = server.request("POST", "/image-search", expect=413, files={"file": ("huge.png", huge)})
        assert "20000 x 20000" in answer["message"], answer


def test_a_truncated_picture_is_refused_wherever_it_comes_in(tmp_path):
    whole = next((SAMPLES / "pictures").rglob("*.jpg")).read_bytes()
    pictures, data = tmp_path / "pictures", tmp_path / "data"
    pictures.mkdir()
    (pictures / "whole.jpg").write_bytes(whole)
    (pictures / "half.jpg").write_bytes(whole[: len(whole) // 2])
    added = run("add", "pictures", "pictures", "--json", data="data", cwd=tmp_path, expect=1)
    assert added.json_lines()[-1]["files_added"] == 1, added.out
    assert "half.jpg" in added.err and "end-of-image" in added.err, added.err
    half = pictures / "half.jpg"
    assert "end-of-image" in run("search", "pictures", "--image", half, data=data, expect=1).err
    with Server(data) as server:
        for length in (0, 2, 20, len(whole) // 2, len(whole) - 2):
            answer = server.request("POST", "/image-search", expect=422, files={"file": ("half.jpg", whole[:length])})
            assert answer["message"], answer
        server.request("POST", "/image-search", files={"file": ("whole.jpg", whole)})
