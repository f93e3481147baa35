# fer-lite: the paper's pipeline as file targets. `make` alone lists them; the README says what each takes and prints.
#
#   make pretrain SRC=cifar100      make finetune      make eval
#
# Every stage writes files that the next one has as prerequisites, so any target builds what is missing, and only that.

SHELL := /bin/bash
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# What a cluster or shell exports under such a name (WORK, NAME, RUN, GPU, DEVICE) is not meant for us: these are given to make.
ON_COMMAND_LINE := SRC DEPTH TRIAL SPLIT ENGINE GPU DEVICE PRECISION PRETRAIN_EPOCHS FINETUNE_EPOCHS WORK DOWNLOADS RUNS RUN LAUNCH NETGEN \
  FROM LABELS PER_CLASS WITH_VALID UNOFFICIAL STOP_AFTER SNAPSHOT_MINUTES ROW ROWS TRIALS AGAINST BUDGET WEIGHTED FORMAT RESULTS AGAIN SHOW \
  MODEL OUT NAME IMAGE DATA CROPS FACES DRAW FPS SMOOTH CSV CAFFE MODELS DEPLOY MEAN SCALE RESIZE LOGITS PORT LAYERS SEED JOBS STAGES MOST KILLS TARGETS KEY SIGNER SIGNERS
EXPORTED := $(strip $(foreach v,$(ON_COMMAND_LINE),$(if $(filter environment,$(origin $(v))),$(v))))
$(foreach v,$(EXPORTED),$(eval undefine $(v)))
ifneq ($(and $(EXPORTED),$(filter 0,$(MAKELEVEL))),)
$(shell echo 'note: $(EXPORTED) of the environment: not taken, give such variables to make itself (make $(firstword $(EXPORTED))=...)' >&2)
endif

# What a user gives reaches a command as one word, whatever is in it: (text) as a word of the shell; (option, value), if there is one.
q   = '$(subst ','\'',$(1))'
opt = $(if $(2),$(1)=$(call q,$(2)))
# All but what is several words by intent is taken as it is typed: a "$" is no variable, a leading "-" no option, "~/" is the home.
define newline


endef
typed = $(subst $(newline),,$(subst $(newline)-,./-,$(subst $(newline)~/,$(HOME)/,$(newline)$(value $(1)))))
TYPED := $(filter-out NETGEN RUN LAUNCH CAFFE,$(ON_COMMAND_LINE)) THREADS STUDY_CSV CHECK_ENV DEPLOY_ENV TORCH_ENV RIVALS_ENV KEY SIGNER SIGNERS FUZZ_FOUND FUZZ_ENV
$(foreach v,$(TYPED),$(if $(filter command,$(firstword $(origin $(v)))),$(eval override $(v) := $$(call typed,$(v)))))
# What names targets can hold no character that make itself reads.
FOR_MAKE := % : ; = \# $$ \ * ? [ ] | ~ " < > `
$(foreach v,WORK RUNS PRETRAIN_EPOCHS FINETUNE_EPOCHS CHECK_ENV DEPLOY_ENV TORCH_ENV RIVALS_ENV FUZZ_ENV,$(if $(or $(word 2,x$($(v))x),$(strip $(foreach c,$(FOR_MAKE),$(findstring $(c),$($(v)))))),\
  $(error $(v)=$($(v)): make cannot hold a space or one of $(FOR_MAKE) in such a name: choose another folder, or a link to it)))

# What to run.
SRC    ?= cifar100
DEPTH  ?= 20
TRIAL  ?= 1
SPLIT  ?= test
ENGINE ?= caffe
GPU    ?=
PRECISION ?= fp32

# Other lengths than the paper's, in epochs. Such runs lie in folders of their own.
PRETRAIN_EPOCHS ?=
FINETUNE_EPOCHS ?=

# Where things lie. W is WORK as a prefix: empty, or "folder/".
WORK      ?= .
W         := $(if $(WORK),$(patsubst ./,,$(WORK:/=)/))
DOWNLOADS ?= $(W)downloads
# The engine as training.run knows it: caffe, torch, torch-bf16. Each but Caffe has a folder of its own.
TORCH_NAME  = torch$(addprefix -,$(filter-out fp32,$(PRECISION)))
ENGINE_NAME = $(if $(filter torch,$(ENGINE)),$(TORCH_NAME),$(ENGINE))
RUNS      ?= $(W)runs$(addprefix /,$(filter-out caffe,$(ENGINE_NAME)))

