# The study of the paper's reading (docs/decisions.md, 1; paper/study.py). Included by the Makefile.
#   make study JOBS=2 [ENGINE=torch PRECISION=bf16]    what is missing, two runs at once, one thread each; again: goes on where it stopped
#   make study SHOW=1                                  what is there, from docs/results/study.csv
# The PyTorch engine trains and tests. Runs lie in WORK/study.

JOBS      ?= 1
STUDY_CSV ?= docs/results/study.csv
STUDY     := $(W)study
STUDY_RULES = $(call q,$(STUDY)/rules.mk)
STUDY_RUN  = $(TORCH) -m evaluation.report.study --csv=$(call q,$(STUDY_CSV))
STUDY_FROM = --work=$(call q,$(STUDY)) --data=$(call q,$(W)data) --downloads=$(call q,$(DOWNLOADS)) $(if $(UNOFFICIAL),--unofficial) --python=$(call q,$(TORCH)) \
	--engine $(TORCH_NAME)

$(if $(shell grep -xE '[1-9][0-9]{0,2}' <<< $(call q,$(JOBS))),,$(error JOBS=$(JOBS) is no number of runs at once: 1 or more))

.PHONY: study
# Each round asks the rule what is missing by what came out so far, until nothing is. A run that fails does not keep the others back.
study: $(if $(SHOW),,$(TORCH_ENV)/.complete) ## which reading gives the paper's table: run what is missing (SHOW=1: print what is there)
ifeq ($(SHOW),)
	@mkdir -p $(call q,$(STUDY))
	@before=; while $(STUDY_RUN) $(STUDY_FROM) --rules=$(STUDY_RULES) || exit 1; test -s $(STUDY_RULES); do \
	  now=$$(cksum < $(STUDY_RULES)); \
	  test "$$now" != "$$before" || { echo error: a round of $(STUDY_RULES) 'brought no result: look at the runs there' >&2; exit 1; }; before=$$now; \
	  THREADS=$(or $(THREADS),1) $(MAKE) -f $(STUDY_RULES) -j$(JOBS) --keep-going all || exit 1; done
	@$(STUDY_RUN)
else
	@$(PLAIN) -m evaluation.report.study --csv=$(call q,$(STUDY_CSV))
endif
