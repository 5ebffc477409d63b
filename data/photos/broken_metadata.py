"""Image files without their metadata, for photos whose metadata cannot be read.

OpenCV as a second reader does not replace this: 4.9 takes truncated JPEGs for whole ones, and every version prints
libpng's warnings, ignores colour profiles and refuses some AVIF and PNG files that are read this way.
"""

import struct

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_BYTE_ORDER = {b"II*\0": "<", b"MM\0*": ">"}
# Orientation and colour profile are worth a second try, by their names in each format.
PNG_KEPT, JPEG_KEPT, TIFF_KEPT = (b"eXIf", b"iCCP"), (b"Exif\0\0", b"ICC_PROFILE\0"), (274, 34675)
# The tags that pixels are made from: sizes, bits, compression, colours, palette, strips, tiles, JPEG tables.
TIFF_PIXELS = {
    *range(254, 267), 273, *range(277, 282), 284, 292, 293, 317, *range(320, 326), *range(332, 336), 338, 339, 340, 341,
    347, *range(512, 533),
}  # fmt: skip


def without_metadata(content: bytes) -> list[bytes]:
    """A JPEG, PNG, TIFF or AVIF file again: first with only its orientation and colour profile, then with neither.

    What the pixels are made from stays as it is, faults included. Of other formats there is nothing.
    """
    if content.startswith(PNG_SIGNATURE):
        return [_bare_png(content, PNG_KEPT), _bare_png(content, ())]
    if content.startswith(b"\xff\xd8"):
        return [_bare_jpeg(content, JPEG_KEPT), _bare_jpeg(content, ())]
    if content[:4] in TIFF_BYTE_ORDER:
        return [_bare_tiff(content, TIFF_KEPT), _bare_tiff(content, ())]
    if content[4:8] == b"ftyp":
        return [_bare_avif(content)]
    return []


def _bare_png(content: bytes, kept: tuple[bytes, ...]) -> bytes:
    parts, position = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while position < len(content):
        length, name = int.from_bytes(content[position : position + 4], "big"), content[position + 4 : position + 8]
        end = position + 12 + length  # length, name and check sum take 4 bytes each
        if name[:1].isupper() or name == b"tRNS" or name in kept:  # a capital marks what the pixels need
            parts.append(content[position:end])
        position = end
    return b"".join(parts)


def _bare_jpeg(content: bytes, kept: tuple[bytes, ...]) -> bytes:
    parts, position = [content[:2]], 2
    # Up to the marker FF DA, at which the pixels begin.
    while content[position : position + 1] == b"\xff" and content[position + 1 : position + 2] not in (b"\xda", b""):
        marker = content[position + 1]
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        data = content[position + 4 : end]
        if marker == 0xFF:  # fill byte
            end = position + 1
        elif 0xE0 <= marker <= 0xEF or marker == 0xFE:  # an application's, or a comment
            how_colours_are_stored = data.startswith((b"JFIF\0", b"Adobe")) and len(data) >= 12
            if how_colours_are_stored or (kept and data.startswith(kept) and len(data) >= 14):
                parts.append(content[position:end])
        else:
            parts.append(content[position:end])
        position = end
    return b"".join([*parts, content[position:]])


def _bare_tiff(content: bytes, kept: tuple[int, ...]) -> bytes:
    """The first list of tags shrinks in place; nothing else moves."""
    order = TIFF_BYTE_ORDER[content[:4]]
    try:
        (begin,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, begin)
    except struct.error:
        return content
    entries = [content[at : at + 12] for at in range(begin + 2, begin + 2 + 12 * count, 12)]
    entries = [
        entry for entry in entries if struct.unpack_from(f"{order}H", entry.ljust(2))[0] in TIFF_PIXELS.union(kept)
    ]
    tags = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)  # and no further image
    return content[:begin] + tags + content[begin + len(tags) :]


def _bare_avif(content: bytes) -> bytes:
    """The list of contents stands before the pixels ("mdat"); EXIF and XMP get names there that nobody looks for."""
    head, pixels, rest = content.partition(b"mdat")
    return head.replace(b"Exif", b"none").replace(b"mime", b"none") + pixels + rest
