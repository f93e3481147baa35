# Looking at built sets. Included by the Makefile, which has the building itself.

#   make bench-data BENCH='--only png --files 6000 --turns 1'     a smaller one; the whole takes many minutes and 15 GB of disk
BENCH ?=
FUZZ ?= 2000

.PHONY: preview check-data mutate bench bench-data

preview: data ## contact sheets of SRC as stored: data/SRC/preview_*.png
	@$(foreach set,$(DATA_NEEDS),$(PLAIN) -m data_prep preview $(set) --out=$(call q,$(W)data);)

check-data: data ## verify the LMDBs of SRC: keys, labels, pixels, mean, manifest, Caffe's Data layer
	@$(foreach set,$(DATA_NEEDS),$(PLAIN) -m data_prep check $(set) --out=$(call q,$(W)data);)

mutate: | env ## read FUZZ mutated archives and CSVs: none may crash, hang, or leave a file elsewhere
	@FUZZ=$(call q,$(FUZZ)) $(PYTHON) -m pytest -q tests/test_data_safety.py -k mutated

bench: bench-data
bench-data: | env
	@$(PYTHON) -m benchmarks.data --downloads=$(call q,$(DOWNLOADS)) $(BENCH)
