"""`python -m model.gpu_check`: everything there is to know about a GPU and this code, on one page, within ten minutes.

No GPU has run it yet; `--simulate` runs its control flow on a processor.
"""
