"""Who may send jobs next: the order, the limits, and that nobody waits for ever."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from include.bookkeeping.admission import (
    PATIENCE_S,
    DeploymentLimits,
    Holder,
    Limit,
    State,
    Waiting,
    decide,
)
from include.bookkeeping.admission_story import by_schedd, held_by, waits_for

if TYPE_CHECKING:
    import random

NOW = 1_800_000_000.0
NONE = DeploymentLimits()


def asking(number: int = 1, **changes: object) -> Waiting:
    """Return the first submission of a slice of its own, of ten jobs, in campaign demo.a."""
    made = Waiting(
        id=number,
        tag=f"tag-{number}",
        dag_id="demo.a",
        experiment="demo",
        slice=("t", 1000 + number),
        recovery=False,
        stage_number=0,
        jobs=10,
        jobs_limit=None,
        slices_limit=None,
        since=NOW - 100 + number,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def in_flight(**campaigns: int) -> State:
    """Return a state in which campaigns of demo have jobs in flight."""
    state = State()
    for name, jobs in campaigns.items():
        state.count(f"demo.{name}", "demo", jobs)
    return state


def order(waiting: list[Waiting], state: State, limits: DeploymentLimits = NONE) -> list[tuple[str, bool]]:
    return [(each.waiting.tag, each.admitted) for each in decide(waiting, state, limits, now=NOW)]


# The order


def test_without_limits_everything_is_admitted() -> None:
    assert order([asking(1), asking(2)], State()) == [("tag-1", True), ("tag-2", True)]


def test_within_a_campaign_recoveries_then_later_stages_then_who_waits_longest() -> None:
    waiting = [
        asking(1),
        asking(2, stage_number=2),
        asking(3, since=NOW - 1000),
        asking(4, stage_number=1, recovery=True),
        asking(5, recovery=True),
    ]
    assert [tag for tag, _ in order(waiting, State())] == ["tag-4", "tag-5", "tag-2", "tag-3", "tag-1"]


def test_between_campaigns_the_smaller_share_goes_first_then_who_waits_longest() -> None:
    waiting = [asking(1), asking(2, dag_id="demo.b"), asking(3, dag_id="demo.c"), asking(4)]
    state = in_flight(a=30, b=25, c=5)
    # b has 35 once it was admitted, and c's only one is gone: a's two follow.
    assert [tag for tag, _ in order(waiting, state)] == ["tag-3", "tag-2", "tag-1", "tag-4"]
    assert [tag for tag, _ in order(waiting, State())] == ["tag-1", "tag-2", "tag-3", "tag-4"]


def test_shares_even_out_as_room_is_given() -> None:
    waiting = [asking(n, dag_id=f"demo.{'ab'[n % 2]}") for n in range(8)]
    found = decide(waiting, in_flight(a=20), DeploymentLimits(jobs_per_experiment=60), now=NOW)
    assert Counter(each.waiting.dag_id for each in found if each.admitted) == {"demo.a": 1, "demo.b": 3}


def test_a_campaign_that_got_nothing_for_an_hour_goes_first_once() -> None:
    old = [asking(n, dag_id="demo.b", since=NOW - PATIENCE_S - 10 + n) for n in (1, 2)]
    new = [asking(n) for n in (3, 4)]
    state = in_flight(b=500)
    assert [tag for tag, _ in order([*new, *old], state)] == ["tag-1", "tag-3", "tag-4", "tag-2"]
    state = in_flight(b=500)
    state.admitted_at["demo.b"] = NOW - 60
    assert [tag for tag, _ in order([*new, *old], state)] == ["tag-3", "tag-4", "tag-1", "tag-2"]


# Limits


def test_room_is_kept_for_the_first_that_lacks_it() -> None:
    big, small = asking(1, jobs=50), asking(2, dag_id="demo.b", jobs=5)
    state = in_flight(c=60)
    limits = DeploymentLimits(jobs_per_experiment=100)
    first, second = decide([big, small], state, limits, now=NOW)
    assert (first.admitted, first.limit, first.name, first.in_flight, first.most, first.place) == (
        False, Limit.EXPERIMENT, "demo", 60, 100, 1,
    )  # fmt: skip
    assert (second.admitted, second.limit, second.place) == (False, Limit.EXPERIMENT, 2)
    assert order([big, small], in_flight(c=50), limits)[0] == ("tag-1", True)


def test_one_that_waits_for_its_own_campaigns_limit_keeps_no_room_from_others() -> None:
    own = asking(1, jobs=10, jobs_limit=15)
    other = asking(2, dag_id="demo.b", jobs=10)
    limits = DeploymentLimits(jobs_per_experiment=40)
    assert order([own, other], in_flight(a=10, b=20), limits) == [("tag-1", False), ("tag-2", True)]
    assert order([own, other], in_flight(a=10, b=21), limits) == [("tag-1", False), ("tag-2", False)]


def test_another_experiment_is_not_held_up() -> None:
    waiting = [asking(1), asking(2, dag_id="other.x", experiment="other")]
    limits = DeploymentLimits(jobs_per_experiment=100)
    assert order(waiting, in_flight(c=95), limits) == [("tag-1", False), ("tag-2", True)]


def test_the_pool_is_so_many_jobs_a_schedd() -> None:
    waiting = [asking(1), asking(2, dag_id="other.x", experiment="other")]
    limits = DeploymentLimits(jobs_per_schedd=50, schedds=2)
    assert order(waiting, in_flight(c=81), limits) == [("tag-1", True), ("tag-2", False)]
    none = DeploymentLimits(jobs_per_schedd=50, schedds=0)
    assert order(waiting, State(), none) == [("tag-1", False), ("tag-2", False)]


def test_more_than_a_limit_is_admitted_alone() -> None:
    limits = DeploymentLimits(jobs_per_experiment=20)
    big, small = asking(1, jobs=30), asking(2)
    assert order([big, small], in_flight(b=1), limits) == [("tag-1", False), ("tag-2", False)]
    assert order([big, small], State(), limits) == [("tag-1", True), ("tag-2", False)]


def test_slices_in_flight_are_finished_before_others_begin() -> None:
    state = State()
    state.slices["demo.a"] = {("t", 1), ("t", 2)}
    begun = [asking(n, slice=("t", n), stage_number=1, slices_limit=2) for n in (1, 2)]
    new = [asking(n, slices_limit=2) for n in (3, 4)]
    found = decide([*new, *begun], state, NONE, now=NOW)
    assert [(each.waiting.id, each.admitted, each.limit, each.place) for each in found] == [
        (1, True, None, 0),
        (2, True, None, 0),
        (3, False, Limit.SLICES, 1),
        (4, False, Limit.SLICES, 2),
    ]


def test_two_stages_of_a_new_slice_take_one_place() -> None:
    both = [asking(1, slice=("t", 1), slices_limit=1), asking(2, slice=("t", 1), slices_limit=1)]
    assert order([*both, asking(3, slices_limit=1)], State()) == [
        ("tag-1", True),
        ("tag-2", True),
        ("tag-3", False),
    ]


def test_a_recovery_is_not_behind_first_submissions_of_its_campaign() -> None:
    first, recovery = asking(1, jobs=90, jobs_limit=100), asking(2, jobs=20, jobs_limit=100, recovery=True)
    assert order([first, recovery], in_flight(a=70)) == [("tag-2", True), ("tag-1", False)]


# Whatever comes

CAMPAIGNS = ("demo.a", "demo.b", "other.c")
sizes = st.integers(1, 40)
limit = st.none() | st.integers(1, 60)


@st.composite
def requests(draw: st.DrawFn) -> list[Waiting]:
    own = {name: (draw(limit), draw(st.none() | st.integers(1, 3))) for name in CAMPAIGNS}
    found = []
    for number in range(draw(st.integers(1, 25))):
        dag_id = draw(st.sampled_from(CAMPAIGNS))
        jobs_limit, slices_limit = own[dag_id]
        found.append(
            asking(
                number,
                dag_id=dag_id,
                experiment=dag_id.partition(".")[0],
                slice=("t", draw(st.integers(0, 8))),
                recovery=draw(st.booleans()),
                stage_number=draw(st.integers(0, 3)),
                jobs=draw(sizes),
                jobs_limit=jobs_limit,
                slices_limit=slices_limit,
                since=NOW - draw(st.integers(0, 3 * int(PATIENCE_S))),
            )
        )
    return found


deployments = st.builds(
    DeploymentLimits,
    jobs_per_experiment=limit,
    jobs_per_schedd=limit,
    schedds=st.integers(1, 3),
)


class World:
    """What is in flight, by what was admitted."""

    def __init__(self, limits: DeploymentLimits) -> None:
        self.limits, self.running, self.now = limits, list[Waiting](), NOW
        self.places: dict[str, set[tuple[str, int]]] = {}
        self.admitted_at: dict[str, float] = {}

    def state(self) -> State:
        state = State(admitted_at=dict(self.admitted_at))
        for each in self.running:
            state.count(each.dag_id, each.experiment, each.jobs)
        for name, places in self.places.items():
            state.slices[name] |= places
        return state

    def go_on(self, waiting: list[Waiting]) -> list[Waiting]:
        """Ask for all; return who waits on."""
        self.now += 10
        found = decide(waiting, self.state(), self.limits, now=self.now)
        assert sorted(each.waiting.id for each in found) == sorted(each.id for each in waiting)
        admitted = [each.waiting for each in found if each.admitted]
        for each in admitted:
            self.running.append(each)
            self.places.setdefault(each.dag_id, set()).add(each.slice)
            self.admitted_at[each.dag_id] = self.now
        self.check()
        return [each for each in waiting if each not in admitted]

    def end(self, place: int, *, waiting: list[Waiting]) -> None:
        """Let a submission end; a slice of which nothing is left gives up its place."""
        gone = self.running.pop(place % len(self.running))
        left = {(each.dag_id, each.slice) for each in [*self.running, *waiting]}
        if (gone.dag_id, gone.slice) not in left:
            self.places[gone.dag_id].discard(gone.slice)

    def check(self) -> None:
        """No limit is exceeded, but by one submission that is larger and alone."""
        under: dict[tuple[Limit, str, int], list[int]] = {}
        for each in self.running:
            for key, most in (
                ((Limit.CAMPAIGN, each.dag_id), each.jobs_limit),
                ((Limit.EXPERIMENT, each.experiment), self.limits.jobs_per_experiment),
                ((Limit.POOL, ""), self.limits.jobs),
            ):
                if most is not None:
                    under.setdefault((*key, most), []).append(each.jobs)
            if each.slices_limit is not None:
                assert len(self.places[each.dag_id]) <= each.slices_limit
        for (*_, most), jobs in under.items():
            assert sum(jobs) <= most or len(jobs) == 1


@given(requests(), deployments, st.randoms(use_true_random=False))
def test_no_limit_is_exceeded_and_everybody_gets_in_once_things_end(
    waiting: list[Waiting], limits: DeploymentLimits, chance: random.Random
) -> None:
    world = World(limits)
    while waiting:
        before = len(waiting)
        waiting = world.go_on(waiting)
        if not waiting:
            break
        assert world.running or len(waiting) < before, "nothing is in flight, and nobody gets in"
        world.end(chance.randrange(100), waiting=waiting)


@given(st.integers(1, 100), st.integers(1, 30), st.integers(0, 100), st.randoms(use_true_random=False))
def test_a_big_one_gets_in_however_many_small_ones_come(
    big: int, small: int, running: int, chance: random.Random
) -> None:
    """Another campaign always has two more that wait; each round one of what runs ends."""
    world = World(DeploymentLimits(jobs_per_experiment=100))
    world.running = [asking(1000 + n, dag_id="demo.b", jobs=small) for n in range(running // small)]
    world.places["demo.b"] = {each.slice for each in world.running}
    waiting, number = [asking(1, jobs=big, since=NOW)], 2
    for _ in range(300):
        while sum(each.dag_id == "demo.b" for each in waiting) < 2:
            waiting.append(asking(number, dag_id="demo.b", jobs=small, since=world.now))
            number += 1
        waiting = world.go_on(waiting)
        if all(each.id != 1 for each in waiting):
            return
        world.end(chance.randrange(1000), waiting=waiting)
    raise AssertionError("the big one still waits")


@given(requests(), deployments)
def test_the_smallest_share_is_the_first_to_be_looked_at(
    waiting: list[Waiting], limits: DeploymentLimits
) -> None:
    young = [replace(each, since=NOW - 1) for each in waiting]
    first = decide(young, in_flight(a=3, b=1), limits, now=NOW)[0].waiting
    shares = {"demo.a": 3, "demo.b": 1, "other.c": 0}
    assert shares[first.dag_id] == min(shares[each.dag_id] for each in waiting)
    campaign = [each for each in young if each.dag_id == first.dag_id]
    assert (first.recovery, first.stage_number) == max(
        (each.recovery, each.stage_number) for each in campaign
    )


# In words


def test_what_is_waited_for_is_said_with_figures() -> None:
    limits = DeploymentLimits(jobs_per_experiment=10_000)
    waiting = [asking(n, dag_id=f"demo.{n}", jobs=3000) for n in (1, 2, 3)]
    found = decide(waiting, in_flight(x=8000), limits, now=NOW)
    assert waits_for(found[2]) == (
        "waits: 8,000 of 10,000 jobs of experiment demo are in flight, it has 3,000 more; 3rd in the queue"
    )
    room = decide([*waiting, asking(4, jobs=500)], in_flight(a=1, x=7999), limits, now=NOW)[-1]
    assert waits_for(room).endswith(
        "500 more; the room that is left is for those before it; 4th in the queue"
    )
    alone = decide([asking(jobs=20_000)], in_flight(x=1), limits, now=NOW)[0]
    assert "above the limit: it is sent once nothing else is in flight" in waits_for(alone)
    state = State()
    state.slices["demo.a"] = {("t", 1), ("t", 2)}
    (slices,) = decide([asking(slices_limit=2)], state, NONE, now=NOW)
    assert waits_for(slices) == "waits: 2 of 2 slices of demo.a are in flight; 1st in the queue"


def test_who_holds_room_and_is_stuck_is_said_to_be() -> None:
    holder = Holder(name="tag", jobs=12, since=NOW, sent=True, held=10, unknown=2, polled_at=NOW)
    assert held_by(holder, now=NOW + 60) == "tag: 12 jobs, since 2027-01-15 08:00 UTC, 10 held and 2 unknown"
    assert "nobody waits for them" in held_by(holder, now=NOW + 3600)
    assert "clear its task" in held_by(replace(holder, sent=False), now=NOW)
    assert by_schedd({"ap1": 12_000, "ap2": 3}) == "by schedd: ap1 12,000, ap2 3"
