"""The information-theoretic law: closed form, fits, uncertainty, allocation."""
