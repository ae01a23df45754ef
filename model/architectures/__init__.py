"""Every architecture that comes with the program: settings, counts and operations by formulas, without torch.

Read first: gated.py, which has the simplest; cells.py for those that are counted from their torch module.
"""
