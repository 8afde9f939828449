"""One picture for each outcome of a study: the case is made and grasped again, which gives the same to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparse_recon.lab.evaluate.cases import make_case
from sparse_recon.lab.evaluate.grasp.attempt import OUTCOME, GraspCase
from sparse_recon.lab.evaluate.grasp.figures import outcome_figure
from sparse_recon.lab.evaluate.grasp.rates import counted
from sparse_recon.lab.evaluate.grasp.study import PARTS
from sparse_recon.lab.evaluate.grasp.trial import Outcome
from sparse_recon.lab.evaluate.markdown import sides
from sparse_recon.lab.evaluate.methods import Contestant
from sparse_recon.lab.evaluate.pairing import TRUTH
from sparse_recon.lab.evaluate.results import Results, Score
from sparse_recon.lab.evaluate.runner import Study
from sparse_recon.viz.sheet import Sheet, save_png


def write_examples(
    study: Study, results: Results, folder: Path, *, method: str = "", cache: Path | None = None
) -> tuple[Path, ...]:
    """Draw a trial of each outcome that a study has, and return the paths.

    Parameters
    ----------
    method : whose trials are drawn where it has the outcome; else, and without it, those of any method but the truth.
    cache : as for `study.run_study`.

    Raises
    ------
    FileError
        If the folder cannot be written.
    """
    contestant = Contestant(study.config)
    written = []
    for outcome in Outcome:
        chosen = _chosen(results.scores, outcome, method)
        if chosen is None:
            continue
        path = Path(folder) / f"grasp_{outcome.name.lower()}.png"
        save_png(_drawn(study, contestant, chosen, cache or Path(folder) / PARTS).image, path)
        written.append(path)
    return tuple(written)


def _chosen(scores: Sequence[Score], outcome: Outcome, method: str) -> Score | None:
    """Return the middle one in the order of cases, so that no first or best is shown."""
    there = [s for s in counted(scores) if s.answered and Outcome(int(s.metrics[OUTCOME])) is outcome]
    for wanted in ([s for s in there if s.method == method], [s for s in there if s.method != TRUTH], there):
        if wanted:
            return wanted[len(wanted) // 2]
    return None


def _drawn(study: Study, contestant: Contestant, score: Score, cache: Path) -> Sheet:
    scored = next(scored for scored in study.objects if scored.name == score.object)
    case = make_case(scored, score.condition, score.seed, study.protocol).seen_from(score.views)
    scene = GraspCase(case, cache)
    attempt = scene.attempt(contestant.predict(score.method, case), record=True)
    trial = attempt.trial
    title = f"{trial.outcome.name.lower().replace('_', ' ')}{' with the ' + trial.hit if trial.hit else ''}: "
    title += f"{score.object}, {score.condition}, {sides(score.views)}, {score.method}"
    return outcome_figure(title, scene.true, scene.physics, case.truth, attempt.given, attempt.grasp, trial)
