"""Whether what an SA selected meets one requirement: yes, no, or it cannot be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from pqaudit.policy.facts import IKEV1, Choice, SaFacts
from pqaudit.policy.model import AlgorithmTest, DeviationTest, KeyExchangeTest, Policy, Requirement, VersionTest
from pqaudit.rules.registry import Method, Registry


class Result(IntEnum):
    """Worst first."""

    UNMET = 0
    UNKNOWN = 1
    MET = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result, with its slug, a sentence, and the field of the finding and the value that it rests on."""

    result: Result
    slug: str
    sentence: str
    field: str
    value: str | None


def check(requirement: Requirement, policy: Policy, facts: SaFacts, registry: Registry) -> Outcome:
    """The outcome of one requirement. What is not certain neither fails nor passes."""
    doubt = _doubt(policy, facts)
    if doubt is not None:
        return doubt
    found = min(_outcomes(requirement, facts, registry), key=lambda outcome: outcome.result)
    if found.result is Result.MET and not facts.passable:
        return _not_passable(facts)
    return found


def _doubt(policy: Policy, facts: SaFacts) -> Outcome | None:
    """Why nothing at all can be said of what was selected, or None."""
    if not facts.certain and not (facts.version == IKEV1 and facts.in_use):
        return _not_passable(facts)
    doubtful = [slug for slug in facts.deviations or () if slug in policy.doubtful]
    if doubtful:
        sentence = f"What was selected is not certain: {', '.join(doubtful)}."
        return Outcome(Result.UNKNOWN, "doubtful-selection", sentence, "pqaudit.deviations", doubtful[0])
    return None


def _not_passable(facts: SaFacts) -> Outcome:
    if facts.assurance == "contradicted":
        sentence = "The selected key exchanges were not seen to run as they must."
        return Outcome(Result.UNKNOWN, "contradicted", sentence, "pqaudit.assurance", facts.assurance)
    if facts.undetermined:
        sentence = f"The capture does not show for certain what was selected ({facts.why})."
        return Outcome(Result.UNKNOWN, "undetermined", sentence, "pqaudit.reason", facts.why)
    if facts.certain:
        sentence = "The finding lacks fields that every finding has."
        return Outcome(Result.UNKNOWN, "damaged-finding", sentence, "pqaudit", None)
    sentence = "Nothing was seen to be selected."
    return Outcome(Result.UNKNOWN, "not-selected", sentence, "pqaudit.assurance", facts.assurance or None)


def _outcomes(requirement: Requirement, facts: SaFacts, registry: Registry) -> Iterator[Outcome]:
    test = requirement.test
    if isinstance(test, KeyExchangeTest):
        yield from _key_exchange(test, facts, registry)
    elif isinstance(test, AlgorithmTest):
        yield _integrity(test, facts) if test.kind == "integrity" else _algorithm(test, facts)
    elif isinstance(test, VersionTest):
        yield _version(test, facts)
    else:
        yield _deviations(test, facts)


def _key_exchange(test: KeyExchangeTest, facts: SaFacts, registry: Registry) -> Iterator[Outcome]:
    field = "pqaudit.selected.key_exchange"
    if facts.version == IKEV1 and facts.main is None:
        yield _unseen_group_of_ikev1(test, registry)
        return
    if facts.main is None or facts.additional is None:
        yield Outcome(Result.UNKNOWN, "not-known", "The finding does not tell the key exchanges.", field, None)
        return
    every = (facts.main, *facts.additional)
    if facts.additional:
        field = "pqaudit.selected.additional_key_exchanges"
    value = "+".join(method.name for method in every)
    alone = _key_exchange_results(test, (facts.main,))
    for (slug, sentence, result), (_, _, without) in zip(_key_exchange_results(test, every), alone, strict=True):
        # Which of the additional exchanges ran is unknown: only what fails with all and with none is certain.
        if facts.assurance == "contradicted" and not result is without is Result.UNMET:
            yield _not_passable(facts)
            continue
        if result is Result.UNKNOWN:
            text = f"{value}: a private-use or unassigned number does not tell which method it is."
            yield Outcome(result, "unregistered-method", text, field, value)
        elif result is Result.UNMET:
            yield Outcome(result, slug, f"{value} was selected; {sentence}.", field, value)
        else:
            yield Outcome(result, "met", f"{value} was selected.", field, value)


def _unseen_group_of_ikev1(test: KeyExchangeTest, registry: Registry) -> Outcome:
    """IKEv1 has classical groups only, so that some requirements fail whichever it was."""
    kinds = {registry.kind_of(name) for name in test.any_of}
    if test.hybrid == "required" or kinds == {"ml-kem"}:
        sentence = "IKEv1 has no post-quantum key exchange."
        return Outcome(Result.UNMET, "ikev1", sentence, "pqaudit.ike.version", IKEV1)
    sentence = "The group of the IKEv1 key exchange was not seen."
    return Outcome(Result.UNKNOWN, "not-known", sentence, "pqaudit.selected.key_exchange", None)


