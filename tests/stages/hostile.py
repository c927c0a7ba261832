"""Files that somebody hostile, or a broken camera, might send. The same files at every run."""

import gzip
import io
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from PIL import Image, PngImagePlugin

from tests.stages.conftest import image_bytes

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def hostile_images() -> dict[str, bytes]:
    """Bytes by a short description, each to be sent under a valid name."""
    found: dict[str, bytes] = {}
    for kind, data in _samples().items():
        extension = "png" if "png" in kind else "jpg"
        found |= {f"{kind} {what}.{extension}": damaged for what, damaged in _damaged(data, seed=kind)}
    found |= {f"{what}.png": data for what, data in _odd_pngs()}
    found |= {f"{what}.jpg": data for what, data in _odd_jpegs()}
    found |= {f"{what} as jpg.jpg": data for what, data in _other_formats()}
    found |= {f"{what} as png.png": data for what, data in _other_formats()}
    return found


def hostile_names() -> list[str]:
    """Names of files that hold a good JPEG; none of them is a valid name."""
    time = 1511891098
    names = [
        "spaces in name_1511891098.jpg",
        "line\nbreak_1511891098.jpg",
        "tab\t_1511891098.jpg",
        "dev1_1511891098.jpg\n",
        " dev1_1511891098.jpg",
        "dev1_1511891098.jpg ",
        "…_1511891098.jpg",
        "büro_1511891098.jpg",
        "相机_1511891098.jpg",
        "📷_1511891098.jpg",
        "dev1_١٥١١٨٩١٠٩٨.jpg",
        "\u202egpj.8901981151_1ved.jpg",  # shows as dev1_1511891098.jpg where text may run from right to left
        "dev\u200b1_1511891098.jpg",
        "...",
        "..jpg",
        *(
            f"{device}_{time}.jpg"
            for device in ("..", ".hidden", "-rf", "$(reboot)", "`id`", "a;b", "a|b", "*", "?", "[a]", "{a,b}", "a\\b")
        ),
        *(f"{device}_{time}.jpg" for device in ("%2e%2e%2f", "a'b", 'a"b', "<script>", "d" * 65)),
        *("--help", "con", "nul.jpg", f"dev1_{time}", f"dev1_{time}.", f"dev1-{time}.jpg", f"dev1__{time}_.jpg"),
        *(f"dev1_{time}{end}" for end in (".JPG", ".jpg.exe", ".exe.jpg", ".jpg.jpg", ".5.jpg")),
        *(f"dev1_{number}.jpg" for number in (f"+{time}", f"-{time}", f"{time}000", "0x5A1D9F1A00", "1e10000000", "9" * 240)),
        *("x" * 255, "x" * 251 + ".jpg", "é" * 125 + ".jpg"),
    ]
    not_utf8 = b"\xff\xfe_1511891098.jpg".decode(errors="surrogateescape")
    return [*names, not_utf8]


