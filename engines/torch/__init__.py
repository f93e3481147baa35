"""The second engine: the prototxts, solvers, LMDBs and caffemodels of this project, run by PyTorch with Caffe's semantics.

    layers    what each layer type computes, which of its fields are known, how its blobs start
    net       a prototxt as a program of PyTorch calls; BatchNorm, Scale and ReLU fused
    norm      BatchNorm with the batch's own statistics
    data      the Data layer: LMDB in order, crop, mean, mirror
    solver    SGD and Nesterov as Caffe steps them; caffemodel and solverstate
    engine    the interface that training/ runs (training/__init__.py)
    network   a deploy net for evaluation/
    device    device and precision: fp32, tf32, bf16
    bench     speed beside Caffe, bare PyTorch, a usual script and the machine's limit

Caffe stays the reference: tests/test_torch_parity.py holds this engine to its results. Python 3.10 or later.
"""
