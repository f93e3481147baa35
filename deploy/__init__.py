"""Deploying: trained networks in the formats that run models today, and the programs that use them.

    onnx_net     a folded deploy net as ONNX model
    quantize     the same in int8
    runtimes     a network's files in each runtime that reads them, as functions from crops to probabilities
    caffe_scores the same in real Caffe, by env/run
    export       all of a network's files, checked in every runtime: `make export`
    devices      what LiteRT and ncnn read, added to an exported network
    card         models/NAME from a run, with its model card: `make model`
    check        `make models-check`
    faces        finds faces and cuts them out as FER2013 does
    sources      images, folders, videos and cameras as streams of frames
    predict      `make predict`, and Predictor for Python
    bench        milliseconds a face: `make bench`

predict, faces, sources and runtimes need numpy, OpenCV 4 and ONNX Runtime (requirements.txt); the others export.txt too.
"""
