#!/bin/sh
# A night, for cron (0 2 * * * DATA_DIR=/srv/backtests /opt/fill-calibration/docs/examples/night.sh)
# or the systemd timer beside this file. Ends with the batch's exit code; where a later command
# finds something that needs a person, with that command's.
REPOSITORY=${REPOSITORY:-/opt/fill-calibration}
PYTHON=${PYTHON:-$REPOSITORY/.venv/bin/python}
NIGHT_DIR=${NIGHT_DIR:-/srv/fill-calibration}
out=$NIGHT_DIR/out

run() {
    "$PYTHON" "$REPOSITORY/run_calibration.py" "$@"
}

mkdir -p "$NIGHT_DIR" || exit 2
# New fills against what has been live, before the batch: so its mail can tell.
scored=0
if [ -f "$out/run.json" ]; then
    run score --out-dir "$out"
    scored=$?
fi
run --data-dir "$DATA_DIR" --out-dir "$out" --log-file "$NIGHT_DIR/log.jsonl"
code=$?
case $code in 2 | 130) exit $code ;; esac

[ $code -eq 0 ] && code=$scored
for words in promote "export --to $NIGHT_DIR/live"; do
    run $words --out-dir "$out"
    after=$?
    [ $code -eq 0 ] && code=$after
done
exit $code
