"""What `make bench` measures: each part is a module with one public function, `measure`.

`measure(seconds, rounds)` takes so many seconds for each cell of each round, compares whatever it compares in
turns (A B A B), and returns a `Table` of medians. No test, for its figures are one machine's; the guard that
runs with the tests is `tests/integration/test_speed_guard.py`.
"""
