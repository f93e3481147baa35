# Tables, figures, ensembles and the page, from the scores that are there: nothing here trains. Included by the Makefile.
# ROWS: 8+11 (rows of Table II, or of evaluation/report/rows.csv). FORMAT=csv: tables as CSV on the terminal. ENGINE=torch: the runs of
# the torch engine. RESULTS: where to.

RESULTS  ?= $(W)results
ROWS     ?=
AGAINST  ?=
BUDGET   ?=
WEIGHTED ?=
FORMAT   ?= text

$(call known,FORMAT,$(FORMAT),text csv)

REPORT_FROM = --runs=$(call q,$(RUNS)) --split $(SPLIT) $(call opt,--pretrain-epochs,$(PRETRAIN_EPOCHS)) $(call opt,--finetune-epochs,$(FINETUNE_EPOCHS))

.PHONY: table2 table3 table4 fig2 fig3 reliability ensemble judge report bench-eval

table2: ## Table II, single networks: the paper's figures and ours
table3: ## Table III, ensembles
table4: ## Table IV, the literature's methods
table2 table3 table4: | $(PLAIN_ENV)
	@$(PLAIN) -m evaluation.report.tables $@ $(REPORT_FROM) --format $(FORMAT) --out=$(call q,$(RESULTS))

fig2: ## Figure 2, the confusion matrix of ROWS, as PNG and SVG
fig3: ## Figure 3, information density
reliability: ## the reliability diagram of ROWS
fig2 fig3 reliability: | $(PLAIN_ENV)
	@$(PLAIN) -m evaluation.report.draw $@ $(REPORT_FROM) $(if $(filter-out fig3,$@),$(call opt,--rows,$(ROWS))) --out=$(call q,$(RESULTS))

ensemble: | $(PLAIN_ENV) ## average the scores of ROWS=8+11 (WEIGHTED=1), or search for the best of BUDGET million parameters
	@$(PLAIN) -m evaluation.report.ensemble $(REPORT_FROM) $(if $(ROWS),$(call q,$(ROWS))) $(if $(WEIGHTED),--weighted) $(call opt,--budget,$(BUDGET))

judge: | $(PLAIN_ENV) ## intervals, per-class figures, calibration, duplicates, agreement of ROWS; McNemar's test AGAINST others
	@$(PLAIN) -m evaluation.report.judging $(REPORT_FROM) --data=$(call q,$(W)data/ferplus) $(call q,$(or $(ROWS),$(error judge needs ROWS=8 or ROWS=8+11))) $(if $(AGAINST),$(call q,$(AGAINST)))

report: | $(PLAIN_ENV) ## all results as one HTML page that needs no network
	@$(PLAIN) -m evaluation.report.page $(REPORT_FROM) --data=$(call q,$(W)data/ferplus) --out=$(call q,$(RESULTS)) \
	  --commit "$$(GIT_CEILING_DIRECTORIES="$${PWD%/*}" git describe --always --dirty 2>/dev/null)"

bench: bench-eval
bench-eval: | env
	@$(PYTHON) -m benchmarks.evaluation --data=$(call q,$(W)data/ferplus)

# Chromium is where people have it, outside Caffe's environment.
.PHONY: test-page
test: $(if $(TESTS),,test-page)
test-page: | env ## open a page of synthetic scores in headless Chromium (skipped where there is none)
	@mkdir -p $(call q,$(RESULTS)) && made=$$(mktemp -d $(call q,$(RESULTS)/page_test.XXXXXX)) && trap 'rm -rf "$$made"' EXIT && \
	  $(RUN) python3 tests/synthetic_scores.py "$$made/runs" && $(RUN) python3 -m evaluation.report.page --runs "$$made/runs" --out "$$made" && \
	  python3 tests/page_in_chromium.py "$$made"/report_*.html
