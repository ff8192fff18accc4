"""From run folders to a report: one self-contained page and plain tables. Loads no model.

`revive.report.page.write_report` is the entry; `load` reads a run folder, `narrative` says in
words what the numbers show.
"""
