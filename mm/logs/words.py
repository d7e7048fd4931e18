"""Venues' words for actions, statuses and sides, as the one word for each that the rules know.

A word is compared by its letters alone: ``OrderStatus.CANCELED``, ``order canceled`` and
``CANCELLED`` are one. A word of no kind stays what it is; what orders it may leave open,
``mm.logs.never_ended`` looks for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Mask
from mm.logs.columns import ACTIONS
from mm.logs.order_ids import is_one_of, words_of

#: An action that says that the order was never in the book.
REJECT = "REJECT"
_SIDES = {"B": "BUY", "BID": "BUY", "S": "SELL", "ASK": "SELL", "OFFER": "SELL"}
_SIGNS = {"1": "BUY", "+1": "BUY", "-1": "SELL"}
_OF_A_REQUEST = re.compile("CANCEL|AMEND|MODIF|REPLACE|UPDATE")
_NOT_YET = re.compile("REQ|PENDING|SENT|SUBMIT|CANCELL?ING")
_FILLED = {"FILLED": "CLOSE_FILLED", "FULLYFILLED": "CLOSE_FILLED", "FULLFILL": "CLOSE_FILLED"}
_PART = {"PARTIALFILL", "PARTIALLYFILLED", "PARTFILLED", "PARTIALLYFILL", "TRADE", "TRADED"}
#: What an order that is in the book, or on its way there, is said to be.
_LIVE = re.compile("OPEN|NEW|ACCEPT|PLACED|ACTIVE|LIVE|WORKING|RESTING|ACK|CONFIRM|SUBMIT|PENDING")


def meaning(word: str) -> str:
    """What an action or a status says of its order: one of ACTIONS, REJECT, or the word itself.

    CANCEL alone stays: whether it asks or tells depends on the other words of its file.
    """
    bare = re.sub("[^A-Z]", "", word.upper().rpartition(".")[2])
    if word in ACTIONS:
        return word
    of_request = _OF_A_REQUEST.search(bare)
    if re.search("REJ|DENI|INACTIVE|REFUSE", bare):
        return word if of_request else REJECT  # of a cancel that was turned down: it goes on
    if "EXPIR" in bare:
        return word if _NOT_YET.search(bare) else "EXPIRE"
    if re.search("CANCEL|KILLED", bare) and bare != "CANCEL":
        return "CANCEL_REQ" if _NOT_YET.search(bare) else "CANCEL_ACK"
    return _FILLED.get(bare, "FILL" if bare in _PART else word)


def is_live(status: str) -> bool:
    """Whether a status says that the order rests, or says nothing."""
    return not status or bool(_LIVE.search(status)) or meaning(status) in ("FILL", "CLOSE_FILLED")


def understood(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """A file's table in the words that the rules know, and what was read as what.

    ``table``: words in capitals. Statuses count on PLACE rows, where they tell of orders that
    never rested, and on rows of unknown actions, as the action that they name.
    """
    said: dict[str, str] = {}
    if "side" in table:
        table = _respelled(table, "side", _sides(words_of(table["side"])), said)
    if "action" not in table:
        return table, said
    table = _respelled(table, "action", _actions(words_of(table["action"])), said)
    if "status" in table:
        table = _by_status(table, said)
    rejects = is_one_of(table["action"], REJECT)
    if rejects.any():
        said["REJECT rows"] = "placements that never rested"
        table = _rejected(table, rejects)
    return table, said


def is_plain(table: pd.DataFrame) -> bool:
    """Whether no word here is read otherwise by `understood`, orders placed twice aside."""
    if "side" in table and _sides(words_of(table["side"])):
        return False
    if "action" not in table:
        return True
    actions = words_of(table["action"])
    if _actions(actions) or REJECT in actions:
        return False
    ends = {meaning(word) for word in words_of(table["status"])} if "status" in table else set()
    rejects = "status" in table and any(
        meaning(word) == REJECT for word in words_of(table["status"]) if word != "REJECTED"
    )
    strange = any(word not in (*ACTIONS, "SKIP") for word in actions)
    return not rejects and not (strange and ends & {REJECT, "CANCEL_ACK", "EXPIRE"})


def _sides(words: list[str]) -> dict[str, str]:
    signs = {word.removesuffix(".0"): word for word in words}
    if {"1", "-1"} <= signs.keys():  # 1 beside 0 may be either side
        return {word: _SIGNS[sign] for sign, word in signs.items() if sign in _SIGNS}
    return {word: _SIDES[word] for word in words if word in _SIDES}


def _actions(words: list[str]) -> dict[str, str]:
    found = {word: to for word in words if (to := meaning(word)) != word}
    if "CANCEL" in words:
        told = "CANCEL_ACK" in {*words, *found.values()}
        found["CANCEL"] = "CANCEL_REQ" if told else "CANCEL_ACK"
    return found


def _respelled(
    table: pd.DataFrame, name: str, to: Mapping[str, str], said: dict[str, str]
) -> pd.DataFrame:
    if not to:
        return table
    said.update({f"{name} {word}": meant for word, meant in to.items()})
    return table.assign(**{name: table[name].astype("str").replace(dict(to))})


def _by_status(table: pd.DataFrame, said: dict[str, str]) -> pd.DataFrame:
    """Other words than REJECTED as that on PLACE rows; what ends an order, on its later PLACE rows
    and on rows of unknown actions, as the action that it names.

    A first PLACE row may hold the order's last status, which ends nothing then.
    """
    ends = {word: meaning(word) for word in words_of(table["status"])}
    ends = {word: to for word, to in ends.items() if to in (REJECT, "CANCEL_ACK", "EXPIRE")}
    if not ends:
        return table
    ids, status, action = (table[n].astype("str") for n in ("order_id", "status", "action"))
    placing = is_one_of(action, "PLACE")
    rejected = is_one_of(status, *(word for word, to in ends.items() if to == REJECT))
    first = table["price"].groupby(ids.where(placing)).transform("first").to_numpy()
    # At another price it was an amendment that was turned down, and the order goes on.
    same = ~(table["price"].to_numpy() != first) | table["price"].isna().to_numpy()
    later = placing & ids.where(placing).duplicated().to_numpy()
    unknown = ~is_one_of(action, *ACTIONS, REJECT, "SKIP")
    acts = is_one_of(status, *ends) & ((later & (same | ~rejected)) | unknown)
    never = placing & ~acts & rejected
    for word in status[acts | never].unique():
        if word != "REJECTED":
            to = ends[str(word)]
            said[f"status {word}"] = "REJECTED" if to == REJECT else to
    return table.assign(
        status=status.mask(never, "REJECTED").mask(acts, ""),
        action=action.mask(acts, status.map(ends)),
    )


def _rejected(table: pd.DataFrame, rejects: Mask) -> pd.DataFrame:
    """The orders of REJECT rows as rejected where they were placed. Not of an order that had been
    filled or was to be cancelled: there the request was turned down."""
    ids = table["order_id"].astype("str")
    lived = set(ids[is_one_of(table["action"], "FILL", "CLOSE_FILLED", "CANCEL_REQ")])
    never = ids.isin(set(ids[rejects]) - lived).to_numpy() & is_one_of(table["action"], "PLACE")
    status = table.get("status", pd.Series("", index=table.index, dtype="str")).astype("str")
    return table.assign(status=status.mask(never, "REJECTED"))


def last_words(table: pd.DataFrame, ids: npt.NDArray[Any]) -> dict[str, int]:
    """The last word on each of these orders where it is none that the rules know, by how many."""
    own = table[table["order_id"].isin(ids).to_numpy()]
    last = own.drop_duplicates("order_id", keep="last")
    counts: Counter[str] = Counter()
    statuses = last["status"].astype("str") if "status" in last else [""] * len(last)
    for action, status in zip(last["action"].astype("str"), statuses, strict=True):
        if action not in (*ACTIONS, REJECT):
            counts[f"action {action}"] += 1
        elif not is_live(status):
            counts[f"status {status}"] += 1
    return dict(counts)
