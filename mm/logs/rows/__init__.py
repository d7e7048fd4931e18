"""Read one log file as a table and check every row of it against the input contract.

``read_table`` turns bytes into cells and knows nothing of what they mean; ``check_table`` knows
nothing of files. Neither guesses: a row is good, or it is set aside with its row number, or
(where the whole file has no meaning) an InputError is raised.
"""

from mm.logs.rows.columns import OPTIONAL, REQUIRED, RawTable
from mm.logs.rows.raw import read_table
from mm.logs.rows.reader import Checked, check_table

__all__ = ["OPTIONAL", "REQUIRED", "Checked", "RawTable", "check_table", "read_table"]
