"""What the neurons of saved networks do and have learnt: population activity, spectra, answers, timescales.

Read first: measures.py.
"""
