#!/usr/bin/env python3
"""Regenerates samples/pictures and samples/LICENSES.md.

All sample pictures are photographs that GCompris, a children's learning program, ships in Debian's package
`gcompris-qt-data`. Its Qt resource archives carry a README for each picture folder with author, source and licence of
every file. Only pictures whose README says "Public Domain" or "CC0-1.0" are taken: anything else stops this script.

    python3 -m venv venv && venv/bin/pip install pillow
    venv/bin/python tools/samples/make_pictures.py            # needs apt-get and dpkg-deb
    venv/bin/python tools/samples/make_pictures.py --deb gcompris-qt-data_3.1-2_all.deb
"""

import argparse
import io
import pathlib
import struct
import subprocess
import tarfile
import tempfile
import zlib

from PIL import Image

PACKAGE = "gcompris-qt-data"
ACTIVITIES = "gcompris/src/activities"
LONG_SIDE_PX = 320
JPEG_QUALITY = 82
FREE_LICENCES = {"public domain": "public domain", "cc0-1.0": "CC0-1.0"}

# category -> folder in the archive -> {original stem: sample name}. The name's ending picks the format: most are JPEG,
# a few are PNG, WebP, GIF or BMP so that every format that bilin reads is among the samples.
CATEGORIZATION = f"{ACTIVITIES}/categorization/resource/images"
PICTURES = {
    "animals": {
        f"{ACTIVITIES}/explore_farm_animals/resource/animals": {
            "cat": "cat.jpg", "cow": "cow.jpg", "dog": "sheepdog.jpg",
            "horse": "horses.jpg", "sheep": "sheep.jpg",
        },
        f"{ACTIVITIES}/explore_world_animals/resource/animals": {
            "hedgehog": "hedgehog.jpg", "kangaroo": "kangaroo.jpg", "koala": "koala.jpg",
            "lemur": "lemurs.webp", "panda": "panda.jpg",
        },
    },
    "birds": {
        f"{ACTIVITIES}/explore_farm_animals/resource/animals": {
            "chicken": "hens.jpg", "duck": "duck.jpg", "owl": "owl.jpg",
        },
        f"{ACTIVITIES}/explore_world_animals/resource/animals": {"scarlet_macaw": "macaw.jpg"},
        f"{ACTIVITIES}/erase/resource": {"kingfisher": "kingfisher.jpg"},
    },
    "fish": {
        f"{CATEGORIZATION}/fishes": {
            "fish1": "angelfish.jpg", "fish10": "reef_shoal.jpg", "fish25": "goldfish.png", "fish28": "puffer.jpg",
            "fish3": "cichlid.jpg", "fish4": "perch.jpg", "fish6": "discus.jpg", "fish9": "clownfish.jpg",
        },
    },
    "landmarks": {
        f"{CATEGORIZATION}/monuments": {
            "arcDeTriomphe": "arc_du_carrousel.jpg", "brandenburgGate": "brandenburg_gate.jpg",
            "colosseum": "colosseum.jpg", "eiffelTower": "eiffel_tower.jpg", "greatPyramid": "great_pyramid.jpg",
            "greatWall": "great_wall.jpg", "operaHouse": "sydney_opera_house.jpg",
            "parthenon": "parthenon.jpg", "tajMahal": "taj_mahal.jpg",
        },
    },
    "windmills": {
        f"{CATEGORIZATION}/renewable": {
            "windmill": "chesterton.jpg", "windmill1": "rhodes.jpg",
            "windmill12": "khokhlovka.jpg", "windmill13": "kinderdijk.jpg", "windmill3": "mykonos.jpg",
            "windmill8": "portugal.gif",
        },
    },
    "solar": {
        f"{CATEGORIZATION}/renewable": {
            "solar4": "panels_in_lixouri.jpg", "solar5": "cells.jpg", "solar6": "panels_on_a_roof.jpg",
            "solar7": "panel_on_a_pole.jpg",
            "solar8": "collectors.jpg",
        },
    },
    "tools": {
        f"{CATEGORIZATION}/tools": {
            "cuttingTool": "side_cutters.jpg", "hammer5": "claw_hammer.jpg", "hammer8": "old_hammer.jpg",
            "measuringTape1": "tape_measure.jpg", "plier1": "long_nose_pliers.jpg", "plier3": "pliers.jpg",
            "scissors1": "scissors.jpg", "scissors4": "red_scissors.jpg", "screwDriver": "screwdriver.jpg",
            "wrench": "adjustable_wrench.jpg",
        },
    },
    "household": {
        f"{CATEGORIZATION}/others": {
            "bulb": "bulb.jpg", "chair": "chair.jpg", "cup": "cup.jpg", "buffetset": "cup_and_saucer.jpg",
            "plate": "plate.jpg", "spoons": "spoons.bmp", "knife": "cutlery.jpg",
        },
    },
}
# Uncompressed or nearly so: kept small.
SMALL_SIDE_PX = {".bmp": 160, ".gif": 200, ".png": 200}


