"""Options of sources: what is understood, what is refused by name, and what is never told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from device_profiles.errors import EdgeError, SourceError
from runtime.sources import Policy, SourceOptions, open_source, redacted
from runtime.sources._options import read_options, split_fragment

SECRET = "s3cr-et"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:s3cr-et@cam/live", "rtsp://me:***@cam/live"),
        ("rtsp://:s3cr-et@cam/live", "rtsp://:***@cam/live"),
        ("rtsp://me:s3@cr@s3cr-et@cam/live", "rtsp://me:***@cam/live"),
        ("rtsp://me:s3/cr?s3cr-et#x@cam/live", "rtsp://me:***@cam/live"),
        ("http://cam/x?token=s3cr-et&size=2", "http://cam/x?token=***&size=2"),
        ("http://cam/x?size=2&API_Key=s3cr-et", "http://cam/x?size=2&API_Key=***"),
        ("http://cam/x?user=me&pwd=s3cr-et#stale=2", "http://cam/x?user=me&pwd=***#stale=2"),
        ("http://cam/cgi?usr=me&loginpas=s3cr-et", "http://cam/cgi?usr=me&loginpas=***"),
        ("rtsp://cam/user=admin_password=s3cr-et_channel=1", "rtsp://cam/user=admin_password=***"),
        ("gst:rtspsrc location=rtsp://me:s3cr-et@cam ! fakesink", "rtsp://me:***@cam ! fakesink"),
        ("gst:rtspsrc user-id=me user-pw=s3cr-et ! fakesink", "user-id=me user-pw=*** ! fakesink"),
        ('gst:rtspsrc user-pw="s3 cr s3cr-et" ! x', "user-pw=*** ! x"),
        ("gst:souphttpsrc user-pw = s3cr-et ! x", "user-pw = *** ! x"),
        ("two: rtsp://a:s3cr-et@x/ and rtsp://b:s3cr-et@y/", "rtsp://a:***@x/ and rtsp://b:***@y/"),
        ("Authorization: Bearer s3cr-et", "Bearer ***"),
        ("extra-headers='x,authorization=(string)\"Basic s3cr-et\"'", "Basic ***"),
    ],
)
def test_no_secret_is_shown_and_the_rest_is(text: str, shown: str) -> None:
    assert SECRET not in redacted(text)
    assert shown in redacted(text)
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://cam:554/live",
        "rtsp://me@cam/live",
        "http://cam:8080/?action=stream&width=640",
        "camera:0?width=1280&height=720#stale=2",
        "synthetic:cards?images=/data/birds&frames=3",
        "/home/me/a@b:c.mp4",
        "gst:v4l2src device=/dev/video0 ! video/x-raw,width=640 ! videoconvert",
        "",
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(text: str) -> None:
    assert redacted(text) == text


FAULTS = [
    "http://me:{0}@127.0.0.1:{port}/x?token={0}",
    "http://me:{0}@127.0.0.1:99999/x",
    "http://me:{0}@[::1/x",
    "http://me:{0}@/x",
    "http://me:{0}@127.0.0.1:{port}/x y?token={0}",
    "http://me:{0}@127.0.0.1:{port}/x#stael=1&token={0}",
    "http://me:{0}@127.0.0.1:{port}/x#stale=token={0}",
    "http://me:{0}@127.0.0.1:{port}/x#policy=password={0}",
    "rtsp://me:{0}@127.0.0.1:{port}/x?token={0}",
    "rtsp://me:x#{0}@127.0.0.1:{port}/x",
    "rtsp://me:{0}@127.0.0.1:{port}/x#isolate=process",
    "gst:rtspsrc location=rtsp://me:{0}@127.0.0.1:{port} user-pw={0} ! fakesink",
    "ftp://me:{0}@127.0.0.1/x",
    "camera:0?pass={0}",
    "csi://0?token={0}",
    "picamera://0?token={0}",
    "csi://x?token={0}",
    "picamera://x?token={0}",
    "camera:x?token={0}",
    "synthetic:noise?token={0}",
    "synthetic:nosie?token={0}",
]


@pytest.mark.parametrize("uri", FAULTS)
def test_no_error_tells_a_secret(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with pytest.raises(EdgeError) as caught:
        open_source(uri.format(SECRET, port=1))
    told = [str(caught.value), *caplog.messages, *(str(vars(r)) for r in caplog.records)]
    assert not [text for text in told if SECRET in text]
    assert all("\n" not in text for text in told[:1])


# --- the fragment


def test_the_fragment_is_how_a_source_is_watched() -> None:
    address, options = split_fragment("rtsp://cam/x?y=1#stale=2&open=8&grab=1.5&wait=1&reduce=4")
    assert address == "rtsp://cam/x?y=1"
    assert options == SourceOptions(stale=2.0, open=8.0, grab=1.5, wait=True, reduce=4)
    assert split_fragment("rtsp://cam/x") == ("rtsp://cam/x", SourceOptions())
    assert split_fragment("rtsp://me:a#b@cam/x") == ("rtsp://me:a#b@cam/x", SourceOptions())
    assert split_fragment("gst:a color=#fff ! b#") == ("gst:a color=#fff ! b", SourceOptions())


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", None),
        ("latest", Policy(drops=True, depth=1)),
        ("block", Policy(drops=False, depth=0)),
        ("drop-oldest:7", Policy(drops=True, depth=7)),
    ],
)
def test_policies(text: str, policy: Policy | None) -> None:
    assert split_fragment(f"camera:0#policy={text}")[1].policy == policy


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("stael=1", "no option 'stael'; did you mean stale"),
        ("stale=soon", "stale must be a number, not 'soon'"),
        ("stale=nan", "stale must not be negative or infinite"),
        ("stale=inf", "stale must not be negative or infinite"),
        ("open=0", "open must be positive"),
        ("grab=0", "grab must be positive"),
        ("wait=yes", "wait must be 0 or 1"),
        ("isolate=jail", "isolate must be thread or process"),
        ("reduce=3", "reduce must be 1 or 2 or 4 or 8"),
        ("reduce=1.5", "reduce must be a number"),
        ("policy=oldest", "policy must be latest, block, drop-oldest:N"),
        ("policy=drop-oldest", "policy must be"),
        ("policy=drop-oldest:0", "policy must be"),
        ("policy=drop-oldest:-1", "policy must be"),
        ("policy=block&isolate=process", "not policy=block"),
        ("reduce=2", "only JPEG streams can be decoded reduced"),
    ],
)
def test_a_fragment_that_cannot_be_is_refused_by_name(fragment: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(f"camera:0#{fragment}")


def test_a_file_whose_name_holds_a_hash_is_taken_whole(tmp_path: Path) -> None:
    path = tmp_path / "take#2=x.mp4"
    path.touch()
    assert split_fragment(str(path)) == (str(path), SourceOptions())
    pattern = os.path.join(tmp_path, "take#*.mp4")
    assert split_fragment(pattern) == (pattern, SourceOptions())


def test_a_file_is_not_watched_but_has_a_policy() -> None:
    source = open_source("synthetic:noise?frames=1&width=8&height=8#policy=drop-oldest:3")
    assert source.policy == Policy(drops=True, depth=3)
    with pytest.raises(SourceError, match=r"is not watched; .* it knows policy"):
        open_source("synthetic:noise#stale=1")


# --- the query


@dataclass(frozen=True)
class Asked:
    width: int = 0
    rate: float = 1.5
    on: bool = False
    name: str = "x"


def test_a_query_has_the_types_of_the_defaults() -> None:
    assert read_options("x:y", Asked) == Asked()
    wanted = Asked(3, 2.0, True, "a b&c")
    assert read_options("x:y?width=3&rate=2&on=1&name=a%20b%26c", Asked) == wanted


@pytest.mark.parametrize("query", ["width=1.5", "width=-1", "rate=-1", "on=2", "nmae=x", "=", "&"])
def test_a_wrong_query_is_refused(query: str) -> None:
    with pytest.raises(SourceError):
        read_options(f"x:y?{query}", Asked)
