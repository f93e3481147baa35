# Faults, hostile files, signatures and runs done again. Included by the Makefile.
#   make anomaly [STAGES=build,train] [MOST=20] [ENGINE=torch]     every n-th call that changes a file fails: hours; MOST: so many of each kind
#   make fuzz SECONDS=3600 [TARGETS=pickle,tar]                    coverage-guided, FUZZ_FOUND holds what is found
#   make sign KEY=~/.ssh/id_ed25519 SIGNER=me@example.org                               models/SHA256SUMS.sig; `make models-check` verifies it

STAGES     ?= build,ferplus,transplant,train,test,report,export
MOST       ?= 0
SECONDS    ?= 60
TARGETS    ?=
FUZZ_ENV   ?= .venv-fuzz
FUZZ_FOUND ?= $(W)fuzz
KEY        ?=
SIGNER     ?=
SIGNERS    ?=
ANOMALY    := $(W)anomaly_work
$(call renew_venv,$(FUZZ_ENV))

.PHONY: anomaly fuzz sign

anomaly: $(if $(filter torch,$(ENGINE)),$(TORCH_ENV)/.complete,env) ## make every n-th write, fsync, rename, ... of each stage fail, and cut the power there (hours; MOST=20)
	@rm -rf $(ANOMALY) && mkdir -p $(ANOMALY)
	@cc -O1 -shared -fPIC -fno-stack-protector -U_FORTIFY_SOURCE -nostdlib -o $(ANOMALY)/anomaly.so tests/anomaly.c
	@$(PYTHON) tests/anomaly.py --folder $(ANOMALY) --library $(ANOMALY)/anomaly.so --engine $(ENGINE) --stages $(STAGES:%,export=%) --most $(MOST)
	@$(if $(findstring $(comma)export,$(STAGES)),$(MAKE) $(DEPLOY_ENV)/.complete-export && \
	  $(DEPLOY) tests/anomaly.py --folder $(ANOMALY) --library $(ANOMALY)/anomaly.so --stages export --most $(MOST))
	@rm -rf $(ANOMALY)

$(FUZZ_ENV)/.complete: env/fuzz.txt env/plain.txt
	@$(call make_venv,$(FUZZ_ENV),$(CHECK_PYTHON),atheris and what reads files (a minute),FUZZ_ENV)
	@echo '*' > $(FUZZ_ENV)/.gitignore
	@$(FUZZ_ENV)/bin/python -m pip install --quiet --disable-pip-version-check -r env/fuzz.txt -r env/plain.txt
	@touch $@

fuzz: $(FUZZ_ENV)/.complete ## fuzz the readers of strangers' files, guided by coverage, for SECONDS (TARGETS: tests/fuzz.py)
	@$(FUZZ_ENV)/bin/python tests/fuzz.py --seconds $(SECONDS) --found $(FUZZ_FOUND) $(TARGETS:%=--targets %)

sign: $(DEPLOY_ENV)/.complete-export ## sign the networks of models/ with an SSH key (KEY, SIGNER): models/SHA256SUMS.sig and allowed_signers
	@$(DEPLOY) -m deploy.signature $(MODELS) --sign $(or $(KEY),$(error sign needs KEY=~/.ssh/id_ed25519)) \
	  --as $(or $(SIGNER),$(error sign needs SIGNER=name@example.org, the name under which people will know the key))
