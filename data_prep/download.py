"""Fetching one official file: resumes, tries every address, and believes nothing but the size and the checksum."""

import http.client
import os
import time
import urllib.error
import urllib.request

from common import errors
from common.progress import Progress
from data_prep import official

PATIENCE = 30.0  # seconds without a byte before the connection counts as cut
ATTEMPTS = 4  # in a row without a new byte, before the next address is tried
PAUSE = 1.0  # seconds before trying again, doubled each time
BLOCK = 1 << 16
NETWORK = (OSError, http.client.HTTPException)


class _Useless(Exception):
    """This address cannot give the file; its text says why."""


def fetch(file, path):
    """Fetch `file` (official.File with size, digest and urls) to `path`.

    What has come so far lies in `path`.part and is kept when the connection or the process is cut off.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    reasons = []
    for url in file.urls:
        try:
            _from(url, file, path + ".part")
            os.replace(path + ".part", path)
            return
        except _Useless as reason:
            reasons.append("  %s %s" % (url, reason))
        except OSError as problem:
            raise errors.Fail("%s could not be written (%s): check the free space; what has come so far is kept" % (path + ".part", problem.strerror)) from None
    raise errors.Fail(
        "%s could not be fetched:\n%s\nget it by hand (%s bytes, %s) and put it there, or say FROM=path"
        % (path, "\n".join(reasons), format(file.size, ","), file.digest)
    )


def _from(url, file, part):
    failures = 0
    with Progress("fetching " + url, file.size >> 10) as bar:
        while _size(part) < file.size:
            before = _size(part)
            reason = _more(url, file.size, part, bar)
            failures = 0 if _size(part) > before else failures + 1
            if failures == ATTEMPTS:
                raise _Useless(reason)
            if _size(part) < file.size:
                time.sleep(PAUSE * 2**failures)
    problem, _ = official.difference(file, part)
    if problem:
        os.remove(part)
        raise _Useless("gives another file: " + problem)


def _more(url, size, part, bar):
    """Add to `part` what the address gives; why it stopped."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": "bytes=%d-" % start} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as refusal:
        if refusal.code == 416 and start:  # the server has no such byte: what we have is of another file
            os.remove(part)
        elif refusal.code < 500:
            raise _Useless("answers %d %s" % (refusal.code, refusal.reason)) from None
        return "answers %d %s" % (refusal.code, refusal.reason)
    except NETWORK as problem:
        return "does not answer: %s" % getattr(problem, "reason", problem)
    with answer:
        if answer.headers.get_content_type() == "text/html":
            raise _Useless("gives a web page, not the file")
        if not (answer.status == 206 and answer.headers.get("Content-Range", "").startswith("bytes %d-" % start)):
            start = 0
        length = answer.headers.get("Content-Length", "")
        if length.isdigit() and start + int(length) != size:
            raise _Useless("has a file of %s bytes, not %s" % (format(start + int(length), ","), format(size, ",")))
        with open(part, "ab" if start else "wb") as f:
            while True:
                try:
                    data = answer.read(BLOCK)
                except NETWORK as problem:
                    return "was cut off: %s" % problem
                if not data:
                    return "was cut off"
                start += len(data)
                if start > size:
                    raise _Useless("gives more than %s bytes" % format(size, ","))
                f.write(data)
                bar.update(start >> 10, "KB")


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0
