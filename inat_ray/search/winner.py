"""Chooses the winner of a search, and finds the training that made the kept model."""

from inat_ray.log.history import History, TrialHistory
from inat_ray.search.study import Configuration, configurations, seed_is_searched


def winning_trial(history: History) -> TrialHistory | None:
    """Returns the trial whose configuration and seed the winner gets; None without a result.

    It is the first trial of the best configuration, by the mean over the seeds of the confirmation
    or else of the search; if no seeds were compared, it is the best trial.
    """
    if (best := over_seeds(history)) is not None:
        return best.trials[0]
    return None if seed_is_searched(history) else history.leader


def searched_winner(history: History) -> TrialHistory | None:
    """Returns the search's trial that has the winner's configuration."""
    winner = winning_trial(history)
    if winner is None or winner.purpose == "search":
        return winner
    return origin_of(winner, history)


def origin_of(confirming: TrialHistory, history: History) -> TrialHistory | None:
    """Returns the search's trial whose configuration a trial of the confirmation has."""
    return next((t for t in history.leaderboard() if t.parameters == confirming.parameters), None)


def over_seeds(history: History) -> Configuration | None:
    """Returns the best configuration that was compared over seeds, after the search or in it."""
    if (best := confirmed(history)) is not None or not seed_is_searched(history):
        return best
    return next(iter(configurations(history)), None)


def chosen_trial(history: History) -> TrialHistory | None:
    """Returns the trial whose configuration and seed the kept model gets.

    It is the one that a person picked since the search ended, or else the winner.
    """
    return history.picked or winning_trial(history)


def final_training(history: History) -> TrialHistory | None:
    """Returns the chosen trial's training for the model that is kept; None if it has not begun.

    It is also None if another one was trained since, as in a search that was extended: the model
    is the other's now.
    """
    best, final = chosen_trial(history), history.final
    same = best is not None and final is not None and is_training_of(final, best)
    return final if same else None


def is_training_of(final: TrialHistory, best: TrialHistory) -> bool:
    return final.parameters == best.parameters and final.seed == best.seed


def confirmed(history: History) -> Configuration | None:
    """Returns the best configuration of the confirmation so far; None without one."""
    return next(iter(configurations(history, purpose="confirm")), None)
