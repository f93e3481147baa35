# Signatures, runs done again, faults and hostile files (docs/trust.md). Included by the Makefile.

ANOMALY    := $(W)anomaly_work
SOAK       := $(W)soak_work
FUZZ_FOUND ?= $(W)fuzz
STAGES     ?= build,ferplus,transplant,train,test,report,export,package
EXPORTED   := export package

## Trust
.PHONY: models-check sign reproduce anomaly soak fuzz

models-check: | $(NEEDS_CAFFE) ## the networks of models/: checksums, signature (SIGNERS=whom to believe), and the same scores in every runtime
	@$(EXPORT_RUN) -m deploy.signature $(call q,$(MODELS)) $(call opt,--signers,$(SIGNERS))
	@$(EXPORT_RUN) -m deploy.check $(call q,$(MODELS)) $(WITH_CAFFE)

sign: ## sign the networks of models/ with an SSH key (KEY, SIGNER): models/SHA256SUMS.sig and allowed_signers
	@$(EXPORT_RUN) -m deploy.signature $(call q,$(MODELS)) --sign=$(call q,$(or $(KEY),$(error sign needs KEY=~/.ssh/id_ed25519))) \
	  --as=$(call q,$(or $(SIGNER),$(error sign needs SIGNER=name@example.org, the name under which people will know the key)))

# Its data must be there. The engine is the record's.
reproduce: ## train a network again from its record (MODEL: of models/, or a run's folder) and say whether its bytes are the recorded ones
	@$(TORCH) -m deploy.reproduce $(call q,$(or $(MODEL),$(error reproduce needs MODEL=models/resnet20_scratch or a run's folder))) --torch=$(call q,$(TORCH)) \
	  --caffe=$(call q,$(RUN) python3) --out=$(call q,$(W)reproduced/$(shell basename -- $(call q,$(MODEL)))) \
	  $(if $(shell test ! -e $(call q,$(MODEL)/deploy.prototxt) || echo yes),--test=$(call q,$(MODEL)/deploy.prototxt))

anomaly: | env ## make every n-th write, fsync, rename, ... of each stage fail, and cut the power there (hours; MOST=20, STAGES=build,train)
	@rm -rf $(call q,$(ANOMALY)) && mkdir -p $(call q,$(ANOMALY))
	@cc -O1 -shared -fPIC -fno-stack-protector -U_FORTIFY_SOURCE -nostdlib -o $(call q,$(ANOMALY)/anomaly.so) tests/anomaly.c
	@$(call inject,$(PYTHON),$(filter-out $(EXPORTED),$(subst $(comma), ,$(STAGES))))
	@$(call inject,$(EXPORT_RUN),$(filter $(EXPORTED),$(subst $(comma), ,$(STAGES))))
	@rm -rf $(call q,$(ANOMALY))
inject = $(if $(2),$(1) tests/anomaly.py --folder=$(call q,$(ANOMALY)) --library=$(call q,$(ANOMALY)/anomaly.so) --most=$(call q,$(or $(MOST),0)) \
  --engine $(ENGINE) --stages $(foreach stage,$(2),$(call q,$(stage))))

soak: $(W)data/$(SRC)/manifest.json $(W)data/ferplus/manifest.json | env ## kill trainings of both stages at random moments and continue them: the same bytes? (KILLS=200)
	@rm -rf $(call q,$(SOAK)) && mkdir -p $(call q,$(SOAK))
	@$(PYTHON) tests/soak.py --folder=$(call q,$(SOAK)) --data=$(call q,$(W)data) --source=$(call q,$(SRC)) --engine $(ENGINE) --kills=$(call q,$(or $(KILLS),200))
	@rm -rf $(call q,$(SOAK))

fuzz: ## fuzz the readers of strangers' files, guided by coverage, for SECONDS (ARGS='--targets pickle,tar')
	@bash env/run --fuzz tests/fuzz.py --seconds=$(call q,$(or $(SECONDS),60)) --found=$(call q,$(FUZZ_FOUND)) $(ARGS)
