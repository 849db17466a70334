"""How long a policy plans the past of a memory: milliseconds of processor time by the number of pages.

python -m benchmarks.planning [--policy budgeted] [--pages 50 200 1000] [--budget 8000]
"""

from __future__ import annotations

import argparse
import statistics
import time

from optical_memory.budget import get_profile
from optical_memory.policies import PageInfo, get_policy, legible_tiers
from optical_memory.policies.ladder import tier_costs

ROUNDS = 31


def past(count: int) -> list[PageInfo]:
    """Return pages as they are sealed: none has a tier yet, every third is from a user."""
    costs = tier_costs(legible_tiers(get_profile("mini")), text_tokens=1_600)
    return [
        PageInfo(id=str(number), level=0, costs=costs, importance=0.8 if number % 3 == 0 else 0.4)
        for number in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="budgeted")
    parser.add_argument("--pages", type=int, nargs="+", default=[50, 200, 1_000])
    parser.add_argument("--budget", type=int, default=8_000)
    options = parser.parse_args()
    policy, gist_tokens = get_policy(options.policy), get_profile("mini").gist.tokens
    for count in options.pages:
        pages, times = past(count), []
        for _ in range(ROUNDS):
            start = time.process_time()
            plan = policy.plan(pages, now=0.0, budget=options.budget, gist_tokens=gist_tokens)
            times.append((time.process_time() - start) * 1e3)
        shown = len(plan.tiers) + len(plan.merges)
        print(f"{count:>6,} pages: {statistics.median(times):6.2f} ms, {shown} pages left, {plan.tokens:,} tokens")


if __name__ == "__main__":
    main()