def _key_exchange_results(test: KeyExchangeTest, methods: tuple[Method, ...]) -> Iterator[tuple[str, str, Result]]:
    """Slug, what is required, and result of each part of the test."""
    names = {method.name for method in methods}
    kinds = {method.kind for method in methods}
    unknown = not kinds <= {"classical", "ml-kem"}
    classical = {method.name for method in methods if method.kind == "classical"}

    def told(unmet: bool, met: bool) -> Result:
        return Result.UNMET if unmet else Result.MET if met else Result.UNKNOWN

    if test.any_of:
        met = not names.isdisjoint(test.any_of)
        yield "key-exchange-lacking", f"one of {_list(test.any_of)} is required", told(not met and not unknown, met)
    if test.allowed:
        wrong = {method.name for method in methods if method.kind in ("classical", "ml-kem")} - set(test.allowed)
        yield "key-exchange-not-allowed", f"only {_list(test.allowed)} may be used", told(bool(wrong), not unknown)
    if test.classical_allowed:
        wrong = classical - set(test.classical_allowed)
        text = f"of the classical methods only {_list(test.classical_allowed)} may be used"
        yield "key-exchange-not-allowed", text, told(bool(wrong), not unknown)
    if test.forbidden:
        wrong = names & set(test.forbidden)
        yield "key-exchange-forbidden", f"{_list(sorted(wrong))} must not be used", told(bool(wrong), not unknown)
    if test.hybrid == "required":
        met = kinds >= {"classical", "ml-kem"}
        yield "not-hybrid", "a classical method and ML-KEM are required together", told(not met and not unknown, met)
    elif test.hybrid == "beside-ml-kem":
        lacks = kinds == {"ml-kem"}
        yield "not-hybrid", "ML-KEM needs a classical method beside it", told(lacks, "classical" in kinds)
    elif test.hybrid == "forbidden":
        both = kinds >= {"classical", "ml-kem"}
        yield "hybrid-forbidden", "a classical method must not stand beside ML-KEM", told(both, not unknown)
    if test.min_bits is not None:
        strongest = max((method.security_bits or 0 for method in methods), default=0)
        met = strongest >= test.min_bits
        untold = unknown or any(method.security_bits is None for method in methods)
        text = f"a strength of {test.min_bits} bits is required, and this has {strongest}"
        yield "key-exchange-too-weak", text, told(not met and not untold, met)


def _algorithm(test: AlgorithmTest, facts: SaFacts) -> Outcome:
    field = f"pqaudit.selected.{test.kind}"
    choice = facts.encryption if test.kind == "encryption" else facts.prf
    if choice is None:
        return Outcome(Result.UNKNOWN, "not-known", f"The finding does not tell the {_WORDS[test.kind]}.", field, None)
    return _judged(test, choice, field)


def _integrity(test: AlgorithmTest, facts: SaFacts) -> Outcome:
    field = "pqaudit.selected.integrity"
    if facts.version == IKEV1:
        return Outcome(Result.UNKNOWN, "not-known", "IKEv1 negotiates no integrity algorithm for IKE.", field, None)
    choice = facts.integrity
    if facts.encryption is not None and facts.encryption.aead and not has_integrity(facts):
        sentence = f"{facts.encryption.shown} protects integrity itself."
        return Outcome(Result.MET, "met", sentence, "pqaudit.selected.encryption", facts.encryption.shown)
    if choice is None or facts.encryption is None:
        return Outcome(Result.UNKNOWN, "not-known", "The finding does not tell the integrity algorithm.", field, None)
    if not has_integrity(facts):
        sentence = f"No integrity algorithm stands beside {facts.encryption.shown}."
        return Outcome(Result.UNMET, "no-integrity", sentence, field, choice.shown)
    return _judged(test, choice, field)


def has_integrity(facts: SaFacts) -> bool:
    """Whether an integrity algorithm was selected beside the cipher."""
    return facts.integrity is not None and facts.integrity.name != _NO_INTEGRITY


def _judged(test: AlgorithmTest, choice: Choice, field: str) -> Outcome:
    value = choice.shown
    if choice.name is None:
        sentence = f"{value}: a number that is not registered does not tell which algorithm it is."
        return Outcome(Result.UNKNOWN, "unregistered-algorithm", sentence, field, value)
    if choice.name in test.forbidden:
        text = f"{value} was selected; it must not be used."
        return Outcome(Result.UNMET, f"{test.kind}-forbidden", text, field, value)
    if test.allowed and choice.name not in test.allowed:
        text = f"{value} was selected; only {_list(test.allowed)} may be used."
        return Outcome(Result.UNMET, f"{test.kind}-not-allowed", text, field, value)
    if test.min_key_bits is not None:
        if choice.key_bits is None:
            return Outcome(
                Result.UNKNOWN, "key-length-not-known", f"The key length of {value} is unknown.", field, value
            )
        if choice.key_bits < test.min_key_bits:
            text = f"{value} was selected; a key of {test.min_key_bits} bits is required."
            return Outcome(Result.UNMET, "key-too-short", text, field, value)
    return Outcome(Result.MET, "met", f"{value} was selected.", field, value)


def _version(test: VersionTest, facts: SaFacts) -> Outcome:
    field = "pqaudit.ike.version"
    if facts.version is None:
        return Outcome(Result.UNKNOWN, "not-known", "The finding does not tell the version of IKE.", field, None)
    if facts.version in test.allowed:
        return Outcome(Result.MET, "met", f"The version of IKE is {facts.version}.", field, facts.version)
    text = f"The version of IKE is {facts.version}; only {_list(test.allowed)} may be used."
    return Outcome(Result.UNMET, "ike-version-not-allowed", text, field, facts.version)


def _deviations(test: DeviationTest, facts: SaFacts) -> Outcome:
    field = "pqaudit.deviations"
    if facts.deviations is None:
        return Outcome(Result.UNKNOWN, "not-known", "The finding does not tell deviations.", field, None)
    wrong = [slug for slug in facts.deviations if slug not in test.allowed]
    if wrong:
        return Outcome(Result.UNMET, "deviation", f"It departs from a document: {_list(wrong)}.", field, wrong[0])
    return Outcome(Result.MET, "met", "No departure from a document was seen.", field, None)


_NO_INTEGRITY = "NONE"
_WORDS = {"encryption": "encryption algorithm", "prf": "PRF"}


def _list(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names)
