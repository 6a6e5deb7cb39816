"""Picture models from files and folders: vectors equal those of torchvision, efficientnet_lite_pytorch and transformers.

Networks have random weights, made here, and batch norms that have seen pictures. CLIP's two towers are compared apart, then together:
words find the pictures that transformers finds with them, by command line and by HTTP. Differences are the largest of any one
number of unit vectors.
"""

import io
import base64
import json
import shutil
import urllib.parse

import efficientnet_lite_pytorch
import numpy
import pytest
import safetensors.torch
import tokenizers
import torch
import torchvision
import transformers
from bilin import ROOT, SAMPLES, Server, run
from PIL import Image
from test_models import CNN_BAR, TEXT_BAR, corpus, encode, odd_texts, spread, token_ids
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

WORDS = ["a red car", "a photo of two birds on a branch", "一只猫", "Bread & butter, 12 pieces!", "x", "very long " * 200]
PICTURES = sorted(path for path in (SAMPLES / "pictures").rglob("*.*") if path.suffix in (".jpg", ".png", ".webp"))


def unit(vectors):
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Some pictures of many shapes as PNG, so that no two JPEG decoders are compared."""
    folder = tmp_path_factory.mktemp("pictures") / "pictures"
    folder.mkdir()
    for at, path in enumerate(PICTURES[:: max(1, len(PICTURES) // 8)][:8]):
        picture = Image.open(path).convert("RGB")
        picture = picture.crop((0, 0, picture.width, picture.height - 7 * at)) if at % 2 else picture
        picture.save(folder / f"{at}-{path.stem}.png")
    return folder


def ready(folder, side, target):
    """The pictures with their short side at `side`, so that a model resizes nothing: a pixel that Pillow rounds to another grey level makes
    a difference of 1e-3 in a network of random weights, and would hide one of the network's."""
    target.mkdir()
    for path in sorted(folder.iterdir()):
        torchvision.transforms.Resize(side)(Image.open(path)).save(target / path.name)
    return target


def add_and_read(data, folder, model):
    """Vectors of the pictures in `folder` by file name, as a collection has them."""
    run("add", "pictures", folder, "--model", model, data=data)
    with Server(data) as server:
        return {path.name: vector_of(server, path) for path in sorted(folder.iterdir())}


def vector_of(server, path):
    document = server.request("GET", f"/v1/collections/pictures/documents/{urllib.parse.quote(str(path), safe='')}")
    return numpy.asarray(document["items"][0]["vector"], dtype=numpy.float32)


def within(received, expected, bar):
    assert received.keys() == expected.keys()
    worst = {name: float(numpy.abs(received[name] - expected[name]).max()) for name in expected}
    print(f"largest difference {max(worst.values()):.2e}")
    assert max(worst.values()) <= bar, worst


def near(received, expected):
    """Where pictures are resized, which may move pixels by a grey level."""
    worst = min(float(received[name] @ expected[name]) for name in expected)
    print(f"smallest cosine with resizing {worst:.6f}")
    assert worst >= 0.999, worst


def with_statistics(model):
    """Batch norms that differ from one another, and that have seen pictures, so that features are of a usual size."""
    torch.manual_seed(4)
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.momentum = None
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
    with torch.no_grad():
        model.train()(torch.rand(8, 3, 128, 128))
    return model.eval()


def save(model, path, form):
    if form == "safetensors":
        safetensors.torch.save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=form == "zip")


def preprocessing(mean, deviation):
    steps = [torchvision.transforms.Resize(256), torchvision.transforms.CenterCrop(224), torchvision.transforms.ToTensor()]
    return torchvision.transforms.Compose([*steps, torchvision.transforms.Normalize(mean, deviation)])


