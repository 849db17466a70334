"""Print the table of docs/profiles.md: what each target model is shown, from the profiles themselves.

Run: python -m benchmarks.profiles
"""

from __future__ import annotations

from optical_memory.budget import Profile, get_profile, profiles
from optical_memory.policies import legible_tiers

HEADS = ("profile", "page", "cells", "tiers (tokens; legibility)", "gist (cells)", "images, MB", "$ fresh/read/written")


def row(profile: Profile) -> str:
    """Return one row of the table; tiers that are not trusted are in brackets."""
    legible = {tier.name for tier in legible_tiers(profile)}
    tiers = []
    for tier in profile.tiers:
        share = profile.legibility.get(tier.name)
        text = f"{tier.name} {tier.tokens}" + (f"; {share:g}" if share is not None else "")
        tiers.append(text if tier.name in legible else f"({text})")
    price = profile.price
    cells = (
        profile.name,
        f"{profile.grid.width}×{profile.grid.height}",
        f"{profile.grid.columns}×{profile.grid.rows} = {profile.grid.capacity:,}",
        ", ".join(tiers),
        f"{profile.gist.tokens} ({profile.gist_grid.capacity:,})",
        f"{profile.max_images:,}, {profile.max_request_bytes // 1_000_000:,}",
        f"{price.fresh:g}/{price.cached:g}/{price.written:g}" if price.fresh else "runs here",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(f"| {' | '.join(HEADS)} |")
    print("|" + "---|" * len(HEADS))
    for name in profiles():
        print(row(get_profile(name)))
