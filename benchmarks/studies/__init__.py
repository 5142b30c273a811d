"""Studies of the papers' claims: sample size from a pilot, verdicts by a fixed rule, and the pages of docs/studies.

python -m benchmarks.studies plan NAME RUN...    what each n can detect, from the first models of the study
python -m benchmarks.studies write NAME RUN...   store the table of finished runs and write the page and its figures
python -m benchmarks.studies repeat NAME RUN...  store the table of a second run, shown next to the first
python -m benchmarks.studies pages               write all pages again, from the stored tables alone
"""
