"""The learning rate as a share of its peak, a function of how far the stage has come.

Warm-up is linear (Goyal et al. 2017, section 2.2), cosine as in Loshchilov and Hutter 2017 (SGDR, equation 5, one
cycle), steps as in the detectors' recipes (x 0.1 at 8/12 and 11/12). Progress runs from 0 to 1, by steps or by the
clock, so that one formula serves both.
"""

import math

from sightline.recipes import Schedule

LONGEST_WARMUP = 0.1
"""Largest share of a stage that warm-up takes, however many steps it was given."""


def learning_rate_share(schedule: Schedule, step: int, progress: float) -> float:
    """Share of the peak learning rate for one optimiser step.

    Args:
        schedule: its kind and numbers.
        step: optimiser steps taken before this one.
        progress: share of the stage that is behind, 0..1.
    """
    return _warmup(schedule, step, progress) * _main(schedule, progress)


def _warmup(schedule: Schedule, step: int, progress: float) -> float:
    if schedule.warmup_steps == 0:
        return 1.0
    share = min(1.0, max(step / schedule.warmup_steps, progress / LONGEST_WARMUP))
    return schedule.warmup_start + (1 - schedule.warmup_start) * share


def _main(schedule: Schedule, progress: float) -> float:
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "cosine":
        return schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * progress)) / 2
    return math.pow(schedule.gamma, sum(milestone <= progress for milestone in schedule.milestones))
