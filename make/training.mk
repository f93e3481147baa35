# Whole experiments, their overview, curves and speed. Included by the Makefile.
#   make -j4 row ROW=8                      five trials of one row of Table II, side by side
#   make -j4 table2 ROWS=1,2,7-8 TRIALS=1-3
# ROWS, TRIALS: numbers with commas, ranges with "-". THREADS: BLAS threads of each training (default 1).
# LAUNCH stands before each training and testing: LAUNCH='srun -c2'. STOP_AFTER=90m: every training snapshots and stops then.

TRIALS ?= 1-5
ROW    ?=

comma := ,
expand = $(foreach part,$(subst $(comma), ,$(1)),$(if $(findstring -,$(part)),$(shell seq $(foreach n,$(subst -, ,$(part)),$(call q,$(n)))),$(part)))
# Table II's rows as number:depth:source.
TABLE2_ROWS = $(shell $(PLAIN) -m paper.experiments)
# (number:depth:source, with colons as blanks): the metrics of that row's TRIALS.
trial_metrics = $(foreach trial,$(call expand,$(TRIALS)),$(call finetuned,$(word 2,$(1)),$(word 3,$(1)),$(trial))/metrics_$(SPLIT).json)
row_metrics = $(foreach row,$(TABLE2_ROWS),$(if $(filter $(1),$(firstword $(subst :, ,$(row)))),$(call trial_metrics,$(subst :, ,$(row)))))

.PHONY: row experiment status curves bench bench-training

# Train and test what is missing of ROWS. A run that fails does not keep the others back: make again retries it.
experiment: | env
	@$(MAKE) --no-print-directory --keep-going $(or $(strip $(foreach f,$(call row_metrics,$(call expand,$(or $(ROWS),1-12))),$(call q,$(f)))),no-such-row)

# Table II is printed (report.mk) when it is complete; SHOW=1 prints what is there and trains nothing.
table2: $(if $(SHOW),,experiment)

row: ## train and test all TRIALS of row ROW of Table II (with -jN side by side)
	@$(MAKE) --no-print-directory experiment ROWS=$(call q,$(or $(ROW),$(error row needs ROW=1 to ROW=12)))
	@$(MAKE) --no-print-directory status

no-such-row:
	@echo error: ROWS=$(call q,$(ROWS)) ROW=$(call q,$(ROW)) 'names no row of Table II: 1 to 12, as in ROWS=1,2,7-8' >&2; exit 1

status: | $(PLAIN_ENV) ## how Table II stands: done, running, stopped, failed, missing, time left
	@$(PLAIN) -m evaluation.report.status $(REPORT_FROM)

curves: | $(PLAIN_ENV) ## draw loss, rate and validation accuracy of every run in RUNS, and all in one picture
	@$(PLAIN) -m evaluation.report.curves --runs=$(call q,$(RUNS)) --out=$(call q,$(W)results/curves$(addprefix _,$(filter-out caffe,$(ENGINE_NAME))).png)

bench: bench-training ## speed: training against the stock caffe, testing against caffe.Classifier
bench-training: | env
	@$(PYTHON) -m benchmarks.training
