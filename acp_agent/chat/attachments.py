"""Files in a prompt: `@path` in its text, or `/image PATH`, become content blocks of the protocol.

An image goes as an image, known by its first bytes and not by its name. A text goes as an embedded resource, if
the agent takes such and the file is small; everything else as a link, which the agent can follow by itself. What
is named and cannot be sent is an error, and nothing of the prompt is sent then.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path

from pydantic import JsonValue

from acp_agent.chat.fields import JsonObject

IMAGE_LIMIT = 15 * 1024 * 1024
"""Bytes that one image may have."""

ALL_LIMIT = 30 * 1024 * 1024
"""Bytes that all images of a prompt may have; as base64 they must fit into one line of the protocol."""

EMBED_LIMIT = 64 * 1024
"""Bytes of a text that is embedded; of a longer one only a link is sent."""

_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp"})
_MENTION = re.compile(r"(?<!\S)@(?:\"([^\"\n]+)\"|([^\s\"]\S*))")
_PUNCTUATION = ".,;:!?)]}'"


class BadAttachment(ValueError):
    """A file that is named in a prompt cannot be sent; one sentence says which and why."""


@dataclass(frozen=True, slots=True)
class Takes:
    """What the agent takes in a prompt besides text and links."""

    images: bool = False
    embedded: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """A prompt as content blocks, and the words in it that look like files and name none."""

    blocks: tuple[JsonObject, ...]
    unknown: tuple[str, ...] = ()

    @classmethod
    def of_text(cls, text: str) -> Content:
        """A prompt that is one text."""
        return cls(({"type": "text", "text": text},))

    @property
    def params(self) -> JsonValue:
        """The blocks as the protocol has them."""
        return [*self.blocks]


def read(prompt: str, cwd: Path, takes: Takes) -> Content:
    """The content of a prompt, with the files that it names; relative paths belong to `cwd`.

    Raises:
        BadAttachment: see the module.
    """
    unknown: list[str] = []
    blocks: list[JsonObject] = []
    images = 0
    for piece in _image_command(prompt) if _is_image_command(prompt) else _mentions(prompt):
        if isinstance(piece, str):
            blocks.append({"type": "text", "text": piece})
            continue
        path, rest = _found(piece, cwd)
        if path is None:
            unknown.append(piece.written)
            blocks.append({"type": "text", "text": rest})
            continue
        block = _block(piece, path, takes)
        images += len(str(block.get("data", ""))) * 3 // 4
        if images > ALL_LIMIT:
            raise BadAttachment(f"The images have more than {ALL_LIMIT // 2**20} MiB together.")
        blocks += [block, {"type": "text", "text": rest}]
    return Content(tuple(_joined(blocks)), tuple(unknown))


def media_type(data: bytes) -> str | None:
    """The media type of an image by its first bytes; None if it is none that models take."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


@dataclass(frozen=True, slots=True)
class _Named:
    """A file as it is named in a prompt: the whole piece, the path in it, and whether it must be an image."""

    whole: str
    written: str
    quoted: bool = False
    image: bool = False

    @property
    def meant(self) -> bool:
        """Whether it can only be meant as a file."""
        return (
            self.quoted
            or self.image
            or self.written.startswith(("/", "./", "../", "~/"))
            or Path(self.written.rstrip(_PUNCTUATION)).suffix.lower() in _IMAGE_SUFFIXES
        )


def _mentions(prompt: str) -> Iterator[str | _Named]:
    end = 0
    for found in _MENTION.finditer(prompt):
        yield prompt[end : found.start()]
        yield _Named(found[0], found[1] or found[2], quoted=found[1] is not None)
        end = found.end()
    yield prompt[end:]


def _is_image_command(prompt: str) -> bool:
    return prompt.split(maxsplit=1)[:1] == ["/image"]


def _image_command(prompt: str) -> Iterator[str | _Named]:
    rest = prompt.split(maxsplit=1)[1:]
    if not rest:
        raise BadAttachment("/image needs the path of an image: /image PATH [TEXT].")
    written = io.StringIO(rest[0])
    words = shlex.shlex(written, posix=True)
    words.whitespace_split, words.commenters = True, ""
    try:
        path = words.get_token()
    except ValueError:
        raise BadAttachment("A quotation mark in the path is not closed.") from None
    if not path:
        raise BadAttachment("/image needs the path of an image: /image PATH [TEXT].")
    yield _Named(path, path, image=True)
    text = written.read().strip()
    if text:
        yield text


def _found(named: _Named, cwd: Path) -> tuple[Path | None, str]:
    """The file and what stands after its name; no file and the whole piece if it names none and need not.

    Raises `BadAttachment` if it can only be meant as a file.
    """
    bare = named.written.rstrip(_PUNCTUATION)
    for written in (named.written,) if named.quoted or named.image else (named.written, bare):
        try:
            path = cwd / Path(written).expanduser()
            if written and path.exists():
                return path, named.written[len(written) :]
        except (OSError, ValueError, RuntimeError):  # too long for a name, a NUL in it, or an unknown user's home
            continue
    if named.meant:
        raise BadAttachment(f"There is no file {named.written if named.quoted or named.image else bare}.")
    return None, named.whole


def _block(named: _Named, path: Path, takes: Takes) -> JsonObject:
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  (links are kept: the agent knows the folder by them)
    uri, name = absolute.as_uri(), absolute.name or str(absolute)
    if path.is_dir():
        if named.image:
            raise BadAttachment(f"{named.written} is a folder, not an image.")
        return {"type": "resource_link", "name": name, "uri": uri}
    if not path.is_file():
        raise BadAttachment(f"{named.written} is neither a file nor a folder.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            data = file.read(16)
            image = media_type(data)
            if image is None and size <= EMBED_LIMIT and not named.image:
                data += file.read(EMBED_LIMIT)
            elif image is not None and takes.images and size <= IMAGE_LIMIT:
                data += file.read(IMAGE_LIMIT)
    except OSError as fault:
        raise BadAttachment(f"{named.written} cannot be read: {fault.strerror}.") from fault
    if image is not None:
        return _image(named, data, image, size=size, uri=uri, takes=takes)
    if named.image:
        raise BadAttachment(f"{named.written} is no PNG, JPEG, GIF or WebP image.")
    text = _text(data) if takes.embedded and size <= EMBED_LIMIT else None
    kind = guess_type(name)[0]
    if text is not None:
        return {"type": "resource", "resource": {"uri": uri, "mimeType": kind or "text/plain", "text": text}}
    link: JsonObject = {"type": "resource_link", "name": name, "uri": uri, "size": size}
    return {**link, "mimeType": kind} if kind else link


def _image(named: _Named, data: bytes, kind: str, *, size: int, uri: str, takes: Takes) -> JsonObject:
    if not takes.images:
        raise BadAttachment(f"{named.written} is an image, and this agent takes none.")
    if size > IMAGE_LIMIT:
        raise BadAttachment(
            f"{named.written} has {size / 2**20:.1f} MiB; an image may have {IMAGE_LIMIT // 2**20} MiB."
        )
    return {"type": "image", "mimeType": kind, "data": base64.b64encode(data).decode(), "uri": uri}


def _text(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _joined(blocks: list[JsonObject]) -> Iterator[JsonObject]:
    """The blocks with neighbouring texts as one, and without empty ones."""
    text = ""
    for block in blocks:
        if block["type"] == "text":
            text += str(block["text"])
            continue
        if text:
            yield {"type": "text", "text": text}
        text = ""
        yield block
    if text:
        yield {"type": "text", "text": text}
