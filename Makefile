# fer-lite: the paper's pipeline as file targets. `make` alone lists them; the README says what each takes and prints.
#
#   make pretrain SRC=cifar100      make finetune      make eval
#
# Every stage writes files that the next one has as prerequisites, so any target builds what is missing, and only that.

SHELL := /bin/bash
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := help

include make/words.mk

# What to run.
SRC       ?= cifar100
DEPTH     ?= 20
TRIAL     ?= 1
TRIALS    ?= 1-5
RECIPE    ?= best
SPLIT     ?= test
ENGINE    ?= $(if $(filter best,$(MAKECMDGOALS)),torch,caffe)
PRECISION ?= fp32
DEVICE    ?= cpu

# Where things lie. W is WORK as a prefix: empty, or "folder/".
WORK      ?= .
W         := $(if $(WORK),$(patsubst ./,,$(WORK:/=)/))
DOWNLOADS ?= $(W)downloads
# The engine as training.run knows it: caffe, torch, torch-bf16. Each but Caffe has a folder of its own.
TORCH_NAME  = torch$(addprefix -,$(filter-out fp32,$(PRECISION)))
ENGINE_NAME = $(if $(filter torch,$(ENGINE)),$(TORCH_NAME),$(ENGINE))
RUNS      ?= $(W)runs$(addprefix /,$(filter-out caffe,$(ENGINE_NAME)))

# What runs the commands: env/run finds or makes each environment. LAUNCH stands before each training and testing (a cluster's launcher).
RUN   ?= bash env/run
TORCH  = bash env/run --torch
PYTHON = $(if $(filter torch,$(ENGINE)),$(TORCH),$(RUN) python3)
# Nets, data and reports need no Caffe.
PLAIN  = $(if $(filter torch,$(ENGINE)),$(TORCH),$(RUN) $(if $(findstring env/run,$(RUN)),--plain,python3))
# Networks in use: what runs them; and what exports and holds them against Caffe.
DEPLOY_RUN = bash env/run --deploy
EXPORT_RUN = bash env/run --export
CAFFE     ?= $(RUN) python3
WITH_CAFFE = --caffe=$(call q,$(filter-out none,$(CAFFE)))

