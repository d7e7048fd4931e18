"""What is live: what may go there, what takes it back, and that no kill leaves half of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mm
from mm.core.errors import CalibrationError
from mm.core.policy import Policy
from mm.registry.change import Offer, Signature, export, promote, rollback, status
from mm.registry.store import Registry, digest, open_registry
from mm.results.params import FindingNumbers, Params
from mm.results.record import Record

NOW = datetime(2026, 11, 26, 8, tzinfo=UTC)


@pytest.fixture(scope="session")
def base(tables: Mapping[str, pd.DataFrame]) -> Params:
    found = mm.calibrate(**tables, tick_size=1.0, symbol="AAA").params
    assert found is not None
    return found


def offer(base: Params, symbol: str = "AAA", of_record: Any = None, **changed: Any) -> Offer:
    text = base.model_copy(update={"symbol": symbol, **changed}).to_json()
    outputs = {f"params_{symbol}.json": digest(text)}
    return Offer(Record(**{"status": "ok", "outputs": outputs, **(of_record or {})}), text)


def signed(why: str = "the night's", force: bool = False) -> Signature:
    return Signature("ann@desk", why, NOW, force)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registry"


def put(folder: Path, *offers: Offer, policy: Policy = Policy(), **how: Any) -> list[str]:  # noqa: B008
    """Promotes; returns a line a symbol, those that are live with a plus."""
    with open_registry(folder) as registry:
        named = {json.loads(o.text or '{"symbol": "AAA"}')["symbol"]: o for o in offers}
        told = promote(registry, named, policy, signed(**how))
    return [f"{'+' if outcome.done else '-'} {outcome.symbol} {outcome.line}" for outcome in told]


def live_A(folder: Path, symbol: str = "AAA") -> float | None:
    registry = Registry(folder)
    version = registry.live().get(symbol)
    return None if version is None else registry.params(symbol, version).A


def test_promote_and_roll_back_again_and_again(folder: Path, base: Params) -> None:
    for level in (1.0, 1.1, 1.2):
        assert put(folder, offer(base, A=level), offer(base, "BBB", A=level))[0].startswith("+ AAA")
    put(folder, offer(base, "BBB", A=9.0))
    assert put(folder, offer(base, "BBB", A=9.0)) == ["+ BBB live already"]
    seen = []
    for _ in range(4):
        with open_registry(folder) as registry:
            rollback(registry, signed("as it was"))
        seen.append((live_A(folder), live_A(folder, "BBB")))
    assert seen == [(1.2, 1.2), (1.1, 1.1), (1.0, 1.0), (None, None)]
    with open_registry(folder) as registry, pytest.raises(CalibrationError, match="no promotion"):
        rollback(registry, signed())
    journal = Registry(folder).journal()
    assert [r.action for r in journal] == ["promote"] * 4 + ["rollback"] * 4
    assert {(r.who, r.when_utc) for r in journal} == {("ann@desk", "2026-11-26T08:00:00+00:00")}


def test_one_symbol_is_rolled_back_and_the_others_stay(folder: Path, base: Params) -> None:
    for level in (1.0, 1.1, 1.2):
        put(folder, offer(base, A=level), offer(base, "BBB", A=level))
    with open_registry(folder) as registry:
        rollback(registry, signed(), ["AAA"])
        rollback(registry, signed(), ["AAA"])
    assert (live_A(folder), live_A(folder, "BBB")) == (1.0, 1.2)
    with open_registry(folder) as registry:
        rollback(registry, signed())
    assert (live_A(folder), live_A(folder, "BBB")) == (1.0, 1.1), "it takes back what stands"


@pytest.mark.parametrize(
    ("of_record", "changed", "policy", "said"),
    [
        ({"status": "stale"}, {}, Policy(), "stale"),
        ({"status": "missing"}, {}, Policy(), "missing: no files"),
        ({}, {"outdated": "missing since"}, Policy(), "outdated"),
        ({}, {"valid_until": "2026-11-26T07:59:59+00:00"}, Policy(), "expired"),
        (
            {},
            {"findings": [("warn", "level", "off", None, "")]},
            Policy(block_codes=("level",)),
            "level: warned",
        ),
        ({}, {"A": 2.0}, Policy(max_move=0.5), "moved: λ at"),
        ({}, {"k": 0.9}, Policy(max_move=0.5), "moved: "),
        ({"outputs": {}}, {}, Policy(), "not as the batch wrote it"),
    ],
)
def test_what_speaks_against_it_is_said_and_only_force_goes_on(
    folder: Path, base: Params, of_record: Any, changed: Any, policy: Policy, said: str
) -> None:
    put(folder, offer(base, A=1.2))
    if "findings" in changed:
        names = ("level", "code", "text", "number", "threshold")
        findings = [FindingNumbers(**dict(zip(names, f, strict=True))) for f in changed["findings"]]
        changed = {"findings": tuple(findings)}
    new = offer(base, of_record=of_record, **{"A": 1.25, **changed})
    (line,) = put(folder, new, policy=policy)
    assert line.startswith("- AAA")
    assert said in line
    assert live_A(folder) == 1.2
    (line,) = put(folder, new, policy=policy, why="the desk wants it", force=True)
    if "outputs" in of_record:
        assert line.startswith("- AAA"), "what nobody calibrated can't be forced"
        return
    assert line.startswith("+ AAA")
    last = Registry(folder).journal()[-1]
    assert said in last.overridden["AAA"][0]
    assert last.why == "the desk wants it"


def test_a_refused_symbol_has_nothing_to_promote(folder: Path) -> None:
    refused = Offer(Record(status="refused", reasons=("few fills",)), None)
    assert put(folder, refused, force=True) == [
        "- AAA not promoted: no parameters: refused, few fills"
    ]


def test_a_move_within_its_error_or_of_another_tick_is_none(folder: Path, base: Params) -> None:
    policy = Policy(max_move=0.1)
    put(folder, offer(base))
    wide = ((1.0, 0.0), (0.0, 0.1))
    assert put(folder, offer(base, A=base.A * 1.3, cov_logA_k=wide), policy=policy)[0][0] == "+"
    with open_registry(folder) as registry:
        rollback(registry, signed())
    halved = {"tick_size": base.tick_size / 2, "k": base.k / 2, "k_price": base.k_price}
    finer = offer(base, **halved, lambda_quoted=())
    assert put(folder, finer, policy=policy)[0].startswith("+ AAA live: λ at 1 ticks is 1.00 times")


def test_exported_are_live_ones_that_hold(folder: Path, base: Params, tmp_path: Path) -> None:
    until = (NOW + timedelta(hours=2)).isoformat(timespec="seconds")
    put(folder, offer(base), offer(base, "BBB", valid_until=until))
    target = tmp_path / "consumer"
    assert all(o.done for o in export(Registry(folder), target, NOW))
    assert (target / "params_AAA.json").read_text("utf-8") == base.to_json()
    (target / "params_CCC.json").write_text("not ours")
    told = {o.symbol: o for o in export(Registry(folder), target, NOW + timedelta(hours=3))}
    assert (told["AAA"].done, told["BBB"].done) == (True, False)
    assert {p.name for p in target.iterdir()} == {"params_AAA.json", "params_CCC.json"}
    lines = status(Registry(folder), {}, Policy(), NOW + timedelta(hours=3))
    assert [o.done for o in lines] == [True, False]
    assert "EXPIRED" in lines[1].line


def test_an_altered_version_or_journal_is_found_out(
    folder: Path, base: Params, tmp_path: Path
) -> None:
    put(folder, offer(base, A=1.0))
    put(folder, offer(base, A=1.1))
    registry = Registry(folder)
    path = folder / "versions" / "AAA" / f"{registry.live()['AAA']}.json"
    path.write_text(path.read_text("utf-8").replace('"A": 1.1', '"A": 1.3'), encoding="utf-8")
    assert ["not as it was registered" in o.line for o in export(registry, tmp_path, NOW)] == [True]
    journal = folder / "journal.jsonl"
    journal.write_text(journal.read_text("utf-8").replace("ann@desk", "bob@desk", 1))
    with pytest.raises(CalibrationError, match=r"journal.jsonl, row 2"):
        registry.journal()


#: Promotes and rolls back for ever, three symbols at once, and says so after each.
FOREVER = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from mm.core.policy import Policy
from mm.registry.change import Offer, Signature, promote, rollback
from mm.registry.store import digest, open_registry
from mm.results.record import Record

folder, base = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text("utf-8"))

def offer(symbol, level):
    text = json.dumps({**base, "symbol": symbol, "A": level}, indent=2, ensure_ascii=False) + "\\n"
    return Offer(Record(status="ok", outputs={f"params_{symbol}.json": digest(text)}), text)

step = int(sys.argv[3])
while True:
    with open_registry(folder) as registry:
        signed = Signature("w", "", datetime.now(UTC))
        if step % 3 == 2:
            rollback(registry, signed)
        else:
            offers = {s: offer(s, 1.0 + step) for s in ("AAA", "BBB", "CCC")}
            promote(registry, offers, Policy(), signed)
    step += 1
    print(step, flush=True)
"""


