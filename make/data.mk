# Looking at built sets. Included by the Makefile, which has the building itself.

.PHONY: preview check-data bench bench-data

preview: data ## contact sheets of SRC as stored: data/SRC/preview_*.png
	@$(foreach set,$(DATA_NEEDS),$(PYTHON) -m data_prep preview $(set) --out $(W)data;)

check-data: data ## verify the LMDBs of SRC: keys, labels, pixels, mean, manifest, Caffe's Data layer
	@$(foreach set,$(DATA_NEEDS),$(PYTHON) -m data_prep check $(set) --out $(W)data;)

bench: bench-data
bench-data: | env
	@$(PYTHON) -m data_prep bench --downloads $(DOWNLOADS)
