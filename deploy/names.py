"""The files of an exported network's folder, named once."""
CAFFE = (("deploy.prototxt", "net.caffemodel"), ("folded.prototxt", "folded.caffemodel"))
FLOAT = "model.onnx"  # any batch
BATCH1 = "model_batch1.onnx"
INT8 = "model_int8.onnx"
FACTS = "model.json"  # what the network is, how good, made from what, checked how
