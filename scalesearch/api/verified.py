"""What a verification says, in words and as the reports take it."""

from scalesearch.reports.facts import Transfer, TransferPoint
from scalesearch.running.verify import Verification

GUESSING = 1.5  # times what guessing gets right: below it nothing was learnt


def transfer(found: Verification) -> Transfer:
    """A verification as the reports take it."""
    points = tuple(
        TransferPoint(
            n.name, n.status, n.control, n.at_one.value, (n.at_one.low, n.at_one.high), n.at_phi.value,
            (n.at_phi.low, n.at_phi.high),
        )
        for n in found.networks
    )  # fmt: skip
    tau = "Kendall's τ not defined" if found.tau is None else (
        f"Kendall's τ {found.tau.value:.2f} [{found.tau.low:.2f}, {found.tau.high:.2f}]"
    )  # fmt: skip
    note = (
        f"{found.epochs_at_one} epochs at φ = 1, {found.epochs} at φ = {found.phi:g}; {found.images} validation images"
    )
    return Transfer(found.phi, points, tau, note, reading(found))


def tau_text(found: Verification) -> str:
    """τ with its interval, in words."""
    if found.tau is None:
        return "not defined (all scores equal at one size)"
    return f"{found.tau.value:.2f}, 95 % interval {found.tau.low:.2f} to {found.tau.high:.2f}"


def reading(found: Verification) -> str:
    """What the numbers say, and what they do not."""
    words = [_said_of_order(found), _said_of_recommended(found)]
    if max(network.accuracy for network in found.networks) < GUESSING / found.classes:
        words.append(f"At φ = {found.phi:g} no network is better than guessing, so none of this says anything.")
    if not found.fully_trained:
        words.append(
            f"Scores are after {found.epochs_at_one} epochs at φ = 1 and {found.epochs} at φ = {found.phi:g}, not "
            f"{found.full_epochs}: they may order the networks otherwise than full trainings."
        )
    words.append("The networks were picked by their scores at φ = 1, so τ is not that of the whole grid.")
    return " ".join(words)


def _said_of_order(found: Verification) -> str:
    count, tau = len(found.networks), found.tau
    if tau is None:
        return f"The order of {count} networks cannot be compared."
    again = f"; φ = {found.phi:g} trained again would agree with itself by about {found.repeat_tau:.2f}" if (
        found.repeat_tau is not None
    ) else ""  # fmt: skip
    if tau.low > 0:
        return f"The order at φ = 1 carries over, as far as {count} networks tell{again}."
    if tau.high < 0:
        return f"The order at φ = 1 is reversed, as far as {count} networks tell{again}."
    return (
        f"With {count} networks τ's interval is wide and contains 0: this does not show that the order at φ = 1 "
        f"carries over, nor that it does not{again}."
    )


def _said_of_recommended(found: Verification) -> str:
    regret = found.regret
    if regret is None:
        return f"{found.recommended} has no result at φ = {found.phi:g}."
    other = found.networks[regret.against].name
    if regret.high < 0:
        return f"{found.recommended}, recommended at φ = 1, is the best here, too."
    if regret.low > 0:
        return (
            f"{other} beats {found.recommended}, which φ = 1 recommended (it was picked as the best, which favours it)."
        )
    ahead, behind = (other, found.recommended) if regret.gap > 0 else (found.recommended, other)
    return f"{ahead} is ahead of {behind}, by no more than chance explains."
