"""Prototxt: Caffe's text files of nets and solvers."""

from __future__ import annotations

import os
import re

from google.protobuf import text_format
from google.protobuf.message import Message

from common import errors, files
from common.caffe import messages, upgrade


def read(path: str, kind: type[Message]) -> Message:
    """The message of class `kind` in the prototxt at `path`, of whatever age. Fail names the file and line of a mistake."""
    try:
        with open(path, encoding="utf-8-sig") as f:
            message = text_format.Parse(f.read(), kind())
    except FileNotFoundError:
        raise errors.Fail("%s is not there: run `make prototxt`" % path) from None
    except (text_format.ParseError, UnicodeDecodeError) as mistake:
        if "V0LayerParameter" in str(mistake):
            raise errors.Fail(upgrade.V0 % path) from None
        unknown = re.search(r'LayerParameter" has no field named "(\w+_param)"', str(mistake))
        if unknown:
            raise errors.Fail("%s has a layer with %s, which this project does not know: use this net in Caffe itself" % (path, unknown.group(1))) from None
        raise errors.Fail(
            "%s is not a %s that this project can read (line:column, problem: %s): mend it, or write this project's own again with `make prototxt`"
            % (path, kind.DESCRIPTOR.name, " ".join(str(mistake).split()))
        ) from None
    if kind is messages.NetParameter:
        upgrade.upgrade(message, path)
    return message


def dumps(message: Message, header: str = "") -> str:
    """`message` as prototxt text, each line of `header` in front as a comment."""
    comment = "".join("# %s\n" % line for line in header.splitlines())
    return comment + text_format.MessageToString(message)


def write(path: str, message: Message, header: str = "") -> None:
    """Write `message` to `path` as prototxt, whole or not at all. A file that says the same already keeps its time."""
    content = dumps(message, header)
    if os.path.exists(path):
        with open(path, errors="replace") as f:
            if f.read() == content:
                return
    with files.replacing(path) as temporary, open(temporary, "w") as f:
        f.write(content)
