"""Searching the sample pictures by picture: changed copies find their original, neighbours are of the same category."""

import io

import pytest
from bilin import SAMPLES
from PIL import Image, ImageOps

PICTURES = sorted(path for path in (SAMPLES / "pictures").rglob("*.*") if path.is_file())


def crop(picture):
    width, height = picture.size
    return picture.crop((width // 12, height // 12, width - width // 12, height - height // 12))


CHANGES = {
    "mirror": (ImageOps.mirror, {"quality": 90}),
    "crop": (crop, {"quality": 90}),
    "jpeg quality 40": (lambda picture: picture, {"quality": 40}),
    "half size": (lambda picture: picture.resize((picture.width // 2, picture.height // 2)), {"quality": 90}),
}


def search(server, name, content, top_k):
    files = {"file": (name, content)}
    return server.request("POST", "/image-search", files=files, data={"top_k": str(top_k)})["results"]


def test_all_pictures_are_there(pictures_server):
    assert len(PICTURES) >= 40
    assert pictures_server.request("GET", "/v1/collections/pictures")["count"] == len(PICTURES)


def test_a_picture_finds_itself_and_then_its_category(pictures_server):
    same, of_category = 0, 0
    for path in PICTURES:
        results = search(pictures_server, path.name, path.read_bytes(), 2)
        first, second = results
        assert first["rank"] == 1 and first["l2_distance"] < 1e-3 and first["similarity"] > 0.999, (path, first)
        same += first["image_path"].endswith(f"{path.parent.name}/{path.name}")
        of_category += second["category"] == path.parent.name
        assert first["category"] == path.parent.name and first["product_id"] == path.stem, first
    print(f"nearest other picture is of the same category: {of_category} of {len(PICTURES)}")
    assert same == len(PICTURES)
    assert of_category / len(PICTURES) >= 0.8


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_finds_its_original(pictures_server, change):
    function, options = CHANGES[change]
    missed = []
    for path in PICTURES:
        copy = io.BytesIO()
        function(Image.open(path).convert("RGB")).save(copy, "JPEG", **options)
        first = search(pictures_server, "copy.jpg", copy.getvalue(), 1)[0]
        if not first["image_path"].endswith(f"{path.parent.name}/{path.name}"):
            missed.append((str(path.relative_to(SAMPLES)), first["image_path"], first["similarity"]))
    assert not missed


def test_what_is_no_picture_is_refused(pictures_server):
    for name, content in (("a.jpg", b"no picture"), ("b.png", b"\x89PNG\r\n\x1a\n"), ("c.jpg", b"")):
        refused = pictures_server.request("POST", "/image-search", expect=422, files={"file": (name, content)})
        assert refused["message"], refused
    huge = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(huge, "PNG")
    status = pictures_server.request_status("POST", "/image-search", files={"file": ("huge.png", huge.getvalue())})
    assert status in (413, 422)
