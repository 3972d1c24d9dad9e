#!/usr/bin/env python3
"""Writes the payloads of the sample torrents: always the same bytes, from SHA-256 of a counter.

Run it in this folder; then make the torrents as README.md says.
"""

import hashlib
import os


def noise(name, length):
    """Bytes without pattern, from a name."""
    blocks = (hashlib.sha256(f"{name} {i}".encode()).digest() for i in range(-(-length // 32)))
    return b"".join(blocks)[:length]


WINDS = "north north-east east south-east south south-west west north-west".split()
SEAS = "calm smooth rippled slight moderate rough heavy confused".split()
SKIES = "clear,hazy,foggy,overcast,starlit,cloudy,stormy,bright".split(",")
SIGHTS = (
    "a schooner under full sail,two fishing boats going home,nothing but gulls,a steamer far out,"
    "seals on the skerry,a drifting cask,the mail cutter early,lightning over the cape"
).split(",")
DEEDS = (
    "trimmed the wick,polished the lens,painted the rail,wound the clockwork,mended the pump,"
    "wrote to my sister,counted the oil,swept the stairs"
).split(",")


def log(length):
    """A keeper's log, one entry an hour, cut at the given length."""
    lines, size, hour = [], 0, 0
    while size < length:
        d = hashlib.sha256(f"log {hour}".encode()).digest()
        line = (
            f"Day {hour // 24 + 1:05}, {hour % 24:02} h. Wind {WINDS[d[0] % 8]}, force {d[1] % 12}. "
            f"Sea {SEAS[d[2] % 8]}, sky {SKIES[d[3] % 8]}. Saw {SIGHTS[d[4] % 8]}. "
            f"I {DEEDS[d[5] % 8]}. Lamp {'lit' if not 6 <= hour % 24 < 18 else 'dark'}.\n"
        )
        lines.append(line)
        size, hour = size + len(line), hour + 1
    return "".join(lines).encode()[:length]


def put(path, data):
    if os.path.dirname(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


# A length that is no multiple of anything: 65 pieces of 64 KiB, the last one short.
put("lighthouse-log.txt", log(4 * 1024 * 1024 + 12_345))

# 16 pieces of 16 KiB and not a byte more.
put("exact-multiple.bin", noise("exact", 16 * 16 * 1024))

ODD = "odd names, 이상한 이름"
FILES = {
    "a file with spaces.txt": b"Spaces are fine.\n",
    "한국어 이름.txt": "한국어 이름도 됩니다.\n".encode(),
    "ünïcödé – naïve ☂ 🦀.txt": "Jedes Zeichen zählt.\n".encode(),
    ".hidden": b"A leading dot.\n",
    "...three dots first": noise("dots", 20_000),
    "empty file": b"",
    "long-" + "name-" * 40 + "end.bin": noise("long", 40_000),
    "sub folder/.empty and hidden": b"",
    "sub folder/깊은 폴더/더 깊은 폴더/파일.bin": noise("deep", 100_001),
    "sub folder/one byte": b"1",
    "zz last, and empty": b"",
}
for name, data in FILES.items():
    put(f"{ODD}/{name}", data)
