"""Hold a built set against Caffe's Data layer: for the centre crop it must yield the arrays that testing makes itself.

env/run python3 -m engines.caffe.data data/ferplus
"""

import os
import sys
import tempfile

import numpy as np

from common import errors
from common.caffe import binary, lmdbs, text
from common.caffe import messages as m
from engines.caffe import load
from fer_lite import crops
from paper import facts

COMPARED = 256  # images of each part


def compare_with_caffe(folder, part, again):
    """Hold the centre crops that Caffe's Data layer makes of the part's first images against testing's; how many."""
    caffe = load()
    path, mean_path = os.path.join(folder, part + "_lmdb"), os.path.join(folder, "mean.binaryproto")
    with lmdbs.reading(path) as transaction:
        records = [binary.read_datum(value) for _, (_, value) in zip(range(COMPARED), transaction.cursor())]
    images, labels = np.stack([image for image, _ in records]), [label for _, label in records]
    layer = m.LayerParameter(name="data", type="Data", top=["data", "label"])
    layer.data_param.source, layer.data_param.backend, layer.data_param.batch_size = path, m.DataParameter.LMDB, len(records)
    layer.transform_param.crop_size, layer.transform_param.mean_file = facts.CROP, mean_path
    with tempfile.TemporaryDirectory() as temporary:
        prototxt = os.path.join(temporary, "data.prototxt")
        text.write(prototxt, m.NetParameter(name="data", layer=[layer]))
        net = caffe.Net(prototxt, caffe.TEST)
    net.forward()
    ours = crops.ten_crops(images, binary.read_mean(mean_path), facts.CROP)[:, crops.CENTRE]
    if not np.array_equal(net.blobs["data"].data, ours) or net.blobs["label"].data.astype(int).tolist() != labels:
        raise errors.Fail("%s: Caffe's Data layer gives other arrays than testing makes: %s" % (path, again))
    return len(records)


@errors.main
def main():
    for folder in sys.argv[1:]:
        for part in sorted(name[: -len("_lmdb")] for name in os.listdir(folder) if name.endswith("_lmdb")):
            print(
                "%s %-5s Caffe's Data layer gives testing's own centre crops of the first %d images"
                % (folder, part, compare_with_caffe(folder, part, lmdbs.remedy(folder + "/part")))
            )


if __name__ == "__main__":
    main()
