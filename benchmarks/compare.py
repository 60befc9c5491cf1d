"""What every benchmark shares: both sides run in turn in one process, medians and their ratio are printed.

Nothing is asserted: a timing belongs in a report, not in a test. The machine may be shared and noisy, so
sides alternate round by round and the spread is printed beside the median.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Timed = Callable[[int], float]


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def report(
    title: str,
    sides: Mapping[str, Timed],
    *,
    must: float | None,
    target: float | None,
    rounds: int = 7,
    warm: int = 1,
) -> None:
    """Run the sides in turn and print medians; the ratio is the first side over the second.

    Args:
        title: the row of the table.
        sides: name -> function of the round's number that returns seconds per unit; ours first, the peer
            second.
        must: the ratio to reach.
        target: the ratio to hope for.
        rounds: how many count; the more, the less a busy neighbour matters.
        warm: rounds before them that do not count.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(warm + rounds):
        for name, run in sides.items():
            elapsed = run(number)
            if number >= warm:
                times[name].append(elapsed)
    print(f"\n{title}")
    for name, values in times.items():
        low, middle, high = (1e3 * f(values) for f in (min, statistics.median, max))
        print(f"  {name:<34} median {middle:9.2f} ms   (min {low:.2f}, max {high:.2f}, n {rounds})")
    ours, peer = (statistics.median(values) for values in list(times.values())[:2])
    best_ours, best_peer = (min(values) for values in list(times.values())[:2])
    goals = [f"must {must}x" if must else "", f"target {target}x" if target else ""]
    ratios = f"ratio of medians {ours / peer:.3f}x, of minima {best_ours / best_peer:.3f}x"
    print(f"  {ratios}   {'  '.join(filter(None, goals))}")
