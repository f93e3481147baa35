"""From the official downloads to LMDBs that Caffe reads (III-B, III-C).

`python3 -m data_prep build SET` finds or fetches the files (`fetch`, `official`), opens archives (`archives`, `pickles`,
`records`), reads the set (a module each in `sets`), brings the images to the paper's geometry
(`images`), labels and balances FER+ (`labels`, `balance`) and writes data/SET: an LMDB and a table of names for each
part, mean.binaryproto, manifest.json (`store`). `preview` and `check` look at what was made.
"""