def _samples() -> dict[str, bytes]:
    noise = Image.frombytes("RGB", (120, 90), random.Random(1).randbytes(120 * 90 * 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    streams = {
        "jpeg": {"format": "JPEG"},
        "progressive jpeg": {"format": "JPEG", "progressive": True},
        "jpeg with exif": {"format": "JPEG", "exif": exif},
        "png": {"format": "PNG"},
    }
    samples = {}
    for kind, options in streams.items():
        stream = io.BytesIO()
        noise.save(stream, **options)
        samples[kind] = stream.getvalue()
    samples["16-bit png"] = image_bytes("PNG", mode="I;16")
    return samples


def _damaged(data: bytes, *, seed: str) -> Iterator[tuple[str, bytes]]:
    """Cut at every kind of place, and overwritten here and there."""
    chance = random.Random(seed)
    cuts = {
        1,
        2,
        3,
        4,
        8,
        11,
        16,
        20,
        24,
        33,
        64,
        len(data) // 2,
        len(data) - 12,
        len(data) - 2,
        *(chance.randrange(len(data)) for _ in range(6)),
    }
    for cut in sorted(cuts):
        yield f"cut at {cut}", data[:cut]
    for number in range(12):
        changed = bytearray(data)
        for _ in range(1 + number):
            changed[chance.randrange(len(data))] = chance.randrange(256)
        yield f"overwritten {number}", bytes(changed)
    yield "zeroed middle", data[: len(data) // 3] + bytes(len(data) // 3) + data[2 * len(data) // 3 :]
    yield "reversed", data[::-1]
    yield "doubled", data + data


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _header(width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def _odd_pngs() -> Iterator[tuple[str, bytes]]:
    end = _chunk(b"IEND", b"")
    pixel = _chunk(b"IDAT", zlib.compress(b"\0\1\2\3"))
    bomb = zlib.compress(bytes(100 << 20), 9)
    yield "100000 pixels square", _PNG_SIGNATURE + _header(100_000, 100_000) + pixel + end
    yield "four billion pixels wide", _PNG_SIGNATURE + _header(0xFFFFFFFF, 1) + pixel + end
    yield "two billion square", _PNG_SIGNATURE + _header(0x7FFFFFFF, 0x7FFFFFFF) + pixel + end
    yield "no pixels", _PNG_SIGNATURE + _header(0, 0) + pixel + end
    yield "no width", _PNG_SIGNATURE + _header(0, 5) + pixel + end
    yield "data bomb", _PNG_SIGNATURE + _header(1, 1) + _chunk(b"IDAT", bomb) + end
    yield "text bomb", _PNG_SIGNATURE + _header(1, 1) + _chunk(b"zTXt", b"k\0\0" + bomb) + pixel + end
    yield "profile bomb", _PNG_SIGNATURE + _header(1, 1) + _chunk(b"iCCP", b"k\0\0" + bomb) + pixel + end
    yield "international text bomb", _PNG_SIGNATURE + _header(1, 1) + _chunk(b"iTXt", b"k\0\1\0\0\0" + bomb) + pixel + end
    yield "unknown colour type", _PNG_SIGNATURE + _header(1, 1, colour=5) + pixel + end
    yield "impossible depth", _PNG_SIGNATURE + _header(1, 1, depth=3) + pixel + end
    yield "palette without palette", _PNG_SIGNATURE + _header(1, 1, colour=3) + _chunk(b"IDAT", zlib.compress(b"\0\7")) + end
    yield "interlaced and empty", _PNG_SIGNATURE + _header(9, 9, interlaced=1) + end
    yield "no data", _PNG_SIGNATURE + _header(9, 9) + end
    yield "only a signature", _PNG_SIGNATURE
    yield "only an end", _PNG_SIGNATURE + end
    yield "too little data", _PNG_SIGNATURE + _header(99, 99) + pixel + end
    yield "two headers", _PNG_SIGNATURE + _header(1, 1) + _header(9, 9) + pixel + end
    yield "wrong checksum", _PNG_SIGNATURE + _header(1, 1)[:-1] + b"\0" + pixel + end
    yield "chunk of four billion", _PNG_SIGNATURE + _header(1, 1) + b"\xff\xff\xff\xffIDAT" + pixel
    yield "animation without frames", _PNG_SIGNATURE + _header(1, 1) + _chunk(b"acTL", struct.pack(">II", 0, 0)) + pixel + end
    yield "animation of billions", _PNG_SIGNATURE + _header(1, 1) + _chunk(b"acTL", struct.pack(">II", 1 << 31, 1)) + pixel + end
    yield "bad exif", _PNG_SIGNATURE + _header(1, 1) + _chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + bytes(50)) + pixel + end
    yield "html behind the end", image_bytes("PNG") + b"<html><script>alert(1)</script>"
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "<?php system($_GET['c']); ?>" * 1000)
    yield "script in a comment", image_bytes("PNG", pnginfo=info)
    rows = zlib.compressobj()
    data = b"".join(rows.compress(bytes(1 + 30_000 // 8)) for _ in range(30_000)) + rows.flush()
    yield "900 million pixels in 110 kB", _PNG_SIGNATURE + _header(30_000, 30_000, depth=1, colour=0) + _chunk(b"IDAT", data) + end


def _odd_jpegs() -> Iterator[tuple[str, bytes]]:
    good = image_bytes()
    frame = good.index(b"\xff\xc0")
    yield "empty", b""
    yield "one byte", b"\xff"
    yield "zeros", bytes(5000)
    yield "ones", b"\xff" * 5000
    yield "only start and end", b"\xff\xd8\xff\xd9"
    yield "starts only", b"\xff\xd8" * 1000
    yield "65535 pixels square", good[: frame + 5] + b"\xff\xff\xff\xff" + good[frame + 9 :]
    yield "no height", good[: frame + 5] + b"\0\0" + good[frame + 7 :]
    yield "no pixels", good[: frame + 5] + b"\0\0\0\0" + good[frame + 9 :]
    yield "200 components", good[: frame + 9] + b"\xc8" + good[frame + 10 :]
    yield "12-bit", good[: frame + 4] + b"\x0c" + good[frame + 5 :]
    yield "lossless", good[: frame + 1] + b"\xc3" + good[frame + 2 :]
    yield "arithmetic", good[: frame + 1] + b"\xc9" + good[frame + 2 :]
    for name, exif in {
        "loop": b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0",
        "rubbish": b"\xde\xad\xbe\xef" * 100,
        "empty": b"",
    }.items():
        block = b"Exif\0\0" + exif
        yield f"exif {name}", good[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + good[2:]
    block = b"MPF\0" + b"II*\0\xff\xff\xff\xff"
    yield "broken mpf", good[:2] + b"\xff\xe2" + struct.pack(">H", len(block) + 2) + block + good[2:]
    block = b"ICC_PROFILE\0\xff\x01" + bytes(60)
    yield "broken profile", good[:2] + b"\xff\xe2" + struct.pack(">H", len(block) + 2) + block + good[2:]
    yield "zip behind the end", good + _zip()
    yield "html behind the end", good + b"<html><script>alert(1)</script></html>"
    comment = b"*/=alert(1);/*"
    yield "script in a comment", good[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + good[2:]
    yield "gif in front", b"GIF89a" + good
    yield "pdf in front", b"%PDF-1.4\n" + good
    yield "hundred images in a row", good * 100


def _other_formats() -> Iterator[tuple[str, bytes]]:
    for kind in ("GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PCX"):
        yield kind.lower(), image_bytes(kind)
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "svg bomb", b'<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg">&b;</svg>'
    yield "html", b"<!doctype html><title>404 Not Found</title>"
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n"
    yield "mvg", b"push graphic-context\nfill 'url(https://example.org/|id)'\npop graphic-context"
    yield "zip", _zip()
    yield "gzip", gzip.compress(bytes(1 << 20), mtime=0)
    yield "tar", _tar()
    yield "elf", b"\x7fELF\x02\x01\x01" + bytes(500)
    yield "shell", b"#!/bin/sh\nrm -rf /\n"
    yield "pickle", b"\x80\x04cos\nsystem\n(S'id'\ntR."
    yield "json", b'{"objects": []}'
    yield "text", "Bild fehlt".encode("utf-16")
    yield "random", random.Random(7).randbytes(4000)


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("../../etc/passwd"), "x")
    return stream.getvalue()


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../etc/passwd"))
    return stream.getvalue()
