"""common/caffe: our schema against Caffe's own, files there and back, and files that are wrong."""

import numpy as np
import pytest

from common import errors
from common.caffe import binary, text
from common.caffe import messages as m
from netgen import resnet

FIELD_FACTS = ("number", "type", "label", "has_default_value", "default_value")


@pytest.mark.parametrize("name", sorted(m.CLASSES))
def test_every_field_is_caffes(caffe, name):
    ours, theirs = m.CLASSES[name].DESCRIPTOR, getattr(caffe.proto.caffe_pb2, name).DESCRIPTOR
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        assert [getattr(field, f) for f in FIELD_FACTS] == [getattr(other, f) for f in FIELD_FACTS], field.name
        assert field.GetOptions().packed == other.GetOptions().packed, field.name
        if field.enum_type:
            values = [[(v.name, v.number) for v in e.values] for e in (field.enum_type, other.enum_type)]
            assert values[0] == values[1], field.name
        if field.message_type:
            assert field.message_type.full_name == other.message_type.full_name, field.name


@pytest.mark.parametrize("depth", [20, 32])
def test_a_caffemodel_of_caffes_round_trips_byte_for_byte(caffe, tmp_path, depth):
    text.write(str(tmp_path / "net.prototxt"), resnet.deploy_net(depth, "ferplus", 8))
    saved, ours = str(tmp_path / "caffe.caffemodel"), str(tmp_path / "ours.caffemodel")
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    net.save(saved)
    read = binary.read(saved, m.NetParameter)
    binary.write(ours, read)
    with open(saved, "rb") as a, open(ours, "rb") as b:
        assert a.read() == b.read()
    blobs = binary.layers(read)
    assert set(blobs) == set(net.params)
    for name, arrays in blobs.items():
        for mine, theirs in zip(arrays, net.params[name]):
            np.testing.assert_array_equal(mine, theirs.data)


def test_a_datum_of_ours_is_caffes(caffe):
    image = np.random.RandomState(0).randint(0, 256, (3, 4, 5)).astype(np.uint8)
    theirs = caffe.proto.caffe_pb2.Datum.FromString(binary.datum(image, 7))
    assert (theirs.channels, theirs.height, theirs.width, theirs.label) == (3, 4, 5, 7)
    assert theirs.data == image.tobytes()
    assert binary.datum(image, 7) == theirs.SerializeToString()


def test_a_mean_file_is_read_by_caffe(caffe, tmp_path):
    mean = np.random.RandomState(0).rand(3, 4, 5).astype(np.float32)
    binary.write_mean(str(tmp_path / "mean.binaryproto"), mean)
    blob = caffe.proto.caffe_pb2.BlobProto.FromString((tmp_path / "mean.binaryproto").read_bytes())
    np.testing.assert_array_equal(np.array(blob.data, np.float32).reshape(blob.num, 3, 4, 5)[0], mean)
    np.testing.assert_array_equal(binary.read_mean(str(tmp_path / "mean.binaryproto")), mean)


def test_a_datum_round_trips():
    image = np.random.RandomState(1).randint(0, 256, (3, 36, 36)).astype(np.uint8)
    back, label = binary.read_datum(binary.datum(image, 3))
    np.testing.assert_array_equal(back, image)
    assert label == 3


def test_blobs_modern_and_legacy():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(binary.blob_to_array(binary.array_to_blob(array)), array)
    legacy = m.BlobProto(num=1, channels=2, height=3, width=4, data=array.ravel())
    assert binary.blob_to_array(legacy).shape == (1, 2, 3, 4)
    with pytest.raises(errors.Fail, match="damaged"):
        binary.blob_to_array(m.BlobProto(num=1, channels=1, height=1, width=2, data=[1.0]))


def test_fields_that_we_do_not_declare_survive():
    unknown = b"\x98\x3f\x05"  # field 1011, varint 5
    assert unknown in m.NetParameter.FromString(m.NetParameter(name="a").SerializeToString() + unknown).SerializeToString()


def test_prototxt_round_trips_with_its_header(tmp_path):
    path = str(tmp_path / "net.prototxt")
    net = resnet.deploy_net(20, "cifar10", 10)
    text.write(path, net, header="one\ntwo")
    assert open(path).read().startswith("# one\n# two\nname:")
    assert text.read(path, m.NetParameter) == net


@pytest.mark.parametrize("content, says", [("layer { nmae: 'x' }", "1:.*nmae"), ("layer {", "NetParameter"), ("\xff\xfe", "NetParameter")])
def test_a_wrong_prototxt_is_one_line(tmp_path, content, says):
    path = tmp_path / "net.prototxt"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(errors.Fail, match=says) as failure:
        text.read(str(path), m.NetParameter)
    assert "\n" not in str(failure.value) and str(path) in str(failure.value)


def test_missing_and_damaged_binaries_are_one_line(tmp_path):
    with pytest.raises(errors.Fail, match="is not there"):
        binary.read(str(tmp_path / "no.caffemodel"), m.NetParameter)
    whole = m.NetParameter(name="net")
    whole.layer.add(name="a").blobs.add().CopyFrom(binary.array_to_blob(np.ones((8, 8))))
    for content in (b"", b"not a caffemodel", whole.SerializeToString()[:-5]):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(errors.Fail, match="damaged or no NetParameter"):
            binary.read(str(tmp_path / "bad"), m.NetParameter)
    for entry in (b"\x00\xff", m.Datum(channels=3, height=4, width=4, data=b"12").SerializeToString()):
        with pytest.raises(errors.Fail, match="make data"):
            binary.read_datum(entry)