# What runs the commands, and what stands before each training and testing (a cluster's launcher).
RUN    ?= bash env/run
LAUNCH ?=
PYTHON = $(if $(filter torch,$(ENGINE)),$(TORCH),$(RUN) python3)
# Nets, data and reports need no Caffe: they run where it is if it is there already, else in a virtual environment of env/plain.lock.
PLAIN     = $(if $(filter torch,$(ENGINE)),$(TORCH),$(RUN) $(if $(findstring env/run,$(RUN)),--plain) python3)
PLAIN_ENV = $(if $(filter torch,$(ENGINE)),env)
# Environments lie in the cache folder, under what they are made from: one for all checkouts, and those may be read-only.
HOME  := $(or $(HOME),$(shell unset HOME; echo ~))
CACHE := $(or $(FER_LITE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fer-lite)
# (variable, name, lists or locks of packages): where the variable is not given, the folder. Looked up once, not at each use.
cached = $(if $(filter undefined,$(origin $(1))),$(eval $(1) := $$(CACHE)/$(2)-$$(shell cat $(3:%=env/%) | sha256sum | cut -c1-12)))

DEPTHS   := $(patsubst prototxt/resnet%_ferplus_train.prototxt,%,$(wildcard prototxt/resnet*_ferplus_train.prototxt))
SOURCES  := $(patsubst solvers/resnet20_%.prototxt,%,$(filter-out %_finetune.prototxt %_scratch.prototxt,$(wildcard solvers/resnet20_*.prototxt)))
DATASETS := $(SOURCES) ferplus ferplus_votes

ALL_TRIALS := 1 2 3 4 5

known = $(if $(filter $(2),$(3)),,$(error $(1)=$(2) is none of: $(3)))
$(call known,SRC,$(SRC),$(DATASETS) none)
$(call known,DEPTH,$(DEPTH),$(DEPTHS))
$(call known,TRIAL,$(TRIAL),$(ALL_TRIALS))
$(call known,SPLIT,$(SPLIT),train valid test)
$(call known,ENGINE,$(ENGINE),caffe torch)
$(if $(THREADS),$(if $(shell grep -xE '[1-9][0-9]{0,3}' <<< $(call q,$(THREADS))),,$(error THREADS=$(THREADS) is no number of threads: 1 or more)))
$(if $(GPU),$(if $(shell grep -xE '[0-9]{1,3}' <<< $(call q,$(GPU))),,$(error GPU=$(GPU) is no number of one GPU: GPU=0, a run takes one)))
$(if $(NETGEN),$(if $(W),,$(error NETGEN is for nets and solvers beside the paper's: give a folder for them too, WORK=other)))

# What a shell sets for its own Python (PYTHONPATH of ROS, PYTHONSAFEPATH) would mislead that of a virtual environment.
OWN_PYTHON := env -u PYTHONPATH -u PYTHONSAFEPATH -u PYTHONHOME -u PYTHONSTARTUP
# (folder): a virtual environment whose Python was upgraded away is no longer complete, and is made again.
define renew_venv
$(if $(wildcard $(1)/.complete*),$(shell $(OWN_PYTHON) $(call q,$(1)/bin/python) -c 'import os, sys; sys.exit(not os.path.isdir(sys.prefix + "/lib/python%d.%d/site-packages" % sys.version_info[:2]))' \
  2>/dev/null || rm -f $(call q,$(1))/.complete*))
endef
# (folder, Python, what it is): make it, or its Python anew.
make_venv = { mkdir -p $(call q,$(1)) && test -w $(call q,$(1)); } 2>/dev/null || \
  { echo error: $(call q,$(1)) 'cannot be written: name another folder for $(3), as in $(4)=~/.cache/fer-lite/venv' >&2; exit 1; }; \
  $(OWN_PYTHON) $(call q,$(1)/bin/python) -m pip --version >/dev/null 2>&1 || { echo making $(call q,$(1)) '($(3))' >&2; $(2) -m venv $(call q,$(1)); }
# (Python, name, more arguments of pip): install env/NAME.lock.
locked = $(OWN_PYTHON) bash env/lock $(call q,$(1)) $(2) $(3)

include $(wildcard make/*.mk)

MAKEFLAGS += --no-print-directory
.PHONY: help env doctor prototxt describe data order pretrain transplant finetune trials eval demo check docker-check test clean
.SECONDARY:

help: ## list the targets
	@echo 'make TARGET [SRC=$(SRC)] [DEPTH=$(DEPTH)] [TRIAL=$(TRIAL)] [SPLIT=$(SPLIT)] [...]        (README.md explains them)'
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# ---- the environment and the files that are generated ---------------------------------------------------------------

env: $(if $(filter torch,$(ENGINE)),$(TORCH_ENV)/.complete) ## find or make the environment of Caffe (CAFFE_ENV=auto|system|docker|conda|rootfs) or of ENGINE=torch
	@$(if $(filter torch,$(ENGINE)),true,bash env/run --make)

doctor: ## check that this Caffe computes right: versions, BLAS, small nets against NumPy
	@$(PYTHON) -m engines.doctor

prototxt: ## write prototxt/ and solvers/ again from paper/ and netgen/
	@$(PLAIN) -m netgen

# Another WORK has nets and solvers of its own, whose paths begin with it (NETGEN: other ones; the demo writes its own there first).
ifneq ($(W),)
write_nets = @test -e $(call q,$@) || $(PLAIN) -m netgen --root=$(call q,$(W:/=)) $(NETGEN)
$(W)solvers/%.prototxt: | $(PLAIN_ENV)
	$(write_nets)
$(W)prototxt/%.prototxt: | $(PLAIN_ENV)
	$(write_nets)
endif

# Options that decide what a made file holds and stand in no path are held against what is there, each time that they are given.
HELD := $(if $(NETGEN),held-nets) $(if $(LABELS)$(PER_CLASS),held-ferplus) $(if $(WITH_VALID),held-cinic10) $(if $(filter override,$(origin RUNS)),held-engine)
.PHONY: held-nets held-ferplus held-cinic10 held-engine
held-engine:
	@for run in $(foreach f,$(call pretrained,$(DEPTH),$(SRC)) $(call finetuned,$(DEPTH),$(SRC),$(TRIAL)),$(call q,$(f)/run.json)); do \
	  test ! -e "$$run" || grep -q '"engine": "$(ENGINE_NAME)"' "$$run" || \
	  echo "note: $${run%/run.json} is of $$(sed -n 's/.*"engine": "\([^"]*\).*/\1/p' "$$run"), not of $(ENGINE_NAME): to have both, give each RUNS= of its own" >&2; done
held-nets: | $(PLAIN_ENV)
	@$(PLAIN) -m netgen --root=$(call q,$(W:/=)) $(NETGEN) --if-missing
held-ferplus held-cinic10: held-%: $(W)data/%/manifest.json
	@$(call build_data,$*) --if-missing

describe: ## print what the networks cost: parameters, multiply-accumulates, blobs
	@$(PLAIN) -m netgen.describe $(if $(LAYERS),--layers)

# ---- data -----------------------------------------------------------------------------------------------------------

DATA_NEEDS = $(filter-out none,$(SRC))
data: $(DATA_NEEDS:%=$(W)data/%/manifest.json) ## build the LMDBs of SRC (a source or ferplus) from its downloads
	@$(if $(strip $(DATA_OPTIONS)),$(foreach set,$(DATA_NEEDS),$(call build_data,$(set)) --if-missing))

# (set): its build. FROM: a file or folder; UNOFFICIAL=1; ferplus: LABELS, PER_CLASS; cinic10: WITH_VALID=1.
DATA_OPTIONS = $(call opt,--from,$(FROM)) $(call opt,--labels,$(LABELS)) $(call opt,--per-class,$(PER_CLASS)) $(if $(WITH_VALID),--with-valid)
build_data = $(PLAIN) -m data_prep build $(1) --downloads=$(call q,$(DOWNLOADS)) --out=$(call q,$(W)data) $(if $(UNOFFICIAL),--unofficial) $(DATA_OPTIONS)

$(W)data/%/manifest.json: | $(PLAIN_ENV)
	@$(call build_data,$*)

# Caffe's Data layer never shuffles, so a trial's own order is an LMDB of its own (trial 1 has data_prep's order).
order: $(filter-out %_trial1/data.mdb,$(W)data/ferplus/train_lmdb_trial$(TRIAL)/data.mdb) ## write FER+'s training part in the order of TRIAL

$(W)data/ferplus/train_lmdb_trial%/data.mdb: $(W)data/ferplus/manifest.json | $(PLAIN_ENV)
	@$(PLAIN) -m training.order --lmdb=$(call q,$(W)data/ferplus/train_lmdb) --trial $*

# ---- training -------------------------------------------------------------------------------------------------------

# Folders of runs: (depth, source), (depth, source, trial).
pretrained = $(RUNS)/resnet$(1)_$(2)$(PRETRAIN_EPOCHS:%=-%ep)
row_folder = $(RUNS)/resnet$(1)_ferplus_from_$(2)$(if $(filter-out none,$(2)),$(PRETRAIN_EPOCHS:%=-%ep))$(FINETUNE_EPOCHS:%=_%ep)
finetuned  = $(call row_folder,$(1),$(2))/trial$(3)
# PRECISION is of training: tests are fp32 always, so that a network's accuracy is the same in every engine.
# (solver, out, options): one run. Nothing follows it: a finished network must not lie in a recipe that can still be stopped.
define train
@$(LAUNCH) $(PYTHON) -m training.run --solver=$(call q,$(1)) --out=$(call q,$(2)) --engine $(ENGINE_NAME) $(GPU:%=--gpu %) \
	$(call opt,--stop-after,$(STOP_AFTER)) $(call opt,--snapshot-minutes,$(SNAPSHOT_MINUTES)) $(3)
endef
draw_curves = @-$(PLAIN) -m evaluation.report.curves $(call q,$(<D)) >/dev/null

pretrain: $(call pretrained,$(DEPTH),$(SRC))/final.caffemodel ## train ResNet-DEPTH on the source SRC
	$(draw_curves)
transplant: $(call row_folder,$(DEPTH),$(SRC))/init.caffemodel ## all of it but its final layer, as init.caffemodel, and the table of what was copied
	@cat $(call q,$(<:.caffemodel=.txt))
finetune: $(call finetuned,$(DEPTH),$(SRC),$(TRIAL))/final.caffemodel ## fine-tune it on FER+ (SRC=none: train from scratch)
	$(draw_curves)

# (depth, source): a pretrained network; all trials of a row share it.
define pretraining_rule
$(call pretrained,$(1),$(2))/final.caffemodel: $(W)solvers/resnet$(1)_$(2).prototxt $(W)prototxt/resnet$(1)_$(2)_train.prototxt \
		$(W)data/$(2)/manifest.json | env $(HELD)
	$$(call train,$$<,$$(@D),$$(call opt,--epochs,$$(PRETRAIN_EPOCHS)))
endef
$(foreach d,$(DEPTHS),$(foreach s,$(SOURCES),$(eval $(call pretraining_rule,$(d),$(s)))))

# (depth, source): all of the pretrained network but its final layer, with which every trial of the row begins.
define transplanting_rule
$(call row_folder,$(1),$(2))/init.caffemodel: $(call pretrained,$(1),$(2))/final.caffemodel $(W)prototxt/resnet$(1)_ferplus_deploy.prototxt | $$(PLAIN_ENV)
	@$$(PLAIN) -m training.transplant --weights=$$(call q,$$<) --net=$$(call q,$$(W)prototxt/resnet$(1)_ferplus_deploy.prototxt) --out=$$(call q,$$@)
endef
$(foreach d,$(DEPTHS),$(foreach s,$(SOURCES),$(eval $(call transplanting_rule,$(d),$(s)))))

# (depth, source, trial): a row of Table II; source none is training from scratch.
define finetuning_rule
$(call finetuned,$(1),$(2),$(3))/final.caffemodel: \
		$(W)solvers/resnet$(1)_ferplus_$(if $(filter none,$(2)),scratch,finetune).prototxt $(W)prototxt/resnet$(1)_ferplus_train.prototxt \
		$(W)data/ferplus/manifest.json $(if $(filter-out 1,$(3)),$(W)data/ferplus/train_lmdb_trial$(3)/data.mdb) \
		$(if $(filter-out none,$(2)),$(call row_folder,$(1),$(2))/init.caffemodel) | env $(HELD)
	$$(call train,$$<,$$(@D),--trial $(3) $(if $(filter-out none,$(2)),--weights=$$(call q,$$(call row_folder,$(1),$(2))/init.caffemodel)) $$(call opt,--epochs,$$(FINETUNE_EPOCHS)))

$(call finetuned,$(1),$(2),$(3))/metrics_%.json: $(call finetuned,$(1),$(2),$(3))/final.caffemodel \
		$(W)prototxt/resnet$(1)_ferplus_deploy.prototxt $(W)data/ferplus/manifest.json | env $(HELD)
	@$$(LAUNCH) $$(PYTHON) -m evaluation.test --deploy=$$(call q,$$(W)prototxt/resnet$(1)_ferplus_deploy.prototxt) --weights=$$(call q,$$<) --data=$$(call q,$$(W)data/ferplus) \
	--split $$* --engine $(ENGINE) $$(GPU:%=--gpu %) $(if $(AGAIN),,--if-changed) >/dev/null
endef
$(foreach d,$(DEPTHS),$(foreach s,$(SOURCES) none,$(foreach t,$(ALL_TRIALS),$(eval $(call finetuning_rule,$(d),$(s),$(t))))))

# (depth, source): all TRIALS of a row side by side in one program, ENGINE=torch. On a GPU that is how rows are trained.
TRIALS_ORDERS := $(patsubst %,$(W)data/ferplus/train_lmdb_trial%/data.mdb,$(filter-out 1,$(call expand,$(TRIALS))))
define trials_rule
.PHONY: trials-$(1)-$(2)
trials-$(1)-$(2): $(W)solvers/resnet$(1)_ferplus_$(if $(filter none,$(2)),scratch,finetune).prototxt $(W)prototxt/resnet$(1)_ferplus_train.prototxt \
		$(W)data/ferplus/manifest.json $(TRIALS_ORDERS) \
		$(if $(filter-out none,$(2)),$(call row_folder,$(1),$(2))/init.caffemodel) | env $(HELD)
	$$(call train,$$<,$$(call row_folder,$(1),$(2)),--trials $$(call q,$$(TRIALS)) $(if $(filter-out none,$(2)),--weights=$$(call q,$$(call row_folder,$(1),$(2))/init.caffemodel)) $$(call opt,--epochs,$$(FINETUNE_EPOCHS)))
endef
$(foreach d,$(DEPTHS),$(foreach s,$(SOURCES) none,$(eval $(call trials_rule,$(d),$(s)))))
trials: trials-$(DEPTH)-$(SRC) ## fine-tune all TRIALS of it side by side in one program (ENGINE=torch)

# These are written whole, by programs of ours, or not at all: make must not remove them when it is stopped.
.PRECIOUS: $(W)data/%/manifest.json $(W)data/ferplus/train_lmdb_trial%/data.mdb $(W)solvers/%.prototxt $(W)prototxt/%.prototxt \
  $(foreach d,$(DEPTHS),$(foreach s,$(SOURCES),$(call pretrained,$(d),$(s))/final.caffemodel)) \
  $(foreach d,$(DEPTHS),$(foreach s,$(SOURCES) none,$(call row_folder,$(d),$(s))/init.caffemodel \
    $(foreach t,$(ALL_TRIALS),$(call finetuned,$(d),$(s),$(t))/final.caffemodel $(call finetuned,$(d),$(s),$(t))/metrics_%.json)))

# What is no source says so.
$(foreach d,$(DEPTHS),$(foreach s,none ferplus,$(call pretrained,$(d),$(s))/final.caffemodel)) \
$(foreach d,$(DEPTHS),$(foreach s,none ferplus ferplus_votes,$(call row_folder,$(d),$(s))/init.caffemodel)) \
$(foreach d,$(DEPTHS),$(foreach t,$(ALL_TRIALS),$(call finetuned,$(d),ferplus,$(t))/final.caffemodel $(call finetuned,$(d),ferplus,$(t))/metrics_$(SPLIT).json)):
	@echo 'error: SRC=$(SRC) is no source to pretrain on: SRC=$(firstword $(SOURCES)) or another of $(SOURCES)' >&2; exit 1

# ---- testing --------------------------------------------------------------------------------------------------------

METRICS = $(call finetuned,$(DEPTH),$(SRC),$(TRIAL))/metrics_$(SPLIT).json
eval: $(METRICS) ## test it with ten crops on SPLIT (test or valid) and print the result
	@$(PLAIN) -m evaluation.report.show $(call q,$(METRICS))

# AGAIN=1: test anew although the result is there (scores that were damaged, or of other data).
ifneq ($(AGAIN),)
.PHONY: again
$(METRICS): again
endif

# ---- demo, tests ----------------------------------------------------------------------------------------------------

DEMO      := demo_work
DEMO_MAKE := $(MAKE) -o env WORK=$(DEMO) UNOFFICIAL=1 SPLIT=test
DEMO_RUNS := $(DEMO)/runs/resnet20_ferplus_from_

demo: | env ## the whole pipeline in Caffe on small drawn data: minutes, nothing to download
	@test -e $(DEMO)/downloads/fer2013.csv || $(PYTHON) -m demo.draw $(DEMO)/downloads
	@$(DEMO_MAKE) data SRC=cifar10
	@$(DEMO_MAKE) data SRC=ferplus PER_CLASS=$$(sed -n 's/^BALANCED_PER_CLASS = \([0-9]*\).*/\1/p' demo/settings.py)
	@$(PYTHON) -m demo.make_nets $(DEMO)
	@$(DEMO_MAKE) -j2 THREADS=1 $(addprefix $(DEMO_RUNS),cifar10/trial1/metrics_test.json none/trial1/metrics_test.json)
	@$(PYTHON) -m evaluation.report.show $(DEMO_RUNS)cifar10/trial1/metrics_test.json
	@$(PYTHON) -m demo.picture --finetuned $(DEMO_RUNS)cifar10/trial1/scores_test.npz --scratch $(DEMO_RUNS)none/trial1/scores_test.npz \
	  --lmdb $(DEMO)/data/ferplus/test_lmdb --out $(DEMO)/demo.png

# ---- checks ----------------------------------------------------------------------------------------------------------

# `make check` is what a change must pass before anything else: any Python from 3.9 on, and two minutes.
CHECK_PYTHON ?= python3
$(call cached,CHECK_ENV,check,plain.lock)
CHECKS       := not caffe and not torch and not slow and not network

$(CHECK_ENV)/.complete: env/plain.lock
	@echo making $(call q,$(CHECK_ENV)): 'NumPy, OpenCV and what else needs neither Caffe nor PyTorch (a minute, once)' >&2
	@$(CHECK_PYTHON) -m venv $(call q,$(CHECK_ENV))
	@echo '*' > $(call q,$(CHECK_ENV))/.gitignore
	@$(call locked,$(CHECK_ENV)/bin/python,plain)
	@touch $(call q,$@)

check: $(CHECK_ENV)/.complete ## lint, and the fast tests that need neither Caffe nor PyTorch (two minutes; CHECK_PYTHON)
	@$(call q,$(CHECK_ENV)/bin/python) -m ruff check
	@$(call q,$(CHECK_ENV)/bin/python) -m pytest -q -m '$(CHECKS)' $(TESTS)

docker-check: ## build the Dockerfile without a Docker engine and run the doctor in it (as root; eight minutes)
	@env/docker_check

test: | env ## install what is needed and run all tests; TESTS=tests/test_netgen.py: that part, in the environment of ENGINE
	@$(PYTHON) -m pytest -q $(TESTS)

clean: ## remove what the demo made (runs, data and downloads stay)
	rm -rf $(DEMO)
