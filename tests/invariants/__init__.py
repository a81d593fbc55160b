"""What the product promises, each promise as a plain function that raises `AssertionError` where it is broken.

The ordinary tests call these functions on the product as it is; `tests/test_sabotage.py` calls the same functions on a
product that was broken on purpose and wants them to fail. `docs/invariants.md` is the table of both.
"""
