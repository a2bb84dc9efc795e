"""Files in a prompt are sent as what they are, and nothing is sent of a prompt with one that cannot be."""

import base64
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_agent.chat import attachments
from acp_agent.chat.attachments import BadAttachment, Content, Takes, media_type, read
from acp_agent.chat.fields import JsonObject

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8
EVERYTHING = Takes(images=True, embedded=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bird.png").write_bytes(PNG)
    (tmp_path / "really a picture.txt").write_bytes(b"\xff\xd8\xff\xe0 jpeg")
    (tmp_path / "notes.txt").write_text("größe\n", encoding="utf-8")
    (tmp_path / "blob.bin").write_bytes(b"\xff\0\xfe")
    (tmp_path / "not.png").write_text("a text", encoding="utf-8")
    (tmp_path / "long.txt").write_text("x" * (attachments.EMBED_LIMIT + 1), encoding="utf-8")
    (tmp_path / "src").mkdir()
    return tmp_path


def text(words: str) -> JsonObject:
    return {"type": "text", "text": words}


def image(path: Path, kind: str = "image/png") -> JsonObject:
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": "image", "mimeType": kind, "data": data, "uri": path.as_uri()}


def test_images_go_by_their_content_wherever_they_are_named(folder: Path) -> None:
    assert read("What is in @bird.png?", folder, EVERYTHING).blocks == (
        text("What is in "),
        image(folder / "bird.png"),
        text("?"),
    )
    jpeg = image(folder / "really a picture.txt", "image/jpeg")
    assert read('@"really a picture.txt" and @bird.png', folder, EVERYTHING).blocks == (
        jpeg,
        text(" and "),
        image(folder / "bird.png"),
    )
    for written in ('"really a picture.txt"', "really\\ a\\ picture.txt", f"'{folder}/really a picture.txt'"):
        assert read(f"/image {written} What is it?", folder, EVERYTHING).blocks == (jpeg, text("What is it?"))
    assert read("/image bird.png", folder, EVERYTHING).blocks == (image(folder / "bird.png"),)


def test_other_files_go_as_the_agent_takes_them(folder: Path) -> None:
    uri = (folder / "notes.txt").as_uri()
    resource: JsonObject = {"uri": uri, "mimeType": "text/plain", "text": "größe\n"}
    link: JsonObject = {
        "type": "resource_link",
        "name": "notes.txt",
        "uri": uri,
        "size": 8,
        "mimeType": "text/plain",
    }
    assert read("See (@notes.txt).", folder, EVERYTHING) == Content((text("See (@notes.txt)."),))
    assert read("See @notes.txt.", folder, EVERYTHING).blocks == (
        text("See "),
        {"type": "resource", "resource": resource},
        text("."),
    )
    assert read("@notes.txt", folder, Takes()).blocks == (link,)
    kinds = {
        name: read(f"@{name}", folder, EVERYTHING).blocks[0]["type"] for name in ("blob.bin", "long.txt", "src")
    }
    assert kinds == dict.fromkeys(kinds, "resource_link")


def test_what_names_no_file_and_need_not_is_text(folder: Path) -> None:
    prompt = "ask @someone, mail a@b.c, use @pytest.fixture and @types/node; @"
    assert read(prompt, folder, EVERYTHING) == Content(
        (text(prompt),), ("someone,", "pytest.fixture", "types/node;")
    )


def test_relative_paths_belong_to_the_folder_and_home_is_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    home = image(folder / "bird.png")
    assert read("@~/bird.png", Path("/"), EVERYTHING).blocks == (home,)
    assert read("@../bird.png", folder / "src", EVERYTHING).blocks == (home,)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("look @missing.png", "There is no file missing.png."),
        ("look @./missing", "There is no file ./missing."),
        ('look @"my file"', "There is no file my file."),
        ("@~nobody-of-this-name/x.png", "There is no file ~nobody-of-this-name/x.png."),
        (f"@{'x' * 5000}.png", f"There is no file {'x' * 5000}.png."),
        ("/image missing", "There is no file missing."),
        ("/image not.png", "not.png is no PNG, JPEG, GIF or WebP image."),
        ("/image src", "src is a folder, not an image."),
        ("/image", "/image needs the path of an image"),
        ("/image ''", "/image needs the path of an image"),
        ("/image 'bird.png", "A quotation mark in the path is not closed."),
        ("@/dev/null", "/dev/null is neither a file nor a folder."),
    ],
)
def test_what_cannot_be_sent_is_an_error(folder: Path, prompt: str, says: str) -> None:
    with pytest.raises(BadAttachment, match=re.escape(says)):
        read(prompt, folder, EVERYTHING)


def test_images_are_bounded_and_not_sent_to_who_takes_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadAttachment, match="this agent takes none"):
        read("@bird.png", folder, Takes(embedded=True))
    monkeypatch.setattr(attachments, "ALL_LIMIT", 20)
    assert len(read("@bird.png", folder, EVERYTHING).blocks) == 1
    with pytest.raises(BadAttachment, match="The images have more than"):
        read("@bird.png @bird.png", folder, EVERYTHING)
    monkeypatch.setattr(attachments, "IMAGE_LIMIT", 15)
    with pytest.raises(BadAttachment, match="an image may have"):
        read("@bird.png", folder, EVERYTHING)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(folder: Path) -> None:
    (folder / "notes.txt").chmod(0)
    with pytest.raises(BadAttachment, match=r"notes.txt cannot be read: Permission denied"):
        read("@notes.txt", folder, EVERYTHING)


@given(st.text(st.sampled_from('ab @"./~\\ \n'), max_size=20))
def test_no_text_is_lost(prompt: str) -> None:
    try:
        content = read(prompt, Path("/nonexistent"), EVERYTHING)
    except BadAttachment:
        return
    if all(block["type"] == "text" for block in content.blocks):
        assert "".join(str(block["text"]) for block in content.blocks) == prompt


def test_the_images_that_are_known() -> None:
    known = {b"GIF89a": "image/gif", b"RIFF\0\0\0\0WEBP": "image/webp", b"RIFF\0\0\0\0WAVE": None, b"": None}
    assert {data: media_type(data) for data in known} == known
