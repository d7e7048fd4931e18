"""The row reader: one log file as a table, every row of it checked against the input contract.

``read_table`` turns bytes into cells and knows nothing of what they mean; ``check_table`` knows
nothing of files. Neither guesses: a row is good, or it is set aside with its row number, or
(where the whole file has no meaning) an InputError is raised.
"""
