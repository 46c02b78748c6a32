"""Resumable, verified, atomic downloads."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

__all__ = ["DownloadError", "download", "file_digest", "open_https"]

logger = logging.getLogger(__name__)
OpenUrl = Callable[[urllib.request.Request], Any]
CHUNK = 1 << 20


class DownloadError(OSError):
    """Raised for a failed download."""


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if not newurl.startswith("https://"):
            raise DownloadError(f"{req.full_url} leads to {newurl}, which is not https: refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_https(request: urllib.request.Request) -> Any:
    """Open an https URL, following redirects to https only."""
    if not request.full_url.startswith("https://"):
        raise DownloadError(f"{request.full_url} is not https: refused")
    return urllib.request.build_opener(_OnlyHttps).open(request, timeout=60)


def file_digest(path: Path, kind: str = "sha256") -> str:
    """Hexadecimal digest of a file."""
    digest = hashlib.new(kind)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def download(
    url: str,
    target: Path,
    sha256: str | None = None,
    md5: str | None = None,
    tries: int = 4,
    open_url: OpenUrl = open_https,
) -> Path:
    """Download a file, resuming from ``<target>.part``.

    Args:
        url: https URL.
        target: the file; its folder is created if missing.
        sha256: expected digest, in full or its first digits.
        md5: expected digest, if the publisher provides no other.
        tries: number of immediate retries.
        open_url: opens a request; for tests.

    Returns:
        ``target``, verified.

    Raises:
        DownloadError: if the URL does not respond, the connection keeps breaking, the disk is too small, or the
            digest differs. Partial data is kept for the next try, unless the digest differs.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, tag = target.with_name(target.name + ".part"), target.with_name(target.name + ".part.tag")
    for attempt in range(1, tries + 1):
        try:
            _continue(url, part, tag, open_url)
            break
        except urllib.error.HTTPError as error:
            raise DownloadError(f"{url} answers {error.code} {error.reason}: is the address still right?") from error
        except DownloadError:
            raise
        except (OSError, EOFError) as error:
            size = part.stat().st_size if part.exists() else 0
            if attempt == tries:
                what = f"stopped after {size:,} bytes" if size else "could not be reached"
                raise DownloadError(f"{url} {what} ({error}): run the command again to continue") from error
            logger.info("connection lost after %d bytes, continuing", size)
    for kind, expected in (("sha256", sha256), ("md5", md5)):
        if expected and not (found := file_digest(part, kind)).startswith(expected):
            part.unlink()
            tag.unlink(missing_ok=True)
            raise DownloadError(f"{url} has the {kind} {found}, expected {expected}: what was downloaded is deleted")
    os.replace(part, target)
    tag.unlink(missing_ok=True)
    return target


def _continue(url: str, part: Path, tag: Path, open_url: OpenUrl) -> None:
    """Append the missing bytes to ``part``; restart if the server cannot resume or the file has changed."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "monai-agglo"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if tag.exists():
            request.add_header("If-Range", tag.read_text(encoding="utf-8"))
    try:
        response = open_url(request)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return  # already complete
        part.unlink()
        return _continue(url, part, tag, open_url)
    with response:
        continued = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if continued else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - have > free:
            raise DownloadError(f"{part.parent} has {free:,} bytes free, {url} needs {total - have:,} more")
        if response.headers.get("ETag"):
            tag.write_text(response.headers["ETag"], encoding="utf-8")
        with (
            open(part, "ab" if continued else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size != total:
        raise EOFError(f"{part.stat().st_size:,} of {total:,} bytes")
