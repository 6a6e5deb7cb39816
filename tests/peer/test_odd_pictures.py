"""Pictures of every kind that folders hold are read as Pillow reads them, and hostile ones are refused before memory is taken.

What a kind decodes to is seen by its vector: that of the file itself equals that of a PNG of what `Image.open`, `exif_transpose` and
`convert("RGB")` give. Vectors of lossless kinds are equal but for rounding; JPEG decoders upsample colour each in their own way, so the turned ones keep all of
it. One kind differs by choice (docs/decisions/0010): 16-bit grey keeps its high byte, where Pillow clips at 255.
"""

import io
import struct
import urllib.parse
import zlib

import numpy
import pytest
from bilin import SAMPLES, Server, run
from PIL import Image, ImageOps

LOSSLESS_BAR = 1e-6
LOSSY_COSINE = 0.999
SOURCE = next(path for path in sorted((SAMPLES / "pictures").rglob("*.jpg")))
SIDE = 20_000
MOST_GROWTH_KB = 64 << 10


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, depth, colour, rows):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def png16(pixels, colour):
    """A PNG of 16 bits a channel, whose low bytes are not 0: Pillow cannot write one of colour."""
    wide = pixels.astype(numpy.uint16) * 256 + 200
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    return png(pixels.shape[1], pixels.shape[0], 16, colour, zlib.compress(rows))


def saved(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def kinds():
    """Name and bytes of each."""
    rgb = Image.open(SOURCE).convert("RGB").resize((190, 130))
    pixels = numpy.asarray(rgb)
    alpha = Image.fromarray((numpy.indices((130, 190)).sum(0) % 256).astype(numpy.uint8))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    other = ImageOps.mirror(rgb)
    palette = rgb.quantize(64)
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"turned{turn}.png", saved(rgb, "PNG", exif=exif)
        yield f"turned{turn}.jpg", saved(rgb, "JPEG", exif=exif, quality=95, subsampling=0)
        yield f"turned{turn}.webp", saved(rgb, "WEBP", exif=exif, lossless=True)
    yield "cmyk.jpg", saved(rgb.convert("CMYK"), "JPEG", quality=95)
    yield "grey.jpg", saved(rgb.convert("L"), "JPEG", quality=95)
    yield "progressive.jpg", saved(rgb, "JPEG", quality=95, progressive=True)
    yield "rgb16.png", png16(pixels, 2)
    yield "rgba16.png", png16(numpy.dstack([pixels, numpy.asarray(alpha)]), 6)
    yield "grey16.png", png16(pixels[..., 1], 0)
    yield "rgba.png", saved(rgba, "PNG")
    yield "rgba.webp", saved(rgba, "WEBP", lossless=True, exact=True)
    yield "grey-alpha.png", saved(rgba.convert("LA"), "PNG")
    yield "one-bit.png", saved(rgb.convert("1"), "PNG")
    yield "palette.png", saved(palette, "PNG")
    yield "palette-4.png", saved(rgb.quantize(13), "PNG", bits=4)
    yield "palette-clear.png", saved(palette, "PNG", transparency=5)
    yield "palette-clear.gif", saved(palette, "GIF", transparency=5)
    yield "animated.gif", saved(rgb, "GIF", save_all=True, append_images=[other], duration=50)
    yield "animated.webp", saved(rgb, "WEBP", save_all=True, append_images=[other], lossless=True)
    yield "animated.png", saved(rgb, "PNG", save_all=True, append_images=[other])
    yield "rgb.bmp", saved(rgb, "BMP")
    yield "rgba.bmp", saved(rgba, "BMP")
    yield "palette.bmp", saved(palette, "BMP")
    yield "one-bit.bmp", saved(rgb.convert("1"), "BMP")


def as_pillow_reads(content):
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if picture.mode == "I;16":
        return Image.fromarray((numpy.asarray(picture) >> 8).astype(numpy.uint8)).convert("RGB")
    return picture.convert("RGB")


def test_every_kind_is_read_as_pillow_reads_it(tmp_path):
    odd, plain = tmp_path / "odd", tmp_path / "plain"
    odd.mkdir()
    plain.mkdir()
    names = []
    for name, content in kinds():
        (odd / name).write_bytes(content)
        as_pillow_reads(content).save(plain / f"{name}.png")
        names.append(name)
    run("add", "pictures", odd, plain, "--model", "efficientnet-lite0", data=tmp_path / "data")
    worst = {}
    with Server(tmp_path / "data") as server:

        def vector(path):
            path = urllib.parse.quote(str(path), safe="")
            document = server.request("GET", f"/v1/collections/pictures/documents/{path}")
            return numpy.asarray(document["items"][0]["vector"], dtype=numpy.float32)

        for name in names:
            received, expected = vector(odd / name), vector(plain / f"{name}.png")
            if name.endswith(".jpg"):
                worst[name] = (float(received @ expected), float(received @ expected) >= LOSSY_COSINE)
            else:
                difference = float(numpy.abs(received - expected).max())
                worst[name] = (difference, difference <= LOSSLESS_BAR)
    print(worst)
    assert all(good for _, good in worst.values()), {name: figure for name, (figure, good) in worst.items() if not good}


def peak_kb(process):
    lines = open(f"/proc/{process.pid}/status", encoding="ascii").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = tmp_path_factory.mktemp("odd") / "data"
    run("add", "pictures", SOURCE, data=data)
    with Server(data) as server:
        # The model is unpacked and has seen a picture before memory is measured.
        server.request("POST", "/image-search", files={"file": ("a.jpg", SOURCE.read_bytes())})
        yield server


def test_what_inflates_to_20000_by_20000_is_refused_before_memory_is_taken(server):
    deflate = zlib.compressobj(1)
    row = b"\0" + bytes(3 * SIDE)
    rows = b"".join(deflate.compress(row) for _ in range(SIDE // 3)) + deflate.flush()
    file = png(SIDE, SIDE, 8, 2, rows)
    assert len(file) > 1 << 20
    before = peak_kb(server.process)
    refused = server.request("POST", "/image-search", expect=413, files={"file": ("huge.png", file)})
    assert "20000 x 20000" in refused["message"], refused
    grown = peak_kb(server.process) - before
    print(f"grown by {grown} kB for a file of {len(file)} bytes")
    assert grown <= MOST_GROWTH_KB


def test_a_picture_that_ends_too_early_says_so(server):
    jpeg = SOURCE.read_bytes()
    for length in (len(jpeg) // 4, len(jpeg) // 2, len(jpeg) - 2):
        refused = server.request("POST", "/image-search", expect=422, files={"file": ("cut.jpg", jpeg[:length])})
        assert "ends before its end-of-image marker" in refused["message"], refused
    whole = saved(Image.open(SOURCE).convert("RGB"), "PNG")
    refused = server.request("POST", "/image-search", expect=422, files={"file": ("cut.png", whole[: len(whole) // 2])})
    assert "broken picture" in refused["message"], refused
