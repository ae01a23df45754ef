"""The interactive page: tabs, the live server, and export through an installed Chromium.

Read first: page.py.
"""
