# Faults, hostile files, signatures and runs done again. Included by the Makefile.
#   make anomaly [STAGES=build,train] [MOST=20] [ENGINE=torch]     every n-th call that changes a file fails: hours; MOST: so many of each kind
#   make soak [KILLS=200] [ENGINE=torch] [SRC=cifar10]              trainings killed at random moments and continued, on the data's first 2,000 images
#   make fuzz SECONDS=3600 [TARGETS=pickle,tar]                    coverage-guided, FUZZ_FOUND holds what is found
#   make reproduce MODEL=models/resnet20_scratch                  train it again from its record: the same bytes?
#   make sign KEY=~/.ssh/id_ed25519 SIGNER=me@example.org          models/SHA256SUMS.sig; `make models-check` verifies it

STAGES     ?= build,ferplus,transplant,train,test,report,export
MOST       ?= 0
KILLS      ?= 200
SECONDS    ?= 60
TARGETS    ?=
$(call cached,FUZZ_ENV,fuzz,fuzz.lock plain.lock)
FUZZ_FOUND ?= $(W)fuzz
KEY        ?=
SIGNER     ?=
SIGNERS    ?=
ANOMALY    := $(W)anomaly_work
SOAK       := $(W)soak_work
$(call renew_venv,$(FUZZ_ENV))

.PHONY: anomaly soak fuzz sign reproduce

anomaly: $(if $(filter torch,$(ENGINE)),$(TORCH_ENV)/.complete,env) ## make every n-th write, fsync, rename, ... of each stage fail, and cut the power there (hours; MOST=20)
	@rm -rf $(call q,$(ANOMALY)) && mkdir -p $(call q,$(ANOMALY))
	@cc -O1 -shared -fPIC -fno-stack-protector -U_FORTIFY_SOURCE -nostdlib -o $(call q,$(ANOMALY)/anomaly.so) tests/anomaly.c
	@$(PYTHON) tests/anomaly.py --folder=$(call q,$(ANOMALY)) --library=$(call q,$(ANOMALY)/anomaly.so) --engine $(ENGINE) --stages=$(call q,$(STAGES:%,export=%)) --most=$(call q,$(MOST))
	@$(if $(findstring $(comma)export,$(STAGES)),$(MAKE) $(call q,$(DEPLOY_ENV)/.complete-export) && \
	  $(DEPLOY_RUN) tests/anomaly.py --folder=$(call q,$(ANOMALY)) --library=$(call q,$(ANOMALY)/anomaly.so) --stages export --most=$(call q,$(MOST)))
	@rm -rf $(call q,$(ANOMALY))

soak: $(W)data/$(SRC)/manifest.json $(W)data/ferplus/manifest.json | env ## kill trainings of both stages at random moments and continue them: the same bytes? (KILLS=200)
	@rm -rf $(call q,$(SOAK)) && mkdir -p $(call q,$(SOAK))
	@$(PYTHON) tests/soak.py --folder=$(call q,$(SOAK)) --data=$(call q,$(W)data) --source=$(call q,$(SRC)) --engine $(ENGINE) --kills=$(call q,$(KILLS))
	@rm -rf $(call q,$(SOAK))

$(FUZZ_ENV)/.complete: env/fuzz.lock env/plain.lock
	@$(call make_venv,$(FUZZ_ENV),$(CHECK_PYTHON),atheris and what reads files (a minute),FUZZ_ENV)
	@echo '*' > $(call q,$(FUZZ_ENV))/.gitignore
	@$(call locked,$(FUZZ_ENV)/bin/python,plain) && $(call locked,$(FUZZ_ENV)/bin/python,fuzz)
	@touch $(call q,$@)

fuzz: $(FUZZ_ENV)/.complete ## fuzz the readers of strangers' files, guided by coverage, for SECONDS (TARGETS: tests/fuzz.py)
	@$(call q,$(FUZZ_ENV)/bin/python) tests/fuzz.py --seconds=$(call q,$(SECONDS)) --found=$(call q,$(FUZZ_FOUND)) $(call opt,--targets,$(TARGETS))

sign: $(DEPLOY_ENV)/.complete-export ## sign the networks of models/ with an SSH key (KEY, SIGNER): models/SHA256SUMS.sig and allowed_signers
	@$(DEPLOY_RUN) -m deploy.signature $(call q,$(MODELS)) --sign=$(call q,$(or $(KEY),$(error sign needs KEY=~/.ssh/id_ed25519))) \
	  --as=$(call q,$(or $(SIGNER),$(error sign needs SIGNER=name@example.org, the name under which people will know the key)))

# Its data must be there. The engine is the record's.
reproduce: $(TORCH_ENV)/.complete ## train a network again from its record (MODEL: of models/, or a run's folder) and say whether its bytes are the recorded ones
	@$(TORCH) -m deploy.reproduce $(call q,$(or $(MODEL),$(error reproduce needs MODEL=models/resnet20_scratch or a run's folder))) --torch=$(call q,$(TORCH)) \
	  --caffe=$(call q,$(RUN) python3) --out=$(call q,$(W)reproduced/$(shell basename -- $(call q,$(MODEL)))) \
	  $(if $(shell test ! -e $(call q,$(MODEL)/deploy.prototxt) || echo yes),--test $(call q,$(MODEL)/deploy.prototxt) $(call q,$(DATA)))
