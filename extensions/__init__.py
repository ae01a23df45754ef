"""Tasks and architectures that are not ours: classes in a person's file or in an installed package."""