def kills(folder: Path, base: Params, number: int, seed: int) -> None:
    """Kill a process that changes what is live, at random instants; hold what stands after each."""
    params = folder.with_name("params.json")
    params.write_text(base.to_json(), encoding="utf-8")
    rng, step, told = np.random.default_rng(seed), 0, 0
    for killed in range(1, number + 1):
        command = [sys.executable, "-c", FOREVER, str(folder), str(params), str(step)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(int(rng.integers(1, 8))):
                step, told = int(process.stdout.readline()), told + 1
            for _ in range(int(rng.integers(0, 40_000))):
                pass  # somewhere within the next step
            process.kill()
            for line in process.stdout:
                step, told = int(line), told + 1
        registry = Registry(folder)
        levels = {registry.params(s, v).A for s, v in registry.live().items()}
        assert sorted(registry.live()) == ["AAA", "BBB", "CCC"]
        assert len(levels) == 1, "all of a promotion or none"
        before = registry.live()
        with open_registry(folder) as registry:
            releases = registry.journal()
            assert [r.number for r in releases] == list(range(1, len(releases) + 1))
            assert registry.live() == before
            assert {s: after for s, (_, after) in releases[-1].changed.items()} == before
            assert told <= len(releases) <= told + killed, "what was said to be done is done"
        assert not list(folder.rglob("*.part"))


def test_a_kill_at_any_instant_leaves_one_whole_version_live(folder: Path, base: Params) -> None:
    kills(folder, base, 6, seed=1)


def test_what_went_live_under_an_older_version_is_still_read(tmp_path: Path) -> None:
    """A field that is new has a default."""
    text = (Path(__file__).parent / "params_0.4.0.json").read_text(encoding="utf-8")
    with open_registry(tmp_path) as registry:
        version = registry.add("AAA", text)
        assert registry.params("AAA", version).versions["mm-calibrate"] == "0.4.0"
