"""Makes the embedded spoken digits anew; needs the extra `speech`.

Read first: speech.py.
"""