def read_rcc(data):
    """Files of a Qt binary resource archive (`qres`, versions 1 to 3) by path. Source: Qt's own `rcc` documentation."""
    magic, version, tree, bodies, names = struct.unpack_from(">4sIIII", data, 0)
    if magic != b"qres" or version not in (1, 2, 3):
        raise SystemExit(f"not a Qt resource archive of version 1 to 3: {magic!r} {version}")
    node_bytes = 22 if version >= 2 else 14
    files = {}

    def walk(index, path):
        at = tree + index * node_bytes
        name_at, flags = struct.unpack_from(">IH", data, at)
        if index:
            (length,) = struct.unpack_from(">H", data, names + name_at)
            start = names + name_at + 6
            path = path + [data[start : start + 2 * length].decode("utf-16-be")]
        if flags & 2:  # a folder
            count, first = struct.unpack_from(">II", data, at + 6)
            for child in range(first, first + count):
                walk(child, path)
            return
        (body_at,) = struct.unpack_from(">I", data, at + 10)
        (length,) = struct.unpack_from(">I", data, bodies + body_at)
        body = data[bodies + body_at + 4 : bodies + body_at + 4 + length]
        if flags & 1:
            body = zlib.decompress(body[4:])
        elif flags & 4:
            raise SystemExit(f"{'/'.join(path)}: zstd is not read by this script")
        files["/".join(path)] = body

    walk(0, [])
    return files


def read_credits(readme):
    """{file name: {field: value}} of a GCompris README: paragraphs of `Field: value`, `Files:` may span lines."""
    credits = {}
    for paragraph in readme.split("\n\n"):
        fields, last = {}, None
        for line in paragraph.splitlines():
            name, colon, value = line.partition(":")
            if colon and name in ("Copyright", "Source", "License", "Files", "Comments"):
                last, fields[name] = name, value.strip()
            elif last:
                fields[last] = f"{fields[last]} {line.strip()}".strip()
        for file in fields.get("Files", "").split():
            credits[file] = fields
    return credits


def save(picture, target):
    """Scales the picture down and writes it in the format that the target's ending names."""
    side = SMALL_SIDE_PX.get(target.suffix, LONG_SIDE_PX)
    picture = picture.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    options = {
        ".jpg": {"quality": JPEG_QUALITY, "optimize": True},
        ".webp": {"quality": JPEG_QUALITY, "method": 6},
        ".png": {"optimize": True},
    }.get(target.suffix, {})
    if target.suffix == ".gif":
        picture = picture.quantize(128)
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.save(target, **options)


def archive_files(package):
    """All files of the package's resource archives that the samples use."""
    archives = {folder.split("/")[3] for group in PICTURES.values() for folder in group}
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    files = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as members:
        for member in members:
            path = pathlib.PurePosixPath(member.name)
            if path.suffix == ".rcc" and path.stem in archives:
                files.update(read_rcc(members.extractfile(member).read()))
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deb", help=f"{PACKAGE} package file; fetched with apt-get download where not given")
    arguments = parser.parse_args()
    samples = pathlib.Path(__file__).resolve().parents[2] / "samples"
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.deb:
            subprocess.run(["apt-get", "download", PACKAGE], check=True, cwd=folder)
            arguments.deb = str(next(pathlib.Path(folder).glob("*.deb")))
        field = ["dpkg-deb", "--field", arguments.deb, "Version"]
        version = subprocess.run(field, check=True, capture_output=True, text=True).stdout.strip()
        files = archive_files(arguments.deb)

    rows = []
    for category, folders in PICTURES.items():
        for folder, names in folders.items():
            credits = read_credits(files[f"{folder}/README"].decode("utf-8"))
            # The README of the tools misspells one file name.
            if "screDriver.webp" in credits:
                credits["screwDriver.webp"] = credits["screDriver.webp"]
            for stem, name in names.items():
                original = f"{stem}.webp"
                credit = credits[original]
                licence = FREE_LICENCES.get(credit["License"].lower())
                if licence is None:
                    raise SystemExit(f"{original}: licence {credit['License']!r} is not free enough for the samples")
                save(Image.open(io.BytesIO(files[f"{folder}/{original}"])), samples / "pictures" / category / name)
                where = folder.removeprefix(f"{ACTIVITIES}/")
                rows.append((f"pictures/{category}/{name}", f"{where}/{original}", credit, licence))

    lines = [
        "# Licences of the samples",
        "",
        "`course/` was written for this project and is under the project's licence, Apache-2.0.",
        "`course/zh/reading.pdf` embeds a subset of WenQuanYi Micro Hei (Apache-2.0; copyright 2008-2009 the WenQuanYi",
        "project and Qianqian Fang, 2006-2008 Google Corporation for the Droid fonts that it is based on).",
        "`tools/samples/make_course.py` makes the slides, handouts and readings.",
        "",
        f"`pictures/` holds scaled-down copies of photographs from Debian's package `{PACKAGE}` {version}",
        "(GCompris, folder `src/activities` of its source; original files named below). Each is in the public domain",
        "or under CC0-1.0 according to the package's own README beside it. `tools/samples/make_pictures.py` makes the",
        "pictures and this file.",
        "",
        "| sample | original file | author | licence | source |",
        "|---|---|---|---|---|",
    ]
    for sample, original, credit, licence in sorted(rows):
        lines.append(f"| {sample} | {original} | {credit['Copyright']} | {licence} | <{credit['Source']}> |")
    (samples / "LICENSES.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    total = sum(path.stat().st_size for path in (samples / "pictures").rglob("*.*"))
    print(f"{len(rows)} pictures in {len(PICTURES)} categories, {total} bytes")


if __name__ == "__main__":
    main()
