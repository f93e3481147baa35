"""Caffe's file formats without Caffe: prototxt (`text`), Datum, BlobProto and caffemodel (`binary`), over `messages`."""
