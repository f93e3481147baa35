"""Deploying: trained networks in the formats that run models today. What people install, and `make predict` runs, is fer_lite/.

    onnx_net     a folded deploy net as ONNX model
    quantize     the same in int8
    caffe_scores scores of a network's files in real Caffe, by env/run
    check        a network's files in every runtime, held against these: `make models-check`
    export       all of a network's files, checked: `make export`
    devices      what LiteRT and ncnn read, added to an exported network
    making       how a network was made, from its runs' records
    card         models/NAME from a run, with its model card (card.md.jinja): `make model`
    signature    models/SHA256SUMS, signed and verified: `make sign`
    reproduce    a network trained again from its record: `make reproduce`
    runtimes     which file works in which runtime that pip installs; runtime_worker: one of them
    wheel        what a wheel has for `fer-lite verify`
    web/         the page of `make try`

They need env/export.txt beside env/deploy.txt.
"""
