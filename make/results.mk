# Rows, tables and what is said of them. Included by the Makefile.
#   make -j4 row ROW=8                      five trials of one row of Table II, side by side
#   make -j4 table2 ROWS=1,2,7-8 TRIALS=1-3
# ROWS, TRIALS: numbers with commas, ranges with "-". THREADS: BLAS threads of each training (default 1).
# LAUNCH stands before each training and testing: LAUNCH='srun -c2'. STOP_AFTER=90m: every training snapshots and stops then.

RESULTS ?= $(W)results

.PHONY: row experiment table2 table3 judge report study bundle unbundle

# Table II's rows as number:depth:source. Of those numbered (1): the metrics of their TRIALS; the targets that train their TRIALS side by side.
TABLE2_ROWS = $(shell $(PLAIN) -m paper.experiments)
of_rows     = $(foreach row,$(TABLE2_ROWS),$(if $(filter $(1),$(firstword $(subst :, ,$(row)))),$(call $(2),$(word 2,$(subst :, ,$(row))),$(word 3,$(subst :, ,$(row))))))
row_metrics = $(foreach trial,$(call expand,$(TRIALS)),$(call q,$(call finetuned,$(1),$(2),$(trial))/metrics_$(SPLIT).json))
row_trials  = $(call q,trials-$(1)-$(2))
NUMBERED    = $(call expand,$(or $(ROWS),1-12))

# Train and test what is missing of ROWS. A run that fails does not keep the others back: make again retries it.
experiment: | env
	$(if $(filter cuda,$(DEVICE)),-@$(MAKE) --keep-going $(call of_rows,$(NUMBERED),row_trials))
	@$(MAKE) --keep-going $(or $(strip $(call of_rows,$(NUMBERED),row_metrics)),no-such-row)

no-such-row:
	@echo error: ROWS=$(call q,$(ROWS)) ROW=$(call q,$(ROW)) 'names no row of Table II: 1 to 12, as in ROWS=1,2,7-8' >&2; exit 1

REPORT_FROM = --runs=$(call q,$(RUNS)) --split $(SPLIT) $(call opt,--pretrain-epochs,$(PRETRAIN_EPOCHS)) $(call opt,--finetune-epochs,$(FINETUNE_EPOCHS))

row: ## train and test all TRIALS of row ROW of Table II (with -jN side by side)
	@$(MAKE) experiment ROWS=$(call q,$(or $(ROW),$(error row needs ROW=1 to ROW=12)))
	@$(PLAIN) -m evaluation.report.status $(REPORT_FROM)

table2: $(if $(SHOW),,experiment) ## train and test what is missing of ROWS, print Table II (SHOW=1: what is there, nothing is trained)
table3: ## Table III, ensembles, from the scores that are there
table3 judge report: | $(if $(SHOW),,$(filter table2,$(MAKECMDGOALS)))
table2 table3:
	@$(PLAIN) -m evaluation.report.tables $@ $(REPORT_FROM) --out=$(call q,$(RESULTS)) $(ARGS)

judge: ## intervals, per-class figures, calibration, duplicates, agreement of ROWS=8+11; McNemar's test AGAINST others
	@$(PLAIN) -m evaluation.report.judging $(REPORT_FROM) --data=$(call q,$(W)data/ferplus) $(call q,$(or $(ROWS),$(error judge needs ROWS=8 or ROWS=8+11))) $(if $(AGAINST),$(call q,$(AGAINST)))

report: ## all results as one HTML page that needs no network
	@$(PLAIN) -m evaluation.report.page $(REPORT_FROM) --data=$(call q,$(W)data/ferplus) --out=$(call q,$(RESULTS)) \
	  --commit "$$(GIT_CEILING_DIRECTORIES="$${PWD%/*}" git describe --always --dirty 2>/dev/null)"

# OF=study: of the paper's reading (docs/decisions.md, 1; paper/study.py). OF=ladder: of the recipe beyond it (2; paper/recipe.py).
# The PyTorch engine trains and tests. Runs lie in WORK/study, WORK/ladder.
#   make study JOBS=2 [ENGINE=torch PRECISION=bf16]    what is missing, two runs at once, one thread each; again: goes on where it stopped
OF         ?= study
STUDY_CSV  ?= docs/results/$(OF).csv
STUDY       = $(W)$(if $(filter study ladder,$(OF)),$(OF),$(error OF=$(OF) is neither study nor ladder))
STUDY_RULES = $(call q,$(STUDY)/rules.mk)
STUDY_RUN   = -m evaluation.report.$(notdir $(STUDY)) --csv=$(call q,$(STUDY_CSV))
STUDY_FROM  = --work=$(call q,$(STUDY)) --data=$(call q,$(W)data) $(if $(filter study,$(OF)),--downloads=$(call q,$(DOWNLOADS)) $(if $(UNOFFICIAL),--unofficial)) \
  --python=$(call q,$(TORCH)) --engine $(TORCH_NAME)
# Each round asks the rule what is missing by what came out so far, until nothing is. A run that fails does not keep the others back.
define run_study
	@mkdir -p $(call q,$(STUDY))
	@before=; while $(TORCH) $(STUDY_RUN) $(STUDY_FROM) --rules=$(STUDY_RULES) || exit 1; test -s $(STUDY_RULES); do \
	  now=$$(cksum < $(STUDY_RULES)); \
	  test "$$now" != "$$before" || { echo error: a round of $(STUDY_RULES) 'brought no result: look at the runs there' >&2; exit 1; }; before=$$now; \
	  THREADS=$(or $(THREADS),1) $(MAKE) -f $(STUDY_RULES) -j$(or $(JOBS),1) --keep-going all || exit 1; done
endef
study: ## which reading gives the paper's table (OF=ladder: what carries the recipe): run what is missing, JOBS at once, and print it (SHOW=1: what is there)
	$(if $(SHOW),,$(run_study))
	@$(PLAIN) $(STUDY_RUN)

# For a machine that has no data: make bundle here, make unbundle there; `python3 -m training.bundle results` there, make unbundle FROM=row8.zip here.
bundle: ## pack what ROWS need into a folder of files under 60 MB (OUT=bundle)
	@$(PLAIN) -m training.bundle pack --rows $(NUMBERED) --work=$(call q,$(or $(WORK),.)) --out=$(call q,$(or $(OUT),bundle))
unbundle: ## unpack FROM=bundle into WORK, or FROM=row8.zip into RUNS
	@$(PLAIN) -m training.bundle unpack --from=$(call q,$(or $(FROM),bundle)) --work=$(call q,$(or $(WORK),.)) --runs=$(call q,$(RUNS))
