"""Which policies a name on the command line means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from difflib import get_close_matches

from pqaudit.policy.model import Policy

ALL = "all"
IN_FORCE = "in-force"


def choose_policies(names: Iterable[str], policies: Mapping[str, Policy], as_of: date) -> tuple[Policy, ...]:
    """Policies by their ids, ``all``, or ``in-force``: those that may be met and ask something on the day.

    What has a successor that is in force too is not among these: who follows the successor breaks it.

    Each is there once, in the order of the names; those of one name by their ids.

    Raises:
        ValueError: there is none of that name, in one sentence.
    """
    chosen: dict[str, Policy] = {}
    for name in names:
        if name in policies:
            chosen[name] = policies[name]
        elif name == ALL:
            chosen.update(sorted(policies.items()))
        elif name == IN_FORCE:
            asking = {key: policy for key, policy in sorted(policies.items()) if in_force(policy, as_of)}
            chosen.update((key, policy) for key, policy in asking.items() if policy.successor not in asking)
        else:
            near = get_close_matches(name[:64], [*policies, ALL, IN_FORCE], 1)
            hint = f"did you mean {near[0]}?" if near else "`pqaudit rules list` shows all"
            raise ValueError(f"there is no policy {name!r}; {hint}")
    return tuple(chosen.values())


def in_force(policy: Policy, as_of: date) -> bool:
    """Whether packets can show on that day that the policy is met."""
    asked = (r for r in policy.requirements if r.level != "prefer" and (r.until is None or as_of <= r.until))
    return policy.unsure is None and any(asked)