@pytest.mark.parametrize(
    "name, form, dim",
    [("mobilenet_v2", "zip", 1280), ("mobilenet_v3_small", "safetensors", 576), ("mobilenet_v3_large", "older", 960)],
)
def test_mobilenets_are_torchvisions(tmp_path, folder, name, form, dim):
    torch.manual_seed(3)
    model = with_statistics(getattr(torchvision.models, name)(weights=None))
    path = tmp_path / f"{name}.weights"
    save(model, path, form)
    transform = preprocessing([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    def expected(place):
        with torch.no_grad():
            features = {one.name: model.features(transform(Image.open(one)).unsqueeze(0)) for one in sorted(place.iterdir())}
        return {name: unit(states.mean((2, 3)))[0] for name, states in features.items()}

    equal = ready(folder, 256, tmp_path / "ready")
    received = add_and_read(tmp_path / "data", equal, path)
    assert all(len(vector) == dim for vector in received.values())
    within(received, expected(equal), CNN_BAR)
    near(add_and_read(tmp_path / "resized", folder, path), expected(folder))


@pytest.mark.parametrize("form", ["zip", "safetensors"])
def test_efficientnet_lite0_from_a_file(tmp_path, folder, form):
    torch.manual_seed(5)
    model = with_statistics(efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0"))
    path = tmp_path / "lite0.weights"
    save(model, path, form)
    transform = preprocessing([0.5] * 3, [0.5] * 3)
    folder = ready(folder, 256, tmp_path / "ready")
    with torch.no_grad():
        expected = {
            picture.name: unit(model.extract_features(transform(Image.open(picture)).unsqueeze(0)).mean((2, 3)))[0]
            for picture in sorted(folder.iterdir())
        }
    within(add_and_read(tmp_path / "data", folder, path), expected, CNN_BAR)


def test_our_own_file_gives_the_vectors_of_the_model_that_is_built_in(tmp_path, folder):
    file = ROOT / "models" / "efficientnet-lite0" / "model.f16.safetensors"
    expected = add_and_read(tmp_path / "built-in", folder, "efficientnet-lite0")
    within(add_and_read(tmp_path / "file", folder, file), expected, 0.0)


def test_files_of_other_networks_are_refused_by_name(tmp_path, folder):
    model = torchvision.models.mobilenet_v2(weights=None, width_mult=0.5)
    torch.save(model.state_dict(), tmp_path / "half.pth")
    squeezing = {f"{name}.weight": torch.ones(1) for name in ("_conv_stem", "_blocks.0._depthwise_conv", "_blocks.0._se_reduce")}
    torch.save(squeezing, tmp_path / "b0.pth")
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "squeezenet.pth")
    for file, told in (("half.pth", "features.0"), ("b0.pth", "MobileNetV3"), ("squeezenet.pth", "EfficientNet-lite0")):
        refused = run("add", "x", folder, "--model", tmp_path / file, data=tmp_path / "data", expect=1).err
        assert told in refused, refused


def clip_vocabulary(folder):
    """`vocab.json` and `merges.txt` built as OpenAI's: all bytes, all bytes at the end of a word, what pairs make, two special tokens."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trained = tokenizers.Tokenizer(tokenizers.models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = tokenizers.normalizers.Lowercase()
    trained.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.WhitespaceSplit(), tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False)
    trained.train_from_iterator(corpus(), trainer)
    merges = json.loads(trained.to_str())["model"]["merges"]
    assert len(merges) > 300
    tokens = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *("".join(pair) for pair in merges), "<|startoftext|>", "<|endoftext|>"]
    tokens = list(dict.fromkeys(tokens))
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: at for at, token in enumerate(tokens)}), "utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)]) + "\n", "utf-8")
    return len(tokens)


def clip(folder, activation="quick_gelu", legacy_end=False, side=64):
    """A folder of a small CLIP, whose tokenizer is there in the older form; what `transformers` makes of it."""
    torch.manual_seed(6)
    count = clip_vocabulary(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}))
    sizes = {"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_act": activation}
    words = {"vocab_size": count, "hidden_size": 64, "intermediate_size": 150, "eos_token_id": 2 if legacy_end else count - 1, "bos_token_id": count - 2}
    pixels = {"hidden_size": 96, "intermediate_size": 200, "image_size": side, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=sizes | words, vision_config=sizes | pixels, projection_dim=48)
    model = spread(transformers.CLIPModel(config).eval())
    model.save_pretrained(folder)
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor.save_pretrained(folder)
    assert (folder / "preprocessor_config.json").exists()
    return model, tokenizer_of(folder)


def tokenizer_of(folder):
    return transformers.CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=77)


def text_vectors(model, tokenizer, texts):
    rows = []
    for text in texts:
        ids = tokenizer(text.strip(), truncation=True, max_length=77, return_tensors="pt")
        with torch.no_grad():
            rows.append(unit(model.get_text_features(**ids).pooler_output)[0])
    return numpy.stack(rows)


def picture_vectors(model, processor, folder):
    out = {}
    for path in sorted(folder.iterdir()):
        pixels = processor(images=Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            out[path.name] = unit(model.get_image_features(pixel_values=torch.as_tensor(pixels)).pooler_output)[0]
    return out


@pytest.mark.parametrize("activation, legacy_end", [("quick_gelu", False), ("gelu", True)])
def test_both_towers_of_clip_are_transformers(tmp_path, folder, activation, legacy_end):
    place = tmp_path / "clip"
    model, tokenizer = clip(place, activation, legacy_end)
    worst = numpy.abs(encode(place, WORDS) - text_vectors(model, tokenizer, WORDS)).max()
    print(f"texts: largest difference {worst:.2e}")
    assert worst <= TEXT_BAR, worst
    processor = CLIPImageProcessorPil.from_pretrained(place)
    equal = ready(folder, processor.size["shortest_edge"], tmp_path / "ready")
    within(add_and_read(tmp_path / "equal", equal, place), picture_vectors(model, processor, equal), TEXT_BAR)
    received = add_and_read(tmp_path / "data", folder, place)
    near(received, picture_vectors(model, processor, folder))
    # torchvision's resize of tensors may differ from Pillow's by a grey level.
    for name, vector in picture_vectors(model, transformers.CLIPImageProcessor.from_pretrained(place), folder).items():
        assert float(vector @ received[name]) > 0.9995, name


@pytest.mark.parametrize("form", ["vocab.json", "tokenizer.json"])
def test_clips_texts_are_cut_token_by_token(tmp_path, form):
    place = tmp_path / "clip"
    _, tokenizer = clip(place)
    if form == "tokenizer.json":
        tokenizer.save_pretrained(place)
        assert (place / "tokenizer.json").exists()
        (place / "vocab.json").unlink(missing_ok=True)
        (place / "merges.txt").unlink(missing_ok=True)
    texts = odd_texts(4_000)
    expected = [tokenizer(text.strip(), truncation=True, max_length=77)["input_ids"] for text in texts]
    received = token_ids(place, texts)
    different = [at for at, (a, b) in enumerate(zip(expected, received, strict=True)) if a != b]
    assert not different, (len(different), [(texts[at], expected[at], received[at]) for at in different[:3]])


def test_a_folder_of_sentence_transformers_is_the_same(tmp_path, folder):
    plain, whole = tmp_path / "clip", tmp_path / "clip-st"
    clip(plain)
    shutil.copytree(plain, whole / "0_CLIPModel")
    modules = [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]
    (whole / "modules.json").write_text(json.dumps(modules))
    assert numpy.array_equal(encode(plain, WORDS), encode(whole, WORDS))
    within(add_and_read(tmp_path / "a", folder, whole), add_and_read(tmp_path / "b", folder, plain), 0.0)
    modules.append({"idx": 1, "name": "1", "path": "1_Dense", "type": "sentence_transformers.models.Dense"})
    (whole / "modules.json").write_text(json.dumps(modules))
    assert "Dense" in run("encode", "--model", whole, stdin=b"x\n", expect=1).err


def test_words_and_pictures_find_pictures(tmp_path, folder):
    place, data = tmp_path / "clip", tmp_path / "data"
    model, tokenizer = clip(place)
    run("add", "pictures", folder, "--model", place, data=data)
    shown = run("model", "show", place).out
    assert "image, queries of text too" in shown, shown
    expected = picture_vectors(model, CLIPImageProcessorPil.from_pretrained(place), folder)
    names = list(expected)
    by_words = {
        words: [names[at] for at in numpy.argsort(-(numpy.stack(list(expected.values())) @ text_vectors(model, tokenizer, [words])[0]))]
        for words in WORDS[:4]
    }
    assert len({order[0] for order in by_words.values()}) > 1 or len({tuple(order) for order in by_words.values()}) > 1

    def found(results):
        return [result["id"].rsplit("/", 1)[-1] for result in results]

    for words, order in by_words.items():
        answer = run("search", "pictures", words, "-k", len(names), "--json", data=data).json_lines()[0]
        assert found(answer["results"]) == order, words
    picture = sorted(folder.iterdir())[3]
    answer = run("search", "pictures", "--image", picture, "--json", data=data).json_lines()[0]
    assert found(answer["results"])[0] == picture.name
    # Words beside a picture: the mean of the two unit vectors.
    both = text_vectors(model, tokenizer, WORDS[:1])[0] + expected[picture.name]
    together = [names[at] for at in numpy.argsort(-(numpy.stack(list(expected.values())) @ both))]
    answer = run("search", "pictures", WORDS[0], "--image", picture, "-k", len(names), "--json", data=data).json_lines()[0]
    assert found(answer["results"]) == together
    cosines = sorted((numpy.stack(list(expected.values())) @ (both / numpy.linalg.norm(both))), reverse=True)
    assert numpy.abs(numpy.asarray([result["similarity"] for result in answer["results"]]) - cosines).max() < 0.02  # both sides resize the picture by themselves
    run("add", "others", folder, "--model", "efficientnet-lite0", data=data)
    with Server(data) as server:
        for words, order in by_words.items():
            answer = server.request("POST", "/v1/collections/pictures/search", json={"text": words, "top_k": len(names)})
            assert found(answer["results"]) == order, words
        asked = {"text": WORDS[0], "image": base64.b64encode(picture.read_bytes()).decode(), "top_k": len(names)}
        assert found(server.request("POST", "/v1/collections/pictures/search", json=asked)["results"]) == together
        refused = server.request("POST", "/v1/collections/others/search", expect=422, json=asked)
        assert "efficientnet-lite0@" in refused["message"] and "e5-small-zh-en@" in refused["message"], refused
        vectors = server.request("POST", "/v1/embeddings", json={"input": WORDS[:2], "model": str(place)})["data"]
        received = numpy.asarray([one["embedding"] for one in vectors], dtype=numpy.float32)
        assert numpy.abs(received - text_vectors(model, tokenizer, WORDS[:2])).max() <= TEXT_BAR
        refused = server.request("POST", "/v1/collections/others/search", expect=422, json={"text": "a red car"})
        assert "efficientnet-lite0@" in refused["message"] and "e5-small-zh-en@" in refused["message"], refused
    refused = run("search", "others", "a red car", data=data, expect=1).err
    assert "efficientnet-lite0@" in refused and "e5-small-zh-en@" in refused, refused


def test_what_a_clip_folder_lacks_is_named(tmp_path):
    place = tmp_path / "clip"
    clip(place)

    def refused():
        return run("encode", "--model", place, stdin=b"x\n", expect=1).err

    config = json.loads((place / "config.json").read_text())
    for part, change, told in (("text_config", {"hidden_act": "relu"}, "relu"), ("vision_config", {"patch_size": 8}, "patch_embedding"), ("vision_config", {"image_size": 80}, "80")):
        (place / "config.json").write_text(json.dumps(config | {part: config[part] | change}))
        assert told in refused(), part
    (place / "config.json").write_text(json.dumps(config))
    for name, told in (("preprocessor_config.json", "processor_config.json"), ("merges.txt", "merges.txt"), ("model.safetensors", "model.safetensors")):
        (place / name).rename(tmp_path / "away")
        assert told in refused(), name
        (tmp_path / "away").rename(place / name)
    assert numpy.load(io.BytesIO(run("encode", "--model", place, stdin=b"x\n").raw)).shape == (1, 48)