DEPTHS   := $(patsubst prototxt/resnet%_ferplus_train.prototxt,%,$(wildcard prototxt/resnet*_ferplus_train.prototxt))
RECIPES  := $(patsubst solvers/%.prototxt,%,$(filter-out solvers/resnet%,$(wildcard solvers/*.prototxt)))
SOURCES  := $(patsubst solvers/resnet20_%.prototxt,%,$(filter-out %_finetune.prototxt %_scratch.prototxt,$(wildcard solvers/resnet20_*.prototxt)))
DATASETS := $(SOURCES) ferplus ferplus_votes
ALL_TRIALS := 1 2 3 4 5

$(call known,SRC,$(SRC),$(DATASETS) none)
$(call known,DEPTH,$(DEPTH),$(DEPTHS))
$(call known,TRIAL,$(TRIAL),$(ALL_TRIALS))
$(call known,RECIPE,$(RECIPE),$(RECIPES))
$(call known,SPLIT,$(SPLIT),train valid test)
$(call known,ENGINE,$(ENGINE),caffe torch)
$(call known,DEVICE,$(DEVICE),cpu cuda)
$(call known,PRECISION,$(PRECISION),fp32 tf32 bf16)
$(if $(filter-out fp32,$(PRECISION)),$(if $(filter torch,$(ENGINE)),,$(error PRECISION=$(PRECISION) is the PyTorch engine's: add ENGINE=torch)))
$(if $(NETGEN),$(if $(W),,$(error NETGEN is for nets and solvers beside the paper's: give a folder for them too, WORK=other)))
GPU := $(or $(GPU),$(if $(filter cuda,$(DEVICE)),0))

.PHONY: help
help: ## list the targets
	@echo 'make TARGET [SRC=$(SRC)] [DEPTH=$(DEPTH)] [TRIAL=$(TRIAL)] [SPLIT=$(SPLIT)] [...]        (README.md and docs/ explain them)'
	@sed -n -e 's/^## \(.*\)/\n\1/p' -e 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

## The paper's way
.PHONY: env doctor demo prototxt describe data preview order pretrain transplant finetune eval

env: ## find or make the environment of Caffe (CAFFE_ENV=auto|system|docker|conda|rootfs) or of ENGINE=torch
	@$(if $(filter torch,$(ENGINE)),$(TORCH),bash env/run --make)

doctor: ## check that this Caffe computes right: versions, BLAS, small nets against NumPy
	@$(PYTHON) -m engines.doctor

DEMO      := demo_work
DEMO_MAKE := $(MAKE) -o env WORK=$(DEMO) UNOFFICIAL=1 SPLIT=test
DEMO_RUNS  = $(DEMO)/runs$(addprefix /,$(filter-out caffe,$(ENGINE_NAME)))/resnet20_ferplus_from_
demo: | env ## the whole pipeline in Caffe on small drawn data: minutes, nothing to download
	@test -e $(DEMO)/downloads/fer2013.csv || $(PYTHON) -m demo.draw $(DEMO)/downloads
	@$(DEMO_MAKE) data SRC=cifar10
	@$(DEMO_MAKE) data SRC=ferplus PER_CLASS=$$(sed -n 's/^BALANCED_PER_CLASS = \([0-9]*\).*/\1/p' demo/settings.py)
	@$(PYTHON) -m demo.make_nets $(DEMO)
	@$(DEMO_MAKE) -j2 THREADS=1 $(addprefix $(DEMO_RUNS),cifar10/trial1/metrics_test.json none/trial1/metrics_test.json)
	@$(PYTHON) -m evaluation.report.show $(DEMO_RUNS)cifar10/trial1/metrics_test.json
	@$(PYTHON) -m demo.picture --finetuned $(DEMO_RUNS)cifar10/trial1/scores_test.npz --scratch $(DEMO_RUNS)none/trial1/scores_test.npz \
	  --lmdb $(DEMO)/data/ferplus/test_lmdb --out $(DEMO)/demo.png

# ---- nets -----------------------------------------------------------------------------------------------------------

prototxt: ## write prototxt/ and solvers/ again from paper/ and netgen/ (of WORK, with its NETGEN)
	@$(PLAIN) -m netgen $(call opt,--root,$(W:/=)) $(NETGEN)

describe: ## print what the networks cost: parameters, multiply-accumulates, blobs (ARGS=--layers: layer by layer)
	@$(PLAIN) -m netgen.describe $(ARGS)

# Another WORK has nets and solvers of its own, whose paths begin with it (NETGEN: other ones; the demo writes its own there first).
ifneq ($(W),)
$(W)%.prototxt:
	@test -e $(call q,$@) || $(PLAIN) -m netgen --root=$(call q,$(W:/=)) $(NETGEN)
endif

# Options that decide what a made file holds and stand in no path are held against what is there, each time that they are given.
HELD := $(if $(NETGEN),held-nets) $(if $(LABELS)$(PER_CLASS),held-ferplus) $(if $(WITH_VALID),held-cinic10) $(if $(filter override,$(origin RUNS)),held-engine)
.PHONY: held-nets held-ferplus held-cinic10 held-engine
held-engine:
	@for run in $(foreach f,$(call pretrained,$(DEPTH),$(SRC)) $(call finetuned,$(DEPTH),$(SRC),$(TRIAL)),$(call q,$(f)/run.json)); do \
	  test ! -e "$$run" || grep -q '"engine": "$(ENGINE_NAME)"' "$$run" || \
	  echo "note: $${run%/run.json} is of $$(sed -n 's/.*"engine": "\([^"]*\).*/\1/p' "$$run"), not of $(ENGINE_NAME): to have both, give each RUNS= of its own" >&2; done
held-nets:
	@$(PLAIN) -m netgen --root=$(call q,$(W:/=)) $(NETGEN) --if-missing
held-ferplus held-cinic10: held-%: $(W)data/%/manifest.json
	@$(call build_data,$*) --if-missing

# ---- data -----------------------------------------------------------------------------------------------------------

DATA_NEEDS = $(filter-out none,$(SRC))
data: $(DATA_NEEDS:%=$(W)data/%/manifest.json) ## build the LMDBs of SRC (a source or ferplus) from its downloads
	@$(if $(strip $(DATA_OPTIONS)),$(foreach set,$(DATA_NEEDS),$(call build_data,$(set)) --if-missing))

preview: data ## contact sheets of SRC as stored: data/SRC/preview_*.png
	@$(foreach set,$(DATA_NEEDS),$(PLAIN) -m data_prep preview $(set) --out=$(call q,$(W)data);)

# (set): its build. FROM: a file or folder; UNOFFICIAL=1; ferplus: LABELS, PER_CLASS; cinic10: WITH_VALID=1.
DATA_OPTIONS = $(call opt,--from,$(FROM)) $(call opt,--labels,$(LABELS)) $(call opt,--per-class,$(PER_CLASS)) $(if $(WITH_VALID),--with-valid)
build_data = $(PLAIN) -m data_prep build $(1) --downloads=$(call q,$(DOWNLOADS)) --out=$(call q,$(W)data) $(if $(UNOFFICIAL),--unofficial) $(DATA_OPTIONS)

$(W)data/%/manifest.json:
	@$(call build_data,$*)

# Caffe's Data layer never shuffles, so a trial's own order is an LMDB of its own (trial 1 has data_prep's order).
order: $(filter-out %_trial1/data.mdb,$(W)data/ferplus/train_lmdb_trial$(TRIAL)/data.mdb) ## write FER+'s training part in the order of TRIAL

$(W)data/ferplus/train_lmdb_trial%/data.mdb: $(W)data/ferplus/manifest.json
	@$(PLAIN) -m training.order --lmdb=$(call q,$(W)data/ferplus/train_lmdb) --trial $*

# ---- training -------------------------------------------------------------------------------------------------------

# Folders of runs: (depth, source), (depth, source, trial). Those of other lengths than the paper's (PRETRAIN_EPOCHS, FINETUNE_EPOCHS) have names of their own.
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

# (init.caffemodel, depth, source, net): all of the pretrained network but its final layer, with which every trial of the row begins.
define transplanting_rule
$(1): $(call pretrained,$(2),$(3))/final.caffemodel $(4)
	@$$(PLAIN) -m training.transplant --weights=$$(call q,$$<) --net=$$(call q,$$(word 2,$$^)) --out=$$(call q,$$@)
endef
$(foreach d,$(DEPTHS),$(foreach s,$(SOURCES),$(eval $(call transplanting_rule,$(call row_folder,$(d),$(s))/init.caffemodel,$(d),$(s),$(W)prototxt/resnet$(d)_ferplus_deploy.prototxt))))

# (depth, source, trials): what fine-tunings of a row of Table II need; source none is training from scratch. (depth, source): and are told.
finetuning_needs = $(W)solvers/resnet$(1)_ferplus_$(if $(filter none,$(2)),scratch,finetune).prototxt $(W)prototxt/resnet$(1)_ferplus_train.prototxt \
  $(W)data/ferplus/manifest.json $(patsubst %,$(W)data/ferplus/train_lmdb_trial%/data.mdb,$(filter-out 1,$(3))) \
  $(if $(filter-out none,$(2)),$(call row_folder,$(1),$(2))/init.caffemodel) | env $(HELD)
finetuning_words = $(if $(filter-out none,$(2)),--weights=$(call q,$(call row_folder,$(1),$(2))/init.caffemodel)) $(call opt,--epochs,$(FINETUNE_EPOCHS))

# (depth, source, trial): a trial, and its test.
define finetuning_rule
$(call finetuned,$(1),$(2),$(3))/final.caffemodel: $(call finetuning_needs,$(1),$(2),$(3))
	$$(call train,$$<,$$(@D),--trial $(3) $$(call finetuning_words,$(1),$(2)))

$(call finetuned,$(1),$(2),$(3))/metrics_%.json: $(call finetuned,$(1),$(2),$(3))/final.caffemodel \
		$(W)prototxt/resnet$(1)_ferplus_deploy.prototxt $(W)data/ferplus/manifest.json | env $(HELD)
	@$$(LAUNCH) $$(PYTHON) -m evaluation.test --deploy=$$(call q,$$(W)prototxt/resnet$(1)_ferplus_deploy.prototxt) --weights=$$(call q,$$<) --data=$$(call q,$$(W)data/ferplus) \
	--split $$* --engine $(ENGINE) $$(GPU:%=--gpu %) $(if $(AGAIN),,--if-changed) >/dev/null
endef
$(foreach d,$(DEPTHS),$(foreach s,$(SOURCES) none,$(foreach t,$(ALL_TRIALS),$(eval $(call finetuning_rule,$(d),$(s),$(t))))))

# (depth, source): all TRIALS of a row side by side in one program, ENGINE=torch. On a GPU that is how rows are trained.
SOME_TRIALS := $(call expand,$(TRIALS))
$(if $(SOME_TRIALS),,$(error TRIALS=$(TRIALS) names no trial: 1 to 5, as in 1-5 or 1,3))
$(foreach trial,$(SOME_TRIALS),$(call known,TRIALS,$(trial),$(ALL_TRIALS)))
define trials_rule
.PHONY: trials-$(1)-$(2)
trials-$(1)-$(2): $(call finetuning_needs,$(1),$(2),$(SOME_TRIALS))
	$$(call train,$$<,$$(call row_folder,$(1),$(2)),--trials $$(call q,$$(TRIALS)) $$(call finetuning_words,$(1),$(2)))
endef
$(foreach d,$(DEPTHS),$(foreach s,$(SOURCES) none,$(eval $(call trials_rule,$(d),$(s)))))

# These are written whole, by programs of ours, or not at all: make must not remove them when it is stopped.
.PRECIOUS: $(W)data/%/manifest.json $(W)data/ferplus/train_lmdb_trial%/data.mdb $(W)%.prototxt \
  $(foreach d,$(DEPTHS),$(foreach s,$(SOURCES),$(call pretrained,$(d),$(s))/final.caffemodel)) \
  $(foreach d,$(DEPTHS),$(foreach s,$(SOURCES) none,$(call row_folder,$(d),$(s))/init.caffemodel \
    $(foreach t,$(ALL_TRIALS),$(call finetuned,$(d),$(s),$(t))/final.caffemodel $(call finetuned,$(d),$(s),$(t))/metrics_%.json)))

# What no rule above trains is of no source.
$(RUNS)/%/final.caffemodel $(RUNS)/%/init.caffemodel $(RUNS)/%/metrics_$(SPLIT).json:
	@echo 'error: SRC=$(SRC) is no source to pretrain on: SRC=$(firstword $(SOURCES)) or another of $(SOURCES)' >&2; exit 1

# ---- testing --------------------------------------------------------------------------------------------------------

# AGAIN=1: test anew although the result is there (scores that were damaged, or of other data).
.PHONY: again
METRICS := $(call finetuned,$(DEPTH),$(SRC),$(TRIAL))/metrics_$(SPLIT).json
$(METRICS): $(if $(AGAIN),again)
eval: $(METRICS) ## test it with ten crops on SPLIT (test or valid) and print the result
	@$(PLAIN) -m evaluation.report.show $(call q,$(METRICS))

include make/results.mk make/use.mk make/trust.mk make/development.mk
