"""What the neurons of saved networks do: population activity, spectra, and how Gaussian their answers are.

Read first: measures.py.
"""
