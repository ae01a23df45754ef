"""Places that results may lie at: paths, and URIs of object storage with their options.

An S3 URI may end in options, which a profile writes as keys of `storage`:
``s3://bucket/sweeps?scheme=http&endpoint_override=minio:9000&region=us-east-1&anonymous=true&addressing=virtual``.
"""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cluster.errors import SettingError

if TYPE_CHECKING:
    from pyarrow import fs

_OURS = ("anonymous", "addressing")
"""Options that pyarrow takes in its constructor and not in a URI."""
_PASSING = re.compile(
    r"NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|REQUEST_TIMEOUT|curlCode"
    r"|HTTP status (5\d\d|429)|timed? ?out|UNAVAILABLE",
    re.IGNORECASE,
)
"""Names that the S3 and Google clients of pyarrow give to errors that come from an outage or from load."""


def absolute(place: str) -> str:
    """A path as it is called from any folder; a URI as it is."""
    return place if "://" in place else os.path.abspath(place)


def split_options(uri: str) -> tuple[str, str]:
    """A place and its options: ``s3://bucket/a?region=x`` is ``s3://bucket/a`` and ``region=x``."""
    place, _, options = uri.partition("?") if "://" in uri else (uri, "", "")
    return place, options


def with_options(uri: str, storage: Mapping[str, Any]) -> str:
    """A URI with the options that a profile's `storage` asks for; those it has already stay.

    Args:
        uri: of object storage, or a path, which has no options.
        storage: `endpoint`, `region`, `anonymous`, `addressing`.

    Raises:
        SettingError: options for a place that has none.
    """
    if not storage:
        return uri
    place, written = split_options(uri)
    if not place.startswith("s3://"):
        raise SettingError(f"storage: is for s3:// alone, and results is {uri}")
    options = dict(parse_qsl(written))
    if endpoint := storage.get("endpoint"):
        scheme, _, host = endpoint.rpartition("://")
        options |= {"scheme": scheme or "https", "endpoint_override": host.rstrip("/")}
    if region := storage.get("region"):
        options["region"] = region
    if storage.get("anonymous"):
        options["anonymous"] = "true"
    if addressing := storage.get("addressing"):
        options["addressing"] = addressing
    return f"{place}?{urlencode(options, safe=':/')}"


def open_location(uri: str) -> "tuple[fs.FileSystem, str]":
    """The file system of a URI, and the path in it.

    Raises:
        OSError, pyarrow.ArrowInvalid: it is no URI that this installation can open.
    """
    from pyarrow import fs

    place, written = split_options(uri)
    options = dict(parse_qsl(written))
    if not place.startswith("s3://") or not set(_OURS) & set(options):
        filesystem, root = fs.FileSystem.from_uri(uri)
        return filesystem, root
    anonymous, addressing = (options.pop(name, None) for name in _OURS)
    parts = urlsplit(place)
    known = ("scheme", "endpoint_override", "region")
    if unknown := set(options) - set(known):
        raise OSError(f"{', '.join(sorted(unknown))}: not among the options {', '.join((*known, *_OURS))}")
    filesystem = fs.S3FileSystem(
        **options, anonymous=anonymous == "true", force_virtual_addressing=addressing == "virtual"
    )
    return filesystem, f"{parts.netloc}{parts.path}".rstrip("/")


def may_pass(error: OSError) -> bool:
    """Whether an error of object storage comes from an outage or from load, so that trying again may help."""
    return isinstance(error, TimeoutError | ConnectionError) or _PASSING.search(str(error)) is not None


TRAILER = b"x-amz-checksum"
"""Begins the checksum that new clients send behind an object; servers that do not know it store it as content."""


def round_trip(uri: str, payload: bytes) -> bytes:
    """Write an object below a URI, read it back and delete it.

    Returns:
        What was read.

    Raises:
        OSError, pyarrow.ArrowInvalid: the storage refuses.
    """
    import uuid

    filesystem, root = open_location(uri)
    path = f"{root}/.doctor-{uuid.uuid4().hex[:12]}"
    with filesystem.open_output_stream(path) as sink:
        sink.write(payload)
    with filesystem.open_input_stream(path) as source:
        content = bytes(source.read())
    filesystem.delete_file(path)
    return content
