# What a user gives to make is taken as it is typed, and checked. Included by the Makefile before anything else.

comma := ,
# Where a job has no HOME, "~" is the home of the password database.
HOME  := $(or $(HOME),$(shell unset HOME; echo ~))

# What a cluster or shell exports under such a name (WORK, NAME, RUN, GPU, DEVICE) is not meant for us: these are given to make.
ON_COMMAND_LINE := SRC DEPTH TRIAL SPLIT ENGINE GPU DEVICE PRECISION PRETRAIN_EPOCHS FINETUNE_EPOCHS WORK DOWNLOADS RUNS RUN LAUNCH NETGEN \
  FROM LABELS PER_CLASS WITH_VALID UNOFFICIAL STOP_AFTER SNAPSHOT_MINUTES ROW ROWS TRIALS AGAINST RESULTS AGAIN SHOW MODEL OUT NAME IMAGE DATA DRAW \
  CAFFE MODELS DEPLOY MEAN SCALE RESIZE LOGITS PORT RECIPE SEED TEACHER JOBS STAGES MOST KILLS KEY SIGNER SIGNERS ARGS
EXPORTED := $(strip $(foreach v,$(ON_COMMAND_LINE),$(if $(filter environment,$(origin $(v))),$(v))))
$(foreach v,$(EXPORTED),$(eval undefine $(v)))
ifneq ($(and $(EXPORTED),$(filter 0,$(MAKELEVEL))),)
$(shell echo 'note: $(EXPORTED) of the environment: not taken, give such variables to make itself (make $(firstword $(EXPORTED))=...)' >&2)
endif

# It reaches a command as one word, whatever is in it: (text) as a word of the shell; (option, value), if there is one.
q   = '$(subst ','\'',$(1))'
opt = $(if $(2),$(1)=$(call q,$(2)))
# All but what is several words by intent is taken as it is typed: a "$" is no variable, a leading "-" no option, "~/" is the home.
define newline


endef
typed = $(subst $(newline),,$(subst $(newline)-,./-,$(subst $(newline)~/,$(HOME)/,$(newline)$(value $(1)))))
ENVIRONMENTS := TORCH_ENV TORCH_PYTHON DEPLOY_ENV DEPLOY_PYTHON CHECK_ENV CHECK_PYTHON FUZZ_ENV FUZZ_PYTHON RIVALS_ENV RIVALS_PYTHON
TYPED := $(filter-out NETGEN RUN LAUNCH CAFFE ARGS,$(ON_COMMAND_LINE)) THREADS STUDY_CSV SECONDS FUZZ_FOUND $(ENVIRONMENTS)
$(foreach v,$(TYPED),$(if $(filter command,$(firstword $(origin $(v)))),$(eval override $(v) := $$(call typed,$(v)))))
export $(ENVIRONMENTS)
# What names targets can hold no character that make itself reads.
FOR_MAKE := % : ; = \# $$ \ * ? [ ] | ~ " < > `
$(foreach v,WORK RUNS PRETRAIN_EPOCHS FINETUNE_EPOCHS,$(if $(or $(word 2,x$($(v))x),$(strip $(foreach c,$(FOR_MAKE),$(findstring $(c),$($(v)))))),\
  $(error $(v)=$($(v)): make cannot hold a space or one of $(FOR_MAKE) in such a name: choose another folder, or a link to it)))

# (variable, value, what it may be); (variable, value, pattern, what it is).
known  = $(if $(filter $(2),$(3)),,$(error $(1)=$(2) is none of: $(3)))
number = $(if $(2),$(if $(shell grep -xE '$(3)' <<< $(call q,$(2))),,$(error $(1)=$(2) is no number of $(4))))
$(call number,THREADS,$(THREADS),[1-9][0-9]?[0-9]?[0-9]?,threads: 1 or more)
$(call number,GPU,$(GPU),[0-9][0-9]?[0-9]?,one GPU: GPU=0$(comma) a run takes one)
$(call number,JOBS,$(JOBS),[1-9][0-9]?[0-9]?,runs at once: 1 or more)

# Numbers with commas, and ranges with "-": 1,2,7-8.
expand = $(foreach part,$(subst $(comma), ,$(1)),$(if $(findstring -,$(part)),$(shell seq $(foreach n,$(subst -, ,$(part)),$(call q,$(n)))),$(part)))
