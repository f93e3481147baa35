"""FER2013 has pixel-identical images in different parts: which validation and test images are training images too.

duplicates.csv lists them: part, key and name of the image, and the training image that it equals (`of`), so that testing
can leave them out. Images of one grey level are no duplicates: they show nothing.
"""

import os

from data_prep import store

TITLES = ["part", "key", "name", "of"]


def write(folder, faces, names, orders):
    """Write duplicates.csv into `folder`; part -> how many.

    `faces`: uint8 N x H x W and `names`, str, of the originals; `orders`: part -> numbers of its images as written, in the
    order of keys; numbers from N on are balanced images.
    """
    train = {faces[i].tobytes(): names[i] for i in sorted(orders["train"], reverse=True) if i < len(faces) and _shows(faces[i])}
    found, rows = {}, []
    for part in [part for part in orders if part != "train"]:
        equal = [(place, i) for place, i in enumerate(orders[part]) if faces[i].tobytes() in train]
        rows += [[part, store.KEY % place, names[i], train[faces[i].tobytes()]] for place, i in equal]
        found[part] = len(equal)
    store.write_table(os.path.join(folder, "duplicates.csv"), TITLES, rows)
    return found


def describe(found):
    """One line for people."""
    return "ferplus duplicates of training images: %s (duplicates.csv)" % ", ".join("%s in %s" % (format(count, ","), part) for part, count in found.items())


def _shows(face):
    return face.min() != face.max()
